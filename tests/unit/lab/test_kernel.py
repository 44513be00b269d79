# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's limits are raised where they are too low, and come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.kernel import WANTED, raise_limits, restore_limits

LOW, HIGH, OTHER = "fs/inotify/max_user_instances", "fs/inotify/max_user_watches", "fs/aio-max-nr"


@pytest.fixture
def proc_sys(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    for name, value in ((LOW, 128), (HIGH, WANTED[HIGH] * 2), (OTHER, 65536)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return root


def test_low_limits_are_raised_once_and_high_ones_left(proc_sys: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    assert raise_limits(proc_sys, before) == [LOW, OTHER]
    assert raise_limits(proc_sys, before) == []
    assert int((proc_sys / LOW).read_text()) == WANTED[LOW]
    assert int((proc_sys / HIGH).read_text()) == WANTED[HIGH] * 2


def test_limits_come_back_unless_somebody_else_changed_them(proc_sys: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    raise_limits(proc_sys, before)
    (proc_sys / OTHER).write_text("5000000\n")
    restore_limits(proc_sys, before)
    assert int((proc_sys / LOW).read_text()) == 128
    assert int((proc_sys / OTHER).read_text()) == 5000000
    assert not before.exists()
