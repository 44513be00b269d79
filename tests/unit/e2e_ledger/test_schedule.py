# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrivals are fixed beforehand: the same for a seed, independent of anything that happens, and as many as asked for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.ledger.schedule import MIX, arrivals


def test_the_same_seed_gives_the_same_arrivals() -> None:
    assert list(arrivals(50, 20, seed=7)) == list(arrivals(50, 20, seed=7))
    assert list(arrivals(50, 20, seed=7)) != list(arrivals(50, 20, seed=8))


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short = list(arrivals(50, 5, seed=3))
    assert list(arrivals(50, 50, seed=3))[: len(short)] == short


def test_rate_mix_and_kept_share_are_what_was_asked_for() -> None:
    made = list(arrivals(50, 1000, kept_share=0.7, seed=1))
    assert len(made) / 1000 == pytest.approx(50, rel=0.03)
    assert sum(arrival.kept for arrival in made) / len(made) == pytest.approx(0.7, abs=0.02)
    counts = Counter(arrival.kind for arrival in made)
    for kind, weight in MIX.items():
        assert counts[kind] / len(made) == pytest.approx(weight / sum(MIX.values()), abs=0.01), kind


@settings(deadline=None)
@given(
    rate=st.floats(0.5, 200),
    seconds=st.floats(0.1, 20),
    seed=st.integers(0, 1000),
)
def test_arrivals_are_numbered_in_order_and_within_the_run(rate: float, seconds: float, seed: int) -> None:
    made = list(arrivals(rate, seconds, seed=seed))
    assert [arrival.number for arrival in made] == list(range(len(made)))
    moments = [arrival.at for arrival in made]
    assert moments == sorted(moments)
    assert all(0 < moment < seconds for moment in moments)


@pytest.mark.parametrize(("rate", "seconds"), [(0, 10), (-1, 10), (50, 0)])
def test_a_run_without_requests_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        list(arrivals(rate, seconds))
