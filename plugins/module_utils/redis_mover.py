# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out the plan of `redis_scale` over connections: slots move whole, so that no client meets half a slot.

While a slot is open (MIGRATING), a command with several keys of it, such as the scripts of Laravel's queue, gets TRYAGAIN
as soon as one of its keys is missing, and phpredis returns that as false: a pushed job would be lost without a sound. So a
script on the source moves all keys of a slot and gives the slot away in one step: before it clients find everything on the
source, after it they are sent (MOVED) to the target, and nothing is ever in between but the moment until the target claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from .redis_client import RedisReplyError, info
from .redis_cluster import (
    Actual,
    HandOver,
    Instance,
    Node,
    Pool,
    RedisClusterError,
    Replicate,
    Step,
    observe,
    plan,
    ranges_text,
)
from .redis_driver import Connection, PoolDriver, Tools, View
from .redis_scale import (
    ClaimSlots,
    CloseSlots,
    Leave,
    MoveSlots,
    after,
    batches,
    heal,
    next_steps,
    unjoined,
    whole_plan,
)

# How long, in milliseconds, a target may be silent in the middle of a MIGRATE; below the node timeout.
MIGRATE_PATIENCE_MS = 900
FAILURES = 5
STAGES = 200
# While slots move every instance has more to do than ever; one that is short of processors is not dead.
PATIENT_NODE_TIMEOUT_MS = 5000

# ARGV: address, port and id of the target, patience, user, password, how many keys at most (0: all, and the slot itself),
# then slots. The flags: slots of a batch differ, and a full instance has to be able to give keys away.
MOVE = """#!lua flags=allow-cross-slot-keys,allow-oom
local most = tonumber(ARGV[7])
local moved = 0
for index = 8, #ARGV do
  local slot = ARGV[index]
  local count = redis.call('CLUSTER', 'COUNTKEYSINSLOT', slot)
  if most > 0 and most < count then count = most end
  if count > 0 then
    local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', slot, count)
    for first = 1, #keys, 1000 do
      local words = {'MIGRATE', ARGV[1], ARGV[2], '', 0, ARGV[4], 'REPLACE'}
      if ARGV[6] ~= '' then
        for _, word in ipairs({'AUTH2', ARGV[5], ARGV[6]}) do words[#words + 1] = word end
      end
      words[#words + 1] = 'KEYS'
      for at = first, math.min(first + 999, #keys) do words[#words + 1] = keys[at] end
      local answer = redis.pcall(unpack(words))
      if type(answer) == 'table' and answer.err then
        redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ARGV[3])
        return {slot, answer.err}
      end
    end
    moved = moved + #keys
  end
  if most == 0 then
    local answer = redis.pcall('CLUSTER', 'SETSLOT', slot, 'NODE', ARGV[3])
    if type(answer) == 'table' and answer.err then
      redis.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ARGV[3])
      return {slot, answer.err}
    end
  end
end
return moved
"""

# ARGV: how many keys of a slot to look at, then slots. Returns for each slot its bytes (extrapolated from those keys), the
# bytes of its largest one, and that one's name.
MEASURE = """#!lua flags=allow-cross-slot-keys,allow-oom,no-writes
local sizes = {}
for index = 2, #ARGV do
  local slot = ARGV[index]
  local count = redis.call('CLUSTER', 'COUNTKEYSINSLOT', slot)
  local keys = redis.call('CLUSTER', 'GETKEYSINSLOT', slot, math.min(count, tonumber(ARGV[1])))
  local sum, largest, name = 0, 0, ''
  for _, key in ipairs(keys) do
    local bytes = redis.call('MEMORY', 'USAGE', key) or 0
    sum = sum + bytes
    if bytes > largest then largest, name = bytes, key end
  end
  if #keys > 0 then sum = math.floor(sum * count / #keys) end
  sizes[#sizes + 1] = {sum, largest, name}
end
return sizes
"""


@dataclass(frozen=True)
class Limits:
    """How much moves at once. An instance serves nobody while a batch moves, so these bound that moment."""

    slots: int = 16
    # Slots with keys cost a round trip between source and target each, empty ones nothing.
    filled_slots: int = 4
    keys: int = 1000
    # A slot that holds more moves in pieces, during which commands with several of its keys may be told to try again.
    slot_bytes: int = 32 * 1024 * 1024
    # One key moves as a whole, whatever its size; a larger one is refused by name.
    key_bytes: int = 128 * 1024 * 1024
    piece_keys: int = 500
    sample: int = 200


