# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the virtual address: priorities in VRRP (RFC 9568), from the states and the order of the balancers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Highest priority of each state. What a failed check takes away (FAILED_CHECK) puts an ill active balancer below every
# healthy one that isn't down, and leaves it above an ill standby one.
HIGHEST = {"active": 200, "standby": 160, "draining": 120, "down": 40}
ROOM = 20
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
    """The part of balancer C(name). The first of a state in the given order holds the address.

    Balancers that are down stay peers: should one run all the same, it must hear that the address is held.
    Raises VrrpError when C(name) isn't one of them, there are more than 20, or a state is unknown.
    """
    names = [balancer.name for balancer in balancers]
    if name not in names:
        raise VrrpError(f"{name} is not among the load balancers ({', '.join(names)}); add it to keepalived_servers")
    if len(balancers) > ROOM:
        raise VrrpError(f"{len(balancers)} load balancers share one address; at most {ROOM} can")
    place = names.index(name)
    own = balancers[place]
    if own.state not in HIGHEST:
        raise VrrpError(f"load balancer {name} has the state {own.state!r}; known are: {', '.join(HIGHEST)}")
    return Member(
        priority=HIGHEST[own.state] - place,
        address=own.address,
        peers=tuple(balancer.address for balancer in balancers if balancer.name != name),
    )
