# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's weight on this machine is changed for a run, and as it was afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.ledger.weights import evened, without_privilege


@pytest.mark.parametrize(
    ("before", "inside"),
    [
        pytest.param("1024\n", "12288", id="twelve hosts weigh as much as twelve processes"),
        pytest.param("50000\n", "50000", id="what is more than that already stays"),
    ],
)
def test_weights_are_put_back(tmp_path: Path, before: str, inside: str) -> None:
    shares = tmp_path / "cpu.shares"
    shares.write_text(before, encoding="ascii")
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    with pytest.raises(RuntimeError), evened(12, shares):
        assert shares.read_text(encoding="ascii") == inside
        raise RuntimeError
    assert shares.read_text(encoding="ascii") == before
    assert os.getpriority(os.PRIO_PROCESS, 0) == niceness


def test_a_machine_without_such_weights_is_left_alone(tmp_path: Path) -> None:
    with evened(12, tmp_path / "cpu.shares"):
        assert not (tmp_path / "cpu.shares").exists()


def test_a_command_runs_at_the_usual_niceness() -> None:
    assert without_privilege("true")[-2:] == ["-c", "true"]
