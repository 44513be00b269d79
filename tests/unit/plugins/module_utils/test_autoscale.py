# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.filter.autoscale_decide import autoscale_decide, autoscale_policies
from plugins.module_utils.autoscale import (
    Change,
    Decision,
    Member,
    Sample,
    changes_from,
    decide,
    members_from,
    moment,
    samples_from,
)
from plugins.module_utils.autoscale_policy import (
    AUTOSCALED,
    LIMITS,
    SIGNALS,
    AutoscaleError,
    Policy,
    Rule,
    default_policy,
    policies_from,
)

NOW = 1_767_225_600.0
APP = default_policy("app_servers")
WORKERS = replace(default_policy("queue_workers"), minimum=1)
CPU_ONLY = replace(APP, rules=(Rule.of(SIGNALS["cpu"]),))


def hosts(count: int, **more: Any) -> list[Member]:
    return [Member(f"app{number}", **more) for number in range(1, count + 1)]


def workers(count: int, processes: int, capacity: int = 8) -> list[Member]:
    return [Member(f"worker{number}", "active", processes, capacity) for number in range(1, count + 1)]


def steady(signal: str, value: float, sources: Iterable[str] = ("",), seconds: int = 300, step: int = 15) -> list[Sample]:
    """The same value all the time, of each source."""
    return [Sample(signal, value, float(age), source) for source in sources for age in range(0, seconds + 1, step)]


def app_load(count: int, cpu: float, memory: float = 0.3, response: float = 0.2) -> list[Sample]:
    names = [member.name for member in hosts(count)]
    return steady("cpu", cpu, names) + steady("memory", memory, names) + steady("response_time", response)


def queue_load(length: float, age: float) -> list[Sample]:
    return steady("queue_length", length, ["default"]) + steady("queue_age", age, ["default"])


def app(count: int, samples: Sequence[Sample], changes: Iterable[Change] = (), policy: Policy = APP, **more: Any) -> Decision:
    return decide(policy, hosts(count), samples, NOW, changes, **more)


def ago(seconds: float, direction: str, units: int = 0) -> Change:
    return Change(NOW - seconds, direction, units)


# --- how many hosts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "load", "desired"),
    [
        pytest.param(2, {"cpu": 0.5}, 2, id="between the thresholds nothing changes"),
        pytest.param(2, {"cpu": 0.70}, 2, id="70 % is not yet above 70 %"),
        pytest.param(2, {"cpu": 0.71}, 3, id="above 70 % one host comes"),
        pytest.param(4, {"cpu": 0.98}, 6, id="as many come as bring it to 70 %"),
        pytest.param(4, {"cpu": 0.5, "memory": 0.85}, 5, id="memory above 80 % adds a host, whatever CPU says"),
        pytest.param(2, {"cpu": 0.1, "response": 2.1}, 3, id="answers that take 2.1 s add a host while nothing else is busy"),
        pytest.param(2, {"cpu": 0.75, "response": 4.0}, 4, id="the largest demand wins"),
        pytest.param(2, {"cpu": 1.0, "response": 30.0}, 4, id="two hosts at once are the most"),
        pytest.param(9, {"cpu": 1.0, "response": 30.0}, 10, id="ten hosts are the most"),
        pytest.param(10, {"cpu": 1.0}, 10, id="at the maximum it stays"),
        pytest.param(4, {"cpu": 0.1}, 2, id="below 30 % hosts go"),
        pytest.param(4, {"cpu": 0.30}, 4, id="30 % is not yet below 30 %"),
        pytest.param(4, {"cpu": 0.29}, 3, id="and no more than leave it half-way between the thresholds: 4 x 0.29 / 0.5"),
        pytest.param(8, {"cpu": 0.05}, 6, id="two hosts at once are the most that go"),
        pytest.param(2, {"cpu": 0.01}, 2, id="two hosts are the fewest"),
        pytest.param(4, {"cpu": 0.1, "memory": 0.65}, 4, id="full memory keeps the hosts that idle"),
        pytest.param(4, {"cpu": 0.1, "memory": 0.55}, 2, id="what memory a PHP host always uses doesn't"),
        pytest.param(4, {"cpu": 0.1, "response": 0.7}, 4, id="slow answers keep the hosts that idle"),
        pytest.param(4, {"cpu": 0.1, "response": math.nan}, 2, id="that nobody asked doesn't"),
        pytest.param(1, {"cpu": 0.1}, 2, id="below the minimum one comes without any load"),
        pytest.param(13, {"cpu": 0.5}, 11, id="above the maximum hosts go under any load, step by step"),
    ],
)
def test_the_number_of_application_servers(count: int, load: dict[str, float], desired: int) -> None:
    decision = app(count, app_load(count, **load))
    assert (decision.current, decision.desired) == (count, desired)
    assert decision.action == ("hold" if desired == count else "out" if desired > count else "in")


