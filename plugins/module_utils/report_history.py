# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report asks of Prometheus' history, and what follows from the points that come back. Pure.

Every series is read as points on one grid of C(step) seconds. A systematic sample of two thousand points tells the 95th percentile
about as well as all points do, and lets the table, the plots and the refusals come from the same numbers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

HOUR, DAY = 3600.0, 86400.0
# Points of a series at most, and the least distance of two, in seconds: the fleet's rules look back over a few minutes anyway.
MOST_POINTS, LEAST_STEP = 2000, 300.0
# A machine that reports this much less or more than before is another machine; the kernel's own share changes by less.
RESIZED = 0.10
# Slopes between all pairs of so many points: enough for a trend, and a file that came and went doesn't bend it.
TREND_POINTS, MOST_DAYS = 64, 3650

Points = tuple[tuple[float, float], ...]
Key = tuple[str, ...]

# File systems that hold nothing of their own.
_PASSING = 'fstype!~"tmpfs|ramfs|devtmpfs|squashfs|iso9660|autofs|fuse.lxcfs"'


@dataclass(frozen=True)
class Query:
    """One thing to ask: PromQL with C(STEP) for the distance of two points, the labels that tell its series apart, what it is."""

    expr: str
    labels: tuple[str, ...]
    about: str


QUERIES: Mapping[str, Query] = {
    "cpu": Query("max by (host) (fleet:cpu_used:ratio)", ("host",), "share of the host's own cores"),
    "memory": Query("max by (host) (fleet:memory_used:ratio)", ("host",), "share of the host's memory"),
    "disk": Query("max by (host) (fleet:disk_used:ratio)", ("host",), "share of the fullest file system"),
    "connections": Query("max by (host) (fleet:database_connections:count)", ("host",), "open connections"),
    "connections_used": Query("max by (host) (fleet:database_connections_used:ratio)", ("host",), "open / max_connections"),
    "fpm": Query("max by (host) (fleet:fpm_busy:ratio)", ("host",), "share of the PHP children that are busy"),
    "queue_age": Query("max by (queue) (fleet:queue_oldest_job_age:seconds)", ("queue",), "age of the oldest job, in s"),
    "up": Query("max by (host, tier) (fleet:up:bool)", ("host", "tier"), "1 when its node exporter answers"),
    "memory_bytes": Query('max by (host) (node_memory_MemTotal_bytes{host!=""})', ("host",), "memory of the machine"),
    "cores": Query('count by (host) (node_cpu_seconds_total{host!="",mode="idle"})', ("host",), "cores of the machine"),
    "pool_bytes": Query("max by (host) (mysql_global_variables_innodb_buffer_pool_size)", ("host",), "InnoDB's buffer pool"),
    "pool_data_bytes": Query("max by (host) (mysql_global_status_innodb_buffer_pool_bytes_data)", ("host",), "data in the pool"),
    "pool_hits": Query(
        "1 - sum by (host) (rate(mysql_global_status_innodb_buffer_pool_reads[STEP]))"
        " / sum by (host) (rate(mysql_global_status_innodb_buffer_pool_read_requests[STEP]))",
        ("host",),
        "share of the page requests that the pool answered",
    ),
    "redis_used_bytes": Query("max by (host, instance) (redis_memory_used_bytes)", ("host", "instance"), "used by an instance"),
    "redis_limit_bytes": Query("max by (host, instance) (redis_memory_max_bytes)", ("host", "instance"), "its maxmemory"),
    "redis_evicted": Query(
        "max by (host, instance) (increase(redis_evicted_keys_total[STEP]))", ("host", "instance"), "keys that it dropped to make room"
    ),
    "disk_bytes": Query(
        f'max by (host, device, mountpoint) (node_filesystem_size_bytes{{host!="",{_PASSING}}})',
        ("host", "device", "mountpoint"),
        "size of a file system",
    ),
    "disk_free_bytes": Query(
        f'max by (host, device, mountpoint) (node_filesystem_avail_bytes{{host!="",{_PASSING}}})',
        ("host", "device", "mountpoint"),
        "what is left of it for users",
    ),
}


