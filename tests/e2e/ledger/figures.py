# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a run: what failed, how long nothing succeeded, how long answers took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WRITES = frozenset({"basket", "enrol", "job", "upload"})
# Rows of the database: what a switchover of MySQL holds up.
ROWS = frozenset({"enrol", "job"})
# These take as long as they were asked to.
SLOW = frozenset({"slow", "slow_post"})
PHASES = ("before", "during", "after")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one arrival. Times are seconds after the start of the run."""

    kind: str
    method: str
    at: float
    started: float
    ended: float
    status: int = 0
    failure: str = ""
    server: str = ""
    release: str = ""
    reused: bool = False
    repeated: bool = False
    # A POST that was sent and got no usable answer: nobody can say whether it was carried out.
    unsafe: bool = False

    @property
    def seconds(self) -> float:
        """From when it was due: what a client that came on time has waited."""
        return self.ended - self.at


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the (sorted) values don't exceed: the nearest-rank definition."""
    if not values:
        return math.nan
    return values[max(0, math.ceil(share * len(values)) - 1)]


def longest_gap(moments: Iterable[float], start: float, end: float) -> tuple[float, float]:
    """The longest time without one of the moments between start and end, and when it began."""
    last, longest, since = start, 0.0, start
    for moment in [*sorted(m for m in moments if start <= m <= end), end]:
        if moment - last > longest:
            longest, since = moment - last, last
        last = moment
    return longest, since


def first_after(answers: Iterable[Answer], moment: float, kinds: frozenset[str]) -> float | None:
    """Seconds from a moment until the first success of these kinds; None when there was none."""
    ended = [a.ended for a in answers if not a.failure and a.kind in kinds and a.ended >= moment]
    return round(min(ended) - moment, 3) if ended else None


def first_by_a_new_server(answers: Iterable[Answer], moment: float, until: float = math.inf) -> tuple[str, float] | None:
    """Which server was the first to answer between two moments that had never answered before, and how many seconds after the
    first moment; None when there was none."""
    good = [a for a in answers if a.server and not a.failure]
    known = {a.server for a in good if a.ended < moment}
    new = [(a.ended, a.server) for a in good if moment <= a.ended < until and a.server not in known]
    if not new:
        return None
    ended, server = min(new)
    return server, round(ended - moment, 3)


def phase_of(answer: Answer, verb_start: float, verb_end: float) -> str:
    """When the request was due; one that was under way when the verb began, and failed then, is the verb's."""
    if answer.at < verb_start and not (answer.failure and answer.ended >= verb_start):
        return "before"
    return "during" if answer.at < verb_end else "after"


def summary(answers: Sequence[Answer], start: float, end: float) -> dict[str, Any]:
    """Figures of the answers that were due between start and end."""
    failed = [a for a in answers if a.failure and not a.unsafe]
    unsafe = [a for a in answers if a.unsafe]
    good = [a for a in answers if not a.failure]
    times = sorted(a.seconds for a in good if a.kind not in SLOW)

    def gap(kinds: frozenset[str] | None) -> dict[str, float]:
        due = [a.at for a in answers if kinds is None or a.kind in kinds]
        if not due:
            return {"seconds": 0.0, "since": start}
        seconds, since = longest_gap([a.ended for a in good if kinds is None or a.kind in kinds], start, end)
        return {"seconds": round(seconds, 3), "since": round(since, 3)}

    return {
        "seconds": round(end - start, 1),
        "requests": len(answers),
        "failed": dict(Counter(f"{a.method} {a.kind}: {a.failure}" for a in failed).most_common()),
        "unsafe_to_retry": dict(Counter(f"{a.method} {a.kind}: {a.failure}" for a in unsafe).most_common()),
        "repeated_on_a_new_connection": sum(a.repeated for a in answers),
        "on_kept_connections": sum(a.reused for a in answers),
        "longest_gap": {"all": gap(None), "writes": gap(WRITES), "rows": gap(ROWS)},
        "milliseconds": {
            name: None if not times else round(percentile(times, share) * 1000, 1)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        },
        "by_server": dict(Counter(a.server for a in answers if a.server).most_common()),
        "by_release": dict(Counter(a.release for a in answers if a.release).most_common()),
    }


def by_phase(answers: Sequence[Answer], verb_start: float, verb_end: float, end: float) -> dict[str, dict[str, Any]]:
    """`summary` for before, during, after and the whole."""
    parts: dict[str, list[Answer]] = {phase: [] for phase in PHASES}
    for answer in answers:
        parts[phase_of(answer, verb_start, verb_end)].append(answer)
    limits = {"before": (0.0, verb_start), "during": (verb_start, verb_end), "after": (verb_end, end)}
    return {phase: summary(parts[phase], *limits[phase]) for phase in PHASES} | {"all": summary(answers, 0.0, end)}
