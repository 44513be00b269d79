# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.filter.scale_plan import scale_plan
from plugins.module_utils.fleet import KNOWN_KEYS, FleetError, build_fleet
from plugins.module_utils.scale_plan import (
    Member,
    Plan,
    ScaleError,
    Wish,
    group_marks,
    group_marks_after,
    next_name,
    overlaid,
    parse_pool,
    plan,
    plan_for,
)

APP1, APP2 = Member("app1", "192.0.2.21"), Member("app2", "192.0.2.22")
APP3 = Member("app3", "192.0.2.23", made=True)
APP4 = Member("app4", "192.0.2.24", made=True)
JOINING = replace(APP3, phase="joining")
LEAVING = replace(APP3, state="draining", phase="leaving")
WAITING = Member("app5", "192.0.2.25", state="standby")
POOL = ("192.0.2.21", "192.0.2.22", "192.0.2.23", "192.0.2.24")


def wish(count: int, **more: Any) -> Wish:
    return Wish("app_servers", count, provider="podman", addresses=POOL, **more)


@pytest.mark.parametrize(
    ("members", "count", "came", "went"),
    [
        pytest.param([APP1, APP2], 4, ("app3 app4", "app3 app4"), ("", ""), id="two more are made"),
        pytest.param([APP1, APP2], 2, ("", ""), ("", ""), id="the count that is takes nothing"),
        pytest.param([APP1, APP2, WAITING], 3, ("app5", ""), ("", ""), id="who stands by comes before who has to be made"),
        pytest.param([APP1, APP2, WAITING], 4, ("app5 app3", "app3"), ("", ""), id="then hosts are made, in the gap of the names"),
        pytest.param([APP1, APP2, APP3, APP4], 2, ("", ""), ("app4 app3", "app4 app3"), id="who was made last leaves first"),
        pytest.param([APP1, APP2, APP3], 1, ("", ""), ("app3 app2", "app3"), id="the inventory's own hosts are not destroyed"),
        pytest.param([APP1, APP2, JOINING], 3, ("app3", "app3"), ("", ""), id="an interrupted creation is finished"),
        pytest.param([APP1, APP2, JOINING], 4, ("app3 app4", "app3 app4"), ("", ""), id="and counts towards more"),
        pytest.param([APP1, APP2, JOINING], 2, ("", ""), ("app3", "app3"), id="or is taken back"),
        pytest.param([APP1, APP2, LEAVING], 2, ("", ""), ("app3", "app3"), id="an interrupted removal is finished"),
        pytest.param([APP1, APP2, LEAVING], 3, ("app3", "app3"), ("", ""), id="or is taken back, whether or not it still exists"),
        pytest.param([APP1, APP2, LEAVING, APP4], 2, ("", ""), ("app3 app4", "app3 app4"), id="and counts towards fewer"),
    ],
)
def test_the_way_to_a_number_of_hosts(
    members: list[Member], count: int, came: tuple[str, str], went: tuple[str, str]
) -> None:
    """Who came and went, and who of them was made and destroyed for it."""
    found = plan(wish(count), members, [member.name for member in members], [member.address for member in members])
    assert (" ".join(found.join), " ".join(found.create)) == came
    assert (" ".join(found.leave), " ".join(found.destroy)) == went


def test_what_the_file_says_on_the_way_and_at_the_end() -> None:
    out = plan(wish(3), [APP1, APP2], ["app1", "app2"], POOL[:2])
    assert out.entries == {"app3": {"ansible_host": "192.0.2.23", "fleet_scaled": True, "fleet_scaling": "joining"}}
    assert out.settled == {"app3": {"ansible_host": "192.0.2.23", "fleet_scaled": True, "fleet_scaling": None}}
    back = plan(wish(1), [APP1, APP2, APP3])
    assert back.entries == {
        "app2": {"fleet_state": "draining", "fleet_scaling": "leaving"},
        "app3": {"fleet_state": "draining", "fleet_scaling": "leaving"},
    }
    assert back.settled == {"app2": {"fleet_state": "standby", "fleet_scaling": None}, "app3": None}


