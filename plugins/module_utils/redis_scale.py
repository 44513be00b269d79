# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spread a Redis Cluster over its hosts anew: a pure plan from what the instances say, one stage after the other.

The goal: each host that stays has one primary with its share of the slots, each primary has its replicas on other hosts,
and hosts that leave have nothing. The plan is read from what is, so a run that was interrupted anywhere is finished by
the next one. The order of the stages keeps, at each step, every slot owned, every primary's replicas away from its host,
and each primary that is new with a replica before it has its first slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .redis_cluster import (
    SLOTS,
    Actual,
    Forget,
    HandOver,
    Instance,
    Meet,
    Node,
    Pool,
    RedisClusterError,
    Replicate,
    Reset,
    Step,
    make_room,
    ranges_text,
    seats,
)

# How far, as a share of the ideal, primaries may differ before slots are worth moving.
TOLERANCE = 0.01


@dataclass(frozen=True)
class CloseSlots(Step):
    """End the move of slots of which nothing has moved (CLUSTER SETSLOT STABLE)."""

    node: Instance
    slots: frozenset[int]

    def __str__(self) -> str:
        return f"{self.node} closes slots {ranges_text(self.slots)}, of which nothing has moved"


@dataclass(frozen=True)
class ClaimSlots(Step):
    """Own slots that their owner has handed over already (CLUSTER SETSLOT NODE)."""

    node: Instance
    slots: frozenset[int]

    def __str__(self) -> str:
        return f"{self.node} claims slots {ranges_text(self.slots)}, which were handed to it"


@dataclass(frozen=True)
class MoveSlots(Step):
    """Move slots with their keys while clients work."""

    source: Instance
    target: Instance
    slots: frozenset[int]

    def __str__(self) -> str:
        return f"{self.source} gives {len(self.slots)} slots to {self.target}: {ranges_text(self.slots)}"


@dataclass(frozen=True)
class Leave(Step):
    """An instance without slots and replicas leaves: all forget it, and it forgets all (CLUSTER RESET HARD)."""

    node: Instance
    id: str

    def __str__(self) -> str:
        return f"{self.node} leaves the cluster"


# -- the plan --------------------------------------------------------------------------------------------------------


def next_steps(
    pool: Pool, actual: Actual, heavy: frozenset[int] = frozenset(), release: bool = True
) -> Sequence[Step]:
    """Return the steps of the next stage, in their order; () when nothing is left to do. Look again before the one after.

    `heavy` slots hold much: they move only when their host leaves or nothing else is left to move. Raises
    RedisClusterError, by name, for what can't be done without risking keys. Without `release` emptied instances stay in
    the cluster, where clients that still know them are sent on.
    """
    _check(pool, actual)
    healing = heal(actual)
    if healing:
        return healing
    _check_cover(pool, actual)
    handing = make_room(pool, actual)
    if handing is not None:
        return [handing]
    keepers = _keepers(pool, actual)
    founding = _found(pool, actual, keepers)
    if founding:
        return founding
    surplus = [node for node in _owners(actual) if node.id not in keepers]
    copying = _copy(pool, actual, keepers, surplus)
    if copying:
        return copying
    moving = _move(pool, actual, keepers, surplus, heavy)
    if moving:
        return moving
    return _let_go(pool, actual) if release else ()


def unjoined(pool: Pool, actual: Actual) -> bool:
    """Say whether an instance that stays doesn't know all others that stay: joining them is redis_cluster's plan."""
    ids = {node.id for node in _staying(pool, actual)}
    return any(ids - node.knows != {node.id} for node in _staying(pool, actual))


def whole_plan(
    pool: Pool, actual: Actual, heavy: frozenset[int] = frozenset(), release: bool = True
) -> tuple[Step, ...]:
    """Return all steps to the goal, for who wants to see them first. Raises RedisClusterError as `next_steps` does."""
    steps: list[Step] = []
    for _round in range(1000):
        stage = next_steps(pool, actual, heavy, release)
        if not stage:
            return tuple(steps)
        for step in stage:
            actual = after(actual, step)
            steps.append(step)
    raise RedisClusterError(f"pool {pool.name}: the plan finds no end, it would go on with: {stage[0]}")


def _owners(actual: Actual) -> list[Node]:
    return sorted((node for node in actual.nodes if node.slots), key=lambda node: node.instance)


def _staying(pool: Pool, actual: Actual) -> list[Node]:
    return [node for node in actual.nodes if node.instance.host not in pool.leaving]


