# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that would meet somebody else, or never end, is not begun; a report can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ledger.__main__ import options_of
from tests.e2e.ledger.figures import Answer, by_phase
from tests.e2e.ledger.report import table
from tests.e2e.ledger.run import Refused, check, since_commands


@pytest.mark.parametrize("vip", ["192.0.2.10", "10.0.0.1", "198.20.0.1", "8.8.8.8"])
def test_load_goes_nowhere_but_to_the_lab(vip: str) -> None:
    with pytest.raises(Refused, match=f"not to {vip}"):
        check(options_of(["--verb", "none"]), vip)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rate", "0"], "not 0"),
        (["--rate", "5000"], "not 5000"),
        (["--most", "90000"], "not 90000"),
    ],
)
def test_a_run_is_bounded(words: list[str], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        check(options_of(["--verb", "none", *words]), "198.18.10.10")


def test_any_command_is_a_row() -> None:
    options = options_of(["--command", "true --really", "--out", "/somewhere"])
    check(options, "198.18.10.10")
    assert [step.name for step in options.row.steps] == ["true --really"]
    assert options.folder == Path("/somewhere")


def test_the_table_shows_what_the_report_holds() -> None:
    answers = [
        Answer("courses", "GET", 1, 1, 1.1, server="app1", release="r1"),
        Answer("enrol", "POST", 6, 6, 6.1, failure="HTTP 502", status=502, unsafe=True),
    ]
    text = table(
        {
            "name": "deploy", "about": "a release", "rate": 50.0, "kept_share": 0.7,
            "phases": by_phase(answers, 5, 10, 15),
            "steps": [
                {"name": "ansible-playbook x", "start": 5.0, "end": 10.0, "exit_code": 3, "error": "",
                 "new_server": {"name": "app3", "seconds": 4.2}},
            ],
            "ledger": {"jobs": {"acknowledged": 4, "done": 4}},
            "missing": ["job 4 (k): is queued"],
            "by_deleted_release": [],
            "client": {
                "cpu_percent_of_a_core": 9.0, "cpu_ms_per_request": 1.9, "late_ms": {"p99": 4.0}, "connections_opened": 2,
                "waited_for_cpu_seconds": 0.4,
            },
            "notes": ["no long requests"],
            "breaches": ["1 POSTs were sent"],
        }
    )  # fmt: skip
    for part in (
        "POST enrol: HTTP 502", "exit code 3", "job 4 (k): is queued", "BROKEN: 1 POSTs", "verdict: broken", "app1",
        "first answer by a new server after 4.2 s, by app3",
    ):  # fmt: skip
        assert part in text


def test_a_new_server_is_the_doing_of_the_command_that_began_last() -> None:
    def step(name: str, start: float, code: int | None) -> dict[str, Any]:
        return {"name": name, "start": start, "end": start + 9, "exit_code": code, "error": ""}

    steps = [step("scale out", 10, 0), step("wait", 20, None), step("scale further", 30, 0)]
    answers = [
        Answer("courses", "GET", at, at, at + 0.1, server=name)
        for at, name in ((5, "app1"), (25, "app3"), (26, "app1"), (36, "app4"), (38, "app3"))
    ]
    since_commands(steps, answers)
    assert [step.get("new_server") for step in steps] == [
        {"name": "app3", "seconds": 15.1},
        None,
        {"name": "app4", "seconds": 6.1},
    ]


def test_a_fault_has_no_command_and_times_nothing() -> None:
    steps = [{"name": "kill app1", "start": 10, "end": 12, "exit_code": None, "error": ""}]
    since_commands(steps, [Answer("courses", "GET", 11, 11, 11.1, server="app1")])
    assert "new_server" not in steps[0]
