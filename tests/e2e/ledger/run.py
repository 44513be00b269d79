# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: load before, the row's steps under load, load after, the audit, the verdict."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import os
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tests.e2e.ledger import figures, report, verdict
from tests.e2e.ledger.audit import Audit
from tests.e2e.ledger.book import Book
from tests.e2e.ledger.http1 import Client, Failed
from tests.e2e.ledger.load import Load
from tests.e2e.ledger.releases import WATCH, ReleaseLog, watch
from tests.e2e.ledger.rows import Row
from tests.e2e.ledger.schedule import KEPT_SHARE, arrivals
from tests.e2e.ledger.steps import Stage, Step, the_mysql_primary
from tests.e2e.ledger.weights import client_first, waited_for_cpu
from tests.e2e.support.lab import Lab
from tests.e2e.support.primaries import watched
from tests.e2e.support.waiting import until

# The range kept for benchmarks (RFC 2544), where the lab lives: load goes nowhere else.
LAB_NETWORK = ipaddress.ip_network("198.18.0.0/15")
RATE_LIMIT = 500.0
LONGEST_RUN = 3600.0
APP_ROOT = "/srv/school"
SLOW_KINDS = ("slow", "slow_post")


class Refused(Exception):
    """This run is not begun; the sentence says why."""


@dataclass(frozen=True)
class Options:
    """How a run is made."""

    name: str
    row: Row
    folder: Path
    rate: float = 50.0
    before_seconds: float = 10.0
    after_seconds: float = 10.0
    hold_seconds: float = 20.0
    most_seconds: float = 1200.0
    arguments: str = ""
    seed: int = 1
    times: int = 1
    # How long the audit waits for jobs: longer than a job of a dead worker takes to be given to another.
    jobs_seconds: float = 150.0


def check(options: Options, vip: str) -> None:
    """Refuse a run that would meet somebody else, or never end."""
    if ipaddress.ip_address(vip) not in LAB_NETWORK:
        raise Refused(f"load goes only to the lab, {LAB_NETWORK}, not to {vip}")
    if not 0 < options.rate <= RATE_LIMIT:
        raise Refused(f"the rate must be above 0 and at most {RATE_LIMIT:g} requests/s, not {options.rate:g}")
    if not 0 < options.most_seconds <= LONGEST_RUN:
        raise Refused(f"a run may take up to {LONGEST_RUN:g} s, not {options.most_seconds:g}")
    if options.times < 1:
        raise Refused(f"times must be 1 or more, not {options.times}")


@dataclass
class Clock:
    """Seconds after the start of the load."""

    begin: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        return time.monotonic() - self.begin


@dataclass
class Scene:
    """Who takes part in a run, and what it left behind. Moments are seconds after the start of the load."""

    client: Client
    book: Book
    stage: Stage
    load: Load
    clock: Clock
    notes: list[str]
    mix: Mapping[str, float]
    releases: ReleaseLog = field(default_factory=ReleaseLog)
    troubles: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    verb_start: float = 0.0
    verb_end: float = 0.0
    end: float = float("inf")
    cpu: float = 0.0
    waited: float = 0.0
    two_primaries: list[str] = field(default_factory=list)
    opened: int = 0


async def run(lab: Lab, options: Options) -> dict[str, Any]:
    """The report of the run; the caller writes it."""
    check(options, lab.vip)
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    tls.set_alpn_protocols(["http/1.1"])
    client = Client(lab.vip, lab.domain, tls)
    book = Book(f"ledger-{int(time.time())}-{os.getpid()}")
    try:
        with client_first() as notes:
            mix, courses = await _look_around(client, options.row.mix, notes)
            stage = Stage(
                lab, book, options.folder / "commands.log", options.arguments, options.hold_seconds, options.most_seconds
            )
            clock = Clock()
            scene = Scene(client, book, stage, Load(client, book, clock, courses, options.seed), clock, notes, mix)
            await _drive(lab, options, scene)
            audited = await _audit(lab, options, scene)
    finally:
        client.close()
    return _report(lab, options, scene, audited)


