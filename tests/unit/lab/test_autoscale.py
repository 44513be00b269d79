# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make autoscale` starts."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from lab import autoscale
from lab.shell import LabError


@pytest.mark.parametrize("text", ['vault_autoscaler_token: "abc123"\n', "vault_app_key: x\nvault_autoscaler_token: abc123\n"])
def test_the_token_is_the_one_that_alertmanager_has(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets.yml"
    file.write_text(text)
    assert autoscale.secret(file) == "abc123"


def test_a_fleet_without_a_token_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"vault_autoscaler_token is not in .*: run `make demo`"):
        autoscale.secret(tmp_path / "secrets.yml")


def test_it_listens_where_the_hosts_see_this_machine() -> None:
    assert autoscale.gateway("192.0.2.0/24") == "192.0.2.1"


def test_the_token_is_on_no_command_line_and_the_lock_is_held_by_the_process_itself(tmp_path: Path) -> None:
    words = autoscale.command(tmp_path / "ansible-rulebook", tmp_path / "lock", tmp_path / "variables.json")
    assert words[:4] == ["flock", "--no-fork", str(tmp_path / "lock"), str(tmp_path / "ansible-rulebook")]
    assert words[words.index("--env-vars") + 1] == "AUTOSCALER_TOKEN"


def test_it_is_seen_that_another_loop_runs(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not autoscale.held(lock)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert autoscale.held(lock)
    assert not autoscale.held(lock)
