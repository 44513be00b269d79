# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When requests arrive: fixed before the run, so that a slow fleet never slows the clock (an open loop)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Requests a second out of 50; the shares stay the same at another rate.
MIX: Mapping[str, float] = {
    "static": 12,
    "courses": 12,
    "session": 10,
    "basket": 2,
    "basket_read": 1,
    "enrol": 6,
    "enrolment_read": 2,
    "job": 2,
    "upload": 1.5,
    "download": 1,
    "slow": 0.3,
    "slow_post": 0.2,
}
KEPT_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that will be sent `at` seconds after the start, whatever became of those before it."""

    number: int
    at: float
    kind: str
    kept: bool


def arrivals(
    rate: float, seconds: float, *, mix: Mapping[str, float] = MIX, kept_share: float = KEPT_SHARE, seed: int = 0
) -> Iterator[Arrival]:
    """Arrivals of a Poisson process: `rate` a second on average, independent of each other, the same for the same seed."""
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate and seconds must be above 0, not: {rate:g} and {seconds:g}")
    chance = random.Random(seed)
    kinds, weights = list(mix), list(mix.values())
    number, at = 0, chance.expovariate(rate)
    while at < seconds:
        kept = chance.random() < kept_share
        yield Arrival(number, at, chance.choices(kinds, weights)[0], kept)
        number, at = number + 1, at + chance.expovariate(rate)
