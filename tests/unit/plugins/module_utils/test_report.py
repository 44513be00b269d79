# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.fleet import STORAGES, build_fleet
from plugins.module_utils.report import (
    FASTER,
    MachineSize,
    Policy,
    Report,
    ReportError,
    Verdict,
    machines_from,
    make_report,
    policy_from,
    sizes_from,
)
from plugins.module_utils.report_history import HOUR, History
from tests.unit.support.report_world import BY_NAME, END, SIZES, Load, applied, history, machine, report

DATABASE = Load(tiers=("mysql",), cores=0.5, memory_mb=3900, data_mb=900)
FULL = replace(DATABASE, data_mb=99999)
REDIS = Load(tiers=("redis_cluster",), cores=0.1, memory_mb=3000, redis_mb=300)
BALANCER = Load(tiers=("load_balancers",), cores=0.1, memory_mb=300)
WORKER = Load(tiers=("queue_workers",), cores=0.4, memory_mb=600)


def only(found: Report) -> Verdict:
    (verdict,) = found.verdicts
    return verdict


@pytest.mark.parametrize(
    ("load", "size", "outcome", "then", "words"),
    [
        pytest.param(Load(), "large", "smaller", "small", "memory: 800 of 2,048 MB = 39 %", id="the smallest of several"),
        pytest.param(Load(cores=0.9), "large", "smaller", "medium", "CPU: 0.90 of 2 cores = 45 %, at most 60 %", id="CPU decides"),
        pytest.param(Load(memory_mb=2500), "large", "smaller", "medium", "2,500 of 4,096 MB = 61 %", id="memory decides"),
        pytest.param(Load(children=30), "large", "smaller", "medium", "30 of 50 PHP children", id="busy PHP children decide"),
        pytest.param(Load(cores=0.65), "medium", "keep", "", "small would be too small: CPU: 0.65 of 1 core = 65 %", id="just over"),
        pytest.param(Load(), "small", "keep", "", "no size costs less than small", id="the smallest there is"),
        pytest.param(Load(cores=0.8), "small", "larger", "medium", "CPU: 0.80 of 1 core = 80 %, at most 60 %", id="too much CPU"),
        pytest.param(Load(memory_mb=1900), "small", "larger", "medium", "memory: 1,900 of 2,048 MB = 93 %", id="too much memory"),
        pytest.param(Load(cores=7.5), "xlarge", "stuck", "", "add hosts (scale.yml)", id="no size is enough"),
        pytest.param(Load(without=frozenset({"fpm"})), "large", "keep", "", "PHP: at least 100", id="PHP that nobody watched is kept"),
        pytest.param(DATABASE, "large", "smaller", "small", "data in the buffer pool: 900 of 1,024", id="a pool with room may be smaller"),
        pytest.param(FULL, "large", "keep", "", "buffer pool: at least", id="a full pool that answers is kept"),
        pytest.param(replace(FULL, hits=0.9), "medium", "larger", "large", "answers 90.0 %", id="a pool that misses grows"),
        pytest.param(replace(DATABASE, connections=1100), "large", "keep", "", "1,100 of 1,280", id="connections decide"),
        pytest.param(replace(DATABASE, connections=1100), "medium", "larger", "large", "connections: 1,100 of", id="too many connections"),
        pytest.param(
            replace(DATABASE, storage="nvme"), "large", "keep", "", "storage is slower than nvme", id="a database keeps its kind of disk"
        ),
        pytest.param(replace(REDIS, redis_mb=1000), "large", "smaller", "medium", "1,000 of 2,150", id="Redis by what its pools hold"),
        pytest.param(replace(REDIS, redis_mb=2000), "medium", "larger", "large", "2,000 of 2,150 MB of maxmemory", id="a pool fills up"),
        pytest.param(replace(REDIS, redis_mb=9999, drops=True), "large", "keep", "", "maxmemory: at least", id="a cache is kept"),
        pytest.param(BALANCER, "medium", "smaller", "small", "p95 of memory", id="a balancer"),
        pytest.param(WORKER, "large", "smaller", "small", "p95 of CPU: 0.40 of 1 core = 40 %", id="workers whose queues are short"),
    ],
)  # fmt: skip
def test_the_smallest_size_that_is_enough(load: Load, size: str, outcome: str, then: str, words: str) -> None:
    verdict = only(report({"host1": load}, {"host1": size}))
    assert (verdict.outcome, verdict.then) == (outcome, then), verdict
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("load", "words"),
    [
        pytest.param(DATABASE, "memory is meant to be full on a MySQL host, so the buffer pool decides: 900 MB of data", id="MySQL"),
        pytest.param(
            FULL, "nobody can say what a smaller one would answer, so it is kept", id="MySQL with a full pool"
        ),
        pytest.param(
            replace(DATABASE, without=frozenset({"pool_data_bytes"})), "it keeps what it has and only CPU is judged", id="MySQL unwatched"
        ),
        pytest.param(REDIS, "use of maxmemory decides: durable holds 300 of", id="Redis"),
        pytest.param(replace(REDIS, drops=True), "drops keys, so it is full by design", id="a cache"),
        pytest.param(replace(REDIS, without=frozenset({"redis"})), "nothing is known of it", id="Redis unwatched"),
    ],
)
def test_memory_that_is_meant_to_be_full_is_not_held_against_anyone(load: Load, words: str) -> None:
    verdict = only(report({"host1": load}, {"host1": "large"}))
    assert any(words in line for line in verdict.arithmetic), verdict.arithmetic
    assert not any(line.startswith("memory:") for line in verdict.arithmetic)


