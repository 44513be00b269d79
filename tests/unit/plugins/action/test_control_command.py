# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command on the control node: what it says comes back, and a failure names the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]


def run(*options: str, **arguments: Any) -> str:
    command = [
        str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "localhost,", "-c", "local",
        "-m", "graphic_school.scaling.control_command", "-a", json.dumps(arguments), *options,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"argv": ["echo", "two words"]}, "two words", id="what it says comes back"),
        pytest.param({"argv": ["sh", "-c", "echo no power >&2; exit 3"]}, "ended with 3: no power", id="a failure says what it said"),
        pytest.param({"argv": ["/no/such/program"]}, "can't be run: No such file or directory", id="a missing program is named"),
        pytest.param({"argv": ["sleep", "20"], "seconds": 0.2}, "sleep 20 did not end within 0.2 s", id="it is bounded in time"),
    ],
)
def test_a_command_on_the_control_node(arguments: dict[str, Any], said: str) -> None:
    assert said in run(**arguments)


def test_check_mode_runs_nothing(tmp_path: Path) -> None:
    told = run("--check", argv=["touch", str(tmp_path / "file")])
    assert "CHANGED" in told
    assert not (tmp_path / "file").exists()
