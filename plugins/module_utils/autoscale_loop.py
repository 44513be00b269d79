# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies around an autoscaling decision: what to ask Prometheus, who is a member, what a decision sets in motion, and which
decisions are kept. Pure: what Prometheus and the inventory say comes in, plain data comes out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .autoscale import HOLD, IN, OUT, Decision, moment
from .autoscale_policy import MEAN, AutoscaleError, Policy
from .capacity import CapacityError, host_from, number_from, settings_from, size_host
from .prometheus_client import Series
from .scale_plan import MAXIMUM, STANDBY, ScaleError, parse_pool

# Decisions that the page shows.
KEPT = 200
# A decision to hold that says the same as the one before takes its place; the page learns of it in every such time.
REFRESH_SECONDS = 60.0
UP, OUT_OF_TRAFFIC = "fleet:up:bool", "fleet:out_of_traffic:bool"
PROCESSES = "queue_workers_processes"
# Under this name autoscale.yml holds the fleet's lock.
VERB = "autoscale"


# --- Prometheus -------------------------------------------------------------------------------------------------------


def source_of(series: Series) -> str:
    """The host or queue that it is of, "" when it is of the whole fleet."""
    return next((series.labels[name] for name in ("host", "queue") if series.labels.get(name)), "")


def _selector(series: str, labels: Mapping[str, str], seconds: int) -> str:
    # JSON's quoting is PromQL's.
    matchers = ",".join(f"{name}=~{json.dumps(value)}" for name, value in labels.items())
    return f"{series}{{{matchers}}}[{seconds}s]"


def _one_of(hosts: Iterable[str]) -> str:
    return "|".join(re.escape(host) for host in hosts)


def questions(policy: Policy, hosts: Sequence[str]) -> list[tuple[str, str]]:
    """(signal, PromQL) for the policy: all values from now back over its window.

    What is measured per host is asked by the hosts' names, because a host in several tiers carries the name of its first one, and
    by the tier, because hosts that left a minute ago did a part of the work then.
    """
    seconds = policy.window_seconds + policy.stale_seconds
    found = []
    for rule in policy.rules:
        signal = rule.signal
        selections: list[dict[str, str]] = [{}]
        if signal.merge == MEAN:
            selections = [{"host": _one_of(hosts)}, {"tier": policy.tier}]
        found += [(signal.name, _selector(signal.series, labels, seconds)) for labels in selections]
    return found


def state_questions(policy: Policy, hosts: Sequence[str]) -> dict[str, str]:
    """PromQL for who answers and who is out of traffic, by the name of its series."""
    return {name: _selector(name, {"host": _one_of(hosts)}, policy.stale_seconds) for name in (UP, OUT_OF_TRAFFIC)}


def sample_rows(answers: Iterable[tuple[str, Iterable[Series]]], now: float) -> list[dict[str, Any]]:
    """Rows for C(samples_from), of the answers to C(questions). A series that two of them returned counts once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for signal, answer in answers:
        for series in answer:
            for time, value in series.points:
                key = (signal, json.dumps([dict(series.labels), time], sort_keys=True))
                found[key] = {"signal": signal, "source": source_of(series), "value": value, "age": now - time}
    return list(found.values())


def last_values(answer: Iterable[Series]) -> dict[str, float]:
    """The newest value by host."""
    return {source_of(series): series.points[-1][1] for series in answer if series.points and math.isfinite(series.points[-1][1])}


# --- members ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workers:
    """Worker processes of a host: those that rows of its own fix, those that the rest share now, and the most that it can hold."""

    fixed: int
    shared: int
    most: int  # of those that are shared


def workers_of(server: Mapping[str, Any], variables: Mapping[str, Any]) -> Workers:
    """From a server of the fleet and its variables. Where neither tells the host's size, it has what it runs and no more.

    Raises AutoscaleError.
    """
    rows = variables.get("queue_workers_programs")
    numbers = [row.get("processes") for row in rows] if isinstance(rows, Sequence) and not isinstance(rows, str) and rows else [None]
    fixed = sum(int(number) for number in map(number_from, numbers) if number)
    given = number_from(variables.get(PROCESSES))
    try:
        sized = size_host(host_from(server), settings_from(variables.get("capacity_settings")))["queue_worker_processes"].value
    except CapacityError:
        sized = int(given or 1)
    if None not in numbers:
        return Workers(fixed, 0, 0)
    shared = int(given) if given else sized
    # Somebody who lets a host run more than its size allows knows why.
    return Workers(fixed, shared, max(sized, shared))


def member_rows(
    pool: Iterable[Mapping[str, Any]],
    hostvars: Mapping[str, Mapping[str, Any]],
    up: Mapping[str, float],
    out_of_traffic: Mapping[str, float],
    *,
    workers: bool = False,
) -> list[dict[str, Any]]:
    """Rows for C(members_from), of the servers of one tier.

    Who can't be reached is ill; who isn't known to Prometheus yet isn't. Raises AutoscaleError.
    """
    found = []
    for server in pool:
        name = str(server["name"])
        variables = hostvars[name]
        state = str(server["state"])
        phase = str(variables.get("fleet_scaling") or "")
        if state == "active" and phase == "joining":
            state = "joining"
        elif state == "active" and out_of_traffic.get(name):
            state = "draining"
        row: dict[str, Any] = {"name": name, "state": state, "ill": state == "active" and up.get(name) == 0}
        if workers:
            has = workers_of(server, variables)
            row |= {"processes": has.fixed + has.shared, "capacity": max(1, has.fixed + has.most)}
        found.append(row)
    return found


def unfinished(pool: Iterable[Mapping[str, Any]], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Hosts that a run which was interrupted left on their way, and which way: joining or leaving."""
    phases = {str(server["name"]): str(hostvars[server["name"]].get("fleet_scaling") or "") for server in pool}
    return {name: phase for name, phase in phases.items() if phase}


