# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out the plan of a Redis Cluster, and settings of instances, over connections that the caller opens.

`connect(address, port)` returns an authenticated connection or raises OSError; `clock` and `sleep` are parameters, so
that every wait is bounded and can be tested without one.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .redis_client import RedisConnection, RedisReplyError, info, pairs
from .redis_cluster import (
    Actual,
    AddSlots,
    DropSlots,
    Forget,
    Instance,
    Line,
    Meet,
    Node,
    Pool,
    RedisClusterError,
    Replicate,
    Reset,
    Step,
    TakeOver,
    agreed,
    hand_over,
    observe,
    parse_nodes,
    plan,
    ranges,
    seen_from_one,
)

View = dict[Instance, tuple[tuple[Line, ...], int]]
ROUNDS = 6


class Connection(Protocol):
    """What the driver needs of a connection."""

    password: str

    def command(self, *words: object) -> Any: ...

    def pipeline(self, commands: Sequence[Sequence[object]]) -> list[Any]: ...

    def close(self) -> None: ...


Connect = Callable[[str, int], Connection]


@dataclass(frozen=True)
class Tools:
    """The outside world: connections, time, and how many seconds one wait may take."""

    connect: Connect
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    seconds: float

    def wait(self, attempt: Callable[[], bool], pause: float = 0.1, seconds: float | None = None) -> bool:
        """Try until it is true; say whether it became true in time."""
        end = self.clock() + (self.seconds if seconds is None else seconds)
        while not attempt():
            if self.clock() >= end:
                return False
            self.sleep(pause)
        return True


def tools_for(user: str, passwords: Sequence[str], timeout: float, patience: float = 3.0) -> Tools:
    """Return connections that log in as `user` and wait `patience` seconds for a reply, and real time."""

    def connect(address: str, port: int) -> Connection:
        connection = RedisConnection(address, port, patience)
        if passwords:
            connection.authenticate(user, passwords)
        return connection

    return Tools(connect, time.monotonic, time.sleep, timeout)


