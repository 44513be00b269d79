# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.connection_budget import connection_budget
from plugins.module_utils.fleet import build_fleet
from plugins.module_utils.resize_plan import (
    PHASES,
    Machine,
    ResizeError,
    Size,
    chosen,
    machines_from,
    plan,
    refuse_crossing,
)

SMALL, LARGE = Size(1024, 2), Size(2048, 4)


def machine(name: str, tier: str, wanted: Size, actual: Size, **more: Any) -> Machine:
    return Machine(name, (tier,), wanted, actual, **more)


@pytest.mark.parametrize(
    ("found", "direction", "first", "drain"),
    [
        pytest.param(machine("app1", "app_servers", LARGE, SMALL), "grows", True, True, id="more: the machine, then its settings"),
        pytest.param(machine("app1", "app_servers", SMALL, LARGE), "shrinks", False, True, id="less: settings, then the machine"),
        pytest.param(machine("db2", "mysql", LARGE, SMALL, online=True), "grows", True, False, id="a database that grows while it serves"),
        pytest.param(machine("db2", "mysql", LARGE, SMALL), "grows", True, True, id="a database whose provider stops it"),
        pytest.param(
            machine("redis1", "redis_cluster", SMALL, LARGE, online=True), "shrinks", False, False, id="Redis that shrinks while it serves"
        ),
        pytest.param(machine("redis1", "redis_cluster", LARGE, SMALL), "grows", True, True, id="a Redis host whose provider stops it"),
        pytest.param(machine("app1", "app_servers", LARGE, SMALL, online=True), "grows", True, True, id="an application server leaves"),
        pytest.param(
            machine("app1", "app_servers", LARGE, SMALL, online=True, alone="app_servers"), "grows", True, False, id="but not the only one"
        ),
        pytest.param(machine("app1", "app_servers", SMALL, LARGE, state="standby"), "shrinks", False, False, id="who stands by stays"),
        pytest.param(machine("app1", "app_servers", Size(2048, 2), Size(1024, 4)), "grows", True, True, id="memory decides over cores"),
        pytest.param(machine("app1", "app_servers", Size(1024, 4), SMALL), "grows", True, True, id="cores alone"),
    ],
)
def test_one_turn(found: Machine, direction: str, first: bool, drain: bool) -> None:
    (step,) = plan([found])
    assert (step.direction, step.provider_first, step.drain) == (direction, first, drain)


def test_the_only_host_that_serves_is_not_stopped() -> None:
    groups = {"load_balancers": ["lb1"], "app_servers": ["app1", "app2"], "mysql": ["db1"], "redis_cluster": ["r1", "r2", "r3"]}
    groups["all"] = [host for hosts in groups.values() for host in hosts]
    hostvars: dict[str, dict[str, Any]] = {
        host: {"ansible_host": f"192.0.2.{number}", "fleet_memory_mb": 2048, "fleet_vcpus": 2, "mysql_primary": host == "db1"}
        for number, host in enumerate(groups["all"], 1)
    }
    hostvars["app2"]["fleet_state"] = "standby"
    wanted = build_fleet(groups, hostvars).as_dict()
    found = machines_from(["app1", "app2"], wanted, [{"name": name, "memory_mb": 1024, "vcpus": 2} for name in ("app1", "app2")], {})
    assert [each.alone for each in found] == ["app_servers", ""]
    with pytest.raises(ResizeError, match="app1 is the only active host of app_servers, and has to stop"):
        plan(found)


@pytest.mark.parametrize(
    "actual",
    [
        pytest.param(SMALL, id="as wanted"),
        pytest.param(Size(960, 2), id="what the kernel keeps is no difference"),
        pytest.param(Size(1024, None), id="cores that nobody tells"),
    ],
)
def test_who_has_its_size_is_left_alone(actual: Size) -> None:
    wanted = SMALL if actual.vcpus else Size(1024, None)
    assert plan([machine("app1", "app_servers", wanted, actual)]) == ()


def test_servers_grow_clients_shrink_servers_shrink_clients_grow_and_primaries_come_last() -> None:
    found = plan(
        [
            machine("app1", "app_servers", LARGE, SMALL),
            machine("app2", "app_servers", SMALL, LARGE),
            machine("db1", "mysql", LARGE, SMALL),
            machine("db2", "mysql", LARGE, SMALL),
            machine("db3", "mysql", SMALL, LARGE),
            machine("worker1", "queue_workers", SMALL, LARGE),
        ],
        primaries=["db1"],
    )
    assert [(step.phase, step.host) for step in found] == [
        ("servers_grow", "db2"),
        ("primaries_grow", "db1"),
        ("clients_shrink", "app2"),
        ("clients_shrink", "worker1"),
        ("servers_shrink", "db3"),
        ("clients_grow", "app1"),
    ]
    assert "another takes over first" in found[1].why


def test_a_primary_that_need_not_stop_is_only_the_last_of_its_phase() -> None:
    servers = [machine(name, "mysql", LARGE, SMALL, online=True) for name in ("db1", "db2")]
    assert [(step.phase, step.host) for step in plan(servers, ["db1"])] == [("servers_grow", "db2"), ("servers_grow", "db1")]


