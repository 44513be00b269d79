# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What autoscaling costs and what it spares, against a fleet that is always as small, and always as big, as it may be."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from plugins.module_utils.autoscale import Decision
from plugins.module_utils.autoscale_policy import default_policy
from tests.simulation import docs
from tests.simulation.plant import WebPlant, WorkerPlant
from tests.simulation.report import Comparison, everything, svg
from tests.simulation.simulator import TICK, World, play
from tests.simulation.traces import MINUTE, TRACES, Trace, step


@pytest.fixture(scope="module")
def played() -> dict[str, Comparison]:
    return {row.name: row for row in everything()}


NAMES = [trace.name for trace in TRACES]


@pytest.mark.parametrize("name", NAMES)
def test_it_costs_less_than_the_biggest_fleet_and_hurts_less_than_the_smallest(name: str, played: dict[str, Comparison]) -> None:
    row = played[name]
    assert row.least.host_minutes <= row.scaled.host_minutes <= 0.75 * row.most.host_minutes
    assert row.most.over_minutes <= row.scaled.over_minutes < row.least.over_minutes


@pytest.mark.parametrize("name", [name for name in NAMES if name != "spike"])
def test_it_spares_three_quarters_of_the_time_over_the_limit(name: str, played: dict[str, Comparison]) -> None:
    """A spike of three minutes is nearly over before hosts can come."""
    assert played[name].scaled.over_minutes <= played[name].least.over_minutes / 4


@pytest.mark.parametrize(
    ("name", "changes", "turns"),
    [
        pytest.param("step", 8, 1, id="a load that comes and goes makes hosts come and go once"),
        pytest.param("ramp", 11, 1, id="also when it comes and goes slowly"),
        pytest.param("spike", 6, 1, id="also when it is short"),
        pytest.param("daily wave", 16, 1, id="a day makes them come and go once"),
        pytest.param("noise", 1, 0, id="noise makes nobody go"),
        pytest.param("flapping", 3, 0, id="a load that flaps within the window makes nobody go"),
        pytest.param("slow flapping", 24, 16, id="one that flaps slowly does so four times an hour at most"),
        pytest.param("metric loss", 6, 1, id="lost metrics change nothing about that"),
        pytest.param("a host dies", 1, 0, id="a host that dies is replaced once"),
        pytest.param("flood", 7, 1, id="a flood of jobs makes workers come and go once"),
        pytest.param("steady jobs", 20, 12, id="steady jobs make them try three times an hour whether fewer would do"),
        pytest.param("the same with workers_busy", 6, 0, id="and not at all when it is known how busy they are"),
    ],
)
def test_it_does_not_go_back_and_forth(name: str, changes: int, turns: int, played: dict[str, Comparison]) -> None:
    result = played[name].scaled
    assert result.changes <= changes
    assert result.turns <= turns


def decisions(row: Comparison, after: int, before: int) -> list[Decision]:
    return [decision for decision in row.scaled.decisions if after <= decision.time < before]


def test_nothing_is_decided_while_metrics_are_lost(played: dict[str, Comparison]) -> None:
    """From a minute after they went until they can be read again. Of one host alone: nothing is taken away."""
    row = played["metric loss"]
    for begins, ends, host in row.scaled.trace.lost:
        made = decisions(row, begins + 75, ends)
        assert [decision for decision in made if not host or decision.action == "in"] == []


def test_a_ramp_is_followed_without_anybody_noticing(played: dict[str, Comparison]) -> None:
    assert played["ramp"].scaled.over_minutes == 0
    assert played["daily wave"].scaled.over_minutes == 0


def test_hosts_go_earlier_in_a_day_when_they_may() -> None:
    trace = next(trace for trace in TRACES if trace.name == "daily wave")
    cpu, *others = default_policy("app_servers").rules
    early = replace(default_policy("app_servers"), rules=(replace(cpu, scale_in=0.45), *others))
    eager, usual = play(trace, policy=early), play(trace)
    assert eager.host_minutes < 0.95 * usual.host_minutes
    assert (eager.turns, eager.over_minutes) == (usual.turns, usual.over_minutes)


