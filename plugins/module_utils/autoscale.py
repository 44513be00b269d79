# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many hosts a tier shall have now, and why: pure. What was measured, who is there and the policy in; one decision out.

Nothing is remembered here: the past comes in with the samples (Prometheus keeps them) and with the last decisions, so a control
host that was lost and replaced decides the same. It also makes an alert storm one decision: the first one is a change, and the
cool-down holds the others.

The rules are those of target tracking as Kubernetes' HorizontalPodAutoscaler has them (desired = ceil(current x value / target),
the largest of all metrics, the highest of a window before it shrinks), with what machines need beyond that: see
docs/autoscaling-decision.md.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .autoscale_policy import BACKLOG, MAX, MEAN, SHARE, AutoscaleError, Policy, Rule
from .capacity import number_from

OUT, IN, HOLD = "out", "in", "hold"
# "active" and "joining" (made, not yet serving) count as there. "ill" is active and doesn't answer.
STATES = ("active", "joining", "draining", "standby", "down", "ill")
# Values that were computed differ in their last digits.
EPSILON = 1e-9


@dataclass(frozen=True)
class Sample:
    """One value of a signal, ``age`` seconds before now; ``source`` is the host or queue it is of, "" for the whole fleet."""

    signal: str
    value: float
    age: float
    source: str = ""


@dataclass(frozen=True)
class Member:
    """A host of the tier. For queue_workers: how many workers it runs, and how many its memory and cores allow."""

    name: str
    state: str = "active"
    processes: int = 0
    capacity: int = 1


@dataclass(frozen=True)
class Change:
    """That hosts or processes were added (``out``) or taken away (``in``), and when that was done, in seconds since 1970.

    ``units`` is how many there were before it: hosts, for queue_workers processes of all hosts; 0 when nobody knows.
    """

    time: float
    direction: str
    units: int = 0


@dataclass(frozen=True)
class Reading:
    """What one signal says. ``value`` is None when it is missing; ``demand`` is in hosts, or in processes for queue_workers."""

    name: str
    value: float | None
    threshold: float
    demand: int
    words: str  # why it asks for that

    def as_dict(self) -> dict[str, Any]:
        value = None if self.value is None else round(self.value, 4)
        return {"name": self.name, "value": value, "threshold": self.threshold, "demand": self.demand}


