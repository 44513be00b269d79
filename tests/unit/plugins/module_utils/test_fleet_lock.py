# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes a fleet, and one that was killed holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from plugins.module_utils.fleet_lock import Holder, holder_text, parse_holder, process_began, refusal

HOLDER = Holder(100, "5000", "control", "deploy", "2026-01-01T00:00:00Z")
ME = Holder(200, "6000", "control", "site", "2026-01-01T00:01:00Z")


@pytest.mark.parametrize(
    ("holder", "began"),
    [
        pytest.param(HOLDER, "", id="its process is gone"),
        pytest.param(HOLDER, "5900", id="another process got its number"),
        pytest.param(ME, "6000", id="it is this run's own"),
    ],
)
def test_a_lock_may_be_taken(holder: Holder, began: str) -> None:
    assert refusal(holder, ME, began, "/l") == ""


def test_a_run_that_lives_keeps_the_fleet() -> None:
    assert refusal(HOLDER, ME, "5000", "/l").startswith("deploy has held the fleet since 2026-01-01T00:00:00Z, as process 100; wait")


def test_another_control_node_cannot_be_asked() -> None:
    assert "as process 100 on elsewhere; wait for it, or, if nothing runs there any more, remove /l" in refusal(
        replace(HOLDER, host="elsewhere"), ME, "", "/l"
    )


def test_a_lock_can_be_read_again_and_a_broken_one_counts_as_none() -> None:
    assert parse_holder(holder_text(HOLDER)) == HOLDER
    assert [parse_holder(text) for text in ("", "{", "[]", '{"pid": "x"}')] == [None] * 4


def test_a_process_that_ended_never_began() -> None:
    assert process_began(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert process_began(process.pid) == ""
