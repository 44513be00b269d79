# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes follow from memory and cores, never shrink when a machine grows, and the sum of connections fits or is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.capacity import (
    SHARES,
    CapacityError,
    Host,
    Settings,
    connection_budget,
    host_from,
    settings_from,
    size_host,
)

TIERS = tuple(SHARES)


def host(memory_mb: int, vcpus: int, *tiers: str, storage: str = "ssd") -> Host:
    return Host("host1", memory_mb, vcpus, storage, tiers)


def values(one: Host, settings: Settings | None = None) -> dict[str, int]:
    return {name: figure.value for name, figure in size_host(one, settings).items()}


# --- what comes out -----------------------------------------------------------------------------------------------


def test_every_figure_has_a_unit_and_its_arithmetic() -> None:
    figures = size_host(host(1024, 2, "app_servers"))
    assert list(figures) == [
        "php_fpm_children",
        "innodb_buffer_pool_mb",
        "innodb_redo_log_mb",
        "innodb_io_capacity",
        "innodb_io_capacity_max",
        "mysql_max_connections",
        "redis_maxmemory_mb",
        "queue_worker_processes",
        "nginx_worker_processes",
        "nginx_worker_connections",
    ]
    assert all(figure.unit and str(figure.value) in figure.why for figure in figures.values())


@pytest.mark.parametrize(
    ("machine", "name", "value", "why"),
    [
        pytest.param(
            host(1024, 2, "app_servers"),
            "php_fpm_children",
            12,
            "(1024 MB - 256 MB for the system - 192 MB OPcache) / 48 MB per child = 12",
            id="an application server of 1 GB runs 12 children",
        ),
        pytest.param(
            host(65536, 4, "app_servers"),
            "php_fpm_children",
            100,
            "(65536 MB - 8192 MB for the system - 192 MB OPcache) / 48 MB per child = 1190, at most 100 (25 per core x 4)",
            id="many children on few cores only wait for each other",
        ),
        pytest.param(
            host(384, 1, "app_servers"),
            "php_fpm_children",
            2,
            "(384 MB - 96 MB for the system - 192 MB OPcache) / 48 MB per child = 2",
            id="a tiny application server still runs",
        ),
        pytest.param(
            host(1024, 2, "mysql"),
            "innodb_buffer_pool_mb",
            384,
            "(1024 MB - 256 MB for the system - 280 MB server and performance_schema) x 85 % = 414, in steps of 128 MB: "
            "384",
            id="MySQL in 1 GB leaves room for performance_schema",
        ),
        pytest.param(
            host(16384, 4, "mysql"),
            "innodb_buffer_pool_mb",
            11904,
            "(16384 MB - 2048 MB for the system - 280 MB server and performance_schema) x 85 % = 11947, in steps of "
            "128 MB: 11904",
            id="MySQL in 16 GB gets about three quarters",
        ),
        pytest.param(
            host(384, 1, "mysql"),
            "innodb_buffer_pool_mb",
            32,
            "(384 MB - 96 MB for the system - 280 MB server and performance_schema) x 85 % = 6, at least 32",
            id="MySQL where it hardly fits gets the least",
        ),
        pytest.param(
            host(16384, 4, "mysql"),
            "innodb_redo_log_mb",
            2048,
            "4 cores / 2 x 1024 MB = 2048, at most the buffer pool (11904) and 16384, at least 96: 2048",
            id="the redo log follows the cores",
        ),
        pytest.param(
            host(786432, 96, "mysql"),
            "innodb_redo_log_mb",
            16384,
            "96 cores / 2 x 1024 MB = 49152, at most the buffer pool (661248) and 16384, at least 96: 16384",
            id="the redo log ends at 16 GB",
        ),
        pytest.param(
            host(1024, 2, "mysql"),
            "mysql_max_connections",
            148,
            "(1024 MB - 256 MB for the system - 280 MB server and performance_schema) x 15 % beside the buffer pool / "
            "0.5 MB per connection = 148",
            id="connections live beside the buffer pool",
        ),
        pytest.param(
            host(786432, 96, "mysql"),
            "mysql_max_connections",
            4000,
            "(786432 MB - 8192 MB for the system - 280 MB server and performance_schema) x 15 % beside the buffer pool / "
            "0.5 MB per connection = 233388, at most 4000",
            id="more connections than threads can serve are not offered",
        ),
        pytest.param(
            host(512, 1, "redis_cluster"),
            "redis_maxmemory_mb",
            230,
            "(512 MB - 128 MB for the system) x 60 % = 230; the rest is for copy-on-write, buffers, fragmentation",
            id="Redis keeps room for its own copies",
        ),
        pytest.param(
            host(768, 2, "queue_workers"),
            "queue_worker_processes",
            8,
            "(768 MB - 192 MB for the system - 32 MB supervisor) / 64 MB per worker = 8",
            id="workers fill the memory",
        ),
        pytest.param(
            host(384, 1, "load_balancers"),
            "nginx_worker_connections",
            4608,
            "(384 MB - 96 MB for the system) / 64 kB per connection / 1 processes = 4608, in steps of 256, from 512 to "
            "16384: 4608",
            id="a small balancer holds thousands of connections",
        ),
        pytest.param(
            host(2048, 2, "app_servers", "mysql"),
            "php_fpm_children",
            12,
            "((2048 MB - 256 MB for the system) x 3/7 shared with mysql - 192 MB OPcache) / 48 MB per child = 12",
            id="tiers on one host share its memory",
        ),
        pytest.param(
            host(4096, 2, "mysql", storage="nvme"), "innodb_io_capacity", 10000, "nvme: 10000", id="NVMe takes it all"
        ),
        pytest.param(host(4096, 2, "mysql", storage="hdd"), "innodb_io_capacity", 200, "hdd: 200", id="a disk turns"),
    ],
)
def test_the_figure(machine: Host, name: str, value: int, why: str) -> None:
    figure = size_host(machine)[name]
    assert (figure.value, figure.why) == (value, why)


