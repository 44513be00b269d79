# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A balancer takes the shared address from one which keeps its connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugins.module_utils.handover import Shared
from plugins.module_utils.pass_on import pass_on_rules

SHARED = Shared("192.0.2.10", "192.0.2.11", "eth0", ("192.0.2.12",), (80, 443), 8112, 600)
SHARED6 = Shared("2001:db8::10", "2001:db8::11", "eth0", ("2001:db8::12", "2001:db8::13"), (443,), 8112, 600)


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        pytest.param(SHARED, ["ip daddr 192.0.2.10 tcp dport { 80, 443 } tcp flags & (fin | syn | rst | ack) != syn "], id="IPv4"),
        pytest.param(SHARED6, ["ip6 daddr 2001:db8::10 tcp dport { 443 } ", "ip6 saddr { 2001:db8::12, 2001:db8::13 } "], id="IPv6"),
        pytest.param(SHARED, ["ip saddr { 192.0.2.12 } udp dport 8112 ip ttl 255 jump told"], id="a peer is heard, and a neighbour it is"),
        pytest.param(SHARED, ["ether saddr != @links", "update @links { ether saddr }"], id="what a peer passed on goes no further"),
        pytest.param(SHARED, ["socket wildcard 1 dup to meta iif map @givers drop"], id="what no connection here is meant by"),
        pytest.param(SHARED, ["type iface_index : ipv4_addr; flags dynamic,timeout; size 16; timeout 3s;"], id="a giver is forgotten"),
    ],
)
def test_who_takes_the_address_passes_on_what_it_does_not_know(shared: Shared, words: list[str]) -> None:
    rules = pass_on_rules(shared)
    assert [word for word in words if word not in rules] == []
    assert rules.startswith(f"table ip{'6' if shared.version == 6 else ''} graphic_school_pass_on\ndelete table "), "anew, in one step"


def test_a_balancer_alone_passes_nothing_on() -> None:
    assert "chain" not in pass_on_rules(replace(SHARED, peers=()))
