# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GTID sets are sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.mysql_gtid import GtidError, GtidSet

A, B = "57bd9bec-e721-11f1-a73b-fee195acb12e", "00175920-e721-11f1-9826-d66148900f79"


def members(gtids: GtidSet) -> set[tuple[tuple[str, str], int]]:
    return {
        (origin, n) for origin, rows in gtids.intervals.items() for first, last in rows for n in range(first, last + 1)
    }


def written(numbers: dict[tuple[str, str], set[int]]) -> str:
    return ",".join(
        ":".join([uuid, *([tag] if tag else []), *map(str, sorted(some))])
        for (uuid, tag), some in numbers.items()
        if some
    )


numbers = st.dictionaries(
    st.tuples(st.sampled_from([A, B]), st.sampled_from(["", "app"])),
    st.sets(st.integers(1, 40), max_size=15),
    max_size=4,
)


@given(numbers, numbers)
def test_a_difference_is_what_sets_say_it_is(
    ours: dict[tuple[str, str], set[int]], theirs: dict[tuple[str, str], set[int]]
) -> None:
    left, right = GtidSet.parse(written(ours)), GtidSet.parse(written(theirs))
    assert members(left.minus(right)) == members(left) - members(right)
    assert left.within(right) == (members(left) <= members(right))
    assert len(left) == len(members(left))


@given(numbers)
def test_what_is_written_reads_the_same(some: dict[tuple[str, str], set[int]]) -> None:
    gtids = GtidSet.parse(written(some))
    assert GtidSet.parse(str(gtids)) == gtids


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("", 0, id="nothing is an empty set"),
        pytest.param(f"{A}:1-5:8", 6, id="several intervals of one server"),
        pytest.param(f"{A}:1-5,\n{B}:7", 6, id="several servers, as MySQL breaks the lines"),
        pytest.param(f"{A.upper()}:1-5:app:1-2", 7, id="tags, and upper case"),
    ],
)
def test_mysql_s_ways_to_write_a_set_are_read(text: str, count: int) -> None:
    assert len(GtidSet.parse(text)) == count


@pytest.mark.parametrize("text", ["none", A, f"{A}:", f"{A}:x-y", f"{A}:1--2"])
def test_text_that_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(GtidError, match="not a GTID set"):
        GtidSet.parse(text)