@pytest.mark.parametrize(
    ("members", "load", "expected"),
    [
        pytest.param(workers(1, 2), (500, 20), (1, 2), id="half full nothing changes"),
        pytest.param(workers(1, 2), (2000, 5), (1, 4), id="a longer queue gets more processes first"),
        pytest.param(workers(1, 2), (4000, 5), (1, 8), id="up to what the host can hold"),
        pytest.param(workers(1, 2), (5000, 5), (2, 8), id="then more hosts"),
        pytest.param(workers(1, 2), (50000, 5), (3, 8), id="at most two of them at once"),
        pytest.param(workers(2, 8), (5000, 5), (2, 8), id="what is enough for a queue isn't added to"),
        pytest.param(workers(1, 4), (100, 90), (1, 6), id="jobs that wait too long get more processes, however few they are"),
        pytest.param(workers(10, 8), (90000, 900), (10, 8), id="at the maximum it stays"),
        pytest.param(workers(2, 8), (0, 0), (1, 8), id="an empty queue gives up hosts first, and half of the processes at most"),
        pytest.param(workers(1, 8), (0, 0), (1, 4), id="then processes"),
        pytest.param(workers(1, 3), (0, 0), (1, 2), id="down to the fewest"),
        pytest.param(workers(1, 2), (0, 0), (1, 2), id="which stay"),
        pytest.param(workers(4, 8), (0, 0), (2, 8), id="two hosts at once are the most that go"),
        pytest.param(workers(2, 8), (0, 30), (2, 8), id="a job that waits keeps them"),
        pytest.param(workers(1, 1), (0, 0), (1, 2), id="fewer processes than the fewest are added to"),
        pytest.param(workers(1, 1, 1), (0, 0), (1, 1), id="unless the host can't hold them"),
    ],
)
def test_the_number_of_queue_workers(members: list[Member], load: tuple[float, float], expected: tuple[int, int]) -> None:
    decision = decide(WORKERS, members, queue_load(*load), NOW)
    assert decision.processes is not None
    assert (decision.desired, decision.processes[1]) == expected


@pytest.mark.parametrize(
    ("running", "processes"),
    [
        pytest.param(15, 9, id="when nearly all run a job more are started"),
        pytest.param(8, 8, id="when half of them do, none are ended, although the queue is empty"),
        pytest.param(6, 5, id="when few do, as many stay as are two thirds busy"),
        pytest.param(0, 4, id="when none does, half of them stay for now"),
    ],
)
def test_busy_workers_say_how_many_it_takes_to_keep_a_queue_empty(running: float, processes: int) -> None:
    (policy,) = policies_from([{"tier": "queue_workers", "signals": {"workers_busy": {}}}])
    busy = steady("workers_busy", running / 2, ["default", "emails"])
    decision = decide(policy, workers(2, 8, 16), [*queue_load(0, 0), *busy], NOW)
    assert decision.processes == (8, processes)


def test_queues_add_up_and_the_oldest_job_of_any_counts() -> None:
    lengths = steady("queue_length", 600, ["default", "emails"])
    ages = steady("queue_age", 5, ["default"]) + steady("queue_age", 70, ["emails"])
    decision = decide(WORKERS, workers(1, 2), lengths + ages, NOW)
    assert [(reading.value, reading.demand) for reading in decision.readings] == [(1200, 3), (70, 3)]


def test_the_example_in_the_docs_is_right() -> None:
    cpu = [Sample("cpu", value, 0.0, f"app{number}") for number, value in enumerate((0.82, 0.91, 0.88), 1)]
    rest = steady("memory", 0.41, ["app1", "app2", "app3"]) + steady("response_time", 3.4)
    out = app(3, cpu + rest)
    assert [reading.demand for reading in out.readings] == [4, 2, 6]
    assert (out.desired, out.reason) == (5, "response_time 3.4 s is above 2 s and asks for 6 hosts where there are 3; a step is at most 2")
    back = app(5, app_load(5, 0.24))
    assert ([reading.demand for reading in back.readings], back.desired) == ([3, 2, 2], 3)
    flood = decide(default_policy("queue_workers"), workers(2, 2), queue_load(5000, 5), NOW)
    assert (flood.readings[0].demand, flood.desired, flood.processes) == (20, 3, (2, 8))


# --- who counts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "cpu", "expected"),
    [
        pytest.param([*hosts(2), Member("app3", "draining")], 0.5, (2, 2, 2), id="who drains is no capacity"),
        pytest.param([*hosts(2), Member("app3", "standby"), Member("app4", "down")], 0.5, (2, 2, 2), id="nor who stands by or is down"),
        pytest.param([*hosts(2), Member("app3", "ill")], 0.5, (2, 2, 3), id="who is ill is none either, and scale.yml counts it"),
        pytest.param([*hosts(2), Member("app3", "ill")], 0.8, (2, 3, 4), id="so what it should do is given to a new host"),
        pytest.param([*hosts(1), Member("app2", "ill")], 0.5, (1, 2, 3), id="one that fell ill is replaced down to the minimum"),
        pytest.param(
            [*hosts(4), *(Member(f"ill{n}", "ill") for n in range(5))], 0.9, (4, 5, 10), id="ill hosts count towards the maximum"
        ),
        pytest.param([*hosts(2), *(Member(f"ill{n}", "ill") for n in range(9))], 0.5, (2, 2, 11), id="but take nobody away"),
        pytest.param([*hosts(2), Member("app3", "joining")], 0.8, (3, 3, 3), id="who is on its way in is not ordered twice"),
        pytest.param([Member("app1", "ill"), Member("app2", "ill")], 0.5, (0, 0, 2), id="nothing is added to a tier that is dead"),
    ],
)
def test_who_counts(members: list[Member], cpu: float, expected: tuple[int, int, int]) -> None:
    names = [member.name for member in members if member.state != "joining"]
    samples = steady("cpu", cpu, names)
    decision = decide(CPU_ONLY, members, samples, NOW)
    assert (decision.current, decision.desired, decision.count) == expected