class PoolMover:
    """One pool on its way over other hosts."""

    def __init__(
        self,
        pool: Pool,
        tools: Tools,
        user: str,
        limits: Limits | None = None,
        release: bool = True,
        *,
        node_timeout_ms: int = 0,
    ) -> None:
        self.pool = pool
        self.tools = tools
        self.user = user
        self.limits = limits or Limits()
        self.release = release
        # What the instances' cluster-node-timeout is when this is over; 0 leaves it alone.
        self.node_timeout_ms = node_timeout_ms
        self.driver = PoolDriver(pool, tools)
        self.longest = 0.0
        self.keys = 0
        self.slots = 0

    # -- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> tuple[View, Actual]:
        """Return what is once the instances agree; what they hold in slots that they import is counted."""
        views = self.driver.settled()
        self.driver.refuse_silence(views)
        actual = observe(self.pool, views)
        nodes = tuple(self._with_held(node) if node.importing else node for node in actual.nodes)
        return views, replace(actual, nodes=nodes)

    def _with_held(self, node: Node) -> Node:
        slots = [slot for slot, _source in node.importing]
        counts = self._pipeline(node.instance, [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots])
        return replace(node, holding=frozenset(s for s, count in zip(slots, counts, strict=True) if count))

    def heavy(self, actual: Actual) -> frozenset[int]:
        """Return the slots that hold so much that they better stay where they are."""
        found: set[int] = set()
        for node in actual.nodes:
            if not node.slots:
                continue
            slots = sorted(node.slots)
            counts = self._pipeline(node.instance, [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots])
            used = [(slot, min(count, self.limits.sample)) for slot, count in zip(slots, counts, strict=True) if count]
            connection = self._open(node.instance)
            try:
                for batch in batches(used, 100, self.limits.keys, 100):
                    for slot, row in zip(batch, self._measure(connection, batch), strict=True):
                        if row[0] > self.limits.slot_bytes // 4:
                            found.add(slot)
            finally:
                connection.close()
        return frozenset(found)

    def preview(self) -> tuple[Step, ...]:
        """Return all steps that would be taken now."""
        _views, actual = self.look()
        heavy = self.heavy(actual)
        joining: tuple[Step, ...] = ()
        if not heal(actual) and unjoined(self.pool, actual):
            joining = plan(self.pool, actual)
            for step in joining:
                actual = after(actual, step)
        return (*joining, *whole_plan(self.pool, actual, heavy, self.release))

    # -- acting ------------------------------------------------------------------------------------------------------

    def run(self) -> tuple[Step, ...]:
        """Plan and act, stage after stage, until nothing is left; return the steps that were taken.

        A step that fails because the cluster changed under it is planned again from what is then. Raises
        RedisClusterError when the plan refuses, or when it fails too often.
        """
        self._let_silence(max(PATIENT_NODE_TIMEOUT_MS, self.node_timeout_ms))
        try:
            return self._run()
        finally:
            self._let_silence(self.node_timeout_ms)

    def _let_silence(self, milliseconds: int) -> None:
        """Set after how much silence an instance counts as dead, on all that answer; redis_cluster sets it on the others later."""
        for instance in self.pool.instances if self.node_timeout_ms else ():
            with suppress(OSError, RedisReplyError):
                self.driver.ask(instance, "CONFIG", "SET", "cluster-node-timeout", milliseconds)

    def _run(self) -> tuple[Step, ...]:
        taken: list[Step] = []
        failures = 0
        heavy: frozenset[int] | None = None
        for _stage in range(STAGES):
            views, actual = self.look()
            if heavy is None:
                heavy = self.heavy(actual)
            if not heal(actual) and unjoined(self.pool, actual):
                taken += self.driver.build()
                views, actual = self.look()
            steps = next_steps(self.pool, actual, heavy, self.release)
            if not steps:
                if taken:
                    self.driver.await_service(True)
                return tuple(taken)
            try:
                for step in steps:
                    self._take(step, views)
                    taken.append(step)
            except (OSError, RedisReplyError) as error:
                failures += 1
                if failures >= FAILURES:
                    raise RedisClusterError(
                        f"pool {self.pool.name}: {step}: {error}; after {failures} failures I give up: see the instances' "
                        "journals, then run again, it goes on from here"
                    ) from error
                self.tools.sleep(1.0)
        raise RedisClusterError(
            f"pool {self.pool.name}: no end after {STAGES} stages, next would be: {steps[0]}; look at CLUSTER NODES"
        )

    def _take(self, step: Step, views: View) -> None:
        if isinstance(step, MoveSlots):
            self._move(step, views)
        elif isinstance(step, ClaimSlots):
            self._claim(step.node, sorted(step.slots), self._id(step.node, views))
        elif isinstance(step, CloseSlots):
            self._pipeline(step.node, [("CLUSTER", "SETSLOT", slot, "STABLE") for slot in sorted(step.slots)])
        elif isinstance(step, HandOver):
            self.driver.ask(step.replica, "CLUSTER", "FAILOVER")
            self._await(f"{step}", step.replica, lambda told: told.get("role") == "master")
            self._await(f"{step}", step.primary, _linked)
        elif isinstance(step, Leave):
            self._leave(step)
        elif isinstance(step, Replicate):
            self.driver.apply(step, views)
            self._await(f"{step}", step.node, _linked)
        else:
            self.driver.apply(step, views)

    def _leave(self, step: Leave) -> None:
        """Others forget it first: as long as they know it, its gossip would bring it back."""
        for instance in self.pool.instances:
            if instance.host in self.pool.leaving:
                continue
            try:
                self.driver.ask(instance, "CLUSTER", "FORGET", step.id)
            except RedisReplyError as error:
                if "unknown node" not in str(error).lower():
                    raise
        self.driver.ask(step.node, "CLUSTER", "RESET", "HARD")

    def _await(self, what: str, instance: Instance, right: Callable[[dict[str, str]], bool]) -> None:
        last = ""

        def attempt() -> bool:
            nonlocal last
            try:
                told = info(self.driver.ask(instance, "INFO", "replication"))
            except (OSError, RedisReplyError) as error:
                last = str(error)
                return False
            last = f"role {told.get('role')}, link {told.get('master_link_status', '-')}"
            return right(told)

        if not self.tools.wait(attempt):
            raise RedisClusterError(
                f"pool {self.pool.name}: {what}: not done after {self.tools.seconds:.0f} s, {instance} says {last}; "
                "look at its journal, then run again"
            )

    # -- moving ------------------------------------------------------------------------------------------------------

    def _open(self, instance: Instance) -> Connection:
        return self.tools.connect(instance.address, instance.port)

    def _pipeline(self, instance: Instance, commands: Sequence[Sequence[object]]) -> list[Any]:
        connection = self._open(instance)
        try:
            return connection.pipeline(commands)
        finally:
            connection.close()

    @staticmethod
    def _id(instance: Instance, views: View) -> str:
        return next(line.id for line in views[instance][0] if "myself" in line.flags)

    def _measure(self, source: Connection, slots: Sequence[int]) -> list[list[Any]]:
        rows: list[list[Any]] = source.command("EVAL", MEASURE, 0, self.limits.sample, *slots)
        return rows

    def _move(self, step: MoveSlots, views: View) -> None:
        source, target = self._open(step.source), self._open(step.target)
        try:
            counts = source.pipeline([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in sorted(step.slots)])
            rows = list(zip(sorted(step.slots), counts, strict=True))
            for batch in batches(rows, self.limits.slots, self.limits.keys, self.limits.filled_slots):
                self._move_batch(step, batch, source, target, views)
        finally:
            source.close()
            target.close()

    def _move_batch(
        self, step: MoveSlots, batch: list[int], source: Connection, target: Connection, views: View
    ) -> None:
        sizes = self._measure(source, batch)
        for _bytes, largest, name in sizes:
            if largest > self.limits.key_bytes:
                raise RedisClusterError(
                    f"pool {self.pool.name}: the key {name} has {largest >> 20} MiB and would stop {step.source} and "
                    f"{step.target} while it moves, more than {self.limits.key_bytes >> 20}: shorten it (a queue: let "
                    "workers empty it), then run again"
                )
        if len(batch) > 1 and sum(row[0] for row in sizes) > self.limits.slot_bytes:
            middle = len(batch) // 2
            for part in (batch[:middle], batch[middle:]):
                self._move_batch(step, part, source, target, views)
            return
        source_id, target_id = self._id(step.source, views), self._id(step.target, views)
        target.pipeline([("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id) for slot in batch])
        to = (step.target.address, step.target.port, target_id, MIGRATE_PATIENCE_MS, self.user, source.password)
        if sizes[0][0] > self.limits.slot_bytes:  # then it is alone
            source.command("CLUSTER", "SETSLOT", batch[0], "MIGRATING", target_id)
            while True:
                answer = source.command("EVAL", MOVE, 0, *to, self.limits.piece_keys, *batch)
                if isinstance(answer, list):
                    raise RedisReplyError(f"slot {answer[0]} from {step.source} to {step.target}: {answer[1]}")
                self.keys += answer
                if answer < self.limits.piece_keys:
                    break
                self.tools.sleep(0.01)
        began = self.tools.clock()
        answer = source.command("EVAL", MOVE, 0, *to, 0, *batch)
        refused = isinstance(answer, list)
        given = batch[: batch.index(int(answer[0]))] if refused else batch
        if given:
            self._claim(step.target, given, target_id, target)
        took = self.tools.clock() - began
        self.longest = max(self.longest, took)
        self.slots += len(given)
        if refused:
            raise RedisReplyError(f"slot {answer[0]} from {step.source} to {step.target}: {answer[1]}")
        self.keys += answer
        # As long for the clients as for the move, so that a machine that is short of processors catches up.
        self.tools.sleep(min(took, 1.0))

    def _claim(self, target: Instance, slots: list[int], target_id: str, opened: Connection | None = None) -> None:
        """Let the target own slots that the source has given away; until then clients are sent back and forth."""
        commands = [("CLUSTER", "SETSLOT", slot, "NODE", target_id) for slot in slots]
        trouble = ""

        def attempt() -> bool:
            nonlocal opened, trouble
            try:
                if opened is None:
                    self._pipeline(target, commands)
                else:
                    opened.pipeline(commands)
            except (OSError, RedisReplyError) as error:
                opened, trouble = None, str(error)
                return False
            return True

        if not self.tools.wait(attempt):
            raise RedisClusterError(
                f"pool {self.pool.name}: {target} doesn't claim slots {ranges_text(slots)} that were handed to it: {trouble}; "
                "start it, then run again at once"
            )


def _linked(told: dict[str, str]) -> bool:
    return told.get("role") == "slave" and told.get("master_link_status") == "up"
