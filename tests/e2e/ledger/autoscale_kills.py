# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The autoscaler's own parts die under load: the host that watches, Prometheus and Alertmanager, the loop in the middle of scaling."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from plugins.module_utils.prometheus_client import Prometheus
from tests.e2e.ledger.autoscale import OUT_SECONDS, Pressure, autoscaler, decisions, looks, wait_for
from tests.e2e.ledger.steps import Stage, Step
from tests.e2e.support.lab import ROOT, Lab
from tests.e2e.support.monitoring import prometheus

TIER = "app_servers"
SCALED = ROOT / "inventories" / "lab" / "scaled.yml"
WATCHERS = ("prometheus", "prometheus-alertmanager")


@contextmanager
def loop(stage: Stage) -> Iterator[str]:
    """The autoscaler; the word that all its programs have in their environment. What is left of it at the end is killed."""
    marker = uuid.uuid4().hex
    try:
        with autoscaler(stage, marker):
            yield marker
    finally:
        kill(marker)


def programs(marker: str) -> list[int]:
    """Everything that the loop started, and itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"E2E_RUN={marker}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def kill(marker: str) -> int:
    """As when its machine loses its power: nothing is given back."""
    killed = 0
    while pids := programs(marker):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.1)
    return killed


def newest(since: float) -> dict[str, Any]:
    """The newest decision about the application servers since then, also to hold; empty when there is none."""
    return next(iter(looks(TIER, since)), {})


def held_without_answers(since: float) -> bool:
    row = newest(since)
    assert row.get("action", "hold") == "hold", f"nothing is changed blindly, not: {row['reason']}"
    return "blindly" in row.get("reason", "")


def knows_again(since: float) -> bool:
    row = newest(since)
    return bool(row) and "blindly" not in row["reason"] and "missing" not in row["reason"]


def under_way(since: float) -> bool:
    """Whether a run that adds servers is in the middle: the first is in the inventory, and none is told to the balancers yet."""
    done = decisions(TIER, since)
    begun = bool(done) and done[-1]["action"] == "out" and "finished" not in done[-1]
    return begun and SCALED.exists() and "joining" in SCALED.read_text("utf-8")


def active(lab: Lab, host: str) -> bool:
    states = lab.ssh(host, f"systemctl is-active {' '.join(WATCHERS)}", check=False).split()
    return states == ["active"] * len(WATCHERS)


def serving(asked: Prometheus) -> set[str]:
    """The servers that answered requests in the last half minute."""
    return {one.labels["upstream"] for one in asked.query("fleet:requests:rate > 0") if one.labels["upstream"] != "none"}


def parts_die(rate: float = 24.0) -> Step:
    """Each part dies while the fleet serves; then so much comes that servers are needed, and the loop dies while it adds them."""

    def run(stage: Stage) -> None:
        lab, watcher = stage.lab, stage.lab.tier("monitoring")[0]
        asked = prometheus(lab)
        with loop(stage) as marker:
            since = time.time()
            wait_for(stage, "the loop decides", lambda: knows_again(since), OUT_SECONDS)
            with lab.dead(watcher):
                away = time.time()
                wait_for(stage, "it holds while nobody answers", lambda: held_without_answers(away), OUT_SECONDS)
                stage.note(f"{watcher} is dead: {newest(away)['reason']}")
            back = time.time()
            wait_for(stage, f"it decides again after {watcher} is back", lambda: knows_again(back), OUT_SECONDS)
            stage.note(f"decides again {time.time() - back:.0f} s after {watcher} has booted: {newest(back)['reason']}")
            # By themselves they come back.
            lab.ssh(watcher, f"systemctl kill --signal=KILL {' '.join(WATCHERS)}")
            killed = time.time()
            wait_for(stage, f"{' and '.join(WATCHERS)} run again", lambda: active(lab, watcher), OUT_SECONDS)
            back = time.time()
            wait_for(stage, f"it decides after {' and '.join(WATCHERS)} were killed", lambda: knows_again(back), OUT_SECONDS)
            stage.note(f"both ran again {back - killed:.0f} s after kill -9, and it decided after {time.time() - killed:.0f} s")

            pressure = Pressure(lab, "GET", "/api/slow?seconds=1", rate)
            begun = {*lab.tier(TIER)}
            pressed = time.time()
            try:
                pressure.start()
                wait_for(stage, "servers are being added", lambda: under_way(pressed), OUT_SECONDS)
                stage.note(f"killed {kill(marker)} programs of the loop while it added servers: {decisions(TIER, pressed)[-1]['reason']}")
            finally:
                # Two servers can't bear it for long: what is asked here is whether the loop finishes what it began.
                pressure.stop()
            again = time.time()
            with loop(stage):
                wait_for(stage, "what was begun is finished", lambda: any(
                    row.get("resumes") and "finished" in row and not row.get("failed") for row in decisions(TIER, pressed)
                ), OUT_SECONDS)  # fmt: skip
                stage.note(f"finished {time.time() - again:.0f} s after the loop was started again")
                wait_for(stage, "new servers answer", lambda: bool(serving(asked) - begun), OUT_SECONDS)
                stage.note(f"{', '.join(sorted(serving(asked)))} answer")
            stage.note(f"{pressure.sent} requests of a second each, {len(pressure.failures)} failed: {pressure.failures[:3]}")
        for row in decisions(TIER, since):
            stage.note(f"{row['time']} {row['action']} {row['current']} → {row['desired']}: {row['reason']}")
        stage.exit_codes.append(1 if pressure.failures else 0)

    return Step("make autoscale, and each of its parts dies", run)