def most_hosts(policy: Policy, pool: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> int:
    """The policy's maximum, lowered to what C(scale.yml) would refuse: fleet_maximum, hosts that stand by, free addresses.

    C(variables) are those of the tier's first host. Raises AutoscaleError.
    """
    most = [policy.maximum, int(number_from(variables.get("fleet_maximum")) or MAXIMUM)]
    if str(variables.get("fleet_provider") or STANDBY) == STANDBY:
        most.append(sum(server["state"] != "down" for server in pool))
    else:
        try:
            addresses = {*parse_pool(variables.get("fleet_address_pool"))}
        except ScaleError as error:
            raise AutoscaleError(str(error)) from error
        if addresses:
            most.append(len(addresses | {str(server["address"]) for server in pool}))
    return min(most)


# --- from a decision to what is done ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Playbooks that are run as one command, with variables, and with tags ("" for all)."""

    playbooks: tuple[str, ...]
    variables: Mapping[str, Any]
    tags: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"playbooks": list(self.playbooks), "variables": dict(self.variables), "tags": self.tags}


@dataclass(frozen=True)
class Work:
    """What a decision sets in motion. C(workers) is laid over C(scaled.yml) before the runs, C(workers_before) when one fails."""

    runs: tuple[Run, ...] = ()
    workers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workers_before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "runs": [run.as_dict() for run in self.runs],
            "workers": {name: dict(row) for name, row in self.workers.items()},
            "workers_before": {name: dict(row) for name, row in self.workers_before.items()},
        }


def work_for(row: Mapping[str, Any], workers: Mapping[str, Workers], lock_beside: str = VERB) -> Work:
    """The work of a row of decisions.json; C(workers) are those of the hosts that serve, for tiers that have such.

    Processes come before hosts when they grow, and after them when they shrink: what exists serves first and leaves last.
    """
    if row["action"] == HOLD:
        return Work()
    beside = {"preflight_lock_beside": [lock_beside]}
    hosts = Run(("scale",), {"fleet_tier": row["tier"], "fleet_count": row["count"], **beside})
    processes = row.get("processes")
    # Checked before it is done: so many workers may open more connections than MySQL allows.
    restart = Run(("preflight", str(row["tier"])), beside, tags=str(row["tier"]))
    if processes and row.get("resumes"):
        return Work((restart, hosts))
    if not processes or processes["current"] == processes["desired"]:
        return Work((hosts,))
    changed = {
        name: max(1, min(has.most, processes["desired"] - has.fixed))
        for name, has in workers.items()
        if has.most
    }
    grows = processes["desired"] > processes["current"]
    moves = row["current"] != row["desired"]
    return Work(
        runs=tuple(run for run, wanted in ((restart, grows), (hosts, moves), (restart, not grows)) if wanted),
        workers={name: {PROCESSES: count} for name, count in changed.items()},
        workers_before={name: {PROCESSES: workers[name].shared} for name in changed},
    )