class PoolDriver:
    """One pool: what it is now, and the way to what it should be."""

    def __init__(self, pool: Pool, tools: Tools) -> None:
        self.pool = pool
        self.tools = tools
        self.errors: dict[Instance, str] = {}

    def ask(self, instance: Instance, *words: object) -> Any:
        connection = self.tools.connect(instance.address, instance.port)
        try:
            return connection.command(*words)
        finally:
            connection.close()

    def view(self) -> View:
        """Return what each answering instance says; the others' errors are in `errors`."""
        found: View = {}
        self.errors = {}
        for instance in self.pool.instances:
            try:
                connection = self.tools.connect(instance.address, instance.port)
                try:
                    lines = parse_nodes(connection.command("CLUSTER", "NODES"))
                    found[instance] = (lines, int(connection.command("DBSIZE")))
                finally:
                    connection.close()
            except (OSError, RedisReplyError) as error:
                self.errors[instance] = str(error)
        return found

    def settled(self, seconds: float | None = None) -> View:
        """Wait until all instances answer and those that know each other agree; return the last view either way."""
        last: list[View] = [{}]

        def attempt() -> bool:
            last[0] = self.view()
            silent = [i for i in self.pool.instances if i not in last[0] and i.host not in self.pool.leaving]
            return not silent and agreed(lines for lines, _keys in last[0].values())

        self.tools.wait(attempt, seconds=seconds)
        return last[0]

    def first_plan(self, patience: float) -> tuple[Step, ...]:
        """Return the plan for check mode: instances that don't answer count as fresh ones."""
        views = self.settled(patience)
        actual = observe(self.pool, views)
        unborn = [i for i in self.pool.instances if i not in views and i.host not in self.pool.leaving]
        nodes = {node.instance: node for node in actual.nodes}
        nodes.update({instance: Node(instance, f"fresh {instance}") for instance in unborn})
        return plan(self.pool, Actual(tuple(nodes[i] for i in self.pool.instances if i in nodes), actual.strangers))

    def build(self) -> tuple[Step, ...]:
        """Plan and act until the plan is empty and the cluster serves; return the steps that were taken.

        Raises RedisClusterError when an instance doesn't answer, the plan refuses, or the cluster isn't up in time.
        """
        taken: list[Step] = []
        for _round in range(ROUNDS):
            views = self.settled()
            self.refuse_silence(views)
            steps = plan(self.pool, observe(self.pool, views))
            if not steps:
                break
            for step in self._ordered(steps):
                self.apply(step, views)
                taken.append(step)
        else:
            raise RedisClusterError(
                f"pool {self.pool.name}: still not right after {ROUNDS} rounds, next would be: {steps[0]}; "
                "look at CLUSTER NODES of its instances"
            )
        self.await_service(bool(taken))
        return tuple(taken)

    def refuse_silence(self, views: View) -> None:
        for instance in self.pool.instances:
            if instance not in views and instance.host not in self.pool.leaving:
                raise RedisClusterError(
                    f"pool {self.pool.name}: {instance} ({instance.address}) doesn't answer within "
                    f"{self.tools.seconds:.0f} s ({self.errors.get(instance, 'no reply')}): start it, or set "
                    f"fleet_state: down for {instance.host} until it is back"
                )

    def _ordered(self, steps: Sequence[Step]) -> Sequence[Step]:
        """Return the steps up to where everybody has to have heard of them: meetings come before roles."""
        meetings = [step for step in steps if isinstance(step, TakeOver | Reset | Meet)]
        slots = [step for step in steps if isinstance(step, DropSlots | AddSlots)]
        return [*meetings, *slots] if meetings or slots else steps

    def apply(self, step: Step, views: View) -> None:
        try:
            if isinstance(step, Reset):
                self.ask(step.node, "CLUSTER", "RESET", "SOFT")
            elif isinstance(step, TakeOver):
                self.ask(step.node, "CLUSTER", "FAILOVER", "TAKEOVER")
            elif isinstance(step, Meet):
                self.ask(step.node, "CLUSTER", "MEET", step.known.address, step.known.port)
            elif isinstance(step, AddSlots):
                words = [bound for pair in ranges(step.slots) for bound in pair]
                self.ask(step.node, "CLUSTER", "ADDSLOTSRANGE", *words)
            elif isinstance(step, DropSlots):
                words = [bound for pair in ranges(step.slots) for bound in pair]
                self.ask(step.node, "CLUSTER", "DELSLOTSRANGE", *words)
            elif isinstance(step, Replicate):
                lines, _keys = views[step.primary]
                primary = next(line.id for line in lines if "myself" in line.flags)
                self.ask(step.node, "CLUSTER", "REPLICATE", primary)
            elif isinstance(step, Forget):
                self._forget(step)
        except (OSError, RedisReplyError) as error:
            raise RedisClusterError(
                f"pool {self.pool.name}: {step}: {error}; run again when the instance is well"
            ) from error

    def _forget(self, step: Forget) -> None:
        for instance in self.pool.instances:
            if instance.host in self.pool.leaving:
                continue
            try:
                self.ask(instance, "CLUSTER", "FORGET", step.id)
            except RedisReplyError as error:
                if "unknown node" not in str(error).lower():
                    raise

    def await_service(self, changed: bool) -> None:
        """Wait until every instance says that the cluster is ok and, after a change, every replica has its data."""
        behind = ""

        def attempt() -> bool:
            nonlocal behind
            for instance in self.pool.instances:
                if instance.host in self.pool.leaving:
                    continue
                try:
                    connection = self.tools.connect(instance.address, instance.port)
                    try:
                        state = info(connection.command("CLUSTER", "INFO")).get("cluster_state")
                        copy = info(connection.command("INFO", "replication")) if changed else {}
                    finally:
                        connection.close()
                except (OSError, RedisReplyError) as error:
                    behind = f"{instance}: {error}"
                    return False
                if state != "ok" or copy.get("master_link_status", "up") != "up":
                    behind = f"{instance}: cluster {state}, link to its primary {copy.get('master_link_status', '-')}"
                    return False
            return True

        if not self.tools.wait(attempt):
            raise RedisClusterError(
                f"pool {self.pool.name}: not serving after {self.tools.seconds:.0f} s, {behind}; look at the journal of "
                "that instance"
            )