@pytest.mark.parametrize(
    ("asked", "members", "primary", "words"),
    [
        pytest.param(wish(0), [APP1], None, "must be from 1 to 10, not: 0", id="nobody left"),
        pytest.param(wish(11), [APP1], None, "must be from 1 to 10, not: 11", id="more than the most"),
        pytest.param(wish(1, minimum=2), [APP1, APP2], None, "fleet_minimum", id="fewer than the fleet's own fewest"),
        pytest.param(wish(5), [APP1, APP2], None, "none is left for app5", id="the pool of addresses is used up"),
        pytest.param(
            Wish("app_servers", 3), [APP1, APP2], None, "takes 1 more host than stand by", id="nobody makes hosts, nobody waits"
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    asked: Wish, members: list[Member], primary: str | None, words: str
) -> None:
    with pytest.raises(ScaleError, match=words.replace("(", r"\(")):
        plan(asked, members, [member.name for member in members], [member.address for member in members], primary=primary)


def test_the_primary_never_leaves() -> None:
    servers = [Member("db1", "192.0.2.31"), Member("db2", "192.0.2.32"), Member("db3", "192.0.2.33", made=True)]
    assert plan(Wish("mysql", 2), servers, primary="db3").leave == ("db2",)
    with pytest.raises(ScaleError, match="db3, which is the primary now"):
        plan(Wish("mysql", 0, minimum=0), servers[2:], primary="db3")


states = st.sampled_from(["active", "standby", "draining", "down"])
rows_alone = st.tuples(states, st.booleans(), st.sampled_from(["", "joining", "leaving"]))
# Who joins is active, until a person says otherwise.
fleets = st.lists(rows_alone.filter(lambda row: row[0] == "active" or row[2] != "joining"), min_size=1, max_size=8)


def _members(rows: list[tuple[str, bool, str]]) -> list[Member]:
    return [Member(f"app{n}", f"192.0.2.{n}", *row) for n, row in enumerate(rows, 1)]


def _after(members: list[Member], found: Plan, rows: dict[str, Any]) -> list[Member]:
    """The members once the file says so."""
    result = {member.name: member for member in members}
    for name, row in rows.items():
        if row is None:
            result.pop(name, None)
            continue
        old = result.get(name, Member(name, "", made=True))
        result[name] = replace(
            old,
            state=row.get("fleet_state", old.state) or "active",
            phase=row.get("fleet_scaling", old.phase) or "",
            made=bool(row.get("fleet_scaled", old.made)),
        )
    return list(result.values())


@given(fleets, st.integers(1, 10))
def test_a_settled_plan_has_the_count_and_leaves_nothing_to_do(rows: list[tuple[str, bool, str]], count: int) -> None:
    members = _members(rows)
    asked = Wish("app_servers", count, provider="podman")
    found = plan(asked, members, [member.name for member in members])
    after = _after(members, found, dict(found.settled))
    assert sum(member.counts for member in after) == count
    again = plan(asked, after, [member.name for member in after])
    assert (again.join, again.leave, again.entries) == ((), (), {})


@given(fleets, st.integers(1, 10), st.integers(1, 10))
def test_an_interrupted_run_is_finished_by_the_next_whatever_it_asks(
    rows: list[tuple[str, bool, str]], first: int, second: int
) -> None:
    members = _members(rows)
    one = plan(Wish("app_servers", first, provider="podman"), members, [member.name for member in members])
    midway = _after(members, one, dict(one.entries))
    two = plan(Wish("app_servers", second, provider="podman"), midway, [member.name for member in midway])
    after = _after(midway, two, dict(two.settled))
    assert sum(member.counts for member in after) == second
    assert [member.name for member in after if member.phase] == []


@given(fleets, st.integers(1, 10))
def test_only_what_scaling_made_is_destroyed(rows: list[tuple[str, bool, str]], count: int) -> None:
    members = _members(rows)
    found = plan(Wish("app_servers", count, provider="podman"), members, [member.name for member in members])
    made = {member.name for member in members if member.made}
    assert set(found.destroy) <= made
    assert not set(found.join) & set(found.leave)


@pytest.mark.parametrize(
    ("members", "taken", "name"),
    [
        pytest.param(["app1", "app2"], [], "app3", id="the next number"),
        pytest.param(["app1", "app3"], [], "app2", id="a gap is filled"),
        pytest.param(["app1"], ["app2"], "app3", id="a name that another tier has is left alone"),
        pytest.param(["web-01x", "shop"], [], "app-server-1", id="a tier without a series gets one of its own"),
        pytest.param(["app9", "app10"], [], "app11", id="numbers, not letters"),
        pytest.param(["app5"], [], "app6", id="a series begins where it began"),
    ],
)
def test_the_next_name(members: list[str], taken: list[str], name: str) -> None:
    assert next_name("app_servers", members, taken) == name


@pytest.mark.parametrize(
    ("value", "first", "last", "count"),
    [
        pytest.param("192.0.2.30-192.0.2.39", "192.0.2.30", "192.0.2.39", 10, id="a range"),
        pytest.param("192.0.2.32/29", "192.0.2.33", "192.0.2.38", 6, id="a network without its own and its broadcast address"),
        pytest.param(["192.0.2.7", "192.0.2.9-192.0.2.10"], "192.0.2.7", "192.0.2.10", 3, id="a list of both"),
    ],
)
def test_an_address_pool(value: Any, first: str, last: str, count: int) -> None:
    found = parse_pool(value)
    assert (found[0], found[-1], len(found)) == (first, last, count)


@pytest.mark.parametrize("value", ["192.0.2.9-192.0.2.1", "app1", "192.0.2.1-2001:db8::1", "192.0.2.0/33", "10.0.0.0/8"])
def test_what_is_no_address_pool_is_refused(value: str) -> None:
    with pytest.raises(ScaleError, match="fleet_address_pool"):
        parse_pool(value)


GROUPS: dict[str, list[str]] = {
    "load_balancers": ["lb1"],
    "app_servers": ["app1", "app2"],
    "mysql": ["db1", "db2"],
    "redis_cluster": ["redis1", "redis2", "redis3"],
    "queue_workers": ["worker1"],
}
GROUPS["all"] = [host for hosts in GROUPS.values() for host in hosts]
HOSTVARS: dict[str, dict[str, Any]] = {
    host: {"ansible_host": f"192.0.2.{number}", "fleet_memory_mb": 1024, "fleet_vcpus": 2, "fleet_provider": "podman"}
    for number, host in enumerate(GROUPS["all"], 11)
}
HOSTVARS["db1"]["mysql_primary"] = True
for _host in GROUPS["app_servers"]:
    HOSTVARS[_host]["fleet_address_pool"] = "192.0.2.11-192.0.2.40"


def test_the_pool_gives_no_address_that_anybody_has() -> None:
    found, group = plan_for(GROUPS, HOSTVARS, "app_servers", "3")
    assert (group, found.entries["app3"]) == (
        "app_servers",
        {"ansible_host": f"192.0.2.{11 + len(GROUPS['all'])}", "fleet_scaled": True, "fleet_scaling": "joining"},
    )


def test_the_fleet_as_it_will_be_has_the_new_host_with_its_groups_size() -> None:
    found, group = plan_for(GROUPS, HOSTVARS, "app_servers", 4)
    groups, hostvars = overlaid(GROUPS, HOSTVARS, found, group, ("ansible_host", "mysql_primary", *KNOWN_KEYS))
    fleet = build_fleet(groups, hostvars)
    assert [(host.name, host.memory_mb) for host in fleet.pools["app_servers"]] == [(f"app{n}", 1024) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("tier", "count", "words"),
    [
        pytest.param("app_server", 3, r"did you mean app_servers\?", id="a misspelt tier"),
        pytest.param("object_storage", 2, "can't be scaled by a number", id="a tier that is not scaled by a number"),
        pytest.param("redis_cluster", 2, "redis_cluster must be from 3 to 10, not: 2", id="a Redis Cluster without a majority"),
        pytest.param("", 4, "not: nothing", id="no tier"),
        pytest.param("app_servers", "", "not: nothing", id="no number"),
        pytest.param("app_servers", "3.5", "whole number of hosts, not: 3.5", id="half a host"),
        pytest.param("mysql", 1, "from 2 to 10", id="a database alone"),
    ],
)
def test_a_wish_that_means_nothing_is_refused(tier: str, count: Any, words: str) -> None:
    with pytest.raises(ScaleError, match=words):
        plan_for(GROUPS, HOSTVARS, tier, count)


def test_an_inventory_that_cannot_work_is_refused_first() -> None:
    with pytest.raises(FleetError, match="no primary"):
        plan_for(GROUPS, {**HOSTVARS, "db1": {"ansible_host": "192.0.2.99"}}, "app_servers", 3)


def test_who_is_met_by_the_verb() -> None:
    found = Plan("app_servers", 2, 2, join=("app3",), leave=("app2", "app4"), destroy=("app4",))
    assert {row["host"]: row["groups"] for row in group_marks(found, ["app1", "app2", "app4"], ["lb1"])} == {
        "app1": ["fleet_asked"],
        "app2": ["fleet_leaving", "fleet_concerned", "fleet_asked"],
        "app3": ["fleet_joining", "fleet_concerned", "fleet_metered"],
        "app4": ["fleet_leaving", "fleet_concerned", "fleet_asked"],
        "lb1": ["fleet_concerned"],
    }
    assert group_marks_after(found, []) == [{"host": "app2", "groups": ["fleet_left_behind", "fleet_resting"]}]


def test_databases_that_left_are_forgotten_by_their_clients() -> None:
    found = Plan("mysql", 3, 2, leave=("db3",), destroy=("db3",))
    assert group_marks_after(found, ["app1", "db1", "db3"]) == [
        {"host": "app1", "groups": ["fleet_left_behind"]},
        {"host": "db1", "groups": ["fleet_left_behind"]},
    ]


def test_a_new_redis_host_is_told_to_all_who_ask_it() -> None:
    found = scale_plan(GROUPS, HOSTVARS, "redis_cluster", 4)
    assert (found["join"], found["create"], found["leave"]) == (["redis4"], ["redis4"], [])
    assert {row["host"]: row["groups"] for row in found["marks"]} == {
        **{host: ["fleet_concerned"] for host in ("app1", "app2", "redis1", "redis2", "redis3")},
        # Its exporter looks into the queues.
        "worker1": ["fleet_concerned", "fleet_metered"],
        "redis4": ["fleet_joining", "fleet_concerned", "fleet_metered"],
    }
    assert found["marks_after"] == []


def test_a_redis_host_that_left_is_forgotten_by_the_others() -> None:
    groups = {**GROUPS, "redis_cluster": [*GROUPS["redis_cluster"], "redis4"], "all": [*GROUPS["all"], "redis4"]}
    hostvars = {**HOSTVARS, "redis4": {**HOSTVARS["redis3"], "ansible_host": "192.0.2.44", "fleet_scaled": True}}
    found = scale_plan(groups, hostvars, "redis_cluster", 3)
    assert (found["leave"], found["destroy"]) == (["redis4"], ["redis4"])
    assert next(row for row in found["marks"] if row["host"] == "redis4")["groups"] == [
        "fleet_leaving", "fleet_concerned", "fleet_asked",
    ]
    assert {"host": "worker1", "groups": ["fleet_concerned", "fleet_metered"]} in found["marks"]
    # Clients have dropped it while it was still there to send them on.
    assert [row["host"] for row in found["marks_after"]] == ["redis1", "redis2", "redis3"]


def test_a_redis_host_of_the_inventorys_own_stands_by() -> None:
    groups = {**GROUPS, "redis_cluster": [*GROUPS["redis_cluster"], "redis4"], "all": [*GROUPS["all"], "redis4"]}
    hostvars = {**HOSTVARS, "redis4": {**HOSTVARS["redis3"], "ansible_host": "192.0.2.44"}}
    found = scale_plan(groups, hostvars, "redis_cluster", 3)
    assert (found["leave"], found["destroy"]) == (["redis4"], [])
    assert {"host": "redis4", "groups": ["fleet_left_behind", "fleet_resting"]} in found["marks_after"]


@pytest.mark.parametrize("tier", ["app_servers", "queue_workers", "load_balancers", "mysql", "redis_cluster"])
def test_who_watches_learns_who_came(tier: str) -> None:
    groups = {**GROUPS, "monitoring": ["mon1"], "all": [*GROUPS["all"], "mon1"]}
    hostvars = {**HOSTVARS, "mon1": {"ansible_host": "192.0.2.171"}}
    found = scale_plan(groups, hostvars, tier, len(GROUPS[tier]) + 1)
    assert {"host": "mon1", "groups": ["fleet_concerned"]} in found["marks"]


@pytest.mark.parametrize("tier", ["app_servers", "queue_workers", "load_balancers", "mysql", "redis_cluster"])
def test_what_changes_nothing_has_nobodys_exporters_changed(tier: str) -> None:
    found = scale_plan(GROUPS, HOSTVARS, tier, len(GROUPS[tier]))
    assert [row for row in found["marks"] if "fleet_metered" in row["groups"]] == []


def test_who_watches_forgets_who_left() -> None:
    groups = {**GROUPS, "monitoring": ["mon1"], "all": [*GROUPS["all"], "mon1"]}
    hostvars = {**HOSTVARS, "mon1": {"ansible_host": "192.0.2.171"}}
    found = scale_plan(groups, hostvars, "app_servers", 1)
    assert {"host": "mon1", "groups": ["fleet_left_behind"]} in found["marks_after"]
