# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The witness notices that the machine stood still, and only what was under way then is void."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.e2e.support import witness as module
from tests.e2e.support.load import LightLoad
from tests.e2e.support.witness import Witness, witness


def test_a_pause_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def popen(*words: object, **options: object) -> object:
        process = original(*words, **options)
        started.append(process.pid)
        return process

    original = module.subprocess.Popen
    monkeypatch.setattr(module.subprocess, "Popen", popen)
    with witness(tmp_path / "stalls") as watching:
        time.sleep(0.8)
        assert watching.stalls == []
        begin = time.time()
        os.kill(started[0], signal.SIGSTOP)
        time.sleep(0.9)
        os.kill(started[0], signal.SIGCONT)
        deadline = time.monotonic() + 5
        while not watching.stalls and time.monotonic() < deadline:
            time.sleep(0.02)
        (stall,) = watching.stalls
        assert begin - 0.2 < stall.begin < stall.end < time.time() + 0.1
        assert watching.disturbed(begin + 0.3, begin + 0.4)
        assert not watching.disturbed(begin - 60, begin - 10)
        assert not watching.disturbed(stall.end + module.SETTLING_SECONDS + 0.1, stall.end + 60)


@pytest.mark.parametrize(("stalled", "void"), [pytest.param(True, 1, id="still"), pytest.param(False, 0, id="running")])
def test_only_a_machine_that_stood_still_makes_a_failure_void(tmp_path: Path, stalled: bool, void: int) -> None:
    record = tmp_path / "stalls"
    now = time.time()
    record.write_text(json.dumps([now - 1, now + 5] if stalled else [now - 60, now - 50]) + "\n")

    def get(path: str) -> object:
        if path == "/api/courses":
            return SimpleNamespace(json=lambda: {"data": [{"id": 1}]})
        load.stop.set()
        raise httpx.ReadTimeout("no answer")

    load = LightLoad([SimpleNamespace(get=get)], Witness(record), pause=0.01, write_every=0)  # type: ignore[list-item]
    if stalled:
        with pytest.warns(UserWarning, match="stood still"), load:
            load.stop.wait(5)
    else:
        with load:
            load.stop.wait(5)
    assert (len(load.void), len(load.failed)) == (void, 1 - void)