def finishing(row: Mapping[str, Any], phases: Mapping[str, str], history: Iterable[Mapping[str, Any]], pause: float) -> dict[str, Any]:
    """The decision of a tier that holds, turned into one that finishes what an interrupted run began; C(resumes) says so.

    Hosts on their way are known by C(phases). Workers aren't: what the inventory says of them was written before it was done, so it is
    done again when the last change of the tier (C(history), newest first) never ended. C(pause) seconds lie between two attempts.
    C(row) as it is when there is nothing to finish.
    """
    if row["action"] != HOLD:
        return dict(row)
    done = [
        past
        for past in history
        if past.get("tier") == row["tier"] and past.get("action") in (OUT, IN) and not past.get("dry_run")
    ]
    half = bool(row.get("processes") and done and "finished" not in done[0])
    if not phases and not half:
        return dict(row)
    now = moment(row["time"])
    if done and now - max(moment(past.get("finished") or past["time"]) for past in done) < pause:
        return dict(row)
    joining = sorted(name for name, phase in phases.items() if phase == "joining")
    leaving = sorted(name for name, phase in phases.items() if phase != "joining")
    said = [f"{', '.join(names)} on the way {way}" for names, way in ((joining, "in"), (leaving, "out")) if names]
    said += ["its workers half changed"] if half else []
    return {
        **row,
        "action": OUT if joining or (half and done[0]["action"] == OUT) else IN,
        "current": row["current"] - len(joining) if joining else row["current"] + len(leaving),
        "reason": f"a run was interrupted and left {' and '.join(said)}, so it is finished",
        "resumes": True,
    }


def failed(row: Mapping[str, Any], error: str, finished: str) -> dict[str, Any]:
    """The decision once what it set in motion has failed. It counts for the cool-down: the next attempt waits."""
    return {**row, "finished": finished, "failed": True, "reason": f"{row['reason']}; but it failed: {_sentence(error)}"}


def _sentence(text: str, most: int = 400) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else f"…{words[-most:]}"


def without_answer(decision: Decision, error: str) -> dict[str, Any]:
    """The decision of a tier about which nothing could be asked."""
    return {**decision.as_dict(), "action": HOLD, "reason": f"{error}, and nothing is changed blindly"}


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """Decisions, newest first. C(logged) are new, C(publish): somebody who looks at them should learn of it now."""

    rows: tuple[dict[str, Any], ...]
    logged: tuple[dict[str, Any], ...]
    publish: bool


def kept(history: Sequence[Mapping[str, Any]], decisions: Iterable[Mapping[str, Any]], limit: int = KEPT) -> Kept:
    """Lay decisions over earlier ones.

    One of the same tier and moment is the same decision, seen later. One that holds for the reason for which the tier's last one
    held takes its place, so that what was done isn't pushed out by what wasn't.
    """
    rows = [dict(row) for row in history]
    logged: list[dict[str, Any]] = []
    publish = False
    for decision in decisions:
        new = dict(decision)
        same = next((place for place, row in enumerate(rows) if _key(row) == _key(new)), None)
        last = next((place for place, row in enumerate(rows) if row.get("tier") == new["tier"]), None)
        if same is not None:
            logged.append(new)
            rows[same] = new
            publish = True
        elif last is not None and _repeats(rows[last], new):
            old = rows.pop(last)
            rows.insert(0, {**new, "since": old.get("since", old["time"])})
            publish = publish or moment(new["time"]) // REFRESH_SECONDS != moment(old["time"]) // REFRESH_SECONDS
        else:
            logged.append(new)
            rows.insert(0, new)
            publish = True
    return Kept(tuple(rows[:limit]), tuple(logged), publish)


def _key(row: Mapping[str, Any]) -> tuple[Any, Any, bool]:
    return row.get("tier"), row.get("time"), bool(row.get("dry_run"))


def _repeats(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if not old.get("action") == new.get("action") == HOLD or bool(old.get("dry_run")) != bool(new.get("dry_run")):
        return False
    return _kind(old) == _kind(new)


def _kind(row: Mapping[str, Any]) -> str:
    """The reason without its numbers."""
    return re.sub(r"\d+(\.\d+)?", "#", str(row.get("reason", "")))


def history_from(text: str, where: str) -> list[dict[str, Any]]:
    """Earlier decisions, newest first, of the text of C(where). Raises AutoscaleError."""
    try:
        rows = json.loads(text)
        return [dict(row) for row in rows if row["time"] and row["tier"]]
    except (ValueError, KeyError, TypeError) as error:
        raise AutoscaleError(
            f"{where} holds no decisions ({error}); move it away, and cool-downs begin anew"
        ) from error


def line(row: Mapping[str, Any]) -> str:
    """A decision in one line."""
    counts = f"{row['current']} → {row['desired']}" if row["current"] != row["desired"] else f"{row['current']}"
    processes = row.get("processes")
    if processes and processes["current"] != processes["desired"]:
        counts += f", processes on each {processes['current']} → {processes['desired']}"
    trial = " (dry run)" if row.get("dry_run") else ""
    return f"{row['tier']}: {row['action']}{trial}, {counts}: {row['reason']}"
