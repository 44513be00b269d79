# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GTID sets as MySQL writes them: C(uuid:1-5:8), since 8.3 also with tags: C(uuid:1-5:tag:1-3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Interval = tuple[int, int]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INTERVAL = re.compile(r"(\d+)(?:-(\d+))?")
TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")


class GtidError(ValueError):
    """Text that is no GTID set."""


def _merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    result: list[Interval] = []
    for first, last in sorted(intervals):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)


def _without(ours: Iterable[Interval], theirs: tuple[Interval, ...]) -> tuple[Interval, ...]:
    result: list[Interval] = []
    for first, last in ours:
        rest = first
        for start, end in theirs:
            if end < rest or start > last:
                continue
            if start > rest:
                result.append((rest, start - 1))
            rest = end + 1
        if rest <= last:
            result.append((rest, last))
    return tuple(result)


@dataclass(frozen=True)
class GtidSet:
    """Transactions by their origin: (server's UUID, tag or "") → disjoint, ascending intervals, both ends included."""

    intervals: Mapping[tuple[str, str], tuple[Interval, ...]]

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Return the set that ``text`` names. Raises GtidError for anything else."""
        found: dict[tuple[str, str], list[Interval]] = {}
        for member in filter(None, (part.strip() for part in text.lower().replace("\n", "").split(","))):
            origin, *parts = (part.strip() for part in member.split(":"))
            if not UUID.fullmatch(origin) or not parts:
                raise GtidError(f"not a GTID set: {member!r}")
            tag = ""
            for part in parts:
                interval = INTERVAL.fullmatch(part)
                if interval:
                    first = int(interval[1])
                    found.setdefault((origin, tag), []).append((first, int(interval[2] or first)))
                elif TAG.fullmatch(part):
                    tag = part
                else:
                    raise GtidError(f"not a GTID set: {member!r}")
        return cls({origin: _merged(intervals) for origin, intervals in sorted(found.items())})

    def minus(self, other: GtidSet) -> GtidSet:
        """Return the transactions that are here and not in ``other``."""
        rest = {
            origin: _without(intervals, other.intervals.get(origin, ())) for origin, intervals in self.intervals.items()
        }
        return GtidSet({origin: intervals for origin, intervals in rest.items() if intervals})

    def plus(self, other: GtidSet) -> GtidSet:
        """Return the transactions that are in either."""
        origins = sorted(set(self.intervals) | set(other.intervals))
        return GtidSet(
            {
                origin: _merged((*self.intervals.get(origin, ()), *other.intervals.get(origin, ())))
                for origin in origins
            }
        )

    def within(self, other: GtidSet) -> bool:
        """Return whether ``other`` holds all transactions of this set."""
        return not self.minus(other)

    def __bool__(self) -> bool:
        return any(self.intervals.values())

    def __len__(self) -> int:
        return sum(last - first + 1 for intervals in self.intervals.values() for first, last in intervals)

    def __str__(self) -> str:
        return ",".join(
            ":".join([uuid, *([tag] if tag else []), *(f"{a}-{b}" if b > a else str(a) for a, b in intervals)])
            for (uuid, tag), intervals in self.intervals.items()
        )
