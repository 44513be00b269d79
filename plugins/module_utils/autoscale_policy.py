# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What autoscaling may do with a tier: the signals that it can follow, a policy's defaults, and which policies are refused. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from .capacity import number_from

# How a signal answers to more hosts.
# share: the hosts divide it among themselves, so its sum is the work there is (CPU). With SUM it is counted in units of the tier.
# level: it says too much or not too much, and nothing about how much fewer hosts would make it (memory, waiting times).
# backlog: it is work that waits and stays the same whoever serves, so its threshold is for the smallest tier (a queue).
SHARE, LEVEL, BACKLOG = "share", "level", "backlog"
# How the values of several hosts or queues become one.
MEAN, SUM, MAX = "mean", "sum", "max"

DAY = 86400


class AutoscaleError(ValueError):
    """A policy or what was measured can't be used. Each problem is one sentence: the thing, the value, the cure."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Signal:
    """Something measured that a tier can be scaled by, and its default thresholds.

    ``silence``: that there is no number (NaN) means that nobody asked, so it counts as 0; otherwise it counts as missing.
    ``optional``: a policy has it only when its row names it. ``of``: the recorded series of which the sum is a share.
    """

    name: str
    tier: str
    kind: str
    merge: str
    unit: str
    series: str
    scale_out: float
    scale_in: float
    about: str
    silence: bool = False
    optional: bool = False
    of: str = ""


SIGNALS: Mapping[str, Signal] = {
    row.name: row
    for row in (
        Signal(
            "cpu", "app_servers", SHARE, MEAN, "ratio", "fleet:cpu_used:ratio", 0.70, 0.30,
            "processor time in use, of the host's own cores",
        ),
        # A PHP host's memory hardly follows its traffic: at 0.30 a tier would never get smaller again.
        Signal("memory", "app_servers", LEVEL, MEAN, "ratio", "fleet:memory_used:ratio", 0.80, 0.60, "memory in use"),
        Signal(
            "response_time", "app_servers", LEVEL, MAX, "s", "fleet:response_time_overall:p95_seconds", 2.0, 0.6,
            "what 95 of 100 requests stay below, seen by the balancers", silence=True,
        ),
        Signal(
            "fpm_busy", "app_servers", SHARE, MEAN, "ratio", "fleet:fpm_busy:ratio", 0.70, 0.30,
            "PHP-FPM children at work; for applications that wait more than they compute", optional=True,
        ),
        Signal(
            "queue_length", "queue_workers", BACKLOG, SUM, "jobs", "fleet:queue_length:jobs", 1000, 300,
            "waiting jobs of all queues",
        ),
        Signal(
            "queue_age", "queue_workers", LEVEL, MAX, "s", "fleet:queue_oldest_job_age:seconds", 60, 18,
            "how long the oldest job has waited",
        ),
        # What length and age can't say while a queue is empty: how many workers it takes to keep it so.
        Signal(
            "workers_busy", "queue_workers", SHARE, SUM, "ratio", "fleet:queue_running:jobs", 0.90, 0.40,
            "workers that run a job, of all", optional=True, of="fleet:queue_workers:count",
        ),
    )
}  # fmt: skip
AUTOSCALED: tuple[str, ...] = tuple(dict.fromkeys(signal.tier for signal in SIGNALS.values()))


@dataclass(frozen=True)
class Rule:
    """A signal of a policy: above ``scale_out`` hosts are added; below ``scale_in`` it doesn't mind that some go."""

    signal: Signal
    scale_out: float
    scale_in: float

    @classmethod
    def of(cls, signal: Signal) -> Rule:
        return cls(signal, signal.scale_out, signal.scale_in)


@dataclass(frozen=True)
class Policy:
    """How one tier is scaled. All counts are hosts unless the name says otherwise.

    ``cooldown_out_seconds`` lies between two changes that add; ``cooldown_in_seconds`` between any change and one that takes away.
    ``window_seconds`` is how far back the highest value counts before hosts are taken away. A size to which hosts had to be added
    soon after others had been taken away was too small: it isn't tried again for ``reversal_seconds``.
    ``processes_minimum`` is the fewest workers on a host, for queue_workers.
    """

    tier: str
    rules: tuple[Rule, ...]
    minimum: int = 2
    maximum: int = 10
    step: int = 2
    cooldown_out_seconds: int = 60
    cooldown_in_seconds: int = 300
    window_seconds: int = 300
    stale_seconds: int = 60
    reversal_seconds: int = 3600
    processes_minimum: int = 2

    def as_dict(self) -> dict[str, Any]:
        """Plain data: a row of ``autoscale_policies`` with nothing left out, and what to ask Prometheus for.

        ``signals`` holds for each name ``scale_out``, ``scale_in``, ``unit``, ``series``, the ``labels`` to select by, and ``of``
        where the series counts and the thresholds are shares.
        """
        row: dict[str, Any] = {name: getattr(self, name) for name in ("tier", *_limits(self.tier))}
        row["signals"] = {
            rule.signal.name: {
                "scale_out": rule.scale_out,
                "scale_in": rule.scale_in,
                "unit": rule.signal.unit,
                "series": rule.signal.series,
                "labels": {"tier": self.tier} if rule.signal.merge == MEAN else {},
                **({"of": rule.signal.of} if rule.signal.of else {}),
            }
            for rule in self.rules
        }
        return row