async def _drive(lab: Lab, options: Options, scene: Scene) -> None:
    """Send the load, and carry out the steps in the middle of it."""
    clock = scene.clock
    watchers = [
        asyncio.create_task(watch(lab.ssh_words(host, WATCH.format(root=APP_ROOT)), host, scene.releases, clock))
        for host in lab.tier("app_servers")
    ]
    total = options.before_seconds + options.most_seconds + options.after_seconds
    schedule = arrivals(options.rate, total, mix=scene.mix, seed=options.seed)
    watching = ExitStack()
    opened, cpu, waited = scene.client.opened, time.process_time(), waited_for_cpu()
    sending = asyncio.create_task(scene.load.follow(schedule, lambda: clock() >= scene.end))
    try:
        await asyncio.sleep(options.before_seconds)
        scene.verb_start = clock()
        primaries = watching.enter_context(watched(lab)) if options.row.rules.two_primaries is not None else None
        scene.steps = await _rounds(options, scene.stage, clock, scene.notes)
        await asyncio.to_thread(watching.close)
        if primaries:
            primaries.write(options.folder / "primaries.txt")
            scene.two_primaries = primaries.two_at_once()
            scene.notes.append(f"{len(primaries.words)} times a MySQL server was asked whether it takes writes")
        scene.verb_end = clock()
        await asyncio.sleep(options.after_seconds)
        scene.end = clock()
        await sending
        await scene.load.finish()
    finally:
        scene.stage.interrupted.set()
        watching.close()
        for task in [*watchers, sending]:
            task.cancel()
        await asyncio.gather(*watchers, sending, return_exceptions=True)
    scene.cpu = time.process_time() - cpu
    scene.waited = waited_for_cpu() - waited
    scene.opened = scene.client.opened - opened


async def _audit(lab: Lab, options: Options, scene: Scene) -> dict[str, Any]:
    try:
        primary = await asyncio.to_thread(until, "MySQL has a primary", lambda: the_mysql_primary(lab), seconds=60)
        audit = Audit(lab, scene.client, scene.book, primary, jobs_seconds=options.jobs_seconds)
        found = await audit.run()
        await audit.tidy()
    except Exception as trouble:
        # The load's figures stand; that nobody could be asked what is missing is a broken promise of its own.
        scene.troubles.append(f"the fleet could not be asked for what it acknowledged: {type(trouble).__name__}: {trouble}")
        return {}
    return found


