# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Percentiles, gaps and phases."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.ledger.figures import Answer, by_phase, first_by_a_new_server, longest_gap, percentile, phase_of


def answer(at: float, took: float = 0.1, kind: str = "courses", method: str = "GET", **more: Any) -> Answer:
    return Answer(kind, method, at, at, at + took, **more)


@pytest.mark.parametrize(
    ("share", "value"),
    [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)],
)
def test_percentiles_of_one_to_a_hundred(share: float, value: float) -> None:
    assert percentile(list(range(1, 101)), share) == value


def test_percentiles_of_little() -> None:
    assert percentile([7.0], 0.99) == 7.0
    assert math.isnan(percentile([], 0.5))


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], share: float) -> None:
    values.sort()
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


@pytest.mark.parametrize(
    ("moments", "gap"),
    [
        pytest.param([1, 2, 3], (7, 3), id="nothing until the end"),
        pytest.param([8, 9], (8, 0), id="nothing since the start"),
        pytest.param([1, 6, 8], (5, 1), id="in the middle"),
        pytest.param([6, 1, 8], (5, 1), id="in any order"),
        pytest.param([], (10, 0), id="nothing at all"),
        pytest.param([-5, 5, 15], (5, 0), id="what lies outside doesn't count"),
    ],
)
def test_the_longest_gap(moments: list[float], gap: tuple[float, float]) -> None:
    assert longest_gap(moments, 0, 10) == gap


@pytest.mark.parametrize(("at", "phase"), [(4.9, "before"), (5, "during"), (9.9, "during"), (10, "after")])
def test_phases_go_by_when_a_request_was_due(at: float, phase: str) -> None:
    assert phase_of(answer(at), 5, 10) == phase


@pytest.mark.parametrize(
    ("failure", "ended", "phase"),
    [
        pytest.param("reset", 5.3, "during", id="the verb cut it"),
        pytest.param("reset", 4.9, "before", id="it failed before the verb began"),
        pytest.param("", 5.3, "before", id="it went well"),
    ],
)
def test_a_long_request_that_the_verb_cut_is_the_verbs(failure: str, ended: float, phase: str) -> None:
    long = Answer("slow", "GET", at=2.0, started=2.0, ended=ended, failure=failure)
    assert phase_of(long, 5, 10) == phase


def test_a_late_client_does_not_look_like_a_fast_fleet() -> None:
    late = Answer("courses", "GET", at=1.0, started=3.0, ended=3.1)
    assert late.seconds == pytest.approx(2.1)


def test_failures_are_told_by_phase_and_apart_from_what_is_unsafe_to_retry() -> None:
    phases = by_phase(
        [
            answer(1),
            answer(6, failure="HTTP 500", status=500),
            answer(7, kind="enrol", method="POST", failure="closed before the answer", unsafe=True),
            answer(12, repeated=True),
        ],
        5,
        10,
        15,
    )
    assert phases["before"]["failed"] == phases["after"]["failed"] == {}
    assert phases["during"]["failed"] == {"GET courses: HTTP 500": 1}
    assert phases["during"]["unsafe_to_retry"] == {"POST enrol: closed before the answer": 1}
    assert phases["after"]["repeated_on_a_new_connection"] == 1
    assert phases["all"]["requests"] == 4


def test_requests_that_are_meant_to_be_slow_are_in_no_percentile_but_may_fail() -> None:
    phases = by_phase([answer(1, 0.2), answer(1, 5.0, kind="slow"), answer(2, 2.5, kind="slow", failure="HTTP 502")], 5, 10, 15)
    assert phases["before"]["milliseconds"]["max"] == 200
    assert phases["before"]["failed"] == {"GET slow: HTTP 502": 1}


def test_a_pause_of_writes_shows_although_reads_go_on() -> None:
    reads = [answer(n / 10) for n in range(200)]
    writes = [answer(n / 2, kind="enrol", method="POST") for n in range(40) if not 5 < n / 2 < 9]
    gaps = by_phase([*reads, *writes], 4, 16, 20)["during"]["longest_gap"]
    assert gaps["all"]["seconds"] < 0.2
    assert gaps["rows"] == {"seconds": 4.0, "since": 5.1}
    assert gaps["writes"] == gaps["rows"]


@pytest.mark.parametrize(
    ("moment", "until", "found"),
    [
        pytest.param(5.0, 30.0, ("app3", 15.0), id="the first of two that are new"),
        pytest.param(5.0, 20.0, None, id="it came when the next command had begun"),
        pytest.param(20.05, 30.0, ("app4", 2.05), id="one that answered before is not new"),
        pytest.param(23.0, 99.0, None, id="nobody is new"),
    ],
)
def test_the_first_answer_by_a_new_server(moment: float, until: float, found: tuple[str, float] | None) -> None:
    answers = [answer(second, server=name) for second in range(30) for name in ("app1", "app2")]
    answers += [answer(22, server="app4"), answer(19.9, server="app3"), answer(25, server="app3")]
    # Nobody is served by a failure, nor by the balancer itself.
    answers += [answer(6, server="app3", failure="HTTP 502"), answer(7)]
    seen = first_by_a_new_server(answers, moment, until)
    assert seen == (found and (found[0], pytest.approx(found[1])))