def test_workers_are_not_made_fewer_while_jobs_wait() -> None:
    verdict = only(report({"worker1": WORKER}, {"worker1": "large"}, queue_age=300.0))
    assert verdict.outcome == "keep"
    assert "jobs of queue default wait up to 300 s" in verdict.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"hours": 12.1}, "12.1 h of history is less than report_history_hours: 168; run it again in 156 h", id="too short"),
        pytest.param({"without": frozenset({"cpu"})}, "no samples of fleet:cpu_used:ratio with host=app1", id="no CPU"),
        pytest.param({"without": frozenset({"memory"})}, "no samples of fleet:memory_used:ratio", id="no memory"),
    ],
)
def test_nothing_is_suggested_from_too_little(change: dict[str, Any], words: str) -> None:
    found = report({"app1": replace(Load(), **change)}, {"app1": "xlarge"})
    assert only(found).outcome == "refused"
    assert words in only(found).reason
    assert found.refused and not found.suggestions


def test_less_history_can_be_accepted_by_name() -> None:
    loads = {"app1": replace(Load(), hours=12.3)}
    assert "-e report_history_hours=12" in only(report(loads, {"app1": "large"})).reason
    accepted = report(loads, {"app1": "large"}, policy=policy_from({"history_hours": "12"}))
    assert only(accepted).outcome == "smaller"


def test_old_samples_are_not_today() -> None:
    policy = Policy()
    found = history({"app1": Load()}, {"app1": BY_NAME["large"]}, policy)
    later = History(found.start, END + 7200, found.step, found.series)
    verdict = only(make_report([machine("app1", Load(), BY_NAME["large"])], later, SIZES, policy))
    assert "the last sample of fleet:cpu_used:ratio is from 2025-11-25T00:00:00Z" in verdict.reason


def test_history_begins_anew_when_a_host_is_resized() -> None:
    policy = Policy()
    found = history({"app1": Load()}, {"app1": BY_NAME["large"]}, policy)
    resized = END - 24 * HOUR
    cores = tuple((time, 4.0 if time >= resized else 2.0) for time, _value in found.of("cores", "app1"))
    changed = History(found.start, found.end, found.step, {**found.series, "cores": {("app1",): cores}})
    verdict = only(make_report([machine("app1", Load(), BY_NAME["large"])], changed, SIZES, policy))
    assert verdict.outcome == "refused"
    assert "24.0 h of history since it was resized at 2025-11-24T00:" in verdict.reason