@dataclass(frozen=True)
class Decision:
    """``current`` and ``desired`` are hosts that serve. ``count`` is what ``scale.yml`` is told: it also counts those that are ill.

    ``processes`` are workers on each host, now and desired; None for tiers without.
    """

    time: float
    tier: str
    current: int
    desired: int
    count: int
    action: str
    reason: str
    readings: tuple[Reading, ...]
    processes: tuple[int, int] | None = None
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """A row of decisions.json."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(int(self.time), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tier": self.tier,
            "current": self.current,
            "desired": self.desired,
            "count": self.count,
            "action": self.action,
            "reason": self.reason,
            "signals": [reading.as_dict() for reading in self.readings],
            "dry_run": self.dry_run,
        }
        if self.processes is not None:
            row["processes"] = {"current": self.processes[0], "desired": self.processes[1]}
        return row


@dataclass(frozen=True)
class _Tier:
    """The tier as it is. ``units`` is what demand is counted in: hosts, or worker processes of all hosts that serve."""

    policy: Policy
    serving: tuple[Member, ...]
    ill: int
    units: int
    floor: int  # the fewest units
    proven: int  # units that were shown to be too few
    per_host: int  # the most units that a host holds

    @property
    def hosts(self) -> int:
        return len(self.serving)

    @property
    def has_processes(self) -> bool:
        return self.policy.tier == "queue_workers"

    @property
    def processes(self) -> int:
        """Workers on each host as it is, 1 for tiers without."""
        return _up(self.units / self.hosts) if self.hosts else 0

    @property
    def processes_minimum(self) -> int:
        return min(self.policy.processes_minimum, self.per_host) if self.has_processes else 1

    @property
    def unit(self) -> str:
        return "processes" if self.has_processes else "hosts"


@dataclass(frozen=True)
class _Target:
    """Where the tier should go, before cool-downs, and the sentence why. ``processes`` is 1 for tiers without."""

    hosts: int
    processes: int
    why: str


def decide(
    policy: Policy,
    members: Iterable[Member],
    samples: Iterable[Sample],
    now: float,
    changes: Iterable[Change] = (),
    *,
    lock_holder: str = "",
    dry_run: bool = False,
) -> Decision:
    """What shall become of the policy's tier at ``now`` (seconds since 1970).

    ``samples`` are of the policy's signals, from now back over at least its window; the order doesn't matter, and those of hosts
    that have left since belong to them. ``changes`` are what was done to this tier before. ``lock_holder`` is the verb that holds
    the fleet's lock, "" when nobody does.
    """
    changes = _past(policy, changes, now)
    tier = _tier(policy, members, changes, now)
    readings = _readings(tier, samples)

    def decision(action: str, hosts: int, processes: int, why: str) -> Decision:
        return Decision(
            time=now,
            tier=policy.tier,
            current=tier.hosts,
            desired=hosts,
            count=hosts + tier.ill,
            action=action,
            reason=why,
            readings=readings,
            processes=(tier.processes, processes) if tier.has_processes else None,
            dry_run=dry_run,
        )

    def hold(why: str) -> Decision:
        return decision(HOLD, tier.hosts, tier.processes, why)

    if lock_holder:
        return hold(f"{lock_holder} holds the fleet's lock, so nothing is changed beside it")
    if not tier.serving:
        return hold(f"no host of {policy.tier} serves ({tier.ill} ill); mend one, adding to none is not scaling")
    missing = [reading.words for reading in readings if reading.value is None]
    if missing:
        return hold(f"{_and(missing)}, and nothing is changed blindly")
    target = _target(tier, readings)
    if (target.hosts, target.processes) == (tier.hosts, tier.processes):
        return hold(target.why)
    direction = OUT if (target.hosts, target.processes) > (tier.hosts, tier.processes) else IN
    wait = _wait(policy, direction, changes, now)
    if wait:
        return hold(f"{target.why}; but {wait}")
    return decision(direction, target.hosts, target.processes, target.why)


def _past(policy: Policy, changes: Iterable[Change], now: float) -> list[Change]:
    """The changes, newest first. Those that the clock hasn't reached are nobody's."""
    past = [change for change in changes if change.time <= now + policy.stale_seconds]
    return sorted(past, key=lambda change: (-change.time, change.direction, change.units))


def _proven(policy: Policy, changes: Sequence[Change], now: float) -> int:
    """The most units that were shown to be too few: something was added to them soon after taking away had led there.

    Soon is twice the cool-down before taking away; whoever comes later is a new load, which nobody could have waited for.
    """
    proven, taken = 0, -math.inf
    for change in reversed(changes):
        if change.direction == IN:
            taken = change.time
        elif change.time - taken <= 2 * policy.cooldown_in_seconds and now - change.time <= policy.reversal_seconds:
            proven = max(proven, change.units)
    return proven


def _tier(policy: Policy, members: Iterable[Member], changes: Sequence[Change], now: float) -> _Tier:
    everyone = tuple(members)
    serving = tuple(member for member in everyone if member.state in ("active", "joining"))
    ill = sum(member.state == "ill" for member in everyone)
    if policy.tier != "queue_workers":
        return _Tier(policy, serving, ill, len(serving), policy.minimum, _proven(policy, changes, now), per_host=1)
    per_host = max(1, min((member.capacity for member in serving), default=1))
    floor = policy.minimum * min(policy.processes_minimum, per_host)
    units = sum(member.processes for member in serving)
    return _Tier(policy, serving, ill, units, floor, _proven(policy, changes, now), per_host)


# --- what each signal says --------------------------------------------------------------------------------------------


class _Past:
    """The values of one signal by source, newest first."""

    def __init__(self, samples: Iterable[tuple[str, float, float]]) -> None:
        self.rows: dict[str, list[tuple[float, float]]] = {}
        for source, age, value in samples:
            self.rows.setdefault(source, []).append((age, value))
        for rows in self.rows.values():
            # Of two values of one moment the higher one counts, so that their order doesn't matter.
            rows.sort(key=lambda row: (row[0], -row[1]))
        self.ages = sorted({age for rows in self.rows.values() for age, _value in rows})

    def at(self, age: float, stale: float) -> dict[str, float]:
        """The value of each source as it was known ``age`` seconds ago: its last one, unless that was stale by then."""
        found = {}
        for source, rows in self.rows.items():
            place = bisect.bisect_left(rows, (age,))
            if place < len(rows) and rows[place][0] <= age + stale:
                found[source] = rows[place][1]
        return found

    def gap(self, window: float) -> float:
        """The longest time within the window for which no source has a value."""
        marks = [0.0, *(age for age in self.ages if age < window), window]
        return max(late - early for early, late in itertools.pairwise(marks))


def _readings(tier: _Tier, samples: Iterable[Sample]) -> tuple[Reading, ...]:
    rules = {rule.signal.name: rule for rule in tier.policy.rules}
    found: dict[str, list[tuple[str, float, float]]] = {name: [] for name in rules}
    stale = tier.policy.stale_seconds
    for sample in samples:
        rule = rules.get(sample.signal)
        if rule is None or not sample.age >= -stale:
            continue
        value = 0.0 if rule.signal.silence and math.isnan(sample.value) else sample.value
        if math.isfinite(value):
            found[sample.signal].append((sample.source, max(0.0, sample.age), value))
    return tuple(_reading(tier, rule, _Past(found[name])) for name, rule in rules.items())


def _reading(tier: _Tier, rule: Rule, past: _Past) -> Reading:
    policy, signal = tier.policy, rule.signal

    def reading(value: float | None, demand: int, words: str) -> Reading:
        return Reading(signal.name, value, rule.scale_out, demand, words)

    fresh = past.at(0.0, policy.stale_seconds)
    silent: list[str] = []
    if signal.merge == MEAN:
        names = [member.name for member in tier.serving]
        silent = [name for name in names if name not in fresh]
        fresh = {name: fresh[name] for name in names if name in fresh}
    if not fresh:
        return reading(None, tier.units, f"{signal.name} has no value younger than {policy.stale_seconds} s")
    # A host without a value counts as idle here, and keeps hosts from being taken away below.
    value = _merged(tier, rule, fresh, tier.hosts)
    if value > rule.scale_out:
        demand = _demand_out(tier, rule, value)
        words = f"{signal.name} {_shown(value, rule)} is above {_shown(rule.scale_out, rule)}"
        if demand == tier.units:
            return reading(value, demand, f"{words}, for which {demand} {tier.unit} are enough")
        return reading(value, demand, f"{words} and asks for {demand} {tier.unit} where there are {tier.units}")
    if silent:
        one = f"{signal.name} of {_and(silent)} has no value younger than {policy.stale_seconds} s"
        return reading(value, tier.units, f"{one}, so nothing is taken away")
    if past.gap(policy.window_seconds) > policy.stale_seconds:
        words = f"{signal.name} isn't known for all of the last {policy.window_seconds} s, so nothing is taken away"
        return reading(value, tier.units, words)
    peak = max(value, _peak(tier, rule, past))
    words = f"{signal.name}, at most {_shown(peak, rule)} in {policy.window_seconds} s, "
    if peak >= rule.scale_in:
        return reading(value, tier.units, f"{words}is not below {_shown(rule.scale_in, rule)}")
    demand = _demand_in(tier, rule, peak)
    if demand < tier.units:
        return reading(value, demand, f"{words}is below {_shown(rule.scale_in, rule)}")
    return reading(value, tier.units, f"{words}would be above {_shown(_middle(rule), rule)} with fewer {tier.unit}")


def _merged(tier: _Tier, rule: Rule, values: Mapping[str, float], hosts: int) -> float:
    """One value of those of all sources: for as many hosts as say, of a share for those that there are now."""
    if rule.signal.merge == MAX:
        return max(values.values())
    total = sum(values.values())
    if rule.signal.kind == SHARE:
        return total / max(1, tier.units)
    return total / hosts if rule.signal.merge == MEAN else total


def _peak(tier: _Tier, rule: Rule, past: _Past) -> float:
    """The highest value within the window."""
    highest = 0.0
    for age in itertools.takewhile(lambda age: age <= tier.policy.window_seconds, past.ages):
        values = past.at(age, tier.policy.stale_seconds)
        highest = max(highest, _merged(tier, rule, values, len(values)))
    return highest


def _demand_out(tier: _Tier, rule: Rule, value: float) -> int:
    if rule.signal.kind == BACKLOG:
        return max(tier.units, _up(tier.floor * value / rule.scale_out))
    return max(tier.units + 1, _up(tier.units * value / rule.scale_out))


def _demand_in(tier: _Tier, rule: Rule, peak: float) -> int:
    """Of a share as many as leave it half-way between its thresholds, as far from the way out as from the next way in."""
    if rule.signal.kind == SHARE:
        return min(tier.units, max(tier.floor, _up(tier.units * peak / _middle(rule))))
    return min(tier.units, tier.floor)


def _middle(rule: Rule) -> float:
    return (rule.scale_out + rule.scale_in) / 2


def _up(number: float) -> int:
    return math.ceil(number - EPSILON)


# --- from demand to a target ------------------------------------------------------------------------------------------


def _target(tier: _Tier, readings: Sequence[Reading]) -> _Target:
    """Within the bounds and one step; of several demands the largest, so fewer only when every signal asks for fewer."""
    policy, hosts = tier.policy, tier.hosts
    asking = max(readings, key=lambda reading: reading.demand)
    if hosts > policy.maximum:
        fewer = max(policy.maximum, hosts - policy.step)
        share = max(tier.processes_minimum, min(tier.per_host, _up(tier.units / fewer)))
        return _Target(fewer, share, f"{_serve(hosts)}, above the maximum of {policy.maximum}")
    # Who is ill costs money and addresses, so it counts towards the maximum of what may be added.
    most = max(hosts, policy.maximum - tier.ill)
    if hosts < policy.minimum or tier.processes < tier.processes_minimum:
        low = _serve(hosts) if hosts < policy.minimum else f"{tier.processes} processes run on each host"
        least = policy.minimum if hosts < policy.minimum else tier.processes_minimum
        wanted = max(asking.demand, tier.floor, hosts * tier.processes_minimum)
        return _grown(tier, wanted, most, f"{low}, below the minimum of {least}")
    if asking.demand > tier.units:
        return _grown(tier, asking.demand, most, asking.words)
    if asking.demand < tier.units:
        words = "; ".join(reading.words for reading in readings)
        if tier.proven:
            words += f"; but {tier.proven} {tier.unit} were too few within the last {policy.reversal_seconds} s"
        return _shrunk(tier, max(asking.demand, min(tier.units, tier.proven + 1)), words)
    if tier.units <= tier.floor:
        return _Target(hosts, tier.processes, f"no signal asks for more, and this is the minimum of {tier.floor} {tier.unit}")
    objections = "; ".join(reading.words for reading in readings if reading.demand == tier.units)
    return _Target(hosts, tier.processes, f"no signal asks for more; {objections}")


def _serve(hosts: int) -> str:
    return "1 host serves" if hosts == 1 else f"{hosts} hosts serve"


def _grown(tier: _Tier, demand: int, most: int, why: str) -> _Target:
    """Processes first, as many as the hosts that are there can hold; hosts for what doesn't fit."""
    policy, hosts = tier.policy, tier.hosts
    wanted = max(_up(demand / tier.per_host), policy.minimum, hosts)
    grown = min(wanted, hosts + policy.step, most)
    limit = ""
    if grown < wanted:
        limit = f"; a step is at most {policy.step}"
        if grown < hosts + policy.step:
            limit = f"; at most {policy.maximum} hosts are allowed{f', and {tier.ill} are ill' if tier.ill else ''}"
    processes = min(tier.per_host, max(tier.processes, tier.processes_minimum, _up(demand / hosts)))
    return _Target(grown, processes, why + limit)