def spread(pool: Pool, host: str, tools: Tools) -> str:
    """Let an instance of `host` take over where `hand_over` wants it; return what was done as a sentence, or ""."""
    for instance in pool.instances:
        if instance.host != host:
            continue
        try:
            connection = tools.connect(instance.address, instance.port)
            try:
                if info(connection.command("CLUSTER", "INFO")).get("cluster_state") != "ok":
                    return ""
                step = hand_over(pool, seen_from_one(pool, parse_nodes(connection.command("CLUSTER", "NODES"))))
            finally:
                connection.close()
            if step is None or step.replica.host != host:
                return ""
            replica = tools.connect(step.replica.address, step.replica.port)
            try:
                replica.command("CLUSTER", "FAILOVER")
            finally:
                replica.close()
            return f"pool {pool.name}: {step}"
        except (OSError, RedisReplyError):
            continue  # it is ill itself; another instance of this host, or the next round, sees more
    return ""


# -- settings of instances -------------------------------------------------------------------------------------------

UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def canonical(value: str) -> tuple[str, ...]:
    """Return a directive's value as Redis tells it: sizes in bytes, words apart."""
    words = []
    for word in value.split():
        size = re.fullmatch(r"(\d+)([kmg]?b?)", word.lower())
        words.append(str(int(size[1]) * UNITS[size[2]]) if size else word)
    return tuple(words)


@dataclass(frozen=True)
class Difference:
    """A directive that runs with another value than the file has."""

    name: str
    before: str
    after: str


