# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load balancer gives the shared address away and keeps the connections that it has.

Who gives says so to its peers, twice a second, for as long as it has connections to the address; it goes on accepting what is sent to it.
Who takes the address passes on to the giver, unchanged, each packet of a connection that it doesn't know (pass_on.py); new connections are
its own. What the takers know of the giver is gone after some seconds without a word, so a giver that dies leaves nothing behind.
See docs/decisions/virtual-address.md.

The role keepalived ships this file with its neighbour to each balancer, and with them the program that gives the address away
(roles/keepalived/templates/usr/local/lib/graphic_school_handover/__main__.py), which the module traffic starts.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .open_connections import connections

UNIT = "graphic_school-handover.service"
SETTINGS = Path("/etc/graphic_school/handover.json")
# Seconds between two words of a giver, and after how many without one the takers forget it.
WORD_SECONDS = 0.5
FORGET_SECONDS = 3
# A giver that still holds the address after this time was interrupted before it gave it away.
START_SECONDS = 30.0
# Neighbours may send to the former holder for a moment: until then it takes what comes, whether it has connections or not.
SETTLE_SECONDS = 5.0
# Marks the route as this program's (ip route ... proto).
ROUTE_PROTOCOL = "201"
# Only a neighbour's packet still has it (RFC 5082).
HOP_LIMIT = 255
# Addresses that are only routed here are neither announced nor claimed (kernel: Documentation/networking/ip-sysctl.rst).
QUIET_ARP = {"arp_ignore": "1", "arp_announce": "2"}


@dataclass(frozen=True)
class Shared:
    """The address that balancers share, as one of them sees it; C(own) and C(peers) are the addresses that each has for itself.

    C(ports) are those of clients, C(port) is where givers are heard (UDP), C(seconds) how long a giver keeps its connections at most.
    """

    address: str
    own: str
    interface: str
    peers: tuple[str, ...]
    ports: tuple[int, ...]
    port: int
    seconds: float

    @property
    def version(self) -> int:
        return ipaddress.ip_address(self.address).version

    @property
    def prefix(self) -> str:
        return f"{self.address}/{32 if self.version == 4 else 128}"


def shared_from(data: Mapping[str, Any]) -> Shared:
    """Return what the settings say. Peers of the other IP version can't be sent packets to this address, and are left out."""
    version = ipaddress.ip_address(data["address"]).version
    peers = tuple(peer for peer in data["peers"] if ipaddress.ip_address(peer).version == version)
    ports = tuple(sorted({int(port) for port in data["ports"]}))
    return Shared(data["address"], data["own"], data["interface"], peers, ports, int(data["port"]), float(data["seconds"]))


@dataclass(frozen=True)
class Look:
    """What a giver sees of itself: the time, whether it holds the address, and how many connections to it are open."""

    at: float
    held: bool
    open: int


def why_it_ends(began: float, left: float | None, look: Look, seconds: float) -> str:
    """Return why a giver that C(began) then, and has not held the address since C(left), is done; "" while it isn't."""
    if left is None:
        return "the address did not move" if look.at - began >= START_SECONDS else ""
    if look.held:
        return "the address came back"
    gone = look.at - left
    if gone >= seconds:
        return f"{look.open} connections are cut after {seconds:g} s"
    return "nothing is left of it" if not look.open and gone >= SETTLE_SECONDS else ""


def holds(printed: str, address: str) -> bool:
    """Return whether C(address) is among those that `ip -oneline address show` printed."""
    return f" {ipaddress.ip_address(address)}/" in printed


def sockets(shared: Shared) -> list[socket.socket]:
    """Return a socket to each peer whose packets show that they come from a neighbour. Peers that can't be reached have none."""
    made = []
    for peer in shared.peers:
        end = socket.socket(socket.AF_INET if shared.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        end.setblocking(False)
        if shared.version == 4:
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, HOP_LIMIT)
        else:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
        try:
            # Left to the kernel, it might be the shared one: its prefix is longer (RFC 6724, rule 8).
            end.bind((shared.own, 0))
            end.connect((peer, shared.port))
        except OSError:
            end.close()
        else:
            made.append(end)
    return made


def say(ends: Iterable[socket.socket]) -> None:
    """Tell the peers that this host gives the address away. Nobody answers; who can't be told now is told next time."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.send(b"mine")


def unaware(shared: Shared, seconds: float = 0.3) -> tuple[str, ...]:
    """Return the peers whose kernel refuses the word of a giver, because no rule takes it. A host that is down says nothing."""
    ends = sockets(shared)
    say(ends)
    time.sleep(seconds if ends else 0)
    found = []
    for end in ends:
        try:
            end.recv(1)
        except ConnectionRefusedError:
            found.append(str(end.getpeername()[0]))
        except OSError:
            pass
        end.close()
    return tuple(found)


class Giver:
    """This host, while it gives the address away. C(run) runs a command and returns its output."""

    def __init__(self, shared: Shared, run: Callable[[Sequence[str]], str], proc: Path = Path("/proc")) -> None:
        self.shared, self.run, self.proc = shared, run, proc

    def look(self, at: float) -> Look:
        paths = [self.proc / "net" / name for name in ("tcp", "tcp6")]
        tables = [path.read_text(encoding="ascii") for path in paths if path.exists()]
        held = holds(self.run(["/usr/sbin/ip", "-oneline", "address", "show"]), self.shared.address)
        return Look(at, held, len(connections(tables, self.shared.ports, only=self.shared.address, sending=True)))

    def _route(self, *words: str) -> None:
        self.run(["/usr/sbin/ip", f"-{self.shared.version}", "route", *words, "table", "local", "proto", ROUTE_PROTOCOL])

    @contextlib.contextmanager
    def accepting(self) -> Iterator[None]:
        """Take what is sent to the address although it is another's, and claim it from nobody."""
        folder = self.proc / "sys/net/ipv4/conf" / self.shared.interface
        quiet = QUIET_ARP if self.shared.version == 4 else {}
        before = {name: (folder / name).read_text(encoding="ascii") for name in quiet}
        for name in quiet:
            (folder / name).write_text(QUIET_ARP[name], encoding="ascii")
        self._route("flush")
        try:
            self._route("append", "local", self.shared.prefix, "dev", "lo")
            yield
        finally:
            self._route("flush")
            for name, value in before.items():
                (folder / name).write_text(value, encoding="ascii")