def test_what_a_host_that_left_did_is_not_forgotten_before_the_window_has_passed() -> None:
    gone = [Sample("cpu", 0.9, float(age), "app4") for age in range(120, 301, 15)]
    low = steady("cpu", 0.1, ["app1", "app2", "app3"])
    assert app(3, low, policy=CPU_ONLY).desired == 2
    assert app(3, low + gone, policy=CPU_ONLY).desired == 3


# --- holding ----------------------------------------------------------------------------------------------------------

BUSY = app_load(2, 0.95)
IDLE = app_load(4, 0.05)


@pytest.mark.parametrize(
    ("count", "samples", "options", "words"),
    [
        pytest.param(2, BUSY, {"lock_holder": "deploy"}, "deploy holds the fleet's lock", id="a verb holds the lock"),
        pytest.param(2, [], {}, "cpu has no value younger than 60 s, memory has no", id="nothing was measured"),
        pytest.param(2, [s for s in BUSY if s.signal != "memory"], {}, "memory has no value", id="one signal is missing"),
        pytest.param(2, [s for s in BUSY if s.signal != "cpu" or s.age > 60], {}, "cpu has no value", id="one signal is stale"),
        pytest.param(
            2, [replace(s, value=math.nan) if s.signal == "cpu" else s for s in BUSY], {}, "cpu has no value", id="no number is no value"
        ),
        pytest.param(2, [replace(s, age=-90.0) for s in BUSY], {}, "cpu has no value", id="what comes from the future isn't believed"),
        pytest.param(
            4, [s for s in IDLE if s.source != "app3"], {}, "cpu of app3 has no value", id="nothing goes while one host isn't measured"
        ),
        pytest.param(
            4, [s for s in IDLE if s.age < 200], {}, "isn't known for all of the last 300 s", id="nothing goes before the window is known"
        ),
        pytest.param(
            4, [s for s in IDLE if not 90 < s.age < 200], {}, "isn't known for all of the last 300 s", id="nothing goes with a gap in it"
        ),
        pytest.param(
            4,
            [replace(s, value=0.5) if s.signal == "cpu" and s.age == 240 else s for s in IDLE],
            {},
            "cpu, at most 0.50 in 300 s, is not below 0.30",
            id="nothing goes soon after it was needed",
        ),
        pytest.param(2, BUSY, {"changes": [ago(20, "out")]}, "20 s ago, and 60 s lie between", id="an addition is still fresh"),
        pytest.param(4, IDLE, {"changes": [ago(200, "out")]}, "200 s ago, and 300 s lie before", id="no hosts go soon after some came"),
        pytest.param(4, IDLE, {"changes": [ago(200, "in")]}, "200 s ago, and 300 s lie before", id="nor soon after some went"),
        pytest.param(
            4,
            IDLE,
            {"changes": [ago(900, "in", 6), ago(500, "out", 3)]},
            "but 3 hosts were too few within the last 3600 s",
            id="a size to which hosts had to come back is not tried again",
        ),
    ],
)
def test_it_holds_and_says_why(count: int, samples: list[Sample], options: dict[str, Any], words: str) -> None:
    decision = app(count, samples, **options)
    assert (decision.action, decision.desired) == ("hold", count)
    assert words in decision.reason


@pytest.mark.parametrize(
    ("count", "samples", "changes", "action"),
    [
        pytest.param(2, BUSY, [ago(61, "out")], "out", id="a cool-down ends"),
        pytest.param(2, BUSY, [ago(1, "in")], "out", id="hosts come at once when too many went"),
        pytest.param(4, IDLE, [ago(301, "in")], "in", id="the cool-down before hosts go ends too"),
        pytest.param(4, IDLE, [ago(9000, "in"), ago(8000, "out")], "in", id="mistakes are forgotten after an hour"),
        pytest.param(4, IDLE, [ago(-9000, "out")], "in", id="a change that is yet to come doesn't bind"),
        pytest.param(
            2, [s for s in BUSY if s.source != "app2"] + steady("cpu", 1.5, ["app1"]), [], "out", id="those measured alone may ask for more"
        ),
    ],
)
def test_it_does_not_hold_longer_than_that(count: int, samples: list[Sample], changes: list[Change], action: str) -> None:
    assert app(count, samples, changes).action == action


