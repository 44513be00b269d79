# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness that interrupts verbs finds the steps that changed something, and knows when a run has come to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.interrupts import Record, chosen, reached, steps

TOLD: list[dict[str, Any]] = [
    {"at": 0.0, "play": "Change", "task": "Look"},
    {"at": 1.0, "play": "Change", "task": "Switch"},
    {"at": 2.5, "play": "Change", "task": "Switch", "host": "app1", "result": {"changed": True}},
    {"at": 2.6, "play": "Change", "task": "Switch", "host": "app4", "result": {}},
    {"at": 3.0, "play": "Change", "task": "Look"},
    {"at": 3.5, "play": "Change", "task": "Look", "host": "app1", "result": {"changed": False}},
    {"at": 4.0, "play": "Change", "task": "Switch"},
    {"at": 5.0, "play": "Change", "task": "Switch", "host": "app3", "result": {"changed": True}},
    {"at": 5.0, "play": "Change", "task": "Switch", "host": "app2", "result": {"changed": True}},
    {"at": 6.0, "end": True},
]


def test_only_tasks_that_changed_something_are_steps() -> None:
    assert [str(step) for step in steps(TOLD)] == ["Switch on app1, 2.0 s", "Switch (2) on app2, app3, 2.0 s"]


def test_a_task_that_comes_again_is_reached_when_it_begins_again() -> None:
    second = steps(TOLD)[1]
    assert [reached(TOLD[:count], second) for count in (0, 2, 6, 7)] == [False, False, False, True]


def test_a_record_is_read_while_it_is_written(tmp_path: Path) -> None:
    record = Record(tmp_path / "record")
    assert record.rows() == []
    record.path.write_text('{"at": 0}\n{"at"')
    assert record.rows() == [{"at": 0}]
    with record.path.open("a") as more:
        more.write(': 1}\n')
    assert record.rows() == record.rows() == [{"at": 0}, {"at": 1}]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", [1, 2, 3, 4]), ("2", [2]), ("1-2,4", [1, 2, 4]), ("3-9", [3, 4])],
    ids=["all", "one", "some", "not more than there are"],
)
def test_steps_are_chosen_by_number(text: str, numbers: list[int]) -> None:
    assert chosen(text, 4) == numbers