def _check(pool: Pool, actual: Actual) -> None:
    answering = {node.instance for node in actual.nodes}
    for instance in pool.instances:
        if instance in answering:
            continue
        dead = [s for s in actual.strangers if s.address == f"{instance.address}:{instance.port}"]
        if instance.host not in pool.leaving or any(s.slots or not s.failed for s in dead):
            raise RedisClusterError(
                f"pool {pool.name}: {instance} ({instance.address}) doesn't answer: start it, or wait until its replica "
                "has taken over, then run again"
            )
    needed = max(3, pool.replicas + 1)
    if len(pool.hosts) < needed:
        raise RedisClusterError(
            f"pool {pool.name}: {len(pool.hosts)} hosts would stay ({', '.join(pool.hosts) or 'none'}), and it needs "
            f"{needed}: leave more hosts in, or add some first"
        )


def _check_cover(pool: Pool, actual: Actual) -> None:
    owned = sum(len(node.slots) for node in actual.nodes)
    covered = {slot for node in actual.nodes for slot in node.slots}
    if len(covered) != SLOTS or owned != SLOTS:
        raise RedisClusterError(
            f"pool {pool.name}: its instances own {len(covered)} of {SLOTS} slots, {owned - len(covered)} of them twice: "
            "run graphic_school.scaling.redis_cluster first, which says what is wrong"
        )


def heal(actual: Actual) -> tuple[Step, ...]:
    """Finish or close what an interrupted move has left open."""
    nodes = {node.id: node for node in actual.nodes}
    owner = {slot: node for node in actual.nodes for slot in node.slots}
    moves: dict[tuple[Instance, Instance], set[int]] = {}
    close: dict[Instance, set[int]] = {}
    claim: dict[Instance, set[int]] = {}
    settled: set[int] = set()
    # Where keys have arrived already the move goes on.
    importers = sorted(actual.nodes, key=lambda node: (not node.holding, node.instance))
    for holding in (True, False):
        for node in importers:
            for slot, _source in node.importing:
                if (slot in node.holding) != holding:
                    continue
                owns = owner.get(slot)
                begun = owns is not None and owns.id != node.id and (holding or (slot, node.id) in owns.migrating)
                if slot in settled or not (owns is None or begun):
                    close.setdefault(node.instance, set()).add(slot)
                    continue
                settled.add(slot)
                if owns is None:
                    claim.setdefault(node.instance, set()).add(slot)
                else:
                    moves.setdefault((owns.instance, node.instance), set()).add(slot)
    for node in actual.nodes:
        for slot, target_id in node.migrating:
            target = nodes.get(target_id)
            if slot in settled:
                continue
            if slot in node.slots and target is not None and target.primary_id is None:
                moves.setdefault((node.instance, target.instance), set()).add(slot)
            else:
                close.setdefault(node.instance, set()).add(slot)
    return (
        *(ClaimSlots(instance, frozenset(slots)) for instance, slots in sorted(claim.items())),
        *(MoveSlots(source, target, frozenset(slots)) for (source, target), slots in sorted(moves.items())),
        *(CloseSlots(instance, frozenset(slots)) for instance, slots in sorted(close.items())),
    )


def _keepers(pool: Pool, actual: Actual) -> dict[str, Node]:
    """Return for each host that stays the primary it shall have, as far as it has one; an empty one counts."""
    found: dict[str, Node] = {}
    for host in pool.hosts:
        mine = [n for n in actual.nodes if n.instance.host == host and n.primary_id is None and n.knows]
        if mine:
            best = min(mine, key=lambda node: (-len(node.slots), node.instance))
            found[best.id] = best
    return found


def _copies(actual: Actual, primary_id: str | None) -> list[Node]:
    nodes = {node.id: node for node in actual.nodes}
    primary = nodes.get(primary_id or "")
    if primary is None:
        return []
    return [n for n in actual.nodes if n.primary_id == primary.id and n.instance.host != primary.instance.host]


def _dispensable(pool: Pool, actual: Actual, node: Node) -> bool:
    """Say whether the primary that a replica copies has enough others, or nothing to lose."""
    primary = next((other for other in actual.nodes if other.id == node.primary_id), None)
    if primary is None or not primary.slots:
        return True
    others = [copy for copy in _copies(actual, primary.id) if copy.id != node.id]
    return len(others) >= pool.replicas


