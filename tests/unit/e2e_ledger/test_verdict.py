# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict names each broken promise, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.ledger.book import Missing
from tests.e2e.ledger.figures import Answer, by_phase
from tests.e2e.ledger.rows import FAULTS, ROWS, VERBS
from tests.e2e.ledger.verdict import Rules, breaches


def traffic(*odd: Answer, silent: tuple[float, float] = (0, 0)) -> dict[str, Any]:
    """20 requests a second for 20 s, but for a silence; the verb runs from second 5 to 15."""
    made = [
        Answer("enrol" if n % 5 == 0 else "courses", "GET", n / 20, n / 20, n / 20 + 0.01)
        for n in range(400)
        if not silent[0] < n / 20 < silent[1]
    ]
    return by_phase(sorted([*made, *odd], key=lambda a: a.at), 5, 15, 20)


def failing(at: float, *, unsafe: bool = False) -> Answer:
    return Answer("enrol", "POST", at, at, at + 0.1, failure="HTTP 502", status=502, unsafe=unsafe)


def judge(phases: dict[str, Any], rules: Rules | None = None, **odd: Any) -> list[str]:
    facts: dict[str, Any] = {"missing": [], "deleted": 0, "exit_codes": [0], "client_late_ms": 5.0, **odd}
    return breaches(rules or Rules(), phases, **facts)


def test_a_run_without_loss_is_kept() -> None:
    assert judge(traffic()) == []


@pytest.mark.parametrize(
    ("phases", "rules", "sentence"),
    [
        pytest.param(traffic(failing(7)), Rules(), "1 requests failed, 0 may", id="one failed"),
        pytest.param(traffic(failing(7, unsafe=True)), Rules(), "1 POSTs were sent", id="one unsafe"),
        pytest.param(
            traffic(failing(2)), Rules(failed=None), "1 requests failed before or after", id="failed before it began"
        ),
        pytest.param(
            traffic(failing(17, unsafe=True)), Rules(failed=None, unsafe=None), "before or after", id="failed after it"
        ),
        pytest.param(
            traffic(silent=(6, 9.5)), Rules(), "nothing succeeded for 3.5", id="nothing succeeded for too long"
        ),
        pytest.param(
            traffic(silent=(6, 7.5)), Rules(row_gap_seconds=1), "no new row was written for 1.5", id="rows paused"
        ),
        pytest.param({"all": {}} | by_phase([], 5, 15, 20), Rules(gap_seconds=None), "no request was sent", id="no load"),
    ],
)
def test_what_the_load_saw(phases: dict[str, Any], rules: Rules, sentence: str) -> None:
    found = judge(phases, rules)
    assert len(found) == 1
    assert sentence in found[0]


@pytest.mark.parametrize(
    ("odd", "rules", "sentence"),
    [
        pytest.param(
            {"missing": [Missing("job", "4 (k)", "is queued")]},
            Rules(failed=None, unsafe=None, gap_seconds=None, failed_outside=None),
            "1 acknowledged things are missing or went back: job 4 (k): is queued",
            id="no rule lets anything be lost",
        ),
        pytest.param({"deleted": 2}, Rules(), "2 answers came from a release that was deleted", id="deleted release"),
        pytest.param({"exit_codes": [0, 4]}, Rules(), "the command ended with 4", id="a command failed"),
        pytest.param({"exit_codes": [0]}, Rules(command_fails=True), "should have failed", id="a command should fail"),
        pytest.param({"client_late_ms": 1500.0}, Rules(), "the client itself was late", id="a starved client"),
    ],
)
def test_what_else_breaks_a_run(odd: dict[str, Any], rules: Rules, sentence: str) -> None:
    found = judge(traffic(), rules, **odd)
    assert len(found) == 1
    assert sentence in found[0]


def test_failures_that_a_fault_may_cost_break_nothing() -> None:
    phases = traffic(failing(7), failing(8, unsafe=True))
    assert judge(phases, Rules(failed=None, unsafe=None)) == []
    assert judge(phases, Rules(failed=1, unsafe=1)) == []


def test_a_command_that_has_to_fail_may() -> None:
    assert judge(traffic(), Rules(command_fails=True), exit_codes=[2]) == []


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_row_does_something_and_says_what(name: str) -> None:
    assert ROWS[name].steps
    assert ROWS[name].about


def test_verbs_and_faults_have_names_of_their_own() -> None:
    assert not set(VERBS) & set(FAULTS)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_no_planned_verb_may_fail_a_request(name: str) -> None:
    if not name.startswith("failover"):
        assert (VERBS[name].rules.failed, VERBS[name].rules.unsafe) == (0, 0)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        pytest.param({"rows_after_commands": [0.2, 5.5]}, "the first new row came 5.50 s after a command began", id="rows came late"),
        pytest.param({"two_primaries": ["db1 still writes"]}, "two servers took writes at once: db1", id="two primaries"),
    ],
)
def test_a_failover_is_held_against_its_own_rules(facts: dict[str, Any], sentence: str) -> None:
    rules = Rules(row_after_command_seconds=5, two_primaries=0)
    assert any(sentence in said for said in judge(traffic(), rules, **facts))
    assert judge(traffic(), rules, rows_after_commands=[4.9], two_primaries=[]) == []