def _report(lab: Lab, options: Options, scene: Scene, audited: Mapping[str, Any]) -> dict[str, Any]:
    answers = sorted(scene.load.answers, key=lambda answer: answer.at)
    served = {*lab.tier("app_servers"), *(answer.server for answer in answers if answer.server)}
    if unwatched := sorted(served - set(scene.releases.hosts)):
        scene.notes.append(f"nobody saw which releases were deleted on {', '.join(unwatched)}")
    phases = figures.by_phase(answers, scene.verb_start, scene.verb_end, scene.end)
    deleted = scene.releases.by_deleted(answers)
    late = sorted(scene.load.late)
    late_ms = {n: round(figures.percentile(late, s) * 1000, 1) for n, s in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    since_commands(scene.steps, answers)
    breaches = verdict.breaches(
        options.row.rules,
        phases,
        scene.book.missing,
        deleted=len(deleted),
        exit_codes=scene.stage.exit_codes,
        client_late_ms=late_ms["p99"],
        rows_after_commands=[step["first_row_seconds"] or math.inf for step in scene.steps if "first_row_seconds" in step],
        two_primaries=scene.two_primaries,
    )
    breaches += [f"{step['name']}: {step['error']}" for step in scene.steps if step["error"]] + scene.troubles
    if unasked := scene.book.unasked:
        breaches.append(f"{len(unasked)} acknowledged things could not be asked for: {'; '.join(unasked[:3])}")
    return {
        "name": options.name,
        "about": options.row.about,
        "prefix": scene.book.prefix,
        "rate": options.rate,
        "seed": options.seed,
        "kept_share": KEPT_SHARE,
        "mix": dict(scene.mix),
        "rules": asdict(options.row.rules),
        "phases": phases,
        "steps": scene.steps,
        "ledger": dict(audited),
        "missing": [str(one) for one in scene.book.missing],
        "by_deleted_release": [asdict(answer) for answer in deleted[:100]],
        "failures": [asdict(answer) for answer in answers if answer.failure][:1000],
        "client": {
            "cpu_percent_of_a_core": round(100 * scene.cpu / scene.end, 1),
            "cpu_ms_per_request": round(1000 * scene.cpu / max(1, len(answers)), 3),
            "late_ms": late_ms,
            "waited_for_cpu_seconds": round(scene.waited, 1),
            "connections_opened": scene.opened,
        },
        "notes": scene.notes,
        "breaches": breaches,
    }


def since_commands(steps: Sequence[dict[str, Any]], answers: Sequence[figures.Answer]) -> None:
    """Note in each step that is a command how long after its start a row was written, and a server answered that never had.

    A new server is the doing of the command that began last.
    """
    commands = [step for step in steps if step["exit_code"] is not None]
    for step, following in zip_longest(commands, commands[1:]):
        end = following["start"] if following else math.inf
        step["first_row_seconds"] = figures.first_after(answers, step["start"], figures.ROWS)
        new = figures.first_by_a_new_server(answers, step["start"], end)
        step["new_server"] = {"name": new[0], "seconds": new[1]} if new else None


async def _look_around(
    client: Client, wanted: Mapping[str, float], notes: list[str]
) -> tuple[dict[str, float], list[int]]:
    """The mix of requests that this fleet can answer, and the courses it offers."""
    try:
        response = await client.request("GET", "/api/courses", kept=True)
        if response.status != 200:
            raise Refused(f"the fleet isn't well before anything began: GET /api/courses answers {response.status}")
        slow = await client.request("GET", "/api/slow?seconds=0", kept=True)
    except Failed as failure:
        raise Refused(f"the fleet can't be reached before anything began: {failure.kind}") from failure
    mix = dict(wanted)
    if slow.status == 404:
        notes.append("the release that runs knows no /api/slow: no long requests in this run")
        for kind in SLOW_KINDS:
            mix.pop(kind, None)
    return mix, [int(course["id"]) for course in json.loads(response.body)["data"]]


async def _rounds(
    options: Options, stage: Stage, clock: Callable[[], float], notes: list[str]
) -> list[dict[str, Any]]:
    """Carry out the row's steps as often as was asked for; what comes after one that went wrong is left out."""
    row = options.row
    told: list[dict[str, Any]] = []
    for number in range(options.times):
        for step in row.steps:
            told.append(await _step(step, stage, clock))
            if told[-1]["error"] or (told[-1]["exit_code"] and not row.rules.command_fails):
                notes.append(f"what comes after {step.name} of round {number + 1} of {options.times} was left out")
                return told + [await _step(step, stage, clock) for step in row.closing]
    return told + [await _step(step, stage, clock) for step in row.closing]


async def _step(step: Step, stage: Stage, clock: Callable[[], float]) -> dict[str, Any]:
    start, codes = clock(), len(stage.exit_codes)
    error = ""
    try:
        await asyncio.to_thread(step.run, stage)
    except Exception as trouble:
        # Whatever it was, the load has to be counted to its end and the report written.
        error = f"{type(trouble).__name__}: {trouble}"
    code = stage.exit_codes[-1] if len(stage.exit_codes) > codes else None
    return {"name": step.name, "start": start, "end": clock(), "exit_code": code, "error": error}


def write(lab: Lab, options: Options, told: dict[str, Any]) -> str:
    """Report, table, and when something broke the journals of all hosts, in the run's folder; the table."""
    if told["breaches"]:
        lab.collect_logs(options.folder / "hosts")
        told["notes"].append(f"journals of all hosts: {options.folder / 'hosts'}")
    (options.folder / "report.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    text = report.table(told)
    (options.folder / "report.txt").write_text(text, encoding="utf-8")
    return text
