# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sum of all clients' connections fits what MySQL allows, or is refused with both numbers."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.capacity import CapacityError
from plugins.module_utils.connection_budget import connection_budget


def server(name: str, tier: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "state": "active", "memory_mb": 1024, "vcpus": 2, "storage": "ssd", "tiers": [tier]} | changes


def fleet_of(**changes: Any) -> dict[str, Any]:
    hosts = [server(f"db{n}", "mysql") for n in (1, 2, 3)]
    fleet = {
        "app_servers": [server("app1", "app_servers"), server("app2", "app_servers")],
        "queue_workers": [server("worker1", "queue_workers", memory_mb=768)],
        "mysql_clusters": {"mysql": {"primary": hosts[0], "replicas": hosts[1:], "hosts": hosts}},
    }
    return fleet | changes


def test_the_connections_of_all_clients_are_added_up() -> None:
    budget = connection_budget(fleet_of()).as_dict()
    assert [(row["client"], row["hosts"], row["per_host"], row["connections"]) for row in budget["rows"]] == [
        ("PHP-FPM", ["app1", "app2"], 24, 48),
        ("queue workers", ["worker1"], 16, 16),
        ("scheduler", ["one worker host"], 4, 4),
        ("replicas", ["the primary"], 4, 4),
        ("health service", ["the primary"], 2, 2),
        ("administrators", ["the primary"], 10, 10),
    ]
    assert (budget["total"], budget["max_connections"], budget["headroom"], budget["unknown"]) == (84, 154, 70, [])
    assert budget["why"] == (
        "48 PHP-FPM + 16 queue workers + 4 scheduler + 4 replicas + 2 health service + 10 administrators = 84 of 154 "
        "that db1 allows"
    )


def test_hosts_of_another_size_are_a_row_of_their_own() -> None:
    apps = [server("app1", "app_servers"), server("app2", "app_servers", memory_mb=512)]
    rows = connection_budget(fleet_of(app_servers=apps)).as_dict()["rows"]
    assert [(row["hosts"], row["connections"]) for row in rows if row["client"] == "PHP-FPM"] == [
        (["app1"], 24),
        (["app2"], 8),
    ]


@pytest.mark.parametrize(
    ("state", "hosts"),
    [
        pytest.param("draining", ["app1", "app2"], id="a draining host still works"),
        pytest.param("standby", ["app1", "app2"], id="a standby host may come in"),
        pytest.param("down", ["app1"], id="a host that is down opens nothing"),
    ],
)
def test_the_state_of_a_host_counts(state: str, hosts: list[str]) -> None:
    apps = [server("app1", "app_servers"), server("app2", "app_servers", state=state)]
    assert connection_budget(fleet_of(app_servers=apps)).as_dict()["rows"][0]["hosts"] == hosts


def test_what_the_inventory_sets_wins_over_what_is_computed() -> None:
    hostvars = {
        "app1": {"php_fpm_max_children": 6},
        "app2": {"capacity_settings": {"php_child_mb": 115}},
        "worker1": {"queue_workers_programs": [{"name": "urgent", "processes": 2}, {"name": "rest", "processes": "1"}]},
        "db3": {"mysql_max_connections": 70},
    }
    budget = connection_budget(fleet_of(), hostvars).as_dict()
    rows = [(row["client"], row["hosts"], row["per_host"]) for row in budget["rows"][:3]]
    assert rows == [("PHP-FPM", ["app1"], 12), ("PHP-FPM", ["app2"], 10), ("queue workers", ["worker1"], 6)]
    assert (budget["total"], budget["max_connections"]) == (48, 70)
    assert budget["why"].endswith("of 70 that db3 allows")


def test_more_connections_than_mysql_allows_are_refused_with_both_numbers() -> None:
    apps = [server(f"app{n}", "app_servers") for n in range(1, 7)]
    with pytest.raises(CapacityError) as refused:
        connection_budget(fleet_of(app_servers=apps))
    assert str(refused.value) == (
        "the fleet may open 180 connections to MySQL, but db1 allows 154 (max_connections): 144 PHP-FPM + 16 queue "
        "workers + 4 scheduler + 4 replicas + 2 health service + 10 administrators = 180 of 154 that db1 allows; give "
        "the MySQL hosts more memory, raise mysql_max_connections, or lower php_fpm_max_children or "
        "queue_workers_processes"
    )


def test_hosts_of_unknown_size_are_named_and_not_counted() -> None:
    apps = [server("app1", "app_servers"), server("app2", "app_servers", memory_mb=None)]
    budget = connection_budget(fleet_of(app_servers=apps)).as_dict()
    assert (budget["total"], budget["unknown"]) == (60, ["app2"])
    assert budget["why"].endswith("; not counted, because their size is not in the inventory: app2")


def test_without_a_known_database_nothing_is_refused() -> None:
    hosts = [server("db1", "mysql", memory_mb=None)]
    clusters = {"mysql": {"primary": hosts[0], "replicas": [], "hosts": hosts}}
    budget = connection_budget(fleet_of(mysql_clusters=clusters)).as_dict()
    assert (budget["max_connections"], budget["headroom"], budget["unknown"]) == (None, None, ["db1"])


def test_a_fleet_without_a_database_has_an_empty_limit() -> None:
    budget = connection_budget(fleet_of(mysql_clusters={}, app_servers=[], queue_workers=[])).as_dict()
    assert (budget["rows"], budget["total"], budget["max_connections"], budget["why"]) == ([], 0, None, "0 = 0")


@pytest.mark.parametrize(
    ("variables", "connections"),
    [
        pytest.param({}, 16, id="workers are computed"),
        pytest.param({"queue_workers_processes": 3}, 6, id="workers are set"),
        pytest.param(
            {"queue_workers_programs": [{"name": "all"}]}, 16, id="a row without a number shares what is computed"
        ),
        pytest.param(
            {
                "queue_workers_programs": [{"name": "one", "processes": 2}, {"name": "rest"}],
                "queue_workers_processes": 3,
            },
            10,
            id="rows with and without a number add up",
        ),
    ],
)
def test_the_connections_of_workers(variables: dict[str, Any], connections: int) -> None:
    rows = connection_budget(fleet_of(), {"worker1": variables}).as_dict()["rows"]
    assert [row["connections"] for row in rows if row["client"] == "queue workers"] == [connections]


def test_a_native_setting_of_mysql_wins_over_ours() -> None:
    hostvars = {"db2": {"mysql_settings": {"max_connections": 100}, "mysql_max_connections": 90}}
    assert connection_budget(fleet_of(), hostvars).max_connections == 100


@pytest.mark.parametrize("value", [0, "many", 2.5, True])
def test_a_limit_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(CapacityError, match="host db1: mysql_max_connections must be a whole number above 0, not: "):
        connection_budget(fleet_of(), {"db1": {"mysql_max_connections": value}})
