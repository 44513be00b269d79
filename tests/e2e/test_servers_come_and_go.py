# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scale.yml adds an app server and takes it away again under load: no request fails, sessions go on, nothing is left over."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from lab import site
from tests.e2e.support.lab import ROOT, Lab, Run
from tests.e2e.support.web import Visitor

FAST = site.environment(Path(sys.prefix), accelerate=True)
NAME = "app3"
CLIENTS, PAUSE_SECONDS = 3, 0.15


class Load:
    """Clients that ask on and on, each with a session of its own and some of them for every answer on a new connection."""

    def __init__(self, visitors: list[Visitor]) -> None:
        self.visitors = visitors
        self.end = threading.Event()
        self.statuses: Counter[str] = Counter()
        self.first_seen: dict[str, float] = {}
        self.sessions: list[list[tuple[str, int]]] = [[] for _visitor in visitors]
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(len(visitors))]

    def _run(self, number: int) -> None:
        while not self.end.wait(PAUSE_SECONDS):
            try:
                answer = self.visitors[number].get("/api/whoami")
            except httpx.TransportError as error:
                self.statuses[repr(error)] += 1
                continue
            self.statuses[str(answer.status_code)] += 1
            if answer.status_code == 200:
                self.first_seen.setdefault(answer.headers["X-Served-By"], time.monotonic())
                told = answer.json()
                self.sessions[number].append((told["session_id_hash"], told["session_hits"]))

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.end.set()
        for thread in self.threads:
            thread.join(30)


def scale(lab: Lab, count: int) -> Run:
    run = lab.play("playbooks/scale.yml", "-e", "fleet_tier=app_servers", "-e", f"fleet_count={count}", env=FAST)
    assert run.code == 0, run.output[-6000:]
    return run


@pytest.fixture
def as_before(lab: Lab) -> Iterator[None]:
    yield
    if NAME in lab.containers():
        scale(lab, len(lab.tier("app_servers")))


def test_an_app_server_comes_and_goes_under_load(
    lab: Lab, visit: Callable[..., Visitor], app_servers: list[str], as_before: None
) -> None:
    visitors = [visit(http2=False, keepalive=bool(number)) for number in range(CLIENTS)]
    with Load(visitors) as load:
        begun = time.monotonic()
        scale(lab, len(app_servers) + 1)
        assert NAME in load.first_seen, f"{NAME} served nobody, only {sorted(load.first_seen)} did"
        served_after = load.first_seen[NAME] - begun
        gone = scale(lab, len(app_servers))
    assert set(load.statuses) == {"200"}, load.statuses
    for answers in load.sessions:
        assert len({session for session, _hits in answers}) == 1, "a client keeps its session"
        assert [hits for _session, hits in answers] == list(range(answers[0][1], answers[0][1] + len(answers)))
    assert served_after < 90, f"{NAME} served its first request {served_after:.0f} s after the command"
    assert NAME not in lab.containers()
    assert not (ROOT / "inventories/lab/scaled.yml").exists()
    assert gone.trouble == {}


def test_a_number_that_cannot_be_is_refused_before_anything_is_made(lab: Lab) -> None:
    before = lab.containers()
    run = lab.play("playbooks/scale.yml", "-e", "fleet_tier=app_servers", "-e", "fleet_count=99", env=FAST)
    assert run.code != 0
    assert "fleet_count of app_servers must be from 1 to 10, not: 99" in run.messages
    assert sorted(lab.containers()) == sorted(before)
