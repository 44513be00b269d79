# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes follow from memory and cores, and never shrink when a machine grows."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.capacity import (
    SHARES,
    CapacityError,
    Host,
    Settings,
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
            288,
            "(1024 MB - 256 MB for the system - 380 MB server and performance_schema - 77 MB for connections) x 95 % = 295, "
            "in steps of 16 MB: 288",
            id="MySQL in 1 GB leaves room for performance_schema",
        ),
        pytest.param(
            host(16384, 4, "mysql"),
            "innodb_buffer_pool_mb",
            11264,
            "(16384 MB - 2048 MB for the system - 380 MB server and performance_schema - 2000 MB for connections) x 95 % = "
            "11358, in steps of 128 MB: 11264",
            id="MySQL in 16 GB gets more than two thirds",
        ),
        pytest.param(
            host(384, 1, "mysql"),
            "innodb_buffer_pool_mb",
            32,
            "(384 MB - 96 MB for the system - 380 MB server and performance_schema - 0 MB for connections) x 95 % = 0, at "
            "least 32",
            id="MySQL where it hardly fits gets the least",
        ),
        pytest.param(
            host(16384, 4, "mysql"),
            "innodb_redo_log_mb",
            2048,
            "4 cores / 2 x 1024 MB = 2048, at most the buffer pool (11264) and 16384, at least 96: 2048",
            id="the redo log follows the cores",
        ),
        pytest.param(
            host(1024, 2, "mysql"),
            "innodb_redo_log_mb",
            288,
            "2 cores / 2 x 1024 MB = 1024, at most the buffer pool (288) and 16384, at least 96: 288",
            id="a redo log larger than the buffer pool would not be used",
        ),
        pytest.param(
            host(1024, 2, "mysql"),
            "mysql_max_connections",
            154,
            "(1024 MB - 256 MB for the system - 380 MB server and performance_schema) x 20 %, at most 4000 connections: "
            "77 MB / 0.5 MB per connection = 154",
            id="connections live beside the buffer pool",
        ),
        pytest.param(
            host(786432, 96, "mysql"),
            "mysql_max_connections",
            4000,
            "(786432 MB - 8192 MB for the system - 380 MB server and performance_schema) x 20 %, at most 4000 connections: "
            "2000 MB / 0.5 MB per connection = 4000",
            id="more connections than threads can serve are not offered",
        ),
        pytest.param(
            host(384, 1, "mysql"),
            "mysql_max_connections",
            32,
            "(384 MB - 96 MB for the system - 380 MB server and performance_schema) x 20 %, at most 4000 connections: 0 MB / "
            "0.5 MB per connection = 0, at least 32",
            id="somebody can always connect",
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
        "mysql": one["innodb_buffer_pool_mb"] * 1.05 + one["mysql_max_connections"] * cost.mysql_connection_mb,
        "redis_cluster": one["redis_maxmemory_mb"],
        "queue_workers": one["queue_worker_processes"] * cost.queue_worker_mb,
        "load_balancers": one["nginx_worker_connections"] * one["nginx_worker_processes"] * 64 / 1024,
        "object_storage": 0,
        "monitoring": 0,
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
            {"mysql_connections_percent": 120},
            "capacity_settings: mysql_connections_percent must be from 1 to 100, not: 120",
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
def test_the_buffer_pool_is_between_a_quarter_and_nearly_everything(memory_mb: int, vcpus: int) -> None:
    pool = values(host(memory_mb, vcpus, "mysql"))["innodb_buffer_pool_mb"]
    assert memory_mb * 0.25 <= pool <= memory_mb * 0.94
    assert pool % (128 if pool >= 1024 else 16) == 0


def test_the_page_on_sizing_names_every_cost_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "sizing.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", page, re.MULTILINE))
    assert told == {item.name: f"{item.default:g}" for item in fields(Settings)}


def test_the_page_on_sizing_names_every_figure() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "sizing.md").read_text(encoding="utf-8")
    assert [name for name in size_host(host(1024, 2)) if f"`{name}`" not in page] == []