def differences(wanted: Mapping[str, str], running: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return what differs, sorted by name. Raises RedisClusterError for a directive that this Redis doesn't have."""
    unknown = sorted(set(wanted) - set(running))
    if unknown:
        raise RedisClusterError(f"this Redis has no setting {unknown[0]}: take it out of the pool's settings")
    return tuple(
        Difference(name, running[name], value)
        for name, value in sorted(wanted.items())
        if canonical(running[name]) != canonical(value)
    )


@dataclass(frozen=True)
class Applied:
    """What was set (or would be) while the instance ran, and what needs a restart."""

    changed: tuple[Difference, ...]
    restart: tuple[Difference, ...]


def immutable(connection: Connection, difference: Difference) -> bool:
    """Whether only a restart can change this directive: asked by setting it to the value that it has."""
    try:
        connection.command("CONFIG", "SET", difference.name, difference.before)
    except RedisReplyError as error:
        return "immutable" in str(error)
    return False


def apply_settings(connection: Connection, wanted: Mapping[str, str], check: bool) -> Applied:
    """Set what differs with CONFIG SET. Raises RedisClusterError, by name, for a value that Redis refuses."""

    def read() -> dict[str, str]:
        return pairs(connection.command("CONFIG", "GET", *sorted(wanted)))

    differing = differences(wanted, read())
    if check:
        fixed = [difference for difference in differing if immutable(connection, difference)]
        return Applied(tuple(difference for difference in differing if difference not in fixed), tuple(fixed))
    _refuse_too_little(connection, differing, wanted.get("maxmemory-policy", ""))
    restart = []
    for difference in differing:
        try:
            connection.command("CONFIG", "SET", difference.name, difference.after)
        except RedisReplyError as error:
            if "immutable" not in str(error):
                raise RedisClusterError(f"Redis refuses {difference.name} {difference.after!r}: {error}") from error
            restart.append(difference)
    after = read()
    changed = tuple(d for d in differing if d not in restart and after[d.name] != d.before)
    return Applied(changed, tuple(restart))


def _refuse_too_little(connection: Connection, differing: Sequence[Difference], policy: str) -> None:
    """Raise RedisClusterError when an instance that may drop nothing would hold more than it is allowed: it would refuse writes."""
    for difference in differing:
        if difference.name != "maxmemory" or policy != "noeviction":
            continue
        allowed = int(canonical(difference.after)[0])
        used = int(info(connection.command("INFO", "memory"))["used_memory"])
        if 0 < allowed < used:
            raise RedisClusterError(
                f"maxmemory would become {allowed >> 20} MiB and {used >> 20} are in use, of which nothing may be dropped (noeviction): "
                "leave the host its memory, or spread the pool over more hosts first"
            )


def restart_instance(address: str, port: int, name: str, tools: Tools) -> bool:
    """Restart one instance so that nobody waits for it: a primary hands over to a replica first.

    The service manager starts it again. Return whether a replica took over. Raises RedisClusterError when there is no replica
    to take over, or the instance isn't back with its data in time.
    """
    connection = tools.connect(address, port)
    lines = parse_nodes(connection.command("CLUSTER", "NODES"))
    me = next(line for line in lines if "myself" in line.flags)
    handed_over = bool(me.slots)
    if handed_over:
        _hand_over(connection, lines, me, name, tools)
    try:
        connection.command("SHUTDOWN")
    except OSError:
        pass  # that is how SHUTDOWN answers
    except RedisReplyError as error:
        raise RedisClusterError(f"{name} refuses to shut down: {error}") from error
    finally:
        connection.close()
    tools.sleep(0.2)

    def back() -> bool:
        try:
            again = tools.connect(address, port)
            try:
                state = info(again.command("CLUSTER", "INFO")).get("cluster_state")
                link = info(again.command("INFO", "replication")).get("master_link_status", "up")
                return state == "ok" and link == "up"
            finally:
                again.close()
        except (OSError, RedisReplyError):
            return False

    if not tools.wait(back):
        raise RedisClusterError(f"{name} isn't back {tools.seconds:.0f} s after its restart; look at its journal")
    return handed_over


def holding(instances: Iterable[Instance], tools: Tools) -> tuple[Instance, ...]:
    """Return which instances hold slots. One that is dead holds none: its replica took over, or will."""
    found = []
    for instance in instances:
        with contextlib.suppress(OSError, RedisReplyError):
            connection = tools.connect(instance.address, instance.port)
            try:
                lines = parse_nodes(connection.command("CLUSTER", "NODES"))
            finally:
                connection.close()
            if any("myself" in line.flags and line.slots for line in lines):
                found.append(instance)
    return tuple(found)


def clients(instance: Instance, tools: Tools) -> tuple[tuple[str, int], ...]:
    """Return who is connected to an instance: each one's address without its port, and for how many seconds it has said nothing.

    Raises OSError or RedisReplyError when the instance does not answer.
    """
    connection = tools.connect(instance.address, instance.port)
    try:
        lines = str(connection.command("CLIENT", "LIST")).splitlines()
    finally:
        connection.close()
    rows = (dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines)
    return tuple((row["addr"].rpartition(":")[0].strip("[]"), int(row["idle"])) for row in rows)


def hand_over_to_replica(address: str, port: int, name: str, tools: Tools) -> None:
    """Let a replica take over from the primary at C(address), and wait until it has.

    Raises RedisClusterError when there is no replica to take over, or it isn't primary in time.
    """
    connection = tools.connect(address, port)
    try:
        lines = parse_nodes(connection.command("CLUSTER", "NODES"))
        me = next(line for line in lines if "myself" in line.flags)
        if me.slots:
            _hand_over(connection, lines, me, name, tools)
    finally:
        connection.close()


def _hand_over(connection: Connection, lines: Sequence[Line], me: Line, name: str, tools: Tools) -> None:
    copies = [line for line in lines if line.primary_id == me.id and not line.failed and "fail?" not in line.flags]
    if not copies:
        raise RedisClusterError(
            f"{name} is a primary without a replica that could take over: give it one, then run again"
        )
    address, _colon, port = copies[0].address.rpartition(":")
    replica = tools.connect(address, int(port))
    try:
        replica.command("CLUSTER", "FAILOVER")
    finally:
        replica.close()

    def gone() -> bool:
        now = info(connection.command("INFO", "replication"))
        return now.get("role") == "slave" and now.get("master_link_status") == "up"

    if not tools.wait(gone):
        raise RedisClusterError(
            f"{name} is still primary {tools.seconds:.0f} s after CLUSTER FAILOVER of {address}:{port}"
        )
