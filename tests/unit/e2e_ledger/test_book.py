# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger finds what was acknowledged and is missing, and accuses nobody wrongly."""

from __future__ import annotations

import pytest

from tests.e2e.ledger.book import Book, JobRow, Missing, Session, missing_enrolments, missing_jobs


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        pytest.param([(1, "a"), (2, "b")], [], id="all rows there"),
        pytest.param([(1, "a"), (2, "b"), (3, "c")], [], id="a row whose answer got lost is no fault"),
        pytest.param([(2, "b")], ["enrolment 1 (a): acknowledged, but not in db1"], id="a row is missing"),
        pytest.param([(1, "x"), (2, "b")], ["enrolment 1 (a): in db1 it is x"], id="the id is another's"),
        pytest.param([(1, "a"), (2, "b"), (9, "a")], ["enrolment a: is twice in db1: [1, 9]"], id="a key has two rows"),
        pytest.param(
            [],
            ["enrolment 1 (a): acknowledged, but not in db1", "enrolment 2 (b): acknowledged, but not in db1"],
            id="nothing is there",
        ),
    ],
)
def test_enrolments(rows: list[tuple[int, str]], found: list[str]) -> None:
    assert [str(one) for one in missing_enrolments({1: "a", 2: "b"}, rows, "db1")] == found


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        pytest.param([JobRow(1, "done", 1)], [], id="done once"),
        pytest.param([JobRow(1, "done", 3)], [], id="done after two dead workers"),
        pytest.param([JobRow(1, "queued", 0)], ["job 1 (a): is queued 60 s after the last request"], id="never begun"),
        pytest.param([JobRow(1, "running", 1)], ["job 1 (a): is running 60 s after the last request"], id="never ended"),
        pytest.param([JobRow(1, "failed", 3)], ["job 1 (a): is failed 60 s after the last request"], id="given up"),
        pytest.param([], ["job 1 (a): acknowledged, but its row is gone"], id="no row"),
        pytest.param([JobRow(1, "done", 1), JobRow(2, "queued", 0)], [], id="a job that was never acknowledged"),
    ],
)
def test_jobs(rows: list[JobRow], found: list[str]) -> None:
    assert [str(one) for one in missing_jobs({1: "a"}, rows, 60)] == found


@pytest.mark.parametrize(
    ("hits", "found"),
    [
        pytest.param([1, 2, 3], [None, None, None], id="counts"),
        pytest.param([1, 2, 4], [None, None, None], id="an answer got lost on its way"),
        pytest.param([1, 2, 2], [None, None, "session 5: its counter went from 2 to 2"], id="a hit was forgotten"),
        pytest.param([1, 9, 1], [None, None, "session 5: its counter went from 9 to 1"], id="begins anew"),
        pytest.param([1, 9, 1, 2], [None, None, "session 5: its counter went from 9 to 1", None], id="told once"),
        pytest.param([3], [None], id="begins with a basket"),
    ],
)
def test_a_counter_never_goes_back(hits: list[int], found: list[str | None]) -> None:
    session = Session(5)
    assert [str(one) if (one := session.counted("s", hit)) else None for hit in hits] == found


def test_another_session_under_the_same_cookie_is_seen() -> None:
    session = Session(5)
    assert session.counted("first", 1) is None
    assert "another session answered" in str(session.counted("second", 2))


def test_a_basket_keeps_what_was_put_in() -> None:
    session = Session(5)
    session.basket |= {3, 8}
    assert session.shown([8, 3, 11]) is None
    assert str(session.shown([3])) == "basket 5: lost course 8"
    assert session.shown([3]) is None, "told once"


def test_one_loss_is_noted_once() -> None:
    book = Book("p")
    for _turn in range(2):
        book.note(Missing("upload", "x", "HTTP 404"))
    book.note(None)
    assert len(book.missing) == 1
