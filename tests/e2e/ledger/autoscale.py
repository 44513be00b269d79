# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler under real load: a step of the ledger that presses until servers come, stops, and waits until they are gone.

The pressure is work that more hosts really take over: requests that occupy a PHP process for a second, more of them than two servers
have processes for, or more jobs than the workers do. So response times and queues fall when hosts come, and the machine that
plays the whole fleet needs few processor cycles for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.ledger.http1 import Client, Failed
from tests.e2e.ledger.steps import Stage, Step
from tests.e2e.support.lab import ROOT, Lab
from tests.e2e.support.monitoring import first_above, prometheus, value

# Of the autoscaler's own parts: how long each may take at the most.
OUT_SECONDS, BACK_SECONDS = 420.0, 600.0
P95 = "fleet:response_time_overall:p95_seconds"
QUEUE = "sum(fleet:queue_length:jobs)"
PROCESSES = "sum(fleet:queue_workers:count)"


@dataclass
class Pressure:
    """Requests at a fixed rate from a thread of its own; what became of them."""

    lab: Lab
    method: str
    path: str
    rate: float
    most: int = 1_000_000
    body: Callable[[int], bytes] = lambda number: b""
    right: int = 200
    servers: dict[str, float] = field(default_factory=dict)  # name → when it first answered, seconds since 1970
    sent: int = 0
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread:
            self._thread.join(90)

    async def _send(self) -> None:
        tls = ssl.create_default_context(cafile=str(self.lab.ca_file))
        tls.set_alpn_protocols(["http/1.1"])
        client = Client(self.lab.vip, self.lab.domain, tls)
        begin, tasks = time.monotonic(), set()
        while not self._over.is_set() and self.sent < self.most:
            due = int((time.monotonic() - begin) * self.rate)
            while self.sent < min(due, self.most):
                task = asyncio.create_task(self._one(client, self.sent))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                self.sent += 1
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        client.close()

    async def _one(self, client: Client, number: int) -> None:
        headers = {"Content-Type": "application/json"} if self.method == "POST" else {}
        try:
            answer = await client.request(
                self.method, self.path, kept=True, headers=headers, body=self.body(number), seconds=60
            )
        except Failed as failure:
            self.failures.append(str(failure))
            return
        if answer.status != self.right:
            self.failures.append(f"status {answer.status}")
            return
        self.answered += 1
        if self.method == "GET":
            self.servers.setdefault(json.loads(answer.body)["server"], time.time())


@contextmanager
def autoscaler(stage: Stage, marker: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """`make autoscale` while the block lasts; all its programs have C(marker) as E2E_RUN in their environment."""
    with (stage.log.parent / "autoscale.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab", "autoscale", "--interval", "10"], cwd=ROOT, env={**os.environ, "E2E_RUN": marker},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)  # a run in the background ignores SIGINT, and so do its children
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def looks(tier: str, since: float) -> list[dict[str, Any]]:
    """What was decided about the tier since then, newest first, from the control node's own file."""
    file = ROOT / ".lab" / "secrets" / "autoscale" / "decisions.json"
    rows = json.loads(file.read_text("utf-8")) if file.exists() else []
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    return [row for row in rows if row["tier"] == tier and row["time"] >= when]


def decisions(tier: str, since: float) -> list[dict[str, Any]]:
    """Of these what is not only to hold, oldest first."""
    return [row for row in reversed(looks(tier, since)) if row["action"] != "hold"]


def still_runs(process: subprocess.Popen[bytes], stage: Stage) -> None:
    assert process.poll() is None, f"the autoscaler ended with {process.returncode}, see {stage.log.parent / 'autoscale.log'}"