@pytest.mark.parametrize("memory_mb", [384, 512, 1024, 4096, 65536, 786432])
@pytest.mark.parametrize("tier", TIERS)
def test_what_is_planned_fits_into_the_host(tier: str, memory_mb: int) -> None:
    cost = Settings()
    one = values(host(memory_mb, 8, tier))
    planned = {
        "app_servers": one["php_fpm_children"] * cost.php_child_mb + cost.php_opcache_mb,
        "mysql": one["innodb_buffer_pool_mb"] + one["mysql_max_connections"] * cost.mysql_connection_mb + 280,
        "redis_cluster": one["redis_maxmemory_mb"],
        "queue_workers": one["queue_worker_processes"] * cost.queue_worker_mb,
        "load_balancers": one["nginx_worker_connections"] * one["nginx_worker_processes"] * 64 / 1024,
        "object_storage": 0,
    }[tier]
    assert planned <= memory_mb


def test_a_measured_process_size_is_a_setting() -> None:
    settings = settings_from({"php_child_mb": 96, "php_opcache_mb": "256"})
    assert values(host(4096, 2, "app_servers"), settings)["php_fpm_children"] == (4096 - 512 - 256) // 96


# --- where memory and cores come from -----------------------------------------------------------------------------

SERVER = {"name": "app1", "memory_mb": 4096, "vcpus": 2, "storage": "ssd", "tiers": ["app_servers"]}
FACTS = {"memtotal_mb": 1967, "processor_vcpus": 1}


@pytest.mark.parametrize(
    ("server", "facts", "size"),
    [
        pytest.param(SERVER, {}, (4096, 2), id="the inventory is enough"),
        pytest.param(SERVER, FACTS, (4096, 2), id="the inventory wins over facts"),
        pytest.param(SERVER | {"memory_mb": None, "vcpus": None}, FACTS, (1967, 1), id="facts fill in what is missing"),
        pytest.param(SERVER | {"memory_mb": None}, FACTS, (1967, 2), id="facts fill in memory alone"),
    ],
)
def test_the_size_comes_from_the_inventory_then_from_facts(
    server: dict[str, Any], facts: dict[str, Any], size: tuple[int, int]
) -> None:
    one = host_from(server, facts)
    assert (one.memory_mb, one.vcpus) == size