def _shrunk(tier: _Tier, demand: int, why: str) -> _Target:
    """Hosts first. Of processes at most half at once: an empty queue doesn't say how many of them keep it empty."""
    policy, hosts = tier.policy, tier.hosts
    least = max(policy.minimum, hosts - policy.step)
    if not tier.has_processes:
        shrunk = max(demand, least)
        return _Target(shrunk, 1, why + (f"; a step is at most {policy.step}" if shrunk > demand else ""))
    wanted = max(demand, _up(tier.units / 2))
    for fewer in range(max(_up(wanted / tier.per_host), least), hosts + 1):
        processes = max(_up(wanted / fewer), tier.processes_minimum)
        if fewer * processes < tier.units:
            return _Target(fewer, processes, why)
    return _Target(hosts, tier.processes, why)


# --- when -------------------------------------------------------------------------------------------------------------


def _wait(policy: Policy, direction: str, changes: Sequence[Change], now: float) -> str:
    """Why a change in this direction has to wait, "" when it needn't. ``changes`` are newest first."""
    added = next((max(0.0, now - change.time) for change in changes if change.direction == OUT), math.inf)
    changed = max(0.0, now - changes[0].time) if changes else math.inf
    if direction == OUT and added < policy.cooldown_out_seconds:
        return f"something was added {added:.0f} s ago, and {policy.cooldown_out_seconds} s lie between two additions"
    if direction == IN and changed < policy.cooldown_in_seconds:
        return f"the last change was {changed:.0f} s ago, and {policy.cooldown_in_seconds} s lie before taking away"
    return ""