def fleet(apps: Size, databases: Size) -> dict[str, Any]:
    groups = {
        "load_balancers": ["lb1"],
        "app_servers": ["app1", "app2", "app3"],
        "mysql": ["db1", "db2"],
        "redis_cluster": ["redis1", "redis2", "redis3"],
    }
    groups["all"] = [host for hosts in groups.values() for host in hosts]
    sizes = {"app_servers": apps, "mysql": databases}
    hostvars = {
        host: {"ansible_host": f"192.0.2.{number}", "mysql_primary": host == "db1"}
        | {"fleet_memory_mb": sizes.get(tier, SMALL).memory_mb, "fleet_vcpus": sizes.get(tier, SMALL).vcpus}
        for number, (tier, host) in enumerate(((t, h) for t in groups if t != "all" for h in groups[t]), 1)
    }
    return build_fleet(groups, hostvars).as_dict()


def machines(wanted: dict[str, Any], actual: dict[str, Any]) -> list[Machine]:
    told = [{"name": name, "memory_mb": host["memory_mb"], "vcpus": host["vcpus"]} for name, host in actual["hosts"].items()]
    return machines_from(wanted["hosts"], wanted, told, {})


BIG_APPS, SMALL_DATABASES = fleet(Size(4096, 4), Size(2048, 2)), fleet(SMALL, SMALL)


def test_clients_that_grow_before_the_databases_are_refused() -> None:
    found = machines(BIG_APPS, SMALL_DATABASES)
    apps = plan([each for each in found if "app_servers" in each.tiers])
    with pytest.raises(ResizeError, match=r"when app1 grows .* resize the databases first"):
        refuse_crossing(apps, found, BIG_APPS)
    refuse_crossing(plan(found), found, BIG_APPS)


def test_databases_that_shrink_before_their_clients_are_refused() -> None:
    found = machines(SMALL_DATABASES, BIG_APPS)
    servers = plan([each for each in found if "mysql" in each.tiers])
    with pytest.raises(ResizeError, match="resize its clients first"):
        refuse_crossing(servers, found, SMALL_DATABASES)
    refuse_crossing(plan(found), found, SMALL_DATABASES)


sizes = st.builds(Size, st.sampled_from([1024, 2048, 4096, 8192]), st.sampled_from([1, 2, 4]))


def fits(given_fleet: dict[str, Any]) -> bool:
    try:
        connection_budget(given_fleet)
    except ValueError:
        return False
    return True


@given(sizes, sizes, sizes, sizes)
def test_all_tiers_at_once_never_cross_the_limit(apps: Size, databases: Size, later_apps: Size, later_databases: Size) -> None:
    now, then = fleet(apps, databases), fleet(later_apps, later_databases)
    if fits(now) and fits(then):
        found = machines(then, now)
        steps = plan(found)
        refuse_crossing(steps, found, then)
        assert [PHASES.index(step.phase) for step in steps] == sorted(PHASES.index(step.phase) for step in steps)


@pytest.mark.parametrize(
    ("tier", "hosts", "names"),
    [
        pytest.param("app_servers", "", ("app1", "app2", "app3"), id="a tier"),
        pytest.param("app_servers", "db1, app2", ("app2", "db1"), id="hosts win over a tier"),
        pytest.param("", "", tuple(sorted(BIG_APPS["hosts"])), id="everybody"),
    ],
)
def test_who_is_meant(tier: str, hosts: str, names: tuple[str, ...]) -> None:
    assert chosen(BIG_APPS, tier, hosts) == names


@pytest.mark.parametrize(
    ("tier", "hosts", "words"),
    [
        pytest.param("", "app9", "app9 is not a host of the fleet", id="an unknown host"),
        pytest.param("apps", "", "fleet_tier must be one of", id="an unknown tier"),
    ],
)
def test_who_is_not_there_is_refused(tier: str, hosts: str, words: str) -> None:
    with pytest.raises(ResizeError, match=words):
        chosen(BIG_APPS, tier, hosts)


def test_a_host_whose_size_nobody_gave_is_refused() -> None:
    open_fleet = fleet(Size(), SMALL)
    with pytest.raises(ResizeError, match="app1, app2, app3 has no size in the inventory"):
        chosen(open_fleet, "app_servers")


def test_facts_tell_what_the_provider_does_not() -> None:
    told, facts = [{"name": "app1", "state": "running"}], {"app1": {"memtotal_mb": 980, "processor_vcpus": 2}}
    (found,) = machines_from(["app1"], BIG_APPS, told, facts)
    assert (found.actual, found.wanted) == (Size(980, 2), Size(4096, 4))


def test_no_more_cores_are_wanted_than_there_are() -> None:
    (found,) = machines_from(["app1"], BIG_APPS, [{"name": "app1", "memory_mb": 4096, "vcpus": 2.0, "most_vcpus": 2}], {})
    assert not found.differs
