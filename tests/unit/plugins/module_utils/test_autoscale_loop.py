# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked, who is a member, what a decision sets in motion, and which decisions are kept."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.autoscale_loop import (
    Workers,
    failed,
    finishing,
    history_from,
    kept,
    last_values,
    line,
    member_rows,
    most_hosts,
    questions,
    sample_rows,
    state_questions,
    unfinished,
    work_for,
    workers_of,
)
from plugins.module_utils.autoscale_policy import AutoscaleError, default_policy
from plugins.module_utils.prometheus_client import Series


def server(name: str, state: str = "active", **more: Any) -> dict[str, Any]:
    return {"name": name, "address": name, "state": state, "memory_mb": 768, "vcpus": 2, "tiers": ["queue_workers"], **more}


def row(action: str = "hold", time: str = "2026-01-31T12:00:00Z", **more: Any) -> dict[str, Any]:
    return {
        "time": time, "tier": "app_servers", "current": 2, "desired": 2, "count": 2, "action": action, "reason": "none", "signals": [],
        "dry_run": False, **more,
    }  # fmt: skip


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_what_is_measured_per_host_is_asked_by_name_and_by_tier() -> None:
    asked = questions(default_policy("app_servers"), ["app1", "app-2.example"])
    assert asked[:2] == [
        ("cpu", r'fleet:cpu_used:ratio{host=~"app1|app\\-2\\.example"}[360s]'),
        ("cpu", 'fleet:cpu_used:ratio{tier=~"app_servers"}[360s]'),
    ]
    assert ("response_time", "fleet:response_time_overall:p95_seconds{}[360s]") in asked


def test_who_answers_is_asked_of_the_hosts_that_there_are() -> None:
    assert state_questions(default_policy("app_servers"), ["app1"]) == {
        "fleet:up:bool": 'fleet:up:bool{host=~"app1"}[60s]',
        "fleet:out_of_traffic:bool": 'fleet:out_of_traffic:bool{host=~"app1"}[60s]',
    }


def test_a_series_that_two_questions_found_counts_once_and_ages_by_prometheus_clock() -> None:
    found = Series({"host": "app1", "tier": "app_servers"}, ((90.0, 0.4), (95.0, 0.5)))
    left = Series({"host": "app9", "tier": "app_servers"}, ((90.0, 0.6),))
    assert sample_rows([("cpu", [found]), ("cpu", [found, left])], now=100.0) == [
        {"signal": "cpu", "source": "app1", "value": 0.4, "age": 10.0},
        {"signal": "cpu", "source": "app1", "value": 0.5, "age": 5.0},
        {"signal": "cpu", "source": "app9", "value": 0.6, "age": 10.0},
    ]


def test_the_newest_value_of_each_host_tells_its_state() -> None:
    two = [Series({"host": "app1"}, ((1.0, 1.0), (2.0, 0.0))), Series({"host": "app2"}, ((1.0, float("nan")),))]
    assert last_values(two) == {"app1": 0.0}


# --- members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "workers"),
    [
        pytest.param({}, Workers(0, 8, 8), id="what its size allows, unless somebody says otherwise"),
        pytest.param({"queue_workers_processes": 3}, Workers(0, 3, 8), id="fewer, and it can hold more"),
        pytest.param({"queue_workers_processes": 12}, Workers(0, 12, 12), id="more than its size allows is what somebody wants"),
        pytest.param({"queue_workers_programs": [{"processes": 2}, {}]}, Workers(2, 8, 8), id="rows with a number of their own add to it"),
        pytest.param({"queue_workers_programs": [{"processes": 2}]}, Workers(2, 0, 0), id="every row has one, so nothing is shared"),
    ],
)
def test_the_workers_of_a_host(variables: dict[str, Any], workers: Workers) -> None:
    assert workers_of(server("worker1"), variables) == workers


def test_a_host_of_unknown_size_holds_what_it_runs() -> None:
    assert workers_of({"name": "worker1", "tiers": ["queue_workers"]}, {"queue_workers_processes": 3}) == Workers(0, 3, 3)


@pytest.mark.parametrize(
    ("inventory", "up", "out", "state", "ill"),
    [
        pytest.param({}, 1, 0, "active", False, id="it serves"),
        pytest.param({}, None, None, "active", False, id="Prometheus doesn't know it yet"),
        pytest.param({}, 0, None, "active", True, id="it doesn't answer"),
        pytest.param({}, 1, 1, "draining", False, id="it was taken out of traffic"),
        pytest.param({"fleet_scaling": "joining"}, 0, None, "joining", False, id="it is being made"),
    ],
)
def test_who_is_a_member(inventory: dict[str, Any], up: int | None, out: int | None, state: str, ill: bool) -> None:
    known = {"app1": up} if up is not None else {}
    traffic = {"app1": out} if out is not None else {}
    assert member_rows([server("app1")], {"app1": inventory}, known, traffic) == [{"name": "app1", "state": state, "ill": ill}]