def test_a_flood_raises_processes_first_and_then_hosts(played: dict[str, Comparison]) -> None:
    made = played["flood"].scaled.decisions
    out = [decision for decision in made if decision.action == "out"]
    full = next(place for place, decision in enumerate(out) if decision.desired > decision.current)
    assert full > 0
    assert all(decision.processes is not None and decision.processes[0] < decision.processes[1] for decision in out[:full])
    last = made[-1]
    assert (last.desired, last.processes and last.processes[1]) == (2, 2)


def test_a_slow_start_costs_time_over_the_limit() -> None:
    """The simulator listens to what it is told: hosts that need five minutes spare less than those that need 45 s."""
    trace = TRACES[0]
    slow, fast = play(trace, World(startup=300)), play(trace, World(startup=10, delay=5))
    assert fast.over_minutes < play(trace).over_minutes < slow.over_minutes


def test_without_the_window_a_flapping_load_is_followed_back_and_forth() -> None:
    """It is the window that keeps the hosts, not the load."""
    trace = next(trace for trace in TRACES if trace.name == "flapping")
    hasty = replace(default_policy("app_servers"), window_seconds=0, cooldown_in_seconds=60, reversal_seconds=0)
    assert play(trace, policy=hasty).turns >= 10


def test_a_played_trace_is_the_same_every_time() -> None:
    assert play(TRACES[2]) == play(TRACES[2])


# --- the plants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "hosts", "cpu", "response"),
    [
        pytest.param(50, 2, 0.515, 0.24, id="half used"),
        pytest.param(90, 2, 0.903, 1.20, id="nearly full"),
        pytest.param(120, 2, 1.0, 7.0, id="too much: what waits takes as long as it takes to serve it"),
    ],
)
def test_application_servers_get_slow_when_they_are_full(load: float, hosts: int, cpu: float, response: float) -> None:
    names = [f"app{number}" for number in range(hosts)]
    values, pain = WebPlant().tick(load, TICK, names, 0)
    assert values["cpu", "app0"] == pytest.approx(cpu, abs=0.01)
    assert pain == pytest.approx(response, abs=0.05)


def test_every_job_is_done_once_and_the_first_one_first() -> None:
    plant = WorkerPlant(job_seconds=0.5)
    values, age = plant.tick(20, 5, ["worker1"], 4)  # 100 jobs come, 40 are done
    assert (values["queue_length", "default"], age) == (60, 5)
    values, age = plant.tick(0, 5, ["worker1"], 4)
    assert (values["queue_length", "default"], age) == (20, 10)
    values, age = plant.tick(0, 5, ["worker1"], 4)
    assert (values["queue_length", "default"], age, values["workers_busy", "default"]) == (0, 0, 2)


def test_hosts_are_paid_from_the_decision_until_they_are_gone() -> None:
    trace = Trace("one", "", "app_servers", 30 * MINUTE, step(60, 90, 5 * MINUTE, 10 * MINUTE))
    result = play(trace)
    first = int(result.decisions[0].time)
    paid = {moment.second: (moment.hosts, moment.paid) for moment in result.moments}
    assert paid[first] == (2, 2)
    assert paid[first + TICK] == (2, 3)
    assert paid[first + World().startup] == (3, 3)


# --- what the docs show -----------------------------------------------------------------------------------------------


def test_the_table_in_the_docs_is_what_the_simulator_says(played: dict[str, Comparison]) -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    assert page == docs.page_with(page, list(played.values())), "run: python -m tests.simulation --docs"


def test_the_pictures_in_the_docs_exist_and_are_shown() -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    for path in sorted(docs.PICTURES.glob("*.svg")):
        assert f"images/autoscaling/{path.name}" in page
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert len(list(docs.PICTURES.glob("*.svg"))) == len(docs.SHOWN)


def test_a_picture_shows_every_change_and_stays_small(played: dict[str, Comparison]) -> None:
    for row in played.values():
        picture = svg(row.scaled)
        marks = ElementTree.fromstring(picture).findall("{http://www.w3.org/2000/svg}polygon")
        assert len(marks) == row.scaled.changes
        assert len(picture) < 20_000