# --- words ------------------------------------------------------------------------------------------------------------


def _shown(value: float, rule: Rule) -> str:
    if rule.signal.unit == "ratio":
        return f"{value:.2f}"
    return f"{value:.0f} {rule.signal.unit}" if value >= 100 else f"{value:.3g} {rule.signal.unit}"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# --- plain data -------------------------------------------------------------------------------------------------------


def members_from(rows: Any) -> list[Member]:
    """Members of rows with ``name``, ``state``, and where they apply ``ill``, ``processes``, ``capacity``. Raises AutoscaleError."""
    return [_member(row) for row in _rows("members", rows)]


def _member(row: Mapping[str, Any]) -> Member:
    name = str(row.get("name", ""))
    if not name:
        raise AutoscaleError(f"members: a row needs a name, not: {dict(row)!r}")
    state = str(row.get("state", "active"))
    if state not in STATES:
        raise AutoscaleError(f"members: state of {name} must be one of {', '.join(STATES)}, not: {state}")
    if row.get("ill") and state == "active":
        state = "ill"
    numbers = {}
    for key, least in (("processes", 0), ("capacity", 1)):
        number = number_from(row.get(key, least))
        if number is None or number != int(number) or number < least:
            raise AutoscaleError(f"members: {key} of {name} must be a whole number, at least {least}, not: {row[key]!r}")
        numbers[key] = int(number)
    return Member(name, state, **numbers)


