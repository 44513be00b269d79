# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock, a tier, and the decision that the fleet takes: the very function, seeing what Prometheus would show it."""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import dataclass, field

from plugins.module_utils.autoscale import HOLD, OUT, Change, Decision, Member, Sample, decide
from plugins.module_utils.autoscale_policy import Policy, default_policy

from .plant import Plant, Values, WebPlant, WorkerPlant
from .traces import MINUTE, Trace

TICK = 5


@dataclass(frozen=True)
class World:
    """What takes time, in seconds. While a change is carried out the verb holds the lock."""

    startup: int = 45  # from the decision until a new host serves
    leave: int = 30  # until one that leaves is gone
    delay: int = 15  # until a value can be read
    average: int = 30  # over which a value is an average
    notice: int = 30  # until a host that died counts as ill
    capacity: int = 8  # worker processes that a host can hold


@dataclass(frozen=True)
class Moment:
    second: int
    load: float
    hosts: int  # that serve
    paid: int  # that cost
    pain: float


@dataclass(frozen=True)
class Result:
    """How a trace went. ``turns`` are changes in another direction than the one before."""

    trace: Trace
    moments: tuple[Moment, ...]
    decisions: tuple[Decision, ...]  # those that changed something
    limit: float
    names: tuple[str, str]  # of load and pain

    @property
    def host_minutes(self) -> float:
        return sum(moment.paid for moment in self.moments) * TICK / MINUTE

    @property
    def over_minutes(self) -> float:
        return sum(moment.pain > self.limit for moment in self.moments) * TICK / MINUTE

    @property
    def changes(self) -> int:
        return len(self.decisions)

    @property
    def turns(self) -> int:
        return sum(first.action != second.action for first, second in itertools.pairwise(self.decisions))

    @property
    def most(self) -> int:
        return max(moment.hosts for moment in self.moments)


@dataclass
class _Host:
    name: str
    state: str = "active"
    until: int = 0  # when a joining one serves, a draining one is gone, an ill one is well
    noticed: int = 0  # when an ill one is seen to be


@dataclass
class _Run:
    trace: Trace
    world: World
    plant: Plant
    policy: Policy
    hosts: list[_Host]
    processes: int
    busy_until: int = 0
    verb: str = ""
    before: int = 0
    seen: deque[tuple[int, Values]] = field(default_factory=deque)
    changes: list[Change] = field(default_factory=list)

    def advance(self, second: int) -> None:
        """Let what takes time be done."""
        for host in [*self.hosts]:
            if host.state == "draining" and second >= host.until:
                self.hosts.remove(host)
            elif host.state in ("joining", "ill") and second >= host.until:
                host.state = "active"
        if self.verb and second >= self.busy_until:
            self.changes.append(Change(float(second), self.verb, self.before))
            self.verb = ""
        if second in self.trace.deaths:
            dead = self.serving()[-1]
            dead.state, dead.until, dead.noticed = "ill", second + self.trace.deaths[second], second + self.world.notice

    def serving(self) -> list[_Host]:
        return [host for host in self.hosts if host.state == "active"]

    def members(self, second: int) -> list[Member]:
        return [
            Member(
                host.name,
                "active" if host.state == "ill" and second < host.noticed else host.state,
                0 if host.state == "joining" else self.processes,
                self.world.capacity,
            )
            for host in self.hosts
        ]

    def samples(self, second: int) -> list[Sample]:
        """What can be read by now, without what was lost on the way."""
        found = []
        for then, values in self.seen:
            if then > second - self.world.delay:
                continue
            gone = [host for begins, ends, host in self.trace.lost if begins <= then < ends]
            found += [
                Sample(signal, value, float(second - then), source)
                for (signal, source), value in values.items()
                if source not in gone and "" not in gone
            ]
        return found

    def carry_out(self, decision: Decision, second: int) -> None:
        self.verb = decision.action
        self.before = decision.current * (decision.processes[0] if decision.processes else 1)
        if decision.processes is not None:
            self.processes = decision.processes[1]
        difference = decision.desired - decision.current
        stem = "app" if self.policy.tier == "app_servers" else "worker"
        for _turn in range(difference):
            taken = {host.name for host in self.hosts}
            name = next(name for number in itertools.count(1) if (name := f"{stem}{number}") not in taken)
            self.hosts.append(_Host(name, "joining", second + self.world.startup))
        for host in self.serving()[difference:] if difference < 0 else []:
            host.state, host.until = "draining", second + self.world.leave
        takes = self.world.startup if difference > 0 else self.world.leave if difference < 0 else TICK
        self.busy_until = second + takes


def play(trace: Trace, world: World | None = None, *, policy: Policy | None = None, fixed: int = 0, seed: int = 1) -> Result:
    """Play a trace against the decision, or, with ``fixed``, against that many hosts which stay (workers: at full capacity)."""
    world = world or World()
    dice = random.Random(seed)
    plant: Plant = WebPlant() if trace.tier == "app_servers" else WorkerPlant()
    policy = policy or default_policy(trace.tier)
    first = fixed or policy.minimum
    stem = "app" if trace.tier == "app_servers" else "worker"
    hosts = [_Host(f"{stem}{number}") for number in range(1, first + 1)]
    run = _Run(trace, world, plant, policy, hosts, world.capacity if fixed > policy.minimum else policy.processes_minimum)
    moments, decisions = [], []
    recent: deque[Values] = deque(maxlen=max(1, world.average // TICK))
    keep = (policy.window_seconds + policy.stale_seconds) // trace.interval + 2
    run.seen = deque(maxlen=keep)
    for second in range(0, trace.seconds, TICK):
        run.advance(second)
        load = trace.at(second, dice)
        serving = [host.name for host in run.serving()]
        values, pain = plant.tick(load, TICK, serving, run.processes)
        recent.append(values)
        moments.append(Moment(second, load, len(serving), len(run.hosts), pain))
        if fixed or second % trace.interval:
            continue
        run.seen.append((second, _average(recent, values)))
        lock = f"scale ({run.verb})" if run.verb else ""
        decision = decide(policy, run.members(second), run.samples(second), float(second), run.changes, lock_holder=lock)
        if decision.action != HOLD:
            run.carry_out(decision, second)
            decisions.append(decision)
    return Result(trace, tuple(moments), tuple(decisions), plant.limit, (plant.load_name, plant.pain_name))


def _average(recent: deque[Values], now: Values) -> Values:
    """What a rate over the last seconds shows, for the sources that are there now. Of a queue the last value is shown."""
    found: Values = {}
    for key, value in now.items():
        if key[0].startswith("queue"):
            found[key] = value
            continue
        past = [values[key] for values in recent if key in values]
        found[key] = sum(past) / len(past)
    return found


__all__ = ["OUT", "TICK", "Moment", "Result", "World", "play"]