def _found(pool: Pool, actual: Actual, keepers: Mapping[str, Node]) -> tuple[Step, ...]:
    """Make an empty primary on a host that has none: from a replica that isn't needed."""
    with_one = {node.instance.host for node in keepers.values()}
    anchor = next(iter(_owners(actual)))
    for host in pool.hosts:
        if host in with_one:
            continue
        mine = sorted((n for n in actual.nodes if n.instance.host == host), key=lambda node: node.instance)
        outside = [node for node in mine if not node.knows]
        if outside:  # a run ended between its reset and its meeting
            return (Meet(outside[0].instance, anchor.instance),)
        free = [node for node in mine if _dispensable(pool, actual, node)]
        if free:
            return Reset(free[0].instance), Meet(free[0].instance, anchor.instance)
        for node in mine:
            primary = next(other for other in actual.nodes if other.id == node.primary_id)
            for spare in _staying(pool, actual):
                if (
                    spare.primary_id not in (None, primary.id)
                    and spare.instance.host not in (host, primary.instance.host)
                    and _dispensable(pool, actual, spare)
                ):
                    return (Replicate(spare.instance, primary.instance),)
        raise RedisClusterError(
            f"pool {pool.name}: {host} can't get a primary, each of its instances is a replica that is needed: bring the "
            "pool's other hosts back first"
        )
    return ()


def _copy(
    pool: Pool, actual: Actual, keepers: Mapping[str, Node], surplus: Sequence[Node]
) -> tuple[Step, ...]:
    """Return one replica's move towards each primary having its own; first those that leave no primary short."""
    busy = {node.id for node in surplus}
    candidates = {
        node.id: node
        for node in actual.nodes
        if node.id not in keepers and not node.slots and node.primary_id not in busy
    }
    fixed = frozenset(node.id for node in candidates.values() if node.instance.host in pool.leaving)
    if not surplus:
        candidates = {identity: node for identity, node in candidates.items() if identity not in fixed}
    goal = seats(pool, keepers, candidates, fixed, strict=not surplus)
    pending = [
        candidates[identity]
        for identity, primary in sorted(goal.items(), key=lambda item: candidates[item[0]].instance)
        if candidates[identity].primary_id != primary
    ]
    if not pending:
        return ()
    first = next((node for node in pending if _dispensable(pool, actual, node)), pending[0])
    return (Replicate(first.instance, keepers[goal[first.id]].instance),)


def _move(
    pool: Pool,
    actual: Actual,
    keepers: Mapping[str, Node],
    surplus: Sequence[Node],
    heavy: frozenset[int],
) -> tuple[Step, ...]:
    """Move as few slots as possible so that the keepers' shares are equal and nobody else has any."""
    ideal = SLOTS / len(keepers)
    if not surplus and all(abs(len(node.slots) - ideal) <= ideal * TOLERANCE for node in keepers.values()):
        return ()
    for node in keepers.values():
        if pool.replicas and not node.slots and not _copies(actual, node.id):
            raise RedisClusterError(
                f"pool {pool.name}: {node.instance} has no replica and shall get slots: bring the pool's other hosts back, "
                "then run again"
            )
    rich_first = sorted(keepers.values(), key=lambda node: (-len(node.slots), node.instance))
    base, extra = divmod(SLOTS, len(keepers))
    target = {node.id: base + (1 if index < extra else 0) for index, node in enumerate(rich_first)}
    room = {node.id: max(0, target[node.id] - len(node.slots)) for node in rich_first}
    steps: list[Step] = []
    for source in [*surplus, *rich_first]:
        given = len(source.slots) - target.get(source.id, 0)
        if given <= 0:
            continue
        # From the end, so that ranges stay whole; what is heavy stays unless all goes.
        slots = sorted(source.slots, key=lambda slot: (slot in heavy, -slot))[:given]
        receivers = sorted((node for node in rich_first if room[node.id]), key=lambda node: node.instance)
        shares: list[tuple[Node, list[int]]] = []
        for receiver in receivers:
            share, slots = slots[: room[receiver.id]], slots[room[receiver.id] :]
            room[receiver.id] -= len(share)
            if share:
                shares.append((receiver, share))
        if source.id not in keepers:
            shares = _end_apart(actual, source, shares, rich_first)
        steps += [MoveSlots(source.instance, receiver.instance, frozenset(share)) for receiver, share in shares]
    return tuple(steps)


def _end_apart(
    actual: Actual, source: Node, shares: list[tuple[Node, list[int]]], keepers: Sequence[Node]
) -> list[tuple[Node, list[int]]]:
    """Let the last slots go to a host where none of the source's replicas is, nor itself.

    A primary that gives its last slot away becomes a replica of whoever took it, and its replicas follow.
    """
    taken = {copy.instance.host for copy in _copies(actual, source.id)} | {source.instance.host}
    apart = [pair for pair in shares if pair[0].instance.host not in taken]
    if apart:
        return [pair for pair in shares if pair is not apart[-1]] + [apart[-1]]
    other = next((keeper for keeper in keepers if keeper.instance.host not in taken), None)
    if other is None or not shares:
        return shares
    receiver, slots = shares[-1]
    rest = [*shares[:-1], (receiver, slots[:-1])] if len(slots) > 1 else shares[:-1]
    return [*rest, (other, slots[-1:])]


