# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes part in traffic: marks, the rule, who is still connected, and who may leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.traffic import (
    Mark,
    Member,
    TrafficError,
    check_leaving,
    mark_text,
    parse_hosts,
    parse_mark,
    ruleset,
    steps,
    summary,
)


def test_a_wait_can_say_whom_it_waits_for() -> None:
    assert summary(["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"]) == "3 open connections (2 from 192.0.2.1, 1 from 192.0.2.2)"
    assert summary(["192.0.2.1:1"]) == "1 open connection (1 from 192.0.2.1)"


def test_out_means_that_every_new_connection_is_refused() -> None:
    text = ruleset([80, 443])
    assert "tcp dport { 80, 443 } tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset" in text
    assert "numgen" not in text
    assert 'iifname != "lo"' in text, "the host's own health checks go on"


def test_a_share_lets_some_through() -> None:
    assert "numgen random mod 100 >= 25 reject" in ruleset([80], 25)


def test_hosts_of_the_same_tier_may_always_connect() -> None:
    lines = ruleset([6379], table="other", peers=("192.0.2.2", "2001:db8::1", "192.0.2.1")).splitlines()
    assert lines[:3] == ["table inet other", "delete table inet other", "table inet other {"]
    accepted = [line.strip() for line in lines if line.endswith("accept") and "saddr" in line]
    assert accepted == ["ip saddr { 192.0.2.1, 192.0.2.2 } accept", "ip6 saddr { 2001:db8::1 } accept"]
    assert lines.index("\t\tip6 saddr { 2001:db8::1 } accept") < next(n for n, line in enumerate(lines) if "reject" in line)
    assert "saddr" not in ruleset([80])


@pytest.mark.parametrize(("ports", "share"), [([], 0), ([0], 0), ([70000], 0), ([80], 100), ([80], -1)])
def test_a_rule_that_cannot_be_is_refused(ports: list[int], share: int) -> None:
    with pytest.raises(TrafficError, match="not: "):
        ruleset(ports, share)


@given(st.floats(min_value=0.001, max_value=3600))
def test_a_slow_start_rises_and_takes_its_time(seconds: float) -> None:
    shares = [share for share, _pause in steps(seconds)]
    assert shares == sorted(set(shares))
    assert sum(pause for _share, pause in steps(seconds)) == pytest.approx(seconds)
    assert steps(0) == ()


@given(st.builds(Mark, st.text(), st.text(), st.text()))
def test_a_mark_can_be_read_again(mark: Mark) -> None:
    assert parse_mark(mark_text(mark)) == mark


@pytest.mark.parametrize("text", ["", "touched by hand", "[]", "{}"])
def test_any_file_there_is_a_mark(text: str) -> None:
    assert parse_mark(text) == Mark("unknown", "unknown", "unknown")


A, B, C = Member("app1"), Member("app2"), Member("app3")


@pytest.mark.parametrize(
    ("members", "leaving"),
    [
        pytest.param([A, B], {"app1"}, id="another one serves"),
        pytest.param([Member("app1", out=True), B], {"app1"}, id="it is out already"),
        pytest.param([Member("app1", out=True)], {"app1"}, id="the only one, but out already"),
        pytest.param([A, B, C], {"app1", "app2"}, id="two leave, the third serves"),
        pytest.param([], {"lb1"}, id="a tier without it"),
    ],
)
def test_a_host_may_leave_while_another_serves(members: list[Member], leaving: set[str]) -> None:
    check_leaving("app_servers", members, leaving)


@pytest.mark.parametrize(
    ("members", "leaving", "message"),
    [
        pytest.param([A], {"app1"}, r"app1 is all that serves in app_servers \(it is the only one\)", id="the only one"),
        pytest.param([A, B], {"app1", "app2"}, "app1 and app2 are all that serves", id="all at once"),
        pytest.param([A, Member("app2", out=True)], {"app1"}, "app2 is out of traffic", id="the other one is out"),
        pytest.param([A, Member("app2", state="standby")], {"app1"}, "app2 is standby in the inventory", id="the other one waits"),
        pytest.param([A, Member("app2", ill="does not answer")], {"app1"}, "app2 does not answer", id="the other one is ill"),
        pytest.param([Member("app1", ill="does not answer"), Member("app2", out=True)], {"app1"}, "app1 is all that serves",
                     id="the last one, too busy to answer the check"),
    ],
)
def test_the_last_one_that_serves_is_refused_by_name(members: list[Member], leaving: set[str], message: str) -> None:
    with pytest.raises(TrafficError, match=message):
        check_leaving("app_servers", members, leaving)


KNOWN = {"app1": ("app_servers",), "app2": ("app_servers",), "store1": ()}


def test_hosts_are_named_one_or_several() -> None:
    assert parse_hosts("app1", KNOWN) == ("app1",)
    assert parse_hosts(" app2, app1,app2 ", KNOWN) == ("app2", "app1")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "fleet_host is empty"),
        (",", "fleet_host is empty"),
        ("app9", "app9 is not a host of the fleet; its hosts are app1, app2, store1"),
        ("app1,store1", "store1 is in no tier that can be drained"),
    ],
)
def test_a_host_that_cannot_be_drained_is_named(value: str, message: str) -> None:
    with pytest.raises(TrafficError, match=message):
        parse_hosts(value, KNOWN)