@pytest.mark.parametrize("state", ["draining", "standby", "down"])
def test_who_the_inventory_takes_out_is_out(state: str) -> None:
    (member,) = member_rows([server("app1", state)], {"app1": {}}, {"app1": 0}, {})
    assert (member["state"], member["ill"]) == (state, False)


@pytest.mark.parametrize(
    ("variables", "most"),
    [
        pytest.param({}, 3, id="hosts of one's own: those that there are"),
        pytest.param({"fleet_provider": "podman"}, 10, id="a provider that gives addresses: the policy's"),
        pytest.param({"fleet_provider": "podman", "fleet_maximum": 6}, 6, id="no more than scale.yml allows"),
        pytest.param({"fleet_provider": "podman", "fleet_address_pool": "192.0.2.1-192.0.2.4"}, 7, id="addresses that are left"),
    ],
)
def test_no_more_hosts_are_asked_for_than_scale_would_make(variables: dict[str, Any], most: int) -> None:
    pool = [server("app1"), server("app2"), server("app3", "standby"), server("app4", "down")]
    expected = most if most != 7 else 4 + len(pool)
    assert most_hosts(default_policy("app_servers"), pool, variables) == expected


# --- what follows -----------------------------------------------------------------------------------------------------


def test_a_decision_to_hold_sets_nothing_in_motion() -> None:
    assert work_for(row(), {}).runs == ()


def test_hosts_are_scaled_beside_the_lock_that_autoscale_holds() -> None:
    (run,) = work_for(row("out", desired=4, count=5), {}).runs
    assert run.as_dict() == {
        "playbooks": ["scale"],
        "variables": {"fleet_tier": "app_servers", "fleet_count": 5, "preflight_lock_beside": ["autoscale"]},
        "tags": "",
    }


@pytest.mark.parametrize(
    ("action", "hosts", "processes", "runs"),
    [
        pytest.param("out", (1, 1), (4, 8), [("preflight", "queue_workers")], id="more workers"),
        pytest.param("out", (1, 2), (4, 8), [("preflight", "queue_workers"), ("scale",)], id="more workers, then more hosts"),
        pytest.param("out", (1, 2), (8, 8), [("scale",)], id="more hosts"),
        pytest.param("in", (2, 1), (8, 4), [("scale",), ("preflight", "queue_workers")], id="fewer hosts, then fewer workers"),
        pytest.param("in", (1, 1), (4, 2), [("preflight", "queue_workers")], id="fewer workers"),
    ],
)
def test_what_is_there_serves_first_and_leaves_last(
    action: str, hosts: tuple[int, int], processes: tuple[int, int], runs: list[tuple[str, ...]]
) -> None:
    decision = row(
        action, tier="queue_workers", current=hosts[0], desired=hosts[1], count=hosts[1],
        processes={"current": processes[0], "desired": processes[1]},
    )  # fmt: skip
    assert [run.playbooks for run in work_for(decision, {"worker1": Workers(0, processes[0], 8)}).runs] == runs


def test_workers_are_noted_for_each_host_within_what_it_holds_and_can_be_taken_back() -> None:
    decision = row("out", tier="queue_workers", processes={"current": 4, "desired": 8})
    work = work_for(decision, {"worker1": Workers(2, 2, 5), "worker2": Workers(0, 4, 8), "worker3": Workers(4, 0, 0)})
    assert work.workers == {"worker1": {"queue_workers_processes": 5}, "worker2": {"queue_workers_processes": 8}}
    assert work.workers_before == {"worker1": {"queue_workers_processes": 2}, "worker2": {"queue_workers_processes": 4}}


def test_what_an_interrupted_run_left_is_finished() -> None:
    phases = unfinished([server("app1"), server("app3")], {"app1": {}, "app3": {"fleet_scaling": "joining"}})
    done = finishing(row(current=3, desired=3, count=3), phases, [], pause=60)
    assert (done["action"], done["current"], done["desired"], done["count"]) == ("out", 2, 3, 3)
    assert done["reason"] == "a run was interrupted and left app3 on the way in, so it is finished"


