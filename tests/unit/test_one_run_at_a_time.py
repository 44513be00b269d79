# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every playbook that changes a fleet takes its lock before it changes anything; those that only look don't."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.fleet_lock import Holder, lock_text, process_began

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
LOOKING = {"plan", "report", "status"}
# Shared by two verbs, which come first with preflight.yml.
SHARED = {"rollout"}
# What may come before the lock: nothing of it changes a host, or a file of the control node.
HARMLESS = {
    "ansible.builtin.assert", "ansible.builtin.set_fact", "ansible.builtin.import_role", "ansible.builtin.debug",
}  # fmt: skip
HARMLESS_FILES = {"parts/autoscale_look.yml"}


def tasks_of(playbook: Path) -> Iterator[dict[str, Any]]:
    """The tasks as they come, of imported playbooks too; roles are one task that may change anything."""
    for play in yaml.safe_load(playbook.read_text("utf-8")):
        if "ansible.builtin.import_playbook" in play:
            yield from tasks_of(playbook.parent / play["ansible.builtin.import_playbook"])
            continue
        yield from play.get("pre_tasks", [])
        yield from ({"a role": role} for role in play.get("roles", []))
        yield from play.get("tasks", [])


def locks(task: dict[str, Any]) -> bool:
    return "graphic_school.scaling.fleet_lock" in task or task.get("ansible.builtin.import_tasks") in {"parts/lock.yml", "lock.yml"}


@pytest.mark.parametrize("name", sorted({path.stem for path in PLAYBOOKS.glob("*.yml")} - LOOKING - SHARED))
def test_the_lock_comes_before_the_first_change(name: str) -> None:
    for task in tasks_of(PLAYBOOKS / f"{name}.yml"):
        if locks(task):
            return
        assert HARMLESS & set(task) or task.get("ansible.builtin.import_tasks") in HARMLESS_FILES, f"{task} comes before the lock"
    pytest.fail("it takes no lock")


@pytest.mark.parametrize("name", sorted(LOOKING))
def test_who_only_looks_needs_no_lock(name: str) -> None:
    assert not any(locks(task) for task in tasks_of(PLAYBOOKS / f"{name}.yml"))


def command(inventory: Path, secrets: Path, name: str, *options: str) -> list[str | Path]:
    program = Path(sys.executable).parent / "ansible-playbook"
    return [program, "-i", inventory, PLAYBOOKS / f"{name}.yml", "-e", f"fleet_secrets_dir={secrets}", *options]


def surroundings() -> dict[str, str]:
    return os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def hold(secrets: Path, pid: int) -> str:
    """Have the process hold the fleet as site.yml; returns what the lock says then."""
    secrets.mkdir()
    text = lock_text([Holder(pid, process_began(pid), socket.gethostname(), "site", "2026-01-01T00:00:00Z")])
    (secrets / "fleet.lock").write_text(text)
    return text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scale", ["-e", "fleet_tier=app_servers", "-e", "fleet_count=3"]),
        ("mysql", ["--limit", "db2"]),
        ("failover", []),
    ],
)
def test_a_second_run_is_refused_before_it_asks_or_writes_anything(name: str, options: list[str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "inventories/example", tmp_path / "inventory")
    before = sorted(tmp_path.rglob("*"))
    secrets, pid = tmp_path / "secrets", os.getpid()
    text = hold(secrets, pid)
    words = command(tmp_path / "inventory", secrets, name, *options)
    run = subprocess.run(words, cwd=ROOT, env=surroundings(), capture_output=True, text=True, timeout=120, check=False)
    said = " ".join((run.stdout + run.stderr).split())
    assert run.returncode != 0
    assert f"site has held the fleet since 2026-01-01T00:00:00Z, as process {pid}; wait for it to end, or end it (kill -INT {pid})" in said
    assert "unreachable=0" in said, "no host was asked"
    assert (secrets / "fleet.lock").read_text() == text
    assert sorted(path for path in tmp_path.rglob("*") if secrets not in (path, *path.parents)) == before


def test_a_run_that_waited_sees_the_hosts_that_came_meanwhile(tmp_path: Path) -> None:
    inventory, secrets = tmp_path / "inventory", tmp_path / "secrets"
    shutil.copytree(ROOT / "inventories/example", inventory)
    with subprocess.Popen(["sleep", "300"]) as other:
        hold(secrets, other.pid)
        words = command(inventory, secrets, "preflight", "-e", "preflight_lock_patience_seconds=60")
        with subprocess.Popen(words, cwd=ROOT, env=surroundings(), stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            for line in run.stdout:
                if "Let nobody else" in line:
                    (inventory / "scaled.yml").write_text("app_servers: {hosts: {app99: {ansible_host: 192.0.2.99}}}\n")
                    other.kill()
                    other.wait()
            assert run.wait(60) == 0
    assert (secrets / "pki/hosts/lb1.pem").exists()
    assert (secrets / "pki/hosts/app99.pem").exists()
