# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rulebook in a real ansible-rulebook: who may call it, a storm is one look, time is one too, two loops are one.

Needs Java and ansible-rulebook (`make autoscale` once makes it): `pytest tests/integration/test_autoscaler_loop.py`, two minutes.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import autoscale, settings

FIRING = {"status": "firing", "alerts": [{"labels": {"alertname": "AutoscaleOut", "autoscale": "app_servers"}}]}
RESOLVED = FIRING | {"status": "resolved"}


def rulebook() -> Path | None:
    caches = (settings.cache_dir(), settings.system_cache_dir())
    made = [path for cache in caches for path in cache.glob("venv-rulebook-*/bin/ansible-rulebook")]
    found = shutil.which("ansible-rulebook")
    return made[0] if made else Path(found) if found else None


def the_rulebook() -> Path:
    """ansible-rulebook, which without Java does nothing; what is missing is a failure."""
    found = rulebook()
    if found is None or not shutil.which("java"):
        missing = "ansible-rulebook" if found is None else "Java"
        pytest.fail(f"{missing} is missing: `make proof` and `make autoscale` install Java and ansible-rulebook", pytrace=False)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Loop:
    """A running ansible-rulebook whose look is a line in a file."""

    folder: Path
    interval: int = 3600
    look_seconds: float = 0.0
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def looks(self) -> list[str]:
        """When it looked, one line each."""
        file = self.folder / "looks"
        return file.read_text().split() if file.exists() else []

    def start(self) -> Loop:
        rulebook = the_rulebook()
        venv = Path(sys.executable).parent.parent
        values = autoscale.variables(venv, self.interval, "127.0.0.1", self.port, dry_run=False)
        look = f"env > {self.folder}/environment; echo $$ >> {self.folder}/looks; sleep {self.look_seconds}"
        values |= {"autoscaler_command": ["sh", "-c", look], "autoscaler_directory": str(self.folder)}
        file = self.folder / f"variables-{self.port}.json"
        file.write_text(json.dumps(values))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(settings.ROOT / "ansible.cfg"),
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            autoscale.TOKEN_VARIABLE: "the-token",
        }
        with (self.folder / f"log-{self.port}").open("wb") as log:
            self.process = subprocess.Popen(
                autoscale.command(rulebook, self.folder / "loop.lock", file), env=environment, stdout=log, stderr=log
            )
        return self

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def post(self, payload: object, token: str | None = "the-token") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("POST", "/alerts", json.dumps(payload), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def until(what: str, true: object, seconds: float = 60) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"within {seconds} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    started = Loop(tmp_path_factory.mktemp("loop")).start()
    try:
        until("it listens", started.listens)
        # The clock's first look is at the beginning.
        until("it looks once", lambda: len(started.looks) == 1)
        yield started
    finally:
        started.end()


def test_the_look_is_a_run_as_a_person_would_start_it(loop: Loop) -> None:
    # ansible-runner's own run checks no host keys, and says what it does in a language of its own.
    names = {line.partition("=")[0] for line in (loop.folder / "environment").read_text().splitlines()}
    assert not {"ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_CALLBACK_PLUGINS", "ANSIBLE_CACHE_PLUGIN"} & names
    assert "ANSIBLE_CONFIG" in names


@pytest.mark.parametrize("token", [None, "another"], ids=["none", "another one"])
def test_nobody_without_the_token_makes_it_look(loop: Loop, token: str | None) -> None:
    before = len(loop.looks)
    assert loop.post(FIRING, token) == 401
    time.sleep(5)
    assert len(loop.looks) == before


def test_that_an_alert_is_over_is_no_reason_to_look(loop: Loop) -> None:
    before = len(loop.looks)
    assert loop.post(RESOLVED) == 200
    time.sleep(5)
    assert len(loop.looks) == before


def test_a_storm_of_alerts_is_one_look_and_a_later_alert_is_another(loop: Loop) -> None:
    before = len(loop.looks)
    with ThreadPoolExecutor(10) as pool:
        assert {*pool.map(loop.post, [FIRING] * 50)} == {200}
    until("it looks", lambda: len(loop.looks) > before)
    time.sleep(11)
    assert len(loop.looks) == before + 1
    loop.post(FIRING)
    until("it looks again", lambda: len(loop.looks) == before + 2)


def test_of_two_loops_one_works_and_the_other_waits_until_it_was_killed(tmp_path: Path) -> None:
    first = Loop(tmp_path).start()
    second = Loop(tmp_path)
    try:
        until("the first listens", first.listens)
        second.start()
        time.sleep(10)
        assert second.process is not None and second.process.poll() is None
        assert not second.listens()
        assert len(first.looks) == 1
        # As a machine that loses its power: nothing is given back.
        first.end()
        until("the second listens", second.listens)
        until("the second looks", lambda: len(second.looks) == 2)
    finally:
        first.end()
        second.end()


def test_a_look_that_comes_while_another_one_scales_costs_nothing(tmp_path: Path) -> None:
    loop = Loop(tmp_path, interval=1, look_seconds=20).start()
    try:
        until("it looks", lambda: len(loop.looks) == 1)
        time.sleep(12)
        assert len(loop.looks) == 1
        until("it looks again when the first look is over", lambda: len(loop.looks) == 2)
    finally:
        loop.end()
