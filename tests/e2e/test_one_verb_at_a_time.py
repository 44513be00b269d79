# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""While one verb changes the fleet, a second is refused before it changed anything; one that was killed holds nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import site
from plugins.module_utils.fleet_lock import parse_lock
from tests.e2e.support.lab import ROOT, Lab, begun
from tests.e2e.support.waiting import until

FAST = site.environment(Path(sys.prefix), accelerate=True)


@contextmanager
def holding(lab: Lab, playbook: str) -> Iterator[int]:
    """A run that stands still from the moment when it holds the fleet, and is killed at the end."""
    lock = lab.ca_file.parents[1] / "fleet.lock"
    with begun(playbook, env=FAST) as process:
        until("it holds the fleet", lambda: process.pid in [holder.pid for holder in parse_lock(lock.read_text())], seconds=60, every=0.02)
        os.kill(process.pid, signal.SIGSTOP)
        yield process.pid
        os.killpg(process.pid, signal.SIGKILL)


VERBS = {
    "deploy": [],
    "drain": ["-e", "fleet_host=app1"],
    "scale": ["-e", "fleet_tier=app_servers", "-e", "fleet_count=3"],
    "redis_scale": [],
    "failover": [],
    "mysql": [],
}


def test_a_second_verb_is_refused_and_a_killed_one_holds_nothing(lab: Lab) -> None:
    before = lab.containers()
    with holding(lab, "site") as pid:
        for verb, options in VERBS.items():
            run = lab.play(f"playbooks/{verb}.yml", *options, env=FAST)
            assert run.code != 0, verb
            assert f"as process {pid}; wait for it to end, or end it (kill -INT {pid})" in run.messages, f"{verb}: {run.messages}"
            assert run.changed == {}, verb
        assert sorted(lab.containers()) == sorted(before)
        assert not (ROOT / "inventories/lab/scaled.yml").exists()
        looked = lab.play("playbooks/switchover.yml", "--check", env=FAST)
        assert "has held the fleet" not in looked.messages, "check mode waits for nobody"
    undrained = lab.play("playbooks/undrain.yml", "-e", "fleet_host=app1", env=FAST)
    assert undrained.code == 0, undrained.messages


@pytest.mark.parametrize("verb", ["deploy", "drain"])
def test_a_dead_primary_is_replaced_beside_a_verb_that_leaves_the_databases_alone(lab: Lab, verb: str) -> None:
    with holding(lab, verb):
        run = lab.play("playbooks/failover.yml", env=FAST)
        assert run.code != 0
        assert "there is nothing to fail over" in run.messages, "it came as far as the databases"
