# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils.vrrp import FAILED_CHECK, PRIORITY, Balancer, VrrpError, member

LB1 = Balancer("lb1", "192.0.2.11")
LB2 = Balancer("lb2", "192.0.2.12")


def test_active_balancers_are_equals_so_that_one_coming_back_takes_nothing() -> None:
    assert member([LB1, LB2], "lb1").priority == member([LB1, LB2], "lb2").priority


def test_the_peers_are_all_the_others_also_one_that_is_down() -> None:
    servers = [LB1, LB2, Balancer("lb3", "192.0.2.13", "down")]
    assert member(servers, "lb2").peers == ("192.0.2.11", "192.0.2.13")


def test_a_single_balancer_has_no_peers() -> None:
    assert member([LB1], "lb1").peers == ()


@pytest.mark.parametrize("state", ["active", "standby", "draining"])
def test_an_ill_active_balancer_hands_over_to_every_healthy_one_that_is_not_down(state: str) -> None:
    assert PRIORITY["active"] + FAILED_CHECK < PRIORITY[state]


def test_an_ill_active_balancer_goes_before_any_other_ill_one() -> None:
    ill = {state: priority + FAILED_CHECK for state, priority in PRIORITY.items()}
    assert max(ill, key=lambda state: ill[state]) == "active"


def test_states_rank_from_active_to_down() -> None:
    assert sorted(PRIORITY, key=lambda state: -PRIORITY[state]) == ["active", "standby", "draining", "down"]


def test_priorities_are_vrrps() -> None:
    assert all(1 <= priority <= 254 for priority in PRIORITY.values())


@pytest.mark.parametrize(
    ("servers", "name", "sentence"),
    [
        pytest.param([LB1], "lb9", "lb9 is not among the load balancers .lb1.", id="a host that is no balancer"),
        pytest.param([], "lb1", "not among the load balancers .none.", id="no balancers at all"),
        pytest.param([Balancer("lb1", "192.0.2.11", "sleepy")], "lb1", "'sleepy'; known are", id="an unknown state"),
    ],
)
def test_what_cannot_be_is_refused_by_name(servers: list[Balancer], name: str, sentence: str) -> None:
    with pytest.raises(VrrpError, match=sentence):
        member(servers, name)
