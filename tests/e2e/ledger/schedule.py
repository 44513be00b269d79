# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When requests arrive: fixed before the run, so that a slow fleet never slows the clock (an open loop)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Requests a second out of 50; the shares stay the same at another rate. Half of them cost no PHP, so that the load leaves a
# machine that is client, control node and fleet at once the other half of its processors.
MIX: Mapping[str, float] = {
    "static": 24,
    "courses": 8,
    "session": 7,
    "basket": 1,
    "basket_read": 1,
    "enrol": 3,
    "enrolment_read": 1,
    "job": 1.5,
    "upload": 1,
    "download": 1,
    "slow": 0.3,
    "slow_post": 0.2,
}
# Where pauses of the database matter, more rows: with few a second, a second without one is nothing but chance.
ROWS_MIX: Mapping[str, float] = {**MIX, "courses": 4, "session": 3, "enrol": 11}
# Where long answers matter: about five of these POSTs, of five seconds each, are under way at any moment.
LONG_MIX: Mapping[str, float] = {**MIX, "slow_post": 1.0}
KEPT_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request that will be sent `at` seconds after the start, whatever became of those before it."""

    number: int
    at: float
    kind: str
    kept: bool


def arrivals(
    rate: float, seconds: float, *, mix: Mapping[str, float] | None = None, kept_share: float = KEPT_SHARE, seed: int = 0
) -> Iterator[Arrival]:
    """Arrivals of a Poisson process: `rate` a second on average, independent of each other, the same for the same seed."""
    if rate <= 0 or seconds <= 0:
        raise ValueError(f"rate and seconds must be above 0, not: {rate:g} and {seconds:g}")
    chance = random.Random(seed)
    mix = mix or MIX
    kinds, weights = list(mix), list(mix.values())
    number, at = 0, chance.expovariate(rate)
    while at < seconds:
        kept = chance.random() < kept_share
        yield Arrival(number, at, chance.choices(kinds, weights)[0], kept)
        number, at = number + 1, at + chance.expovariate(rate)