def _let_go(pool: Pool, actual: Actual) -> tuple[Step, ...]:
    """Let the instances of leaving hosts go, which own nothing and are copied by nobody by now."""
    steps: list[Step] = []
    staying = {node.id: node for node in _staying(pool, actual)}
    for node in actual.nodes:
        if node.id not in staying and (node.knows or any(node.id in other.knows for other in staying.values())):
            steps.append(Leave(node.instance, node.id))
    places = {f"{i.address}:{i.port}" for i in pool.instances if i.host in pool.leaving}
    for stranger in actual.strangers:
        if stranger.failed and not stranger.slots and stranger.address in places and stranger.seen_by & staying.keys():
            steps.append(Forget(stranger.id, stranger.address))
    return tuple(steps)


# -- what Redis does with a step -------------------------------------------------------------------------------------


def after(actual: Actual, step: Step) -> Actual:
    """Return what is after a step, as far as the plan relies on it; gossip is immediate."""
    nodes = {node.instance: node for node in actual.nodes}
    if isinstance(step, Forget):
        return replace(actual, strangers=tuple(s for s in actual.strangers if s.id != step.id))
    if isinstance(step, (Reset, Leave)):
        old = nodes[step.node]
        nodes[step.node] = Node(old.instance, old.id)
        if isinstance(step, Leave):
            nodes = {i: replace(node, knows=node.knows - {old.id}) for i, node in nodes.items()}
    elif isinstance(step, Meet):
        home = nodes[step.known].knows | {nodes[step.known].id, nodes[step.node].id}
        nodes = {i: replace(n, knows=home - {n.id}) if n.id in home else n for i, n in nodes.items()}
    elif isinstance(step, Replicate):
        copied, primary_id = nodes[step.node].id, nodes[step.primary].id  # Redis keeps no chains: copies of a copy follow
        nodes = {i: replace(n, primary_id=primary_id) if n.primary_id == copied else n for i, n in nodes.items()}
        nodes[step.node] = replace(nodes[step.node], primary_id=primary_id)
    elif isinstance(step, HandOver):
        old, new = nodes[step.primary], nodes[step.replica]
        nodes = {i: replace(n, primary_id=new.id) if n.primary_id == old.id else n for i, n in nodes.items()}
        nodes[step.replica] = replace(new, primary_id=None, slots=old.slots)
        nodes[step.primary] = replace(old, primary_id=new.id, slots=frozenset())
    elif isinstance(step, (CloseSlots, ClaimSlots)):
        node = _closed(nodes[step.node], step.slots)
        nodes[step.node] = replace(node, slots=node.slots | step.slots) if isinstance(step, ClaimSlots) else node
    elif isinstance(step, MoveSlots):
        source, target = _closed(nodes[step.source], step.slots), _closed(nodes[step.target], step.slots)
        nodes[step.target] = replace(target, slots=target.slots | step.slots)
        left = source.slots - step.slots
        nodes[step.source] = replace(source, slots=left)
        if not left:  # Redis itself: who gave its last slot away becomes a replica, and its replicas follow.
            nodes[step.source] = replace(nodes[step.source], primary_id=target.id)
            nodes = {i: replace(n, primary_id=target.id) if n.primary_id == source.id else n for i, n in nodes.items()}
    return replace(actual, nodes=tuple(nodes[node.instance] for node in actual.nodes))


def _closed(node: Node, slots: frozenset[int]) -> Node:
    return replace(
        node,
        migrating=tuple(pair for pair in node.migrating if pair[0] not in slots),
        importing=tuple(pair for pair in node.importing if pair[0] not in slots),
        holding=node.holding - slots,
    )


# -- how slots are packed for the way --------------------------------------------------------------------------------


def batches(counts: Sequence[tuple[int, int]], slots: int, keys: int, filled: int) -> list[list[int]]:
    """Return slots, given with their numbers of keys, in batches of at most so many slots, keys and slots that have keys.

    A slot that has more keys alone is a batch of its own.
    """
    packed: list[list[int]] = []
    load = full = 0
    for slot, count in counts:
        if not packed or len(packed[-1]) >= slots or load + count > keys or full + bool(count) > filled:
            packed.append([])
            load = full = 0
        packed[-1].append(slot)
        load += count
        full += bool(count)
    return packed