@dataclass(frozen=True)
class History:
    """Points by query and labels, from C(start) to C(end) (seconds since 1970), C(step) seconds apart."""

    start: float
    end: float
    step: float
    series: Mapping[str, Mapping[Key, Points]]

    def of(self, name: str, *key: str) -> Points:
        return self.series.get(name, {}).get(key, ())

    def keys(self, name: str) -> tuple[Key, ...]:
        return tuple(sorted(self.series.get(name, {})))

    def values(self, name: str, *key: str, since: float = 0.0) -> list[float]:
        return [value for time, value in self.of(name, *key) if time >= since]

    def hours(self, points: Sequence[tuple[float, float]]) -> float:
        """For how long there are points; gaps don't count."""
        return len(points) * self.step / HOUR


@dataclass(frozen=True)
class Trend:
    """Of a file system: bytes per day (negative when it empties), and days until nothing is left, None when that never comes."""

    bytes_per_day: float
    days_left: float | None


def step_for(window_hours: float) -> float:
    """Seconds between two points, whole minutes."""
    return max(LEAST_STEP, math.ceil(window_hours * HOUR / MOST_POINTS / 60) * 60.0)


def quantile(values: Iterable[float], share: float) -> float | None:
    """The value that C(share) (0..1) of the values stay below, between two neighbours in proportion, as PromQL's quantile does."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = share * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


def unchanged_since(points: Points, tolerance: float = RESIZED) -> float:
    """Since when the value is about what it is now; 0 when it always was."""
    if not points:
        return 0.0
    now = points[-1][1]
    for (time, _value), (_before, earlier) in zip(reversed(points), reversed(points[:-1]), strict=False):
        if abs(earlier - now) > tolerance * abs(now):
            return time
    return 0.0


def weighted(history: History, name: str, weights: Mapping[str, float]) -> Points:
    """At each time the mean of the hosts' values, each host as heavy as its weight: the use of a tier as a whole."""
    sums: dict[float, tuple[float, float]] = {}
    for host, weight in weights.items():
        for time, value in history.of(name, host):
            total, heavy = sums.get(time, (0.0, 0.0))
            sums[time] = (total + value * weight, heavy + weight)
    return tuple((time, total / heavy) for time, (total, heavy) in sorted(sums.items()) if heavy)


def hourly_hosts(history: History, tier: str) -> dict[float, int]:
    """How many hosts of the tier were up in each hour, by the hour's first second. A host that was away for minutes was there."""
    hours: dict[float, set[str]] = {}
    for host, of_tier in history.keys("up"):
        if of_tier != tier:
            continue
        for time, value in history.of("up", host, of_tier):
            there = hours.setdefault(time // HOUR * HOUR, set())
            if value >= 0.5:
                there.add(host)
    return {hour: len(hosts) for hour, hosts in sorted(hours.items())}


def daily_minimum(hourly: Mapping[float, int]) -> dict[float, int]:
    """The fewest hosts in an hour of each day (UTC), by the day's first second."""
    days: dict[float, int] = {}
    for hour, count in hourly.items():
        day = hour // DAY * DAY
        days[day] = min(count, days.get(day, count))
    return days


def trend(free: Points) -> Trend | None:
    """How a file system fills, from what was free of it: the median of the slopes between all pairs of points (Theil-Sen).

    None with fewer than two points. What takes longer than ten years is not foreseen.
    """
    thin = _thinned(free, TREND_POINTS)
    slopes = [
        (one[1] - other[1]) / (other[0] - one[0]) * DAY
        for position, one in enumerate(thin)
        for other in thin[position + 1 :]
        if other[0] > one[0]
    ]
    if not slopes:
        return None
    per_day = statistics.median(slopes)
    left = free[-1][1]
    return Trend(per_day, left / per_day if per_day > 0 and left / per_day < MOST_DAYS else None)


def _thinned(points: Points, most: int) -> Points:
    if len(points) <= most:
        return points
    return tuple(points[round(position * (len(points) - 1) / (most - 1))] for position in range(most))


def buckets(points: Points, start: float, end: float, count: int) -> list[tuple[float, float, float, float]]:
    """For a plot: (time, least, mean, most) of each of C(count) equal parts of the window that holds a point."""
    width = (end - start) / count or 1.0
    parts: dict[int, list[float]] = {}
    for time, value in points:
        parts.setdefault(min(int((time - start) / width), count - 1), []).append(value)
    return [
        (start + (part + 0.5) * width, min(values), statistics.fmean(values), max(values)) for part, values in sorted(parts.items())
    ]
