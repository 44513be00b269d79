# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known of a Laravel application's jobs without asking it: how long they wait, and how long they ran. Pure.

Laravel 10 and 11 don't store when a job was queued, and what an application or a later Laravel stores (pushedAt, createdAt) is when it
was dispatched: a job that was delayed, or is tried again, would count as waiting all that time. So the waiting time is observed: the last
job of the queue is remembered with the time at which it was seen, and as long as that job waits, the first one waits longer.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .redis_queues import QueueLook

# Enough for an error of 0.1 % of the age.
MARKERS = 1024
# Which job belongs to which queue is remembered for so many.
KNOWN_JOBS = 5000
DONE, FAILED = "done", "failed"
UNKNOWN = "unknown"


@dataclass
class Waiting:
    """How long the first job of one queue waits. Times are in seconds of one clock, the wall's."""

    markers: deque[tuple[float, str]] = field(default_factory=deque)
    seen: float | None = None  # when the queue was looked at last
    emptied: float = 0.0  # no waiting job is older than this

    @property
    def marker(self) -> str | None:
        """The payload to look for next: the oldest that was the last of the queue when it was seen."""
        return self.markers[0][1] if self.markers else None

    def add(self, look: QueueLook, now: float) -> bool:
        """Take what was seen, with whether the marker still waits. True when it doesn't, and the next one should be asked for."""
        if look.waiting == 0 or look.first is None or look.last is None:
            self.markers.clear()
            self.emptied = self.seen = now
            return False
        if look.holds is False and self.markers:
            gone, _payload = self.markers.popleft()
            # It was the last one then, so what waits now came later.
            self.emptied = max(self.emptied, gone)
            if self.markers:
                return True
        if self.seen is None:
            self.emptied = _told(look.first, now) or now
            self.markers.append((max(self.emptied, _told(look.last, now) or now), look.last))
        elif not self.markers or self.markers[-1][1] != look.last:
            self.markers.append((now, look.last))
        if len(self.markers) > MARKERS:
            self.markers = deque([*list(self.markers)[:-1:2], self.markers[-1]])
        self.seen = now
        return False

    def age(self, look: QueueLook, now: float) -> float:
        """Seconds that the first job waits, 0 for an empty queue: at least so long, and by at most the time between two looks longer.

        The time that the job itself tells is taken where it lies between the bounds.
        """
        if not self.markers or look.first is None:
            return 0.0
        latest = self.markers[0][0]
        told = _told(look.first, now)
        if told is not None and self.emptied <= told <= latest:
            return max(0.0, now - told)
        return max(0.0, now - latest)


def _told(payload: str, now: float) -> float | None:
    """When the job says that it was queued; None when it doesn't say, or lies in the future."""
    try:
        row = json.loads(payload)
        told = row.get("pushedAt") or row.get("createdAt")
        when = float(told) if told is not None else None
    except (ValueError, TypeError, AttributeError):
        return None
    return when if when is not None and 0 < when <= now else None


# -- how long jobs ran ------------------------------------------------------------------------------------------------

# `artisan queue:work` of Laravel 10 and later, Illuminate/Queue/Console/WorkCommand.php: time, name, with -v what identifies the job,
# dots, duration, result.
_ENDED = re.compile(
    r"\s*\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?P<job>\S.*?) (?:\.* )?"
    r"(?P<time>(?:[\d,.]+(?:ms|µs|mos?|yrs?|[ywdhms]) ?)+)(?P<result>DONE|FAIL)\s*\Z"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PART = re.compile(r"([\d,.]+)(ms|µs|mos?|yrs?|[ywdhms])")
_UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True)
class Ended:
    """A job that a worker has ended: the words that name it (class first), seconds, done or failed."""

    words: tuple[str, ...]
    seconds: float
    result: str

    @property
    def job(self) -> str:
        return self.words[0]


def ended_from(line: str) -> Ended | None:
    """What a line of a worker's log tells; None when it tells of no job's end."""
    found = _ENDED.match(_COLOUR.sub("", line))
    if not found:
        return None
    seconds = sum(float(number.replace(",", "")) * _UNITS.get(unit, 0.0) for number, unit in _PART.findall(found["time"]))
    words = tuple(word for word in found["job"].split() if word.strip("."))
    return Ended(words, seconds, DONE if found["result"] == "DONE" else FAILED) if words else None


@dataclass
class Owners:
    """Which queue a job is of: a worker's log doesn't say, its payload in Redis does."""

    by_job: dict[str, str] = field(default_factory=dict)
    by_id: dict[str, str] = field(default_factory=dict)

    def see(self, queue: str, payloads: tuple[str, ...]) -> None:
        """Learn from jobs that wait or run in a queue."""
        for payload in payloads:
            try:
                row: Any = json.loads(payload)
                job, number = str(row.get("displayName") or row["job"]).split(maxsplit=1)[0], str(row.get("id", ""))
            except (ValueError, TypeError, LookupError, AttributeError):
                continue
            self.by_job[job] = queue
            if number:
                self.by_id[number] = queue
        for known in (self.by_job, self.by_id):
            while len(known) > KNOWN_JOBS:
                del known[next(iter(known))]

    def queue_of(self, ended: Ended, queues: dict[str, str], only: str = "") -> str:
        """The queue of a job that has ended.

        By what the worker says with -v (the queue's stored name in C(queues), the job's id), else the queue in which a job of its
        class was seen last, else C(only), the one queue that its worker serves.
        """
        for word in ended.words[1:]:
            if word in queues:
                return queues[word]
            if word in self.by_id:
                return self.by_id[word]
        return self.by_job.get(ended.job, only or UNKNOWN)