# The range of each number.
LIMITS: Mapping[str, tuple[int, int]] = {
    "minimum": (1, 10_000),
    "maximum": (1, 10_000),
    "step": (1, 10_000),
    "cooldown_out_seconds": (0, DAY),
    "cooldown_in_seconds": (0, DAY),
    "window_seconds": (0, DAY),
    "stale_seconds": (1, DAY),
    "reversal_seconds": (0, DAY),
    "processes_minimum": (1, 1000),
}
_DEFAULTS: Mapping[str, int] = {item.name: item.default for item in fields(Policy) if isinstance(item.default, int)}


def _limits(tier: str) -> list[str]:
    return [name for name in LIMITS if name != "processes_minimum" or tier == "queue_workers"]


def default_policy(tier: str) -> Policy:
    """The scaling guide's numbers for one of ``AUTOSCALED``."""
    return Policy(tier, tuple(Rule.of(row) for row in SIGNALS.values() if row.tier == tier and not row.optional))


def policies_from(rows: Any) -> tuple[Policy, ...]:
    """The policies of ``autoscale_policies``; what a row leaves out is the default of its tier.

    Raises AutoscaleError with every problem of every row.
    """
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Sequence):
        raise AutoscaleError(f"autoscale_policies must be a list of rows such as {{tier: app_servers}}, not: {rows!r}")
    problems: list[str] = []
    policies: dict[str, Policy] = {}
    for row in rows:
        tier = _tier(row, problems)
        if not tier:
            continue
        if tier in policies:
            problems.append(f"autoscale_policies has two rows for {tier}; keep one")
        policies[tier] = _policy(tier, row, problems)
    if problems:
        raise AutoscaleError(problems)
    return tuple(policies.values())


def _tier(row: Any, problems: list[str]) -> str:
    if not isinstance(row, Mapping):
        problems.append(f"autoscale_policies: a row must be a dictionary such as {{tier: app_servers}}, not: {row!r}")
        return ""
    tier = row.get("tier")
    if tier in AUTOSCALED:
        return str(tier)
    problems.append(
        f"autoscale_policies: tier must be one of {', '.join(AUTOSCALED)}, not: {tier or 'nothing'}{_near(tier, AUTOSCALED)}"
    )
    return ""


def _near(value: Any, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def _policy(tier: str, row: Mapping[str, Any], problems: list[str]) -> Policy:
    where = f"autoscale policy of {tier}"
    known = ["tier", "signals", *_limits(tier)]
    for key in row:
        if key not in known:
            problems.append(f"{where}: unknown key {key}{_near(key, known)}; it holds {', '.join(known)}")
    before = len(problems)
    numbers = {key: _whole(f"{where}: {key}", row[key], LIMITS[key], problems) for key in _limits(tier) if key in row}
    if len(problems) == before:
        limits = {**_DEFAULTS, **numbers}
        if limits["minimum"] > limits["maximum"]:
            problems.append(
                f"{where}: minimum {limits['minimum']} is above maximum {limits['maximum']}; lower the one or raise the other"
            )
    rules = _rules(where, tier, row.get("signals"), problems)
    return Policy(tier, rules, **numbers)


def _whole(what: str, value: Any, limits: tuple[int, int], problems: list[str]) -> int:
    number = number_from(value)
    least, most = limits
    if number is not None and number == int(number) and least <= number <= most:
        return int(number)
    problems.append(f"{what} must be a whole number from {least} to {most}, not: {value!r}")
    return least


def _rules(where: str, tier: str, given: Any, problems: list[str]) -> tuple[Rule, ...]:
    """The tier's own signals with those of the row laid over them; null leaves one out."""
    known = [row.name for row in SIGNALS.values() if row.tier == tier]
    rules = {rule.signal.name: rule for rule in default_policy(tier).rules}
    if given is None:
        return tuple(rules.values())
    if not isinstance(given, Mapping):
        problems.append(f"{where}: signals must be a dictionary such as {{{known[0]}: {{scale_out: 0.7}}}}, not: {given!r}")
        return tuple(rules.values())
    for name, value in given.items():
        if name not in known:
            problems.append(f"{where}: unknown signal {name}{_near(name, known)}; it has {', '.join(known)}")
        elif value is None:
            rules.pop(name, None)
        else:
            rules[name] = _rule(f"{where}, signal {name}", rules.get(name, Rule.of(SIGNALS[name])), value, problems)
    if not rules:
        problems.append(f"{where}: no signal is left to scale by; keep at least one of {', '.join(known)}")
    return tuple(rules.values())


def _rule(where: str, rule: Rule, given: Any, problems: list[str]) -> Rule:
    keys = ("scale_out", "scale_in")
    if not isinstance(given, Mapping):
        problems.append(f"{where} must be a dictionary of {' and '.join(keys)}, or null to leave it out, not: {given!r}")
        return rule
    for key, value in given.items():
        number = number_from(value)
        if key not in keys:
            problems.append(f"{where}: unknown key {key}{_near(key, keys)}; it holds {', '.join(keys)}")
            return rule
        if number is None or number <= 0:
            problems.append(f"{where}: {key} must be a number above 0, not: {value!r}")
            return rule
        if rule.signal.unit == "ratio" and number > 1:
            problems.append(f"{where}: {key} is a share of 1, not: {value!r}; 70 % is 0.70")
            return rule
        rule = replace(rule, scale_out=number) if key == "scale_out" else replace(rule, scale_in=number)
    if rule.scale_in >= rule.scale_out:
        problems.append(
            f"{where}: scale_in {rule.scale_in:g} must be below scale_out {rule.scale_out:g}, or hosts would come and go; lower scale_in"
        )
    return rule