@pytest.mark.parametrize(
    ("changes", "options", "desired"),
    [
        pytest.param([ago(900, "in", 6), ago(500, "out", 2)], {}, 3, id="one more than were too few is tried"),
        pytest.param([ago(900, "in", 6), ago(600, "out", 2), ago(500, "out", 3)], {}, 4, id="of several sizes the largest counts"),
        pytest.param([ago(2000, "in", 6), ago(1300, "out", 3)], {}, 2, id="what came long after is a new load"),
        pytest.param([ago(4500, "in", 6), ago(4000, "out", 3)], {}, 2, id="after an hour it is tried again"),
        pytest.param([ago(900, "in", 6), ago(500, "out", 3)], {"reversal_seconds": 0}, 2, id="or at once, when the policy says so"),
        pytest.param([ago(900, "out", 2), ago(500, "out", 3)], {}, 2, id="to have grown says nothing about the time after"),
        pytest.param([ago(900, "in", 6), ago(500, "out", 5)], {}, 4, id="nor is anybody added for it"),
    ],
)
def test_a_size_that_was_too_small_is_not_tried_again(changes: list[Change], options: dict[str, Any], desired: int) -> None:
    assert app(4, IDLE, changes, replace(APP, **options)).desired == desired


def test_fewer_workers_are_fewer_also_when_they_do_not_divide_evenly() -> None:
    """Seven processes on six hosts would be two on each, twelve, where there are eight."""
    policy = replace(WORKERS, processes_minimum=1)
    decision = decide(policy, workers(8, 1), queue_load(0, 0), NOW, [ago(900, "in", 8), ago(500, "out", 6)])
    assert (decision.action, decision.desired, decision.processes) == ("in", 7, (1, 1))


def test_an_alert_storm_is_one_decision() -> None:
    done: list[Change] = []
    for alert in range(30):
        decision = decide(APP, hosts(2), BUSY, NOW + alert, done)
        done += [Change(NOW + alert, decision.action, decision.current)] if decision.action != "hold" else []
    assert len(done) == 1


# --- sentences and plain data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "samples", "reason"),
    [
        pytest.param(2, app_load(2, 0.86), "cpu 0.86 is above 0.70 and asks for 3 hosts where there are 2", id="out"),
        pytest.param(
            2,
            app_load(2, 0.5, response=9.0),
            "response_time 9 s is above 2 s and asks for 9 hosts where there are 2; a step is at most 2",
            id="out, less than is asked for",
        ),
        pytest.param(
            10,
            app_load(10, 0.9),
            "cpu 0.90 is above 0.70 and asks for 13 hosts where there are 10; at most 10 hosts are allowed",
            id="the maximum",
        ),
        pytest.param(
            4,
            app_load(4, 0.1),
            "cpu, at most 0.10 in 300 s, is below 0.30; memory, at most 0.30 in 300 s, is below 0.60; "
            "response_time, at most 0.2 s in 300 s, is below 0.6 s",
            id="in",
        ),
        pytest.param(
            4, app_load(4, 0.4), "no signal asks for more; cpu, at most 0.40 in 300 s, is not below 0.30", id="who keeps the hosts"
        ),
        pytest.param(2, app_load(2, 0.1), "no signal asks for more, and this is the minimum of 2 hosts", id="the minimum"),
        pytest.param(1, app_load(1, 0.1), "1 host serves, below the minimum of 2", id="below the minimum"),
        pytest.param(12, app_load(12, 0.1), "12 hosts serve, above the maximum of 10", id="above the maximum"),
    ],
)
def test_the_reason_is_a_sentence_with_the_numbers(count: int, samples: list[Sample], reason: str) -> None:
    assert app(count, samples).reason == reason


def test_the_filter_takes_and_returns_plain_data() -> None:
    rows = [
        {"signal": "cpu", "source": name, "value": "0.86", "age": age} for name in ("app1", "app2") for age in range(0, 301, 15)
    ]
    members = [{"name": "app1", "state": "active"}, {"name": "app2"}, {"name": "app3", "state": "active", "ill": True}]
    policies = [{"tier": "app_servers", "signals": {"memory": None, "response_time": None}}]
    row = autoscale_decide(policies, "app_servers", members, rows, "2026-01-01T00:00:00Z", dry_run=True)
    assert row == {
        "time": "2026-01-01T00:00:00Z",
        "tier": "app_servers",
        "current": 2,
        "desired": 3,
        "count": 4,
        "action": "out",
        "reason": "cpu 0.86 is above 0.70 and asks for 3 hosts where there are 2",
        "signals": [{"name": "cpu", "value": 0.86, "threshold": 0.7, "demand": 3}],
        "dry_run": True,
    }
    again = autoscale_decide(policies, "app_servers", members, rows, "2026-01-01T00:00:30Z", history=[{**row, "dry_run": False}])
    assert again["action"] == "hold"
    after_a_dry_run = autoscale_decide(policies, "app_servers", members, rows, "2026-01-01T00:00:30Z", history=[row])
    assert after_a_dry_run["action"] == "out"


def test_a_decision_about_workers_also_says_how_many_processes() -> None:
    rows = [{"signal": name, "value": 2000 if name == "queue_length" else 1, "age": 0} for name in ("queue_length", "queue_age")]
    row = autoscale_decide(
        [{"tier": "queue_workers", "minimum": 1}], "queue_workers", [{"name": "worker1", "processes": 2, "capacity": 8}], rows, NOW
    )
    assert (row["current"], row["desired"], row["processes"]) == (1, 1, {"current": 2, "desired": 4})


