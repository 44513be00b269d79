# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may hold the virtual address: priorities in VRRP (RFC 9568), from the states of the balancers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Balancers of one state are equals: one that comes back takes nothing from its peer (RFC 9568, 6.4.2: only a higher
# priority preempts), so that an address moves once for each failure, not twice. What a failed check takes away
# (FAILED_CHECK) puts an ill active balancer below every healthy one that isn't down; when all are ill, one still holds it.
PRIORITY = {"active": 200, "standby": 150, "draining": 100, "down": 50}
FAILED_CHECK = -120


class VrrpError(ValueError):
    """The balancers can't share an address; the message names the cure."""


@dataclass(frozen=True)
class Balancer:
    name: str
    address: str
    state: str = "active"


@dataclass(frozen=True)
class Member:
    """One balancer's part: its priority, its own address, its peers' addresses, and what a failed check costs it."""

    priority: int
    address: str
    peers: tuple[str, ...]
    failed_check: int = FAILED_CHECK


def member(balancers: Sequence[Balancer], name: str) -> Member:
    """The part of balancer C(name).

    Balancers that are down stay peers: should one run all the same, it must hear that the address is held.
    Raises VrrpError when C(name) isn't one of them or its state is unknown.
    """
    own = next((balancer for balancer in balancers if balancer.name == name), None)
    if own is None:
        names = ", ".join(balancer.name for balancer in balancers) or "none"
        raise VrrpError(f"{name} is not among the load balancers ({names}); add it to keepalived_servers")
    if own.state not in PRIORITY:
        raise VrrpError(f"load balancer {name} has the state {own.state!r}; known are: {', '.join(PRIORITY)}")
    return Member(
        priority=PRIORITY[own.state],
        address=own.address,
        peers=tuple(balancer.address for balancer in balancers if balancer.name != name),
    )
