# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections of a host are open, from the kernel's tables. It needs no neighbour: keepalived and app_server ship it to hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

# Of include/net/tcp_states.h.
ESTABLISHED = "01"
# One side has closed; the other may still lack data: FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING.
CLOSING = frozenset({"04", "08", "09", "0B"})


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address that /proc/net/tcp or tcp6 writes as C(text): words of 32 bits in the byte order of the host."""
    raw = b"".join(bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    return getattr(address, "ipv4_mapped", None) or address


def _is_sending(state: str, queues: str) -> bool:
    """Return whether a connection that is being closed has sent what has not arrived; the end of the stream itself counts as one byte."""
    return state in CLOSING and int(queues.partition(":")[0], 16) > 1


def connections(tables: Iterable[str], ports: Collection[int], only: str = "", *, sending: bool = False) -> tuple[str, ...]:
    """Return the far ends ("address:port") of connections from other hosts to C(ports), from the texts of /proc/net/tcp and tcp6.

    With C(only), those to this address. Those that are being closed don't count; with C(sending), they do until their answer has arrived.
    """
    found = []
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) < 5 or not (fields[3] == ESTABLISHED or (sending and _is_sending(fields[3], fields[4]))):
                continue
            (near, near_port), (far, far_port) = (field.split(":") for field in fields[1:3])
            if int(near_port, 16) not in ports or near == far or _address(far).is_loopback:
                continue
            if only and _address(near) != ipaddress.ip_address(only):
                continue
            found.append(f"{_address(far)}:{int(far_port, 16)}")
    return tuple(sorted(found))
