# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: load before, the row's steps under load, load after, the audit, the verdict."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import ssl
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.e2e.ledger import figures, report, verdict
from tests.e2e.ledger.audit import Audit
from tests.e2e.ledger.book import Book
from tests.e2e.ledger.http1 import Client, Failed
from tests.e2e.ledger.load import Load
from tests.e2e.ledger.releases import WATCH, ReleaseLog, watch
from tests.e2e.ledger.rows import Row
from tests.e2e.ledger.schedule import KEPT_SHARE, MIX, arrivals
from tests.e2e.ledger.steps import Stage, the_mysql_primary
from tests.e2e.support.lab import Lab
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
    tidy: bool = True


def check(options: Options, vip: str) -> None:
    """Refuse a run that would meet somebody else, or never end."""
    if ipaddress.ip_address(vip) not in LAB_NETWORK:
        raise Refused(f"load goes only to the lab, {LAB_NETWORK}, not to {vip}")
    if not 0 < options.rate <= RATE_LIMIT:
        raise Refused(f"the rate must be above 0 and at most {RATE_LIMIT:g} requests/s, not {options.rate:g}")
    if not 0 < options.most_seconds <= LONGEST_RUN:
        raise Refused(f"a run may take up to {LONGEST_RUN:g} s, not {options.most_seconds:g}")


@dataclass
class Moments:
    """When the steps began and ended, in seconds after the start of the load."""

    verb_start: float = 0.0
    verb_end: float = 0.0
    end: float = float("inf")


async def run(lab: Lab, options: Options) -> dict[str, Any]:
    """The report of the run; the caller writes it."""
    check(options, lab.vip)
    tls = ssl.create_default_context(cafile=str(lab.ca_file))
    tls.set_alpn_protocols(["http/1.1"])
    client = Client(lab.vip, lab.domain, tls)
    notes: list[str] = []
    mix, courses = await _look_around(client, notes)
    book = Book(f"ledger-{int(time.time())}-{os.getpid()}")
    begin = time.monotonic()

    def clock() -> float:
        return time.monotonic() - begin

    releases = ReleaseLog()
    watchers = [
        asyncio.create_task(watch(lab.ssh_words(host, WATCH.format(root=APP_ROOT)), host, releases, clock))
        for host in lab.tier("app_servers")
    ]
    load = Load(client, book, clock, courses, seed=options.seed)
    moments = Moments()
    total = options.before_seconds + options.most_seconds + options.after_seconds
    schedule = arrivals(options.rate, total, mix=mix, seed=options.seed)
    opened, cpu = client.opened, time.process_time()
    sending = asyncio.create_task(load.follow(schedule, lambda: clock() >= moments.end))
    stage = Stage(
        lab, options.folder / "commands.log", options.arguments, options.hold_seconds, options.most_seconds
    )
    try:
        await asyncio.sleep(options.before_seconds)
        moments.verb_start = clock()
        steps = await _steps(options.row, stage, clock, notes)
        moments.verb_end = clock()
        await asyncio.sleep(options.after_seconds)
        moments.end = clock()
        await sending
        await load.finish()
        cpu = time.process_time() - cpu
        opened = client.opened - opened
        primary = await asyncio.to_thread(until, "MySQL has a primary", lambda: the_mysql_primary(lab), seconds=60)
        audit = Audit(lab, client, book, primary, clock)
        audited = await audit.run()
        if options.tidy:
            with suppress(Failed):
                await audit.tidy()
    except asyncio.CancelledError:
        stage.interrupted.set()
        raise
    finally:
        for watcher in watchers:
            watcher.cancel()
        sending.cancel()
        await asyncio.gather(*watchers, sending, return_exceptions=True)
        client.close()
    if unwatched := sorted(set(lab.tier("app_servers")) - set(releases.hosts)):
        notes.append(f"nobody saw which releases were deleted on {', '.join(unwatched)}")

    answers = sorted(load.answers, key=lambda answer: answer.at)
    phases = figures.by_phase(answers, moments.verb_start, moments.verb_end, moments.end)
    deleted = releases.by_deleted(answers)
    late = sorted(load.late)
    late_ms = {n: round(figures.percentile(late, s) * 1000, 1) for n, s in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    breaches = verdict.breaches(
        options.row.rules,
        phases,
        book.missing,
        deleted=len(deleted),
        exit_codes=stage.exit_codes,
        client_late_ms=late_ms["p99"],
    )
    breaches += [f"{step['name']}: {step['error']}" for step in steps if step["error"]]
    return {
        "name": options.name,
        "about": options.row.about,
        "prefix": book.prefix,
        "rate": options.rate,
        "seed": options.seed,
        "kept_share": KEPT_SHARE,
        "mix": dict(mix),
        "rules": asdict(options.row.rules),
        "phases": phases,
        "steps": steps,
        "ledger": audited,
        "missing": [str(one) for one in book.missing],
        "by_deleted_release": [asdict(answer) for answer in deleted[:100]],
        "failures": [asdict(answer) for answer in answers if answer.failure][:1000],
        "client": {
            "cpu_percent_of_a_core": round(100 * cpu / moments.end, 1),
            "cpu_ms_per_request": round(1000 * cpu / max(1, len(answers)), 3),
            "late_ms": late_ms,
            "connections_opened": opened,
        },
        "notes": notes,
        "breaches": breaches,
    }


async def _look_around(client: Client, notes: list[str]) -> tuple[dict[str, float], list[int]]:
    """The mix of requests that this fleet can answer, and the courses it offers."""
    try:
        response = await client.request("GET", "/api/courses", kept=True)
        if response.status != 200:
            raise Refused(f"the fleet isn't well before anything began: GET /api/courses answers {response.status}")
        slow = await client.request("GET", "/api/slow?seconds=0", kept=True)
    except Failed as failure:
        raise Refused(f"the fleet can't be reached before anything began: {failure.kind}") from failure
    mix = dict(MIX)
    if slow.status == 404:
        notes.append("the release that runs knows no /api/slow: no long requests in this run")
        for kind in SLOW_KINDS:
            mix.pop(kind)
    return mix, [int(course["id"]) for course in json.loads(response.body)["data"]]


async def _steps(row: Row, stage: Stage, clock: Any, notes: list[str]) -> list[dict[str, Any]]:
    """Carry out the steps; those after one that went wrong are left out, but the fleet is given time to be whole."""
    told: list[dict[str, Any]] = []
    for step in row.steps:
        start, codes = clock(), len(stage.exit_codes)
        error = ""
        try:
            await asyncio.to_thread(step.run, stage)
        except (AssertionError, OSError, ValueError) as trouble:
            error = str(trouble)
        code = stage.exit_codes[-1] if len(stage.exit_codes) > codes else None
        told.append({"name": step.name, "start": start, "end": clock(), "exit_code": code, "error": error})
        if error or (code and not row.rules.command_fails):
            left = [other.name for other in row.steps[len(told) :]]
            if left:
                notes.append(f"left out after that: {'; '.join(left)}")
            break
    return told


def write(lab: Lab, options: Options, told: dict[str, Any]) -> str:
    """Report, table, and when something broke the journals of all hosts, in the run's folder; the table."""
    if told["breaches"]:
        lab.collect_logs(options.folder / "hosts")
        told["notes"].append(f"journals of all hosts: {options.folder / 'hosts'}")
    (options.folder / "report.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    text = report.table(told)
    (options.folder / "report.txt").write_text(text, encoding="utf-8")
    return text
