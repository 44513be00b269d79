# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tier does with its load, as simply as it can be said: work that flows in, hosts that take some of it away."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Values = dict[tuple[str, str], float]


class Plant(Protocol):
    """A tier under load. ``limit`` is what ``pain`` (seconds that somebody waits) should stay below."""

    limit: float
    pain_name: str
    load_name: str

    def tick(self, load: float, seconds: int, serving: Sequence[str], processes: int) -> tuple[Values, float]:
        """Let ``load`` (a second) come for ``seconds``; return what would be measured, by signal and source, and the pain."""


@dataclass
class WebPlant:
    """Application servers: each answers ``rate`` requests a second with its whole CPU.

    The 95th percentile of a queue with one server and random arrivals (M/M/1) is ln 20 x the time of one request / (1 - use).
    What can't be answered waits, in front of all hosts; clients give up after ``patience`` seconds.
    """

    rate: float = 50.0
    request_seconds: float = 0.04
    patience: float = 30.0
    limit: float = 2.0
    pain_name: str = "response time, s"
    load_name: str = "requests/s"
    waiting: float = 0.0

    def tick(self, load: float, seconds: int, serving: Sequence[str], processes: int) -> tuple[Values, float]:
        if not serving:
            return {}, self.patience
        room = self.rate * len(serving)
        self.waiting = min(max(0.0, self.waiting + (load - room) * seconds), self.patience * room)
        use = min(1.0, load / room) if self.waiting == 0 else 1.0
        response = math.log(20) * self.request_seconds / (1 - min(use, 0.98)) + self.waiting / room
        values: Values = {("response_time", ""): min(response, self.patience)}
        for name in serving:
            values["cpu", name] = min(1.0, 0.03 + 0.97 * use)
            values["memory", name] = 0.25 + 0.3 * use
        return values, values["response_time", ""]


@dataclass
class WorkerPlant:
    """Queue workers: each process does a job in ``job_seconds``; who came first is served first."""

    job_seconds: float = 0.5
    limit: float = 60.0
    pain_name: str = "age of the oldest job, s"
    load_name: str = "jobs/s"
    clock: int = 0
    batches: deque[list[float]] = field(default_factory=deque)

    def tick(self, load: float, seconds: int, serving: Sequence[str], processes: int) -> tuple[Values, float]:
        self.batches.append([float(self.clock), load * seconds])
        self.clock += seconds
        room = all_room = len(serving) * processes * seconds / self.job_seconds
        while self.batches and room >= self.batches[0][1]:
            room -= self.batches.popleft()[1]
        if self.batches:
            self.batches[0][1] -= room
            room = 0.0
        age = self.clock - self.batches[0][0] if self.batches else 0.0
        length = sum(jobs for _came, jobs in self.batches)
        running = (all_room - room) * self.job_seconds / seconds
        values = {("queue_length", "default"): length, ("queue_age", "default"): age, ("workers_busy", "default"): running}
        return values, age