def test_an_inventory_that_is_ahead_of_its_machines_is_told_so() -> None:
    found = history({"app1": Load()}, {"app1": BY_NAME["large"]}, Policy())
    verdict = only(make_report([machine("app1", Load(), BY_NAME["medium"])], found, SIZES, Policy()))
    assert "the inventory gives it 2 cores and 4,096 MB, it has 4 cores and 7,864 MB: run resize.yml" in verdict.reason


@pytest.mark.parametrize("tier", ["mysql", "redis_cluster", "load_balancers"])
def test_hosts_that_take_over_from_each_other_need_what_the_busiest_needs(tier: str) -> None:
    idle = {"mysql": DATABASE, "redis_cluster": REDIS, "load_balancers": BALANCER}[tier]
    loads = {"one": replace(idle, cores=1.0), "two": idle, "three": idle}
    found = report(loads, dict.fromkeys(loads, "xlarge"))
    assert {verdict.host: verdict.then for verdict in found.verdicts} == dict.fromkeys(loads, "medium")
    pressed = report({**loads, "one": replace(idle, cores=1.9)}, dict.fromkeys(loads, "medium"))
    assert {verdict.outcome for verdict in pressed.verdicts} == {"larger"}
    assert "it may have to take over from one" in next(v.reason for v in pressed.verdicts if v.host == "two")


def test_application_servers_are_judged_one_by_one() -> None:
    found = report({"app1": Load(), "app2": Load(cores=2)}, {"app1": "large", "app2": "large"})
    assert [verdict.then for verdict in found.verdicts] == ["small", ""]


def test_one_that_would_not_carry_the_load_of_another_is_told_but_costs_nothing() -> None:
    loads = {"db1": replace(DATABASE, cores=2.0), "db2": DATABASE}
    found = {verdict.host: verdict for verdict in report(loads, {"db1": "large", "db2": "medium"}).verdicts}
    assert found["db2"].outcome == "keep"
    assert "medium does for its own load, but not if it had to take over" in found["db2"].reason


def test_a_group_waits_for_its_youngest() -> None:
    loads = {"db1": DATABASE, "db2": replace(DATABASE, hours=3.0)}
    found = {verdict.host: verdict.reason for verdict in report(loads, dict.fromkeys(loads, "large")).verdicts}
    assert found["db1"] == "db1: it gets the size of its group, which waits for db2"


@pytest.mark.parametrize("state", ["standby", "draining"])
def test_the_use_of_a_host_out_of_traffic_says_nothing(state: str) -> None:
    found = report({"app1": Load(), "app2": replace(Load(), state=state)}, {"app1": "large", "app2": "large"})
    assert [verdict.host for verdict in found.verdicts] == ["app1"]
    assert f"app2 is {state}, so its use says nothing about its size" in found.notes


def test_without_prices_sizes_count_and_money_is_not_mentioned() -> None:
    plain = tuple(replace(size, price=None, reserved=None) for size in SIZES)
    found = report({"app1": Load()}, {"app1": plain[2]}, known=plain)
    assert (only(found).then, only(found).saving, found.priced) == ("small", None, False)
    assert any("set report_prices" in note for note in found.notes)
    assert found.as_dict()["saving"] is None


def test_the_cheapest_wins_not_the_smallest() -> None:
    cheap = MachineSize("last year's", 4, 4096, price=Decimal("0.015"))
    assert only(report({"app1": Load()}, {"app1": "medium"}, known=(*SIZES, cheap))).then == "last year's"


def test_a_size_without_a_price_is_named_and_left_out_of_the_sums() -> None:
    odd = MachineSize("4 vCPU, 6000 MB", 4, 6000)
    found = report({"app1": Load(), "app2": Load()}, {"app1": odd, "app2": "large"})
    assert [(verdict.then, verdict.saving) for verdict in found.verdicts] == [("small", None), ("small", Decimal("0.06"))]
    assert (found.price_now, found.price_then) == (Decimal("0.08"), Decimal("0.02"))
    assert "report_prices has no price for 4 vCPU, 6000 MB: these hosts are left out of the sums" in found.notes


