# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client goes first for a run, and as before afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.ledger.weights import client_first
from tests.e2e.support.niceness import without_privilege


def test_the_client_goes_first_and_steps_back(tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    group.write_text("/autogroup-19412 nice 3", encoding="ascii")
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    with pytest.raises(RuntimeError), client_first(group):
        # Only root may go before others; whoever else runs this is told so, and nothing is changed.
        assert group.read_text(encoding="ascii") == ("-10" if os.geteuid() == 0 else "/autogroup-19412 nice 3")
        raise RuntimeError
    assert group.read_text(encoding="ascii").split()[-1] == "3"
    assert os.getpriority(os.PRIO_PROCESS, 0) == niceness


def test_a_command_runs_at_the_usual_niceness() -> None:
    assert without_privilege(["sh", "-c", "true"])[-2:] == ["-c", "true"]
