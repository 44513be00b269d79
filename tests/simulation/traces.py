# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loads that are played. An application server answers 50 requests a second, a worker process does two jobs a second."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True)
class Trace:
    """``load`` gives what comes in a second. ``lost``: for which seconds no metric arrives, of all hosts or of one.

    ``deaths``: at which second a host dies, and how long it stays so. ``noise`` is the share by which the load varies at random.
    """

    name: str
    about: str
    tier: str
    seconds: int
    load: Callable[[int], float]
    noise: float = 0.0
    lost: tuple[tuple[int, int, str], ...] = ()
    deaths: Mapping[int, int] = field(default_factory=dict)
    interval: int = 15  # between two decisions, and between two values of a metric

    def at(self, second: int, dice: random.Random) -> float:
        return max(0.0, self.load(second) * (1 + self.noise * dice.uniform(-1, 1)))


def step(low: float, high: float, begins: int, ends: int) -> Callable[[int], float]:
    return lambda second: high if begins <= second < ends else low


def ramp(low: float, high: float, begins: int, top: int, ends: int) -> Callable[[int], float]:
    def load(second: int) -> float:
        if second <= begins or second >= ends:
            return low
        share = (second - begins) / (top - begins) if second < top else (ends - second) / (ends - top)
        return low + (high - low) * share

    return load


def wave(low: float, high: float, period: int) -> Callable[[int], float]:
    """Lowest at 0."""
    return lambda second: low + (high - low) * (1 - math.cos(2 * math.pi * second / period)) / 2


def flapping(low: float, high: float, period: int) -> Callable[[int], float]:
    return lambda second: high if second % period < period / 2 else low


TRACES = (
    Trace("step", "60, for half an hour 260 requests/s", "app_servers", 80 * MINUTE, step(60, 260, 10 * MINUTE, 40 * MINUTE), 0.05),
    Trace("ramp", "60 to 300 requests/s and back, half an hour each", "app_servers", 90 * MINUTE,
          ramp(60, 300, 10 * MINUTE, 40 * MINUTE, 70 * MINUTE), 0.05),
    Trace("spike", "60, for three minutes 260 requests/s", "app_servers", 40 * MINUTE, step(60, 260, 10 * MINUTE, 13 * MINUTE), 0.05),
    Trace("daily wave", "40 to 320 requests/s within a day", "app_servers", 24 * HOUR, wave(40, 320, 24 * HOUR), 0.10, interval=30),
    Trace("noise", "90 requests/s, give or take 40 %", "app_servers", 2 * HOUR, lambda _second: 90, 0.40),
    Trace("flapping", "30 and 180 requests/s in turn, two minutes each", "app_servers", 2 * HOUR, flapping(30, 180, 4 * MINUTE), 0.05),
    Trace("slow flapping", "30 and 180 requests/s in turn, fifteen minutes each", "app_servers", 4 * HOUR,
          flapping(30, 180, 30 * MINUTE), 0.05),
    Trace("metric loss", "the step; no metrics for 3 minutes when it comes, for 10 when it ends, of one host before", "app_servers",
          80 * MINUTE, step(60, 260, 10 * MINUTE, 40 * MINUTE), 0.05,
          ((10 * MINUTE, 13 * MINUTE, ""), (20 * MINUTE, 30 * MINUTE, "app1"), (38 * MINUTE, 48 * MINUTE, ""))),
    Trace("a host dies", "60 requests/s; one of two hosts is ill for half an hour", "app_servers", 80 * MINUTE, lambda _second: 60, 0.05,
          deaths={20 * MINUTE: 30 * MINUTE}),
    Trace("flood", "5,000 jobs within ten seconds, 2 jobs/s before and after", "queue_workers", 60 * MINUTE,
          step(2, 500, 10 * MINUTE, 10 * MINUTE + 10)),
    Trace("steady jobs", "20 jobs/s, which take ten processes all the time", "queue_workers", 4 * HOUR, lambda _second: 20, 0.10),
)  # fmt: skip
