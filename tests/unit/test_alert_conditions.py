# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert is made to fire by a real condition, or there is a reason why not; what is done on hosts can be read by its shell."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from typing import Any

import pytest

from plugins.module_utils.alerts import ALERTS, NAMES
from plugins.module_utils.series import BY_NAME, metrics_in
from tests.e2e.support import alert_conditions
from tests.e2e.support.alert_conditions import CONDITIONS, NOT_MADE, Condition, On


class Fleet:
    """As much of a lab as says on which hosts something is done."""

    def tier(self, group: str) -> list[str]:
        return [f"{group}1", f"{group}2", f"{group}3"]

    def sql(self, host: str, _statement: str) -> list[list[str]]:
        return [["0" if host.endswith("1") else "1"]]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(alert_conditions, "shard_of_the_cache", lambda _lab: [("redis2", 6390), ("redis1", 6389)])
    return Fleet()


def test_every_alert_is_made_or_there_is_a_reason_why_not() -> None:
    made = [name for condition in CONDITIONS for name in condition.alerts]
    assert len(made) == len(set(made)), "once is enough"
    assert sorted([*made, *NOT_MADE]) == sorted(NAMES)
    assert all(len(reason) > 30 for reason in NOT_MADE.values())


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_what_is_done_can_be_read_and_is_undone(condition: Condition, fleet: Any) -> None:
    acts = condition.acts(fleet)
    assert acts
    for act in acts:
        if not isinstance(act, On):
            continue
        for text in (act.make, act.undo):
            subprocess.run(["sh", "-n"], input=text, text=True, check=True)
        assert act.undo != "true" or "exec " in act.make, "what isn't held by a program has to be put back"
        if code := re.match(r"exec python3 -c (.*)", act.make, re.DOTALL):
            ast.parse(shlex.split(code[1])[0])


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_the_labels_that_are_awaited_are_labels_of_the_alert(condition: Condition, fleet: Any) -> None:
    rows = {row.name: row for row in ALERTS}
    for name, labels in condition.alerts.items():
        expr = rows[name].expr
        known = set(re.findall(r"by \(([^)]*)\)", expr)) | {
            label for series in metrics_in(expr) if series in BY_NAME for label in BY_NAME[series].labels
        }
        assert set(labels(fleet)) <= {word.strip() for one in known for word in one.split(",")}
