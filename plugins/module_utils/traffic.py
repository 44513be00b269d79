# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes part in the fleet's traffic: the mark on a host, the rule that keeps new work away, and who may leave.

A host says itself, for each of its tiers, that it takes no new work: a file below MARKS. Every gate looks there.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# One file for each tier that is out; the folder exists as long as any is.
MARKS = Path("/etc/graphic_school/out-of-traffic")
# Tiers with a gate, in the order in which a host of several leaves: what takes work from outside comes first.
TIERS = ("load_balancers", "app_servers", "queue_workers", "scheduler", "redis_cluster", "mysql")
TABLE = "graphic_school_traffic"
# A host may be in both tiers, and out of one of them.
REDIS_TABLE = "graphic_school_traffic_redis"
# Shares of new connections, in percent, that a host takes one after the other while it comes back.
SHARES = (10, 25, 50, 75)


class TrafficError(Exception):
    """A host can't leave or join the traffic; the message names the host, what was last seen, and the cure."""


@dataclass(frozen=True)
class Mark:
    """Why a tier of a host takes no new work: since when (ISO 8601, UTC), by which verb, for which reason."""

    since: str
    by: str
    reason: str


@dataclass(frozen=True)
class Member:
    """One host of a tier: its state in the inventory, whether it is marked, and what keeps it from serving ("" for nothing)."""

    name: str
    state: str = "active"
    out: bool = False
    ill: str = ""

    @property
    def why_not(self) -> str:
        """Return why this host takes no traffic now, "" when it does."""
        if self.state != "active":
            return f"is {self.state} in the inventory"
        if self.out:
            return "is out of traffic"
        return self.ill


def mark_text(mark: Mark) -> str:
    """Return the content of a mark."""
    return json.dumps(asdict(mark), sort_keys=True) + "\n"


def parse_mark(text: str) -> Mark:
    """Return the mark in C(text). A file that is no mark still means "out": somebody made it by hand."""
    try:
        data = json.loads(text)
    except ValueError:
        data = {}
    data = data if isinstance(data, dict) else {}
    return Mark(*(str(data.get(name, "unknown")) for name in ("since", "by", "reason")))


def ruleset(ports: Sequence[int], share: int = 0, *, table: str = TABLE, peers: Collection[str] = ()) -> str:
    """Return nft's input that lets through C(share) percent of new connections to C(ports); 0 refuses all but those of C(peers).

    A refusal is a TCP reset: the other side knows at once that nothing was sent. Connections that exist go on, and the host
    itself may always connect. The rules look at flags only, so they need no connection tracking.
    """
    if not ports or not all(0 < port < 65536 for port in ports):
        raise TrafficError(f"ports must be whole numbers from 1 to 65535, not: {', '.join(map(str, ports)) or 'none'}")
    if not 0 <= share < 100:
        raise TrafficError(f"the share of new connections must be from 0 to 99 percent, not: {share}")
    chance = f" numgen random mod 100 >= {share}" if share else ""
    listed = ", ".join(str(port) for port in sorted(set(ports)))
    accepted = "".join(
        f"\t\t{family} saddr {{ {', '.join(addresses)} }} accept\n"
        for family, version in (("ip", 4), ("ip6", 6))
        if (addresses := sorted(peer for peer in peers if ipaddress.ip_address(peer).version == version))
    )
    return (
        f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n\tchain input {{\n"
        f"\t\ttype filter hook input priority -10; policy accept;\n{accepted}"
        f'\t\tiifname != "lo" tcp dport {{ {listed} }} tcp flags & (fin | syn | rst | ack) == syn{chance}'
        " reject with tcp reset\n\t}\n}\n"
    )


def steps(seconds: float) -> tuple[tuple[int, float], ...]:
    """Return the shares of a slow start that takes C(seconds), each with the seconds that it lasts; none for 0 seconds."""
    return tuple((share, seconds / len(SHARES)) for share in SHARES) if seconds > 0 else ()


def summary(ends: Sequence[str]) -> str:
    """Return how many connections each address holds, as words."""
    counts: dict[str, int] = {}
    for end in ends:
        address = end.rpartition(":")[0]
        counts[address] = counts.get(address, 0) + 1
    many = ", ".join(f"{count} from {address}" for address, count in sorted(counts.items()))
    return f"{len(ends)} open connection{'' if len(ends) == 1 else 's'}" + (f" ({many})" if many else "")


def check_leaving(tier: str, members: Sequence[Member], leaving: Collection[str]) -> None:
    """Raise TrafficError, by name, when nobody of C(tier) would serve once C(leaving) are out.

    A host that is out already may always leave. One that seems ill may not: it may only be slow because it carries everything.
    """
    losing = [member.name for member in members if member.name in leaving and not member.out and member.state == "active"]
    if not losing or any(not member.why_not for member in members if member.name not in leaving):
        return
    others = [f"{member.name} {member.why_not}" for member in members if member.name not in leaving]
    rest = "; ".join(others) if others else "it is the only one" if len(losing) == 1 else "there is no other"
    raise TrafficError(
        f"{' and '.join(losing)} {'is' if len(losing) == 1 else 'are'} all that serves in {tier} ({rest}): bring another host into "
        "traffic first (undrain.yml, or one more line in the inventory)"
    )


def gates(tiers: Iterable[str]) -> tuple[str, ...]:
    """Return the gates of a host in C(tiers), in the order in which it leaves. Whoever runs the application may run its schedule."""
    own = set(tiers)
    if own & {"app_servers", "queue_workers"}:
        own.add("scheduler")
    return tuple(tier for tier in TIERS if tier in own)


def named(value: str, fleet: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the hosts that C(value) names, of those that can be drained at all. Raises TrafficError."""
    return parse_hosts(value, {name: gates(host["tiers"]) for name, host in fleet.items()})


def leaving(
    value: str, fleet: Mapping[str, Mapping[str, Any]], seen: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> tuple[str, ...]:
    """Return the hosts that C(value) names, when each tier still has somebody to serve without them.

    C(fleet) has the hosts of the fleet with C(tiers) and C(state), C(seen) what the module traffic told of those that answered.
    Raises TrafficError. Redis is not counted: its replicas hold everything, and the gate refuses without one.
    """
    names = named(value, fleet)
    for tier in ("load_balancers", "app_servers", "queue_workers", "mysql"):
        members = []
        for name, host in fleet.items():
            if tier in host["tiers"]:
                told = seen.get(name, {}).get(tier)
                ill = str(told["ill"]) if told else "could not be asked"
                members.append(Member(name, host["state"], bool(told and told["out"]), ill))
        check_leaving(tier, members, names)
    return names


def parse_hosts(value: str, known: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the hosts that C(value) names (one, or several with commas); C(known) has the gates of each host of the fleet.

    Raises TrafficError naming the first that isn't in the fleet, or takes part in nothing that can be drained.
    """
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names:
        raise TrafficError("fleet_host is empty: name a host, as in -e fleet_host=app1 (several with commas)")
    for name in names:
        if name not in known:
            raise TrafficError(f"fleet_host: {name} is not a host of the fleet; its hosts are {', '.join(sorted(known))}")
        if not known[name]:
            raise TrafficError(f"fleet_host: {name} is in no tier that can be drained; those are {', '.join(TIERS)}")
    return names