def wait_for(stage: Stage, what: str, true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if stage.interrupted.wait(1):
            raise AssertionError(f"interrupted while waiting: {what}")
        assert time.monotonic() < deadline, f"within {seconds:g} s: {what}"


def settled(tier: str, since: float, hosts: int) -> bool:
    """Whether the last that was done to the tier has ended, well, with so many hosts."""
    done = decisions(tier, since)
    return bool(done) and done[-1]["desired"] == hosts and "finished" in done[-1] and not done[-1].get("failed")


def _report(stage: Stage, tier: str, since: float) -> None:
    for row in decisions(tier, since):
        processes = row.get("processes")
        more = f", processes {processes['current']} → {processes['desired']}" if processes else ""
        stage.note(f"{row['time']} {row['action']} {row['current']} → {row['desired']}{more}: {row['reason']}")


def servers_follow_the_load(rate: float = 24.0, limit: float = 2.0) -> Step:
    """From two app servers: requests that two can't serve, until response time is under the limit; then none, until there are two."""

    def run(stage: Stage) -> None:
        asked = prometheus(stage.lab)
        pressure = Pressure(stage.lab, "GET", "/api/slow?seconds=1", rate)
        since = time.time()
        with autoscaler(stage) as process:
            try:
                pressure.start()
                begun = {*stage.lab.tier("app_servers")}
                wait_for(stage, "a new app server answers", lambda: bool({*pressure.servers} - begun), OUT_SECONDS)
                trigger = first_above(asked, P95, limit, since, time.time())
                first = min(when for name, when in pressure.servers.items() if name not in begun)
                if trigger is not None:
                    stage.note(f"{first - trigger:.1f} s from the first sample above {limit:g} s to the new server's first answer")
                wait_for(
                    stage, f"response time falls below {limit:g} s",
                    lambda: (value(asked, P95) or 0.0) < limit, OUT_SECONDS,
                )  # fmt: skip
                stage.note(f"response time is below {limit:g} s {time.time() - since:.0f} s after the load began")
            finally:
                pressure.stop()
            stage.note(f"{pressure.sent} requests of a second each, {len(pressure.failures)} failed: {pressure.failures[:3]}")
            wait_for(stage, "two app servers are left", lambda: settled("app_servers", since, 2), BACK_SECONDS)
            _report(stage, "app_servers", since)
            still_runs(process, stage)
        stage.exit_codes.append(1 if pressure.failures else 0)

    return Step("make autoscale, and more requests than two app servers can serve", run)


def workers_follow_the_queue(jobs: int = 5000, rate: float = 25.0) -> Step:
    """Jobs by the thousand: first more processes, then more hosts, until the queue is empty and everything is as before."""

    def run(stage: Stage) -> None:
        asked = prometheus(stage.lab)
        key = f"flood-{int(time.time())}"

        def job(number: int) -> bytes:
            return json.dumps({"queue": "default", "seconds": 0.5, "key": f"{key}-{number}"}).encode()

        pressure = Pressure(stage.lab, "POST", "/api/jobs", rate, most=jobs, body=job, right=202)
        since = time.time()
        with autoscaler(stage) as process:
            # What the beginning has more of than an idle fleet needs is taken back first, so that there is something to raise.
            wait_for(
                stage, "workers run as many processes as an idle fleet needs",
                lambda: (value(asked, PROCESSES) or 0.0) == 2, BACK_SECONDS,
            )  # fmt: skip
            flooded = time.time()
            try:
                pressure.start()
                wait_for(
                    stage, "a worker host is added",
                    lambda: any(row["desired"] > 1 and "finished" in row for row in decisions("queue_workers", flooded)), OUT_SECONDS,
                )  # fmt: skip
                wait_for(stage, "every job was sent", lambda: pressure.sent >= jobs, OUT_SECONDS)
                wait_for(stage, "the queue is empty", lambda: (value(asked, QUEUE) or 0.0) < 1, BACK_SECONDS)
                stage.note(f"the queue is empty {time.time() - flooded:.0f} s after the flood began")
            finally:
                pressure.stop()
            wait_for(stage, "one worker host is left", lambda: settled("queue_workers", flooded, 1), BACK_SECONDS)
            _report(stage, "queue_workers", since)
            still_runs(process, stage)
        counts = [row["processes"] for row in decisions("queue_workers", flooded)]
        assert any(count["desired"] > count["current"] for count in counts), f"processes were raised on the way, not: {counts}"
        stage.exit_codes.append(1 if pressure.failures else 0)

    return Step("make autoscale, and a flood of jobs", run)