def samples_from(rows: Any) -> list[Sample]:
    """Samples of rows with ``signal``, ``value`` (a number, or text such as Prometheus' "0.5" and "NaN"), ``age`` in seconds and
    ``source``. Raises AutoscaleError."""
    found = []
    for row in _rows("samples", rows):
        age = number_from(row.get("age"))
        if age is None:
            raise AutoscaleError(f"samples: age of {row.get('signal')} must be a number of seconds, not: {row.get('age')!r}")
        try:
            value = float(row.get("value", ""))
        except (TypeError, ValueError) as error:
            raise AutoscaleError(f"samples: value of {row.get('signal')} must be a number, not: {row.get('value')!r}") from error
        found.append(Sample(str(row.get("signal", "")), value, age, str(row.get("source", ""))))
    return found


def changes_from(rows: Any, tier: str) -> list[Change]:
    """What was really done to the tier, of rows of decisions.json; ``finished`` counts as its time where a row has it."""
    return [
        Change(moment(row.get("finished") or row.get("time")), str(row.get("action")), _units_before(row))
        for row in _rows("history", rows)
        if row.get("tier") == tier and row.get("action") in (OUT, IN) and not row.get("dry_run")
    ]


def _units_before(row: Mapping[str, Any]) -> int:
    """Of a row that somebody wrote by hand: 0 where it doesn't say."""
    processes = row.get("processes")
    each = number_from(processes.get("current")) if isinstance(processes, Mapping) else 1.0
    return int((number_from(row.get("current")) or 0) * (each or 0))


def moment(value: Any) -> float:
    """Seconds since 1970 of a number or an ISO 8601 text; a time without a zone is UTC. Raises AutoscaleError."""
    number = number_from(value)
    if number is not None:
        return number
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError as error:
        raise AutoscaleError(f"a time must be seconds since 1970 or such as 2026-01-31T12:00:00Z, not: {value!r}") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _rows(what: str, rows: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(rows, (str, Mapping)) or not isinstance(rows, Sequence):
        raise AutoscaleError(f"{what} must be a list, not: {rows!r}")
    for row in rows:
        if not isinstance(row, Mapping):
            raise AutoscaleError(f"{what}: a row must be a dictionary, not: {row!r}")
    return rows