@pytest.mark.parametrize(
    ("decision", "phases", "history"),
    [
        pytest.param(row(), {}, [], id="nothing is unfinished"),
        pytest.param(row("out", desired=3), {"app3": "joining"}, [], id="a decision that scales finishes it anyway"),
        pytest.param(row(), {"app3": "joining"}, [row("out", "2026-01-31T11:59:30Z")], id="the last attempt was a moment ago"),
    ],
)
def test_otherwise_the_decision_stays(decision: dict[str, Any], phases: dict[str, str], history: list[dict[str, Any]]) -> None:
    assert finishing(decision, phases, history, pause=60) == decision


def test_hosts_on_the_way_out_are_let_go() -> None:
    done = finishing(row(), {"app3": "leaving"}, [row("in", "2026-01-31T11:00:00Z")], pause=60)
    assert (done["action"], done["current"], done["desired"]) == ("in", 3, 2)


@pytest.mark.parametrize("action", ["out", "in"])
def test_workers_that_a_run_left_half_changed_are_changed_again(action: str) -> None:
    holds = row(tier="queue_workers", current=1, desired=1, count=1, processes={"current": 8, "desired": 8})
    begun = row(action, "2026-01-31T11:58:00Z", tier="queue_workers", processes={"current": 2, "desired": 8})
    done = finishing(holds, {}, [begun], pause=60)
    assert (done["action"], done["reason"]) == (action, "a run was interrupted and left its workers half changed, so it is finished")
    assert [run.playbooks for run in work_for(done, {"worker1": Workers(0, 8, 8)}).runs] == [("preflight", "queue_workers"), ("scale",)]
    assert work_for(done, {"worker1": Workers(0, 8, 8)}).workers == {}
    assert finishing(holds, {}, [{**begun, "finished": "2026-01-31T11:58:30Z"}], pause=60) == holds


def test_a_failure_is_told_and_counts_for_the_cool_down() -> None:
    told = failed(row("out", reason="cpu 0.9 is above 0.7"), "app3 did\n  not come up", "2026-01-31T12:01:00Z")
    assert told["reason"] == "cpu 0.9 is above 0.7; but it failed: app3 did not come up"
    assert (told["action"], told["finished"], told["failed"]) == ("out", "2026-01-31T12:01:00Z", True)


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_holding_for_the_same_reason_is_one_decision_that_lasts() -> None:
    first = row(reason="cpu is 0.51", time="2026-01-31T12:00:00Z")
    second = row(reason="cpu is 0.52", time="2026-01-31T12:00:20Z")
    found = kept([first], [second])
    assert found.rows == ({**second, "since": "2026-01-31T12:00:00Z"},)
    assert (found.logged, found.publish) == ((), False)
    third = row(reason="cpu is 0.4", time="2026-01-31T12:01:00Z")
    again = kept(found.rows, [third])
    assert again.rows == ({**third, "since": "2026-01-31T12:00:00Z"},)
    assert again.publish, "once a minute it is shown"


def test_another_reason_another_tier_and_every_change_are_decisions_of_their_own() -> None:
    first = row(reason="cool-down")
    news = [row(reason="metrics are missing", time="2026-01-31T12:00:20Z"), row(tier="queue_workers", reason="cool-down")]
    found = kept([first], news)
    assert (len(found.rows), len(found.logged), found.publish) == (3, 2, True)
    assert len(kept(found.rows, [row("out", "2026-01-31T12:01:00Z")]).rows) == 4


def test_how_a_decision_went_replaces_it() -> None:
    begun = row("out")
    ended = {**begun, "finished": "2026-01-31T12:00:40Z"}
    assert kept([row("in", "2026-01-31T11:00:00Z"), begun], [ended]).rows[1] == ended


def test_a_dry_run_takes_nobodys_place() -> None:
    assert len(kept([row()], [row(dry_run=True, time="2026-01-31T12:00:20Z")]).rows) == 2


def test_the_oldest_are_forgotten() -> None:
    many = [row("out", f"2026-01-31T12:{minute:02}:00Z") for minute in range(60)]
    found: tuple[dict[str, Any], ...] = ()
    for decision in many:
        found = kept(found, [decision], limit=5).rows
    assert [decision["time"][14:16] for decision in found] == ["59", "58", "57", "56", "55"]


@pytest.mark.parametrize("text", ["", "{}x", '[{"tier": "app_servers"}]', "[1]"])
def test_a_file_that_holds_no_decisions_is_refused_by_name(text: str) -> None:
    with pytest.raises(AutoscaleError, match=r"/x/decisions.json holds no decisions"):
        history_from(text, "/x/decisions.json")


def test_a_decision_is_one_line() -> None:
    said = line(row("out", tier="queue_workers", desired=3, processes={"current": 4, "desired": 8}, dry_run=True, reason="much to do"))
    assert said == "queue_workers: out (dry run), 2 → 3, processes on each 4 → 8: much to do"
