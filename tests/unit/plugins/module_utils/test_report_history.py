# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.report_history import (
    DAY,
    HOUR,
    MOST_POINTS,
    QUERIES,
    History,
    Points,
    buckets,
    daily_minimum,
    hourly_hosts,
    quantile,
    step_for,
    trend,
    unchanged_since,
    weighted,
)

GB = 2.0**30


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([], 0.95, None, id="nothing"),
        pytest.param([7.0], 0.95, 7.0, id="one value"),
        pytest.param([0.0, 10.0], 0.5, 5.0, id="between two neighbours"),
        pytest.param(list(range(101)), 0.95, 95.0, id="a hundred steps"),
        pytest.param([3.0, 1.0, 2.0], 1.0, 3.0, id="the most, in any order"),
    ],
)
def test_quantile(values: list[float], share: float, expected: float | None) -> None:
    assert quantile(values, share) == expected


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0, 1))
def test_a_quantile_is_between_the_least_and_the_most(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found is not None and min(values) <= found <= max(values)


@pytest.mark.parametrize("hours", [1, 24, 168, 336, 720, 8760])
def test_a_window_is_at_most_two_thousand_points_of_whole_minutes(hours: float) -> None:
    step = step_for(hours)
    assert step % 60 == 0 and step >= 300
    assert hours * HOUR / step <= MOST_POINTS


@pytest.mark.parametrize(
    ("values", "since"),
    [
        pytest.param([4.0, 4.0, 4.0], 0.0, id="always"),
        pytest.param([4.0, 4.2, 4.0], 0.0, id="what the kernel keeps is no change"),
        pytest.param([2.0, 4.0, 4.0], 1.0, id="twice the machine"),
        pytest.param([4.0, 4.0, 2.0], 2.0, id="half of it, just now"),
        pytest.param([4.0, 2.0, 4.0], 2.0, id="there and back"),
        pytest.param([], 0.0, id="nobody looked"),
    ],
)
def test_since_when_a_machine_is_what_it_is(values: list[float], since: float) -> None:
    assert unchanged_since(tuple((float(time), value) for time, value in enumerate(values))) == since


def days_of(free: list[float]) -> Points:
    return tuple((day * DAY, value) for day, value in enumerate(free))


@pytest.mark.parametrize(
    ("free", "per_day", "left"),
    [
        pytest.param([100 * GB - day * GB for day in range(10)], GB, 91.0, id="a gigabyte a day"),
        pytest.param([100 * GB] * 10, 0.0, None, id="nothing grows"),
        pytest.param([50 * GB + day * GB for day in range(10)], -GB, None, id="it empties"),
        pytest.param([100 * GB - (40 * GB if day == 5 else 0) for day in range(10)], 0.0, None, id="a file came and went"),
        pytest.param([100 * GB - day * 1000 for day in range(10)], 1000.0, None, id="a kilobyte a day is no growth"),
    ],
)
def test_how_a_disk_fills(free: list[float], per_day: float, left: float | None) -> None:
    found = trend(days_of(free))
    assert found is not None
    assert found.bytes_per_day == pytest.approx(per_day)
    assert found.days_left == (pytest.approx(left) if left is not None else None)


def test_one_point_is_no_trend() -> None:
    assert trend(days_of([GB])) is None


@given(st.floats(1e6, 1e9), st.lists(st.floats(-1e5, 1e5), min_size=80, max_size=80))
def test_noise_does_not_hide_growth(per_day: float, noise: list[float]) -> None:
    found = trend(days_of([1e12 - day * per_day + jitter for day, jitter in enumerate(noise)]))
    assert found is not None
    assert found.bytes_per_day == pytest.approx(per_day, rel=0.2, abs=2e5)


def test_hosts_up_by_hour_and_day() -> None:
    up = {
        ("app1", "app_servers"): tuple((hour * HOUR, 1.0) for hour in range(48)),
        ("app2", "app_servers"): tuple((hour * HOUR, 1.0 if 10 <= hour < 40 else 0.0) for hour in range(48)),
        ("db1", "mysql"): ((0.0, 1.0),),
    }
    hourly = hourly_hosts(History(0, 48 * HOUR, 600, {"up": up}), "app_servers")
    assert (hourly[0.0], hourly[10 * HOUR], hourly[40 * HOUR]) == (1, 2, 1)
    assert daily_minimum(hourly) == {0.0: 1, DAY: 1}
    assert daily_minimum({0.0: 3, HOUR: 2, DAY: 4}) == {0.0: 2, DAY: 4}


def test_hours_in_which_nobody_was_asked_are_no_hours_without_hosts() -> None:
    up = {("app1", "app_servers"): ((0.0, 1.0), (5 * HOUR, 1.0))}
    assert hourly_hosts(History(0, 6 * HOUR, 600, {"up": up}), "app_servers") == {0.0: 1, 5 * HOUR: 1}


def test_a_tier_is_as_busy_as_its_cores_together() -> None:
    cpu = {("big",): ((0.0, 0.2), (1.0, 0.2)), ("little",): ((0.0, 0.8),)}
    assert weighted(History(0, 1, 1, {"cpu": cpu}), "cpu", {"big": 3.0, "little": 1.0}) == (
        (0.0, pytest.approx(0.35)),
        (1.0, pytest.approx(0.2)),
    )


def test_buckets_keep_the_least_and_the_most() -> None:
    points = ((0.0, 1.0), (1.0, 3.0), (8.0, 5.0), (10.0, 7.0))
    assert buckets(points, 0.0, 10.0, 2) == [(2.5, 1.0, 2.0, 3.0), (7.5, 5.0, 6.0, 7.0)]


def test_every_recorded_series_that_is_asked_for_exists() -> None:
    """The fleet's own list of series is the one home of their names."""
    series = pytest.importorskip("plugins.module_utils.series")
    text = repr(vars(series))
    asked = {name for query in QUERIES.values() for name in re.findall(r"fleet:\w+:\w+", query.expr)}
    assert sorted(name for name in asked if name not in text) == []