# -- the connection budget, and what is set by hand -----------------------------------------------------------------------


def fleet_of(databases: str, **of_hosts: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    groups = {"load_balancers": ["lb1"], "app_servers": ["app1", "app2"], "mysql": ["db1"], "redis_cluster": ["r1", "r2", "r3"]}
    groups["all"] = [host for hosts in groups.values() for host in hosts]
    sizes = {"db1": databases, "app1": "xlarge", "app2": "xlarge"}
    hostvars: dict[str, dict[str, Any]] = {
        host: {"ansible_host": f"192.0.2.{number}", "fleet_size": sizes.get(host, "small"), "mysql_primary": host == "db1"}
        for number, host in enumerate(groups["all"], 1)
    }
    for name in ("app1", "app2"):
        hostvars[name] |= of_hosts
    return build_fleet(groups, hostvars).as_dict(), hostvars


def in_fleet(databases: str, cores: float, **of_hosts: Any) -> dict[str, Verdict]:
    fleet, hostvars = fleet_of(databases, **of_hosts)
    app, database = Load(cores=cores), replace(DATABASE, cores=0.2, connections=5)
    loads = {"lb1": BALANCER, "app1": app, "app2": app, "db1": database}
    loads |= dict.fromkeys(("r1", "r2", "r3"), REDIS)
    sizes = {name: BY_NAME[str(fleet["hosts"][name]["size"])] for name in loads}
    past = history(loads, sizes, Policy())
    machines = machines_from(fleet, hostvars, SIZES, {}, past)
    found = make_report(machines, past, SIZES, Policy(), fleet=fleet, hostvars=hostvars)
    return {verdict.host: verdict for verdict in found.verdicts}


def test_a_database_is_not_made_smaller_than_its_clients_connections() -> None:
    kept = in_fleet("large", cores=4.0)["db1"]
    assert (kept.outcome, kept.then) == ("keep", "")
    assert "would do, but the connection budget refuses it:" in kept.reason


def test_it_is_when_the_clients_become_smaller_too() -> None:
    found = in_fleet("large", cores=0.3)
    assert (found["app1"].then, found["db1"].outcome) == ("small", "smaller")


def test_a_number_set_by_hand_keeps_its_place() -> None:
    found = in_fleet("xlarge", cores=0.3, php_fpm_max_children=60)["app1"]
    assert found.then == "large"
    assert "php_fpm_children is set to 60 in the inventory: a size that computes less than 60 is not for it" in found.arithmetic


# -- reserved and on demand ---------------------------------------------------------------------------------------------


def test_what_is_always_up_is_reserved() -> None:
    policy = Policy()
    names = ["app1", "app2", "app3"]
    found = history(dict.fromkeys(names, Load()), dict.fromkeys(names, BY_NAME["small"]), policy)
    # app3 comes every day from 8 to 20; app2 rebooted for ten minutes once, which is no scaling.
    up = dict(found.series["up"])
    up["app3", "app_servers"] = tuple(point for point in up["app3", "app_servers"] if 8 <= point[0] % 86400 / HOUR < 20)
    up["app2", "app_servers"] = tuple((t, 0.0 if 0 <= t - END + 50 * HOUR < 600 else v) for t, v in up["app2", "app_servers"])
    changed = History(found.start, found.end, found.step, {**found.series, "up": up})
    machines = [machine(name, Load(), BY_NAME["small"]) for name in names]
    (split,) = make_report(machines, changed, SIZES, policy).splits
    assert (split.reserve, split.most, split.hosts) == (2, 3, ("app1", "app2"))
    assert split.average == pytest.approx(2.5, abs=0.05)
    assert split.saving == Decimal("0.016")
    assert split.arithmetic == "2 small x (0.02 - 0.012) USD x 730 h = 11.68 USD a month"
    assert {count for _day, count in split.daily} == {2}


def test_a_reservation_is_for_the_size_that_is_suggested() -> None:
    (split,) = report({"app1": Load()}, {"app1": "large"}).splits
    assert split.arithmetic.startswith("1 small x")


def test_nothing_is_reserved_from_too_little() -> None:
    (split,) = report({"app1": replace(Load(), hours=30)}, {"app1": "large"}).splits
    assert split.refused and split.saving is None
    assert "h of fleet:up:bool is less than report_history_hours: 168" in split.reason


# -- what is given ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"history_hours": 0}, "report_history_hours must be a number above 0, not: 0", id="no history"),
        pytest.param({"history_hours": "a week"}, "report_history_hours must be a number above 0, not: a week", id="words"),
        pytest.param({"cpu_percent": 160}, "report_cpu_percent must be from 1 to 100, not: 160", id="more than there is"),
        pytest.param({"window_hours": 24}, r"window_hours must be at least report_history_hours \(168\), not: 24", id="short window"),
    ],
)
def test_a_bad_policy_is_refused_by_name_and_value(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ReportError, match=words):
        policy_from(given)