def test_the_history_counts_what_was_really_done_to_this_tier() -> None:
    rows: list[dict[str, Any]] = [
        {"time": "2026-01-01T00:00:00Z", "tier": "app_servers", "action": "out"},
        {"time": "2026-01-01T00:00:00+00:00", "tier": "app_servers", "action": "in", "finished": "2026-01-01T00:01:00Z"},
        {"time": "2026-01-01T00:00:00Z", "tier": "app_servers", "action": "hold"},
        {"time": "2026-01-01T00:00:00Z", "tier": "queue_workers", "action": "out"},
        {"time": "2026-01-01T00:00:00Z", "tier": "app_servers", "action": "out", "dry_run": True},
    ]
    rows[0] |= {"current": 2}
    rows[1] |= {"current": 3, "processes": {"current": 4, "desired": 2}}
    assert changes_from(rows, "app_servers") == [Change(NOW, "out", 2), Change(NOW + 60, "in", 12)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: autoscale_decide([], "app_servers", [], [], 0), "no row for app_servers; it has none", id="no policy"),
        pytest.param(lambda: members_from([{"state": "active"}]), "a row needs a name", id="a host without a name"),
        pytest.param(lambda: members_from([{"name": "a", "state": "sick"}]), "state of a must be one of active, joining", id="a state"),
        pytest.param(lambda: members_from([{"name": "a", "capacity": 0}]), "capacity of a must be a whole number, at least 1", id="room"),
        pytest.param(lambda: members_from([{"name": "a", "processes": 1.5}]), "processes of a must be a whole number", id="half a process"),
        pytest.param(lambda: members_from({"a": {}}), "members must be a list", id="members that are no list"),
        pytest.param(lambda: samples_from([{"signal": "cpu", "age": 1}]), "value of cpu must be a number", id="no value"),
        pytest.param(lambda: samples_from([{"signal": "cpu", "value": 1}]), "age of cpu must be a number of seconds", id="no age"),
        pytest.param(lambda: samples_from(["cpu"]), "a row must be a dictionary", id="a sample that is no row"),
        pytest.param(lambda: moment("yesterday"), "such as 2026-01-31T12:00:00Z, not: 'yesterday'", id="no time"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((AutoscaleError, AnsibleFilterError)) as raised:
        call()
    assert message in str(raised.value)


# --- policies ---------------------------------------------------------------------------------------------------------


def test_a_row_is_laid_over_the_defaults_of_its_tier() -> None:
    rows = [
        {"tier": "app_servers", "maximum": "6", "signals": {"cpu": {"scale_out": 0.6}, "memory": None, "fpm_busy": {}}},
        {"tier": "queue_workers", "processes_minimum": 3},
    ]
    first, second = policies_from(rows)
    assert first == replace(
        APP,
        maximum=6,
        rules=(
            Rule(SIGNALS["cpu"], 0.6, 0.3),
            Rule(SIGNALS["response_time"], 2.0, 0.6),
            Rule(SIGNALS["fpm_busy"], 0.7, 0.3),
        ),
    )
    assert second == replace(default_policy("queue_workers"), processes_minimum=3)


@pytest.mark.parametrize(
    ("tier", "thresholds"),
    [
        pytest.param("app_servers", {"cpu": (0.7, 0.3), "memory": (0.8, 0.6), "response_time": (2, 0.6)}, id="application servers"),
        pytest.param("queue_workers", {"queue_length": (1000, 300), "queue_age": (60, 18)}, id="workers"),
    ],
)
def test_the_defaults_are_the_scaling_guides(tier: str, thresholds: dict[str, tuple[float, float]]) -> None:
    (row,) = autoscale_policies([{"tier": tier}])
    assert {name: (rule["scale_out"], rule["scale_in"]) for name, rule in row["signals"].items()} == thresholds
    assert (row["minimum"], row["maximum"]) == (2, 10)


def test_a_complete_policy_is_a_row_again_and_says_what_to_ask_for() -> None:
    for row in autoscale_policies([{"tier": tier} for tier in AUTOSCALED]):
        signals = {name: {key: rule[key] for key in ("scale_out", "scale_in")} for name, rule in row["signals"].items()}
        assert autoscale_policies([{**row, "signals": signals}]) == [row]
        assert all(rule["series"].startswith("fleet:") for rule in row["signals"].values())
    assert autoscale_policies([{"tier": "app_servers"}])[0]["signals"]["cpu"]["labels"] == {"tier": "app_servers"}


@pytest.mark.parametrize(
    ("rows", "messages"),
    [
        pytest.param({"tier": "app_servers"}, ["must be a list of rows"], id="no list"),
        pytest.param(["app_servers"], ["a row must be a dictionary such as {tier: app_servers}, not: 'app_servers'"], id="no row"),
        pytest.param(
            [{"tier": "app_server"}],
            ["tier must be one of app_servers, queue_workers, not: app_server (did you mean app_servers?)"],
            id="tier",
        ),
        pytest.param([{"minimum": 2}], ["tier must be one of app_servers, queue_workers, not: nothing"], id="no tier"),
        pytest.param([{"tier": "app_servers"}, {"tier": "app_servers"}], ["two rows for app_servers; keep one"], id="two rows"),
        pytest.param(
            [{"tier": "app_servers", "maximun": 3}],
            ["autoscale policy of app_servers: unknown key maximun (did you mean maximum?)"],
            id="key",
        ),
        pytest.param(
            [{"tier": "app_servers", "processes_minimum": 3}], ["unknown key processes_minimum"], id="processes of a tier without workers"
        ),
        pytest.param(
            [{"tier": "app_servers", "minimum": 5, "maximum": 4}],
            ["minimum 5 is above maximum 4; lower the one or raise the other"],
            id="bounds that contradict each other",
        ),
        pytest.param([{"tier": "app_servers", "minimum": 12}], ["minimum 12 is above maximum 10"], id="a bound that contradicts a default"),
        pytest.param([{"tier": "app_servers", "minimum": 0}], ["minimum must be a whole number from 1 to 10000, not: 0"], id="no hosts"),
        pytest.param([{"tier": "app_servers", "step": "two"}], ["step must be a whole number from 1 to 10000, not: 'two'"], id="a word"),
        pytest.param([{"tier": "app_servers", "window_seconds": True}], ["window_seconds must be a whole number"], id="a truth"),
        pytest.param([{"tier": "app_servers", "signals": ["cpu"]}], ["signals must be a dictionary such as {cpu: {scale_out"], id="a list"),
        pytest.param([{"tier": "app_servers", "signals": {"cpus": {}}}], ["unknown signal cpus (did you mean cpu?)"], id="signal"),
        pytest.param([{"tier": "app_servers", "signals": {"queue_age": {}}}], ["unknown signal queue_age"], id="another tier's signal"),
        pytest.param([{"tier": "app_servers", "signals": {"cpu": 0.7}}], ["signal cpu must be a dictionary of scale_out"], id="a number"),
        pytest.param(
            [{"tier": "app_servers", "signals": {"cpu": {"out": 0.7}}}], ["signal cpu: unknown key out"], id="an unknown key of a signal"
        ),
        pytest.param(
            [{"tier": "app_servers", "signals": {"cpu": {"scale_out": 70}}}],
            ["signal cpu: scale_out is a share of 1, not: 70; 70 % is 0.70"],
            id="percent",
        ),
        pytest.param(
            [{"tier": "app_servers", "signals": {"response_time": {"scale_in": -1}}}],
            ["scale_in must be a number above 0, not: -1"],
            id="below 0",
        ),
        pytest.param(
            [{"tier": "app_servers", "signals": {"cpu": {"scale_in": 0.7}}}],
            ["signal cpu: scale_in 0.7 must be below scale_out 0.7, or hosts would come and go; lower scale_in"],
            id="in above out",
        ),
        pytest.param(
            [{"tier": "queue_workers", "signals": {"queue_age": None, "queue_length": None}}],
            ["no signal is left to scale by"],
            id="nothing to go by",
        ),
        pytest.param(
            [{"tier": "app_servers", "step": 0, "maximun": 1}, {"tier": "mysql"}],
            ["unknown key maximun", "step must be", "not: mysql"],
            id="all faults at once",
        ),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(rows: Any, messages: list[str]) -> None:
    with pytest.raises(AutoscaleError) as raised:
        policies_from(rows)
    assert len(raised.value.problems) == len(messages)
    for message, problem in zip(messages, raised.value.problems, strict=True):
        assert message in problem


# --- properties -------------------------------------------------------------------------------------------------------

RATIOS = st.floats(0.0, 1.0)
SECONDS = st.floats(0.0, 60.0)


@st.composite
def policies(draw: st.DrawFn, tier: str = "app_servers") -> Policy:
    rules = []
    for rule in default_policy(tier).rules:
        out = rule.scale_out * draw(st.floats(0.4, 1.2))
        rules.append(replace(rule, scale_out=out, scale_in=out * draw(st.floats(0.1, 0.9))))
    minimum = draw(st.integers(1, 5))
    return replace(
        default_policy(tier),
        rules=tuple(rules),
        minimum=minimum,
        maximum=draw(st.integers(minimum, 12)),
        step=draw(st.integers(1, 5)),
    )


@st.composite
def app_fleets(draw: st.DrawFn) -> tuple[list[Member], list[Sample]]:
    """Hosts in every state, each with its own noisy past."""
    states = draw(st.lists(st.sampled_from(["active", "active", "active", "draining", "standby", "down", "ill"]), max_size=14))
    members = [Member(f"app{number}", state) for number, state in enumerate(states)]
    samples = []
    for age in range(0, 301, 50):
        samples.append(Sample("response_time", draw(SECONDS), float(age)))
        for member in members:
            samples += [Sample(name, draw(RATIOS), float(age), member.name) for name in ("cpu", "memory")]
    return members, samples


@st.composite
def worker_fleets(draw: st.DrawFn) -> tuple[list[Member], list[Sample]]:
    capacity = draw(st.integers(1, 12))
    count = draw(st.integers(1, 12))
    processes = draw(st.integers(0, capacity))
    length, age = st.floats(0, 100_000), st.floats(0, 10_000)
    past = range(0, 301, 50)
    samples = [Sample("queue_length", draw(length), float(ago), "default") for ago in past]
    samples += [Sample("queue_age", draw(age), float(ago), "default") for ago in past]
    return workers(count, processes, capacity), samples


changes = st.lists(st.builds(ago, st.floats(0, 8000), st.sampled_from(["out", "in"]), st.integers(0, 20)), max_size=8)


@given(policies(), app_fleets(), changes)
def test_it_never_leaves_the_bounds_and_never_goes_further_than_a_step(
    policy: Policy, fleet: tuple[list[Member], list[Sample]], past: list[Change]
) -> None:
    decision = decide(policy, *fleet, NOW, past)
    assert abs(decision.desired - decision.current) <= policy.step
    if decision.action == "out":
        assert decision.current < decision.desired <= policy.maximum
        ill = sum(member.state == "ill" for member in fleet[0])
        assert decision.count == decision.desired + ill <= policy.maximum
    elif decision.action == "in":
        assert policy.minimum <= decision.desired < decision.current
    else:
        assert decision.desired == decision.current


@given(policies("queue_workers"), worker_fleets(), changes)
def test_workers_never_leave_the_bounds_and_hosts_come_only_when_theirs_are_full(
    policy: Policy, fleet: tuple[list[Member], list[Sample]], past: list[Change]
) -> None:
    members, samples = fleet
    decision = decide(policy, members, samples, NOW, past)
    assert decision.processes is not None
    now, then = decision.processes
    capacity = members[0].capacity
    assert abs(decision.desired - decision.current) <= policy.step
    if decision.action == "out":
        assert decision.desired <= policy.maximum and now <= then <= capacity
        assert decision.desired * then > decision.current * now
        assert decision.desired == decision.current or then == capacity or decision.current < policy.minimum
    elif decision.action == "in":
        assert decision.desired >= policy.minimum
        assert min(policy.processes_minimum, capacity) <= then <= capacity
        assert decision.desired * then < decision.current * now or decision.current > policy.maximum
        assert decision.desired * then * 2 >= decision.current * now or decision.current > policy.maximum


@given(policies(), app_fleets())
def test_the_largest_demand_wins(policy: Policy, fleet: tuple[list[Member], list[Sample]]) -> None:
    decision = decide(policy, *fleet, NOW)
    if not policy.minimum <= decision.current <= policy.maximum:
        return
    ill = sum(member.state == "ill" for member in fleet[0])
    wanted = max(reading.demand for reading in decision.readings)
    lowest, highest = decision.current - policy.step, decision.current + policy.step
    most = max(decision.current, policy.maximum - ill)
    assert decision.desired == min(max(wanted, lowest, policy.minimum), highest, most)


@given(policies(), app_fleets())
def test_one_signal_that_does_not_agree_keeps_every_host(policy: Policy, fleet: tuple[list[Member], list[Sample]]) -> None:
    members, samples = fleet
    decision = decide(policy, members, samples, NOW)
    serving = [member.name for member in members if member.state == "active"]
    if decision.action != "in" or decision.current > policy.maximum:
        return
    for rule in policy.rules:
        of_it = [sample for sample in samples if sample.signal == rule.signal.name]
        for age in {sample.age for sample in of_it}:
            values = [s.value for s in of_it if s.age == age and (s.source in serving or not s.source)]
            assert sum(values) / len(values) < rule.scale_in
    for rule in policy.rules:
        for source in serving if rule.signal.merge == "mean" else [""]:
            loud = [s for s in samples if (s.signal, s.source) != (rule.signal.name, source)]
            loud += steady(rule.signal.name, rule.scale_in * len(serving) * 1.01, [source])
            assert decide(policy, members, loud, NOW).action != "in"


@given(policies(), app_fleets(), st.sampled_from(["out", "in"]), st.floats(0, 1000))
def test_cooldowns_are_kept(policy: Policy, fleet: tuple[list[Member], list[Sample]], last: str, seconds: float) -> None:
    decision = decide(policy, *fleet, NOW, [ago(seconds, last)])
    free = decide(policy, *fleet, NOW)
    waits = seconds < policy.cooldown_in_seconds if free.action == "in" else last == "out" and seconds < policy.cooldown_out_seconds
    assert decision.action == ("hold" if waits else free.action)


@given(policies(), app_fleets(), st.sampled_from(["cpu", "memory", "response_time"]), st.booleans())
def test_a_missing_or_stale_signal_holds(
    policy: Policy, fleet: tuple[list[Member], list[Sample]], signal: str, stale: bool
) -> None:
    members, samples = fleet
    rest = [replace(s, age=s.age + 61) if s.signal == signal else s for s in samples if stale or s.signal != signal]
    assert decide(policy, members, rest, NOW).action == "hold"


@given(policies(), app_fleets(), changes)
def test_a_held_lock_holds(policy: Policy, fleet: tuple[list[Member], list[Sample]], past: list[Change]) -> None:
    decision = decide(policy, *fleet, NOW, past, lock_holder="deploy")
    assert decision.action == "hold" and "deploy" in decision.reason


@given(policies(), app_fleets(), st.lists(st.tuples(st.sampled_from(["draining", "standby", "down", "ill"]), RATIOS), max_size=4))
def test_hosts_that_do_not_serve_are_not_counted(
    policy: Policy, fleet: tuple[list[Member], list[Sample]], others: list[tuple[str, float]]
) -> None:
    """Nor is what they measure now; what they did before is work that somebody does."""
    members, samples = fleet
    more = [Member(f"other{number}", state) for number, (state, _cpu) in enumerate(others)]
    theirs = [Sample("cpu", cpu, 0.0, f"other{number}") for number, (_state, cpu) in enumerate(others)]
    quiet = replace(policy, window_seconds=0, maximum=100)
    with_them, without = decide(quiet, members + more, samples + theirs, NOW), decide(quiet, members, samples, NOW)
    assert with_them.current == without.current
    if without.action == "out":
        assert with_them.desired == without.desired


@given(policies(), app_fleets(), changes, st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_does_not_matter(
    policy: Policy, fleet: tuple[list[Member], list[Sample]], past: list[Change], dice: random.Random
) -> None:
    members, samples = fleet
    twice = [*samples, *samples]
    dice.shuffle(twice)
    dice.shuffle(past)
    first = decide(policy, members, samples, NOW, sorted(past, key=lambda change: change.time))
    assert decide(policy, members, twice, NOW, past) == first


@given(policies(), st.integers(1, 12), st.floats(0.01, 1.0))
def test_a_load_that_stays_is_settled_without_going_back_and_forth(policy: Policy, count: int, work: float) -> None:
    """The hosts share a steady amount of work: the number of them moves in one direction, and ends."""
    policy = replace(policy, rules=policy.rules[:1], cooldown_in_seconds=0, cooldown_out_seconds=0)
    work *= policy.maximum * policy.rules[0].scale_out
    moves = []
    for _turn in range(40):
        decision = decide(policy, hosts(count), steady("cpu", work / count, [m.name for m in hosts(count)], step=60), NOW)
        if decision.action == "hold":
            break
        if policy.minimum <= count <= policy.maximum:
            moves.append(decision.action)
        count = decision.desired
    assert decision.action == "hold"
    assert len({*moves}) <= 1


class Loop:
    """The decision in a closed circle with a load, as fast as a property test needs it; tests/simulation has the careful one.

    Decides each 30 s; what was decided serves 30 s later. ``load`` gives the work, in hosts' worth of CPU, for a second.
    """

    def __init__(self, policy: Policy, load: Callable[[int], float]) -> None:
        self.policy, self.load, self.count = policy, load, policy.minimum
        self.changes: list[Change] = []
        self.past: list[tuple[int, list[float]]] = []

    def run(self, seconds: int) -> list[str]:
        for second in range(0, seconds, 30):
            used = min(1.0, self.load(second) / self.count)
            self.past = [(second, [used] * self.count), *self.past[:10]]
            samples = [
                Sample("cpu", value, float(second - then), f"app{number}")
                for then, values in self.past
                for number, value in enumerate(values, 1)
            ]
            decision = decide(self.policy, hosts(self.count), samples, float(second), self.changes)
            if decision.action != "hold":
                self.changes.append(Change(float(second), decision.action, decision.current))
                self.count = decision.desired
        return [change.direction for change in self.changes]


def turns(directions: Sequence[str]) -> int:
    return sum(first != second for first, second in itertools.pairwise(directions))


@settings(max_examples=25)
@given(st.floats(0.5, 8.0), st.floats(0.0, 0.35), st.integers(0, 10_000))
def test_noise_does_not_make_hosts_come_and_go(level: float, noise: float, seed: int) -> None:
    """Up to 35 % of noise around any level: it may climb to where the peaks fit, and then it stays."""
    dice = random.Random(seed)
    directions = Loop(CPU_ONLY, lambda _second: level * (1 + dice.uniform(-noise, noise))).run(2 * 3600)
    assert turns(directions) == 0


@settings(max_examples=25)
@given(st.floats(0.3, 2.0), st.floats(2.0, 7.0), st.integers(60, 3600), st.booleans())
def test_a_periodic_load_makes_hosts_come_and_go_a_bounded_number_of_times(low: float, high: float, period: int, square: bool) -> None:
    """Whatever the period: at most six changes of direction in any hour."""

    def load(second: int) -> float:
        wave = math.sin(2 * math.pi * second / period)
        return low + (high - low) * ((wave > 0) if square else (wave + 1) / 2)

    loop = Loop(CPU_ONLY, load)
    loop.run(4 * 3600)
    for begins in range(0, 3 * 3600, 600):
        assert turns([change.direction for change in loop.changes if begins <= change.time < begins + 3600]) <= 6


@settings(max_examples=15)
@given(st.integers(60, 300))
def test_a_load_that_flaps_within_the_window_is_served_at_its_peak(period: int) -> None:
    loop = Loop(CPU_ONLY, lambda second: 5.0 if second % period < period / 2 else 0.5)
    assert turns(loop.run(2 * 3600)) == 0
    assert loop.count == 8


def test_the_limits_name_every_number_of_a_policy() -> None:
    assert {*LIMITS} == {name for name, value in vars(APP).items() if isinstance(value, int)}
