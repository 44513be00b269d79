# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two servers that take writes at once are seen, and a move of the primary is not taken for that."""

from __future__ import annotations

import pytest

from tests.e2e.support.primaries import Word, overlaps


def words(*told: tuple[float, str, bool]) -> list[Word]:
    return [Word(at, host, writable) for at, host, writable in told]


@pytest.mark.parametrize(
    ("told", "count"),
    [
        pytest.param([(1, "a", True), (2, "a", True), (2, "b", False)], 0, id="one primary"),
        pytest.param([(1, "a", True), (2, "a", False), (3, "b", True)], 0, id="a planned move"),
        pytest.param([(1, "a", True), (3, "b", True), (4, "b", True)], 0, id="the first one died and is silent"),
        pytest.param([(1, "a", True), (3, "b", True), (4, "a", False), (5, "b", True)], 0, id="it came back read-only"),
        pytest.param([(1, "a", True), (3, "b", True), (4, "a", False), (5, "a", True), (6, "b", False)], 0, id="the move back begins"),
        pytest.param([(1, "a", True), (3, "b", True), (4, "a", True)], 1, id="it came back and takes writes"),
        pytest.param([(1, "a", True), (1.1, "b", True), (1.2, "a", True), (1.3, "b", True)], 1, id="both at once"),
        pytest.param([(1, "a", True), (3, "b", True), (5, "a", False), (6, "a", True), (7, "b", True)], 1, id="both at once, later"),
    ],
)
def test_two_primaries_at_once_are_seen(told: list[tuple[float, str, bool]], count: int) -> None:
    assert len(overlaps(words(*told))) == count