def test_the_window_is_twice_the_history() -> None:
    assert policy_from({"history_hours": "24", "window_hours": None}).window_hours == 48


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        pytest.param({"smal": 1}, r"report_prices: smal is not a size \(did you mean small\?\)", id="misspelt"),
        pytest.param({"small": "cheap"}, "report_prices.small must be a price per hour, such as 0.0416, not: cheap", id="no number"),
        pytest.param({"small": {"on_demnd": 1}}, "report_prices.small must be a price per hour, or hold on_demand", id="unknown key"),
        pytest.param({"small": -1}, "report_prices.small must be a price per hour, such as", id="below 0"),
    ],
)
def test_a_bad_price_table_is_refused_by_name_and_value(prices: dict[str, Any], words: str) -> None:
    with pytest.raises(ReportError, match=words):
        sizes_from({}, prices)


def test_only_sizes_with_a_price_can_be_had() -> None:
    prices = {"db": 0.2, "small": {"on_demand": "0.02", "reserved": 0.01}}
    sizes = sizes_from({"db": {"vcpus": 4, "memory_mb": 16384, "storage": "nvme"}}, prices)
    assert sizes == (
        MachineSize("db", 4, 16384, "nvme", Decimal("0.2")),
        MachineSize("small", 1, 2048, None, Decimal("0.02"), Decimal("0.01")),
    )


@pytest.mark.parametrize(
    ("server", "name"),
    [
        pytest.param({"size": "large", "vcpus": 4, "memory_mb": 8192}, "large", id="its name"),
        pytest.param({"size": None, "vcpus": 4, "memory_mb": 8000}, "large", id="found by its cores and memory"),
        pytest.param({"size": "large", "vcpus": 2, "memory_mb": 8192}, "2 vCPU, 8192 MB", id="a size that was overridden is no size"),
        pytest.param({"size": None, "vcpus": None, "memory_mb": None}, "medium", id="what Prometheus saw"),
    ],
)
def test_the_size_that_a_host_has(server: dict[str, Any], name: str) -> None:
    past = history({"app1": Load()}, {"app1": BY_NAME["medium"]}, Policy())
    fleet = {"hosts": {"app1": {"name": "app1", "tiers": ["app_servers"], "state": "active", "storage": "ssd", **server}}}
    (found,) = machines_from(fleet, {}, SIZES, {}, past)
    assert found.size is not None and found.size.name == name


# -- what holds for all loads -------------------------------------------------------------------------------------------

TIERS = [("app_servers",), ("mysql",), ("redis_cluster",), ("load_balancers",), ("queue_workers",), ("object_storage",),
         ("load_balancers", "redis_cluster")]  # fmt: skip
