# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab raises in the machine's kernel comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.kernel import LIMITS, raise_limits, restore, weigh_hosts

LOW, HIGH, OTHER = LIMITS
SHARES = "sys/fs/cgroup/cpu/libpod_parent/cpu.shares"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, value in ((LOW, 128), (HIGH, LIMITS[HIGH] * 2), (OTHER, 65536), (SHARES, 1024)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path


def number(path: Path) -> int:
    return int(path.read_text("ascii"))


def test_low_limits_are_raised_once_and_high_ones_left(root: Path) -> None:
    before = root / "before.json"
    assert raise_limits(root, before) == [LOW, OTHER]
    assert raise_limits(root, before) == []
    assert number(root / LOW) == LIMITS[LOW]
    assert number(root / HIGH) == LIMITS[HIGH] * 2


def test_limits_come_back_unless_somebody_else_changed_them(root: Path) -> None:
    before = root / "before.json"
    raise_limits(root, before)
    (root / OTHER).write_text("5000000\n")
    restore(root, before)
    assert number(root / LOW) == 128
    assert number(root / OTHER) == 5000000
    assert not before.exists()


def test_each_host_weighs_as_much_as_a_session(root: Path) -> None:
    before = root / "before.json"
    assert weigh_hosts(12, root, before) == [SHARES]
    assert weigh_hosts(12, root, before) == []
    assert number(root / SHARES) == 12 * 1024
    assert weigh_hosts(13, root, before) == [SHARES]
    restore(root, before)
    assert number(root / SHARES) == 1024, "as before the first host"


def test_a_machine_without_such_weights_is_left_alone(root: Path) -> None:
    (root / SHARES).unlink()
    assert weigh_hosts(12, root, root / "before.json") == []
    assert not (root / SHARES).exists()


def test_a_weight_that_went_with_the_last_host_is_not_put_back(root: Path) -> None:
    before = root / "before.json"
    weigh_hosts(12, root, before)
    (root / SHARES).unlink()
    restore(root, before)
    assert not before.exists()