@pytest.mark.parametrize(
    ("server", "missing"),
    [
        pytest.param({"memory_mb": None}, "its memory is", id="memory"),
        pytest.param({"vcpus": None}, "its number of cores is", id="cores"),
        pytest.param({"memory_mb": None, "vcpus": None}, "its memory is and number of cores is", id="both"),
    ],
)
def test_a_host_of_unknown_size_is_named(server: dict[str, Any], missing: str) -> None:
    with pytest.raises(CapacityError) as refused:
        host_from(SERVER | server)
    assert str(refused.value) == (
        f"host app1: {missing} not known: set fleet_size, or fleet_memory_mb and fleet_vcpus, or gather its hardware "
        "facts first"
    )


@pytest.mark.parametrize(
    ("given_settings", "sentence"),
    [
        pytest.param(
            {"php_child": 64},
            "capacity_settings: unknown key php_child (did you mean php_child_mb?); it holds php_child_mb,",
            id="a misspelt setting",
        ),
        pytest.param(
            {"php_child_mb": 0},
            "capacity_settings: php_child_mb must be a number above 0, not: 0",
            id="a child of nothing",
        ),
        pytest.param(
            {"mysql_pool_percent": 120},
            "capacity_settings: mysql_pool_percent must be from 1 to 100, not: 120",
            id="more than everything",
        ),
        pytest.param(
            {"admin_connections": 1.5},
            "capacity_settings: admin_connections must be a whole number, not: 1.5",
            id="half a connection",
        ),
        pytest.param(
            {"php_child_mb": "64M"},
            "capacity_settings: php_child_mb must be a number above 0, not: '64M'",
            id="a number with a unit",
        ),
    ],
)
def test_settings_are_checked(given_settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CapacityError) as refused:
        settings_from(given_settings)
    assert str(refused.value).startswith(sentence)


# --- properties ---------------------------------------------------------------------------------------------------

sizes = st.integers(384, 786432)
cores = st.integers(1, 128)
some_tiers = st.lists(st.sampled_from(TIERS), min_size=1, unique=True).map(tuple)


@given(sizes, sizes, cores, some_tiers)
def test_more_memory_never_lowers_a_figure(one: int, other: int, vcpus: int, tiers: tuple[str, ...]) -> None:
    small, large = sorted((one, other))
    before, after = values(host(small, vcpus, *tiers)), values(host(large, vcpus, *tiers))
    assert [name for name in before if after[name] < before[name]] == []


@given(sizes, cores, cores)
def test_more_cores_never_lower_what_runs_on_them(memory_mb: int, one: int, other: int) -> None:
    few, many = sorted((one, other))
    before, after = values(host(memory_mb, few)), values(host(memory_mb, many))
    rising = ("php_fpm_children", "queue_worker_processes", "nginx_worker_processes", "innodb_redo_log_mb")
    assert [name for name in rising if after[name] < before[name]] == []


@given(sizes, cores, some_tiers)
def test_sharing_a_host_never_gives_more_than_having_it(memory_mb: int, vcpus: int, tiers: tuple[str, ...]) -> None:
    shared, alone = values(host(memory_mb, vcpus, *tiers)), values(host(memory_mb, vcpus))
    assert [name for name in shared if shared[name] > alone[name]] == []


@given(st.integers(1024, 786432), cores)
def test_the_buffer_pool_is_between_a_third_and_nine_tenths(memory_mb: int, vcpus: int) -> None:
    pool = values(host(memory_mb, vcpus, "mysql"))["innodb_buffer_pool_mb"]
    assert memory_mb * 0.3 <= pool <= memory_mb * 0.9
    assert pool % 128 == 0


# --- the connection budget ----------------------------------------------------------------------------------------


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
    assert (budget["total"], budget["max_connections"], budget["headroom"], budget["unknown"]) == (84, 148, 64, [])
    assert budget["why"] == (
        "48 PHP-FPM + 16 queue workers + 4 scheduler + 4 replicas + 2 health service + 10 administrators = 84 of 148 "
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
        "the fleet may open 180 connections to MySQL, but db1 allows 148 (max_connections): 144 PHP-FPM + 16 queue "
        "workers + 4 scheduler + 4 replicas + 2 health service + 10 administrators = 180 of 148 that db1 allows; give "
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