LOADS = st.builds(
    Load,
    tiers=st.sampled_from(TIERS),
    cores=st.floats(0, 8),
    memory_mb=st.floats(0, 16384),
    connections=st.floats(0, 4000),
    children=st.floats(0, 300),
    data_mb=st.floats(0, 20000),
    hits=st.just(0.999),
    redis_mb=st.floats(0, 9000),
    drops=st.booleans(),
    hours=st.just(48.0),
)
WORLDS = st.lists(LOADS, min_size=1, max_size=5).map(lambda loads: {f"host{number}": load for number, load in enumerate(loads)})
PRICES = st.lists(st.integers(1, 200), min_size=4, max_size=4).map(
    lambda cents: tuple(replace(size, price=Decimal(cent) / 1000) for size, cent in zip(SIZES, cents, strict=True))
)
QUICK = policy_from({"history_hours": 24, "window_hours": 36})


def a_world(loads: dict[str, Load], known: tuple[MachineSize, ...], data: st.DataObject) -> dict[str, str | MachineSize]:
    return {name: data.draw(st.sampled_from(known)) for name in loads}


@given(WORLDS, PRICES, st.data())
def test_a_suggestion_never_costs_more_where_nothing_is_above_its_target(
    loads: dict[str, Load], known: tuple[MachineSize, ...], data: st.DataObject
) -> None:
    found = report(loads, a_world(loads, known, data), policy=QUICK, known=known)
    if not any(verdict.outcome in ("larger", "stuck") for verdict in found.verdicts):
        assert all(verdict.saving is not None and verdict.saving > 0 for verdict in found.suggestions)
        assert found.price_then <= found.price_now
    assert all(verdict.saving is not None and verdict.saving > 0 for verdict in found.suggestions if verdict.outcome == "smaller")


@given(WORLDS, PRICES, st.data())
def test_what_was_suggested_and_done_is_not_suggested_again(
    loads: dict[str, Load], known: tuple[MachineSize, ...], data: st.DataObject
) -> None:
    sizes = a_world(loads, known, data)
    # A pool can't hold, and so can't show, more than its limit: what it would take on a larger machine is seen when it has one.
    for name, load in loads.items():
        size = sizes[name]
        assert isinstance(size, MachineSize)
        limit = machine(name, load, size).offers(size)["redis_maxmemory_mb"]
        loads = {**loads, name: replace(load, redis_mb=min(load.redis_mb, limit))}
    once = report(loads, sizes, policy=QUICK, known=known)
    again = report(loads, applied(once, sizes, known), policy=QUICK, known=known)
    assert again.suggestions == ()


@given(WORLDS, PRICES, st.data())
def test_savings_add_up(loads: dict[str, Load], known: tuple[MachineSize, ...], data: st.DataObject) -> None:
    sizes = a_world(loads, known, data)
    found = report(loads, sizes, policy=QUICK, known=known)
    after = report(loads, applied(found, sizes, known), policy=QUICK, known=known)
    assert found.saving == found.price_now - found.price_then
    assert after.price_now == found.price_then


@given(WORLDS, st.floats(1, 47), st.data())
def test_with_too_little_history_there_is_never_a_suggestion(loads: dict[str, Load], hours: float, data: st.DataObject) -> None:
    wanted = policy_from({"history_hours": 48, "window_hours": 60})
    short = {name: replace(load, hours=hours) for name, load in loads.items()}
    found = report(short, a_world(loads, SIZES, data), policy=wanted)
    assert found.suggestions == () and found.refused
    assert all("report_history_hours: 48" in v.reason or "waits for" in v.reason for v in found.verdicts)
    assert all(split.refused for split in found.splits)


@given(WORLDS, st.data())
def test_every_suggested_size_is_enough_for_what_runs_there(loads: dict[str, Load], data: st.DataObject) -> None:
    found = report(loads, a_world(loads, SIZES, data), policy=QUICK)
    for verdict in found.suggestions:
        load, size = loads[verdict.host], BY_NAME[verdict.then]
        assert load.cores <= 0.6 * size.vcpus + 1e-6
        if not set(load.tiers) & {"mysql", "redis_cluster"}:
            assert load.memory_mb <= 0.75 * size.memory_mb + 1e-3


def test_every_class_of_storage_has_its_rank() -> None:
    assert set(FASTER) == set(STORAGES)
