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

from plugins.module_utils.fleet_lock import (
    ANY,
    FleetLockError,
    Holder,
    lock_text,
    parse_lock,
    process_began,
    refusal,
    taken,
    verb_of,
)

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


def test_a_lock_can_be_read_again_and_a_broken_line_counts_as_none() -> None:
    assert parse_lock(lock_text([HOLDER, ME])) == (HOLDER, ME)
    assert [parse_lock(text) for text in ("", "{", "[]", '{"pid": "x"}')] == [()] * 4
    assert parse_lock("{\n" + lock_text([ME])) == (ME,)


def both_live(pid: int) -> str:
    return {HOLDER.pid: HOLDER.began, ME.pid: ME.began}[pid]


def test_taking_it_again_changes_nothing() -> None:
    assert taken("", ME, "/l", both_live) == (ME,)
    assert taken(lock_text([ME]), ME, "/l", both_live) == (ME,)


def test_who_died_is_forgotten() -> None:
    assert taken(lock_text([HOLDER]), ME, "/l", lambda _pid: "") == (ME,)


@pytest.mark.parametrize("beside", [[], ["rollback"]], ids=["it waits for all", "it waits for this verb"])
def test_two_runs_at_a_time_are_refused(beside: list[str]) -> None:
    with pytest.raises(FleetLockError, match=r"deploy has held the fleet since .* as process 100; wait for it to end"):
        taken(lock_text([HOLDER]), ME, "/l", both_live, beside)


@pytest.mark.parametrize("beside", [["deploy"], [ANY]])
def test_whoever_goes_on_beside_another_keeps_that_ones_lock(beside: list[str]) -> None:
    together = taken(lock_text([HOLDER]), ME, "/l", both_live, beside)
    assert together == (HOLDER, ME)
    third = replace(ME, pid=300, began="7000", verb="failover")
    with pytest.raises(FleetLockError, match="site has held the fleet"):
        taken(lock_text(together), third, "/l", both_live, ["deploy"])


@pytest.mark.parametrize(
    ("playbooks", "verb"),
    [
        pytest.param(["playbooks/deploy.yml"], "deploy", id="a file"),
        pytest.param(["graphic_school.scaling.deploy"], "deploy", id="its full name"),
        pytest.param(["/srv/night.yaml", "graphic_school.scaling.site"], "night+site", id="several"),
        pytest.param([], "ansible-playbook", id="none that is known"),
    ],
)
def test_a_run_is_called_like_its_playbooks(playbooks: list[str], verb: str) -> None:
    assert verb_of(playbooks) == verb


def test_a_process_that_ended_never_began() -> None:
    assert process_began(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert process_began(process.pid) == ""


def test_a_process_that_ended_and_that_nobody_waited_for_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process_began(process.pid) == ""
