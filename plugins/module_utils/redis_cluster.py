# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to happen until a Redis Cluster is as the inventory wants it: a pure plan over what the instances say.

A pool is right when all its instances know each other, each of the 16,384 slots has one owner, every owner has its
replicas on other hosts, and no instance idles. The plan never moves what is right already: after a failover the
roles stay where they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

SLOTS = 16384


class RedisClusterError(Exception):
    """The pool can't be brought to its state safely; the text names the instance, what is wrong and the cure."""


@dataclass(frozen=True, order=True)
class Instance:
    """One Redis process: the inventory's name of its host, the address and port that the others reach it under."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Pool:
    """What the inventory wants: these instances as one cluster, each primary with `replicas` on other hosts."""

    name: str
    replicas: int
    instances: tuple[Instance, ...]
    # Hosts that are on their way out or not yet in: what they still have in the cluster stays as it is, they get nothing new.
    leaving: frozenset[str] = frozenset()

    @property
    def hosts(self) -> list[str]:
        """The hosts that stay, in the inventory's order."""
        return [host for host in dict.fromkeys(i.host for i in self.instances) if host not in self.leaving]


@dataclass(frozen=True)
class Node:
    """What one instance says about itself: who it is, whom it knows, what it owns or whom it copies.

    `migrating` and `importing` are its open slots, each with the id of the node on the other side; `holding` are those
    of the importing ones in which it holds keys already.
    """

    instance: Instance
    id: str
    primary_id: str | None = None
    slots: frozenset[int] = frozenset()
    knows: frozenset[str] = frozenset()
    keys: int = 0
    migrating: tuple[tuple[int, str], ...] = ()
    importing: tuple[tuple[int, str], ...] = ()
    holding: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Stranger:
    """A node that instances know, but which the inventory doesn't hold."""

    id: str
    address: str
    slots: frozenset[int] = frozenset()
    failed: bool = False
    seen_by: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Actual:
    """What is: the instances that answered, and the strangers they know."""

    nodes: tuple[Node, ...]
    strangers: tuple[Stranger, ...] = ()


# -- steps -----------------------------------------------------------------------------------------------------------


class Step:
    """One thing to do; its text is a sentence."""


@dataclass(frozen=True)
class Reset(Step):
    """Forget the others and own nothing (CLUSTER RESET SOFT); only ever planned for an instance without keys."""

    node: Instance

    def __str__(self) -> str:
        return f"{self.node} forgets whom it knew"


@dataclass(frozen=True)
class Meet(Step):
    """Join the cluster of `known`."""

    node: Instance
    known: Instance

    def __str__(self) -> str:
        return f"{self.node} meets {self.known}"


@dataclass(frozen=True)
class DropSlots(Step):
    """Give up slots that another instance owns too."""

    node: Instance
    slots: frozenset[int]

    def __str__(self) -> str:
        return f"{self.node} gives up slots {ranges_text(self.slots)}"


@dataclass(frozen=True)
class AddSlots(Step):
    """Own slots that nobody owns."""

    node: Instance
    slots: frozenset[int]

    def __str__(self) -> str:
        return f"{self.node} takes slots {ranges_text(self.slots)}"


@dataclass(frozen=True)
class Replicate(Step):
    """Become a replica of `primary`."""

    node: Instance
    primary: Instance

    def __str__(self) -> str:
        return f"{self.node} replicates {self.primary}"


@dataclass(frozen=True)
class TakeOver(Step):
    """A replica takes its lost primary's slots without a vote (CLUSTER FAILOVER TAKEOVER)."""

    node: Instance
    lost_id: str

    def __str__(self) -> str:
        return f"{self.node} takes over from the lost node {self.lost_id[:8]}"


@dataclass(frozen=True)
class Forget(Step):
    """Every instance drops a dead node whose address one of them has taken over (a host that was built again)."""

    id: str
    address: str

    def __str__(self) -> str:
        return f"all forget the dead node {self.id[:8]} at {self.address}"


@dataclass(frozen=True)
class HandOver:
    """A planned failover (CLUSTER FAILOVER): the replica becomes primary, no request is lost."""

    replica: Instance
    primary: Instance

    def __str__(self) -> str:
        return f"{self.replica} takes over from {self.primary}"


# -- text of the protocol --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of CLUSTER NODES."""

    id: str
    address: str
    flags: frozenset[str]
    primary_id: str | None
    linked: bool
    slots: frozenset[int]
    moving: bool
    migrating: tuple[tuple[int, str], ...] = ()
    importing: tuple[tuple[int, str], ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.flags & {"fail", "noaddr"})


def parse_nodes(text: str) -> tuple[Line, ...]:
    """Return the lines of CLUSTER NODES as data. Open slots (`[42->-id]`) stand only in the line of the one that is asked."""
    lines = []
    for raw in text.splitlines():
        words = raw.split()
        if len(words) < 8:
            continue
        slots: set[int] = set()
        open_slots: dict[str, list[tuple[int, str]]] = {">": [], "<": []}
        for word in words[8:]:
            if word.startswith("["):
                slot, direction, other = word.strip("[]").split("-", 2)
                open_slots[direction].append((int(slot), other))
                continue
            first, _dash, last = word.partition("-")
            slots.update(range(int(first), int(last or first) + 1))
        lines.append(
            Line(
                id=words[0],
                address=words[1].split(",")[0].split("@")[0],
                flags=frozenset(words[2].split(",")),
                primary_id=None if words[3] == "-" else words[3],
                linked=words[7] == "connected",
                slots=frozenset(slots),
                moving=any(open_slots.values()),
                migrating=tuple(open_slots[">"]),
                importing=tuple(open_slots["<"]),
            )
        )
    return tuple(lines)


def ranges(slots: Iterable[int]) -> list[tuple[int, int]]:
    """Return slots as sorted, inclusive ranges: {1, 2, 3, 7} → [(1, 3), (7, 7)]."""
    found: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def ranges_text(slots: Iterable[int]) -> str:
    """Return slots for people: "0-5460 7000"; long lists are cut."""
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges(slots)]
    return " ".join(words[:6]) + (f" and {len(words) - 6} more ranges" if len(words) > 6 else "")


def observe(pool: Pool, views: dict[Instance, tuple[tuple[Line, ...], int]]) -> Actual:
    """Return what is, from each answering instance's CLUSTER NODES and DBSIZE."""
    nodes: dict[Instance, Node] = {}
    for instance, (lines, keys) in views.items():
        me = next(line for line in lines if "myself" in line.flags)
        nodes[instance] = Node(
            instance=instance,
            id=me.id,
            primary_id=me.primary_id,
            slots=me.slots,
            knows=frozenset(line.id for line in lines if line is not me and "handshake" not in line.flags),
            keys=keys,
            migrating=me.migrating,
            importing=me.importing,
        )
    ours = {node.id for node in nodes.values()}
    strangers: dict[str, Stranger] = {}
    for instance, (lines, _keys) in views.items():
        for line in lines:
            if line.id in ours or "handshake" in line.flags:
                continue
            seen = strangers.get(line.id)
            strangers[line.id] = Stranger(
                id=line.id,
                address=line.address,
                slots=line.slots | (seen.slots if seen else frozenset()),
                failed=line.failed and (seen.failed if seen else True),
                seen_by=(seen.seen_by if seen else frozenset()) | {nodes[instance].id},
            )
    return Actual(
        nodes=tuple(nodes[instance] for instance in pool.instances if instance in nodes),
        strangers=tuple(strangers[key] for key in sorted(strangers)),
    )


def agreed(views: Iterable[tuple[Line, ...]]) -> bool:
    """Say whether instances that know each other tell the same story about ids, roles and slots, all of them linked.

    About a slot that is open on one of them they may differ for as long as it is open.
    """
    stories: dict[str, dict[str, tuple[str | None, frozenset[int]]]] = {}
    views = list(views)
    disputed = {slot for lines in views for line in lines for slot, _other in (*line.migrating, *line.importing)}
    for lines in views:
        me = next(line for line in lines if "myself" in line.flags)
        if any(flag in line.flags for line in lines for flag in ("handshake", "fail?")):
            return False
        if any(not line.linked and not line.failed and line is not me for line in lines):
            return False
        stories[me.id] = {line.id: (line.primary_id, line.slots - disputed) for line in lines if not line.failed}
    return all(other not in stories or stories[other] == story for story in stories.values() for other in story)


# -- the plan --------------------------------------------------------------------------------------------------------


@dataclass
class _Work:
    """The state while the plan is made: nodes by id, and the steps so far."""

    pool: Pool
    nodes: dict[str, Node]
    hosts: list[str]
    steps: list[Step] = field(default_factory=list)

    def owners(self) -> list[Node]:
        return sorted((node for node in self.nodes.values() if node.slots), key=lambda node: min(node.slots))


def plan(pool: Pool, actual: Actual) -> tuple[Step, ...]:
    """Return the steps from what is to what the pool wants, in the order in which they have to happen; () when right.

    Raises RedisClusterError, by name, for what can't be done without risking keys: an instance that doesn't answer,
    slots on nodes outside the inventory, keys of another cluster, replicas that fit on no other host.
    """
    _check(pool, actual)
    _refuse_half_moved(pool, actual)
    actual = _without_outsiders(pool, actual)
    home = _home(actual)
    work = _Work(pool, {node.id: node for node in actual.nodes}, pool.hosts)
    heirs = _heirs(pool, actual, home)
    _refuse_foreign(pool, actual, home, heirs)
    _take_over(work, actual, heirs)
    _clear_outsiders(work, home)
    _settle_double_owners(work)
    candidates = _choose_new_owners(work)
    _introduce(work, home)
    _cover_slots(work, candidates)
    _place_replicas(work)
    _forget_the_dead(work, actual)
    return tuple(work.steps)


def _refuse_half_moved(pool: Pool, actual: Actual) -> None:
    owned = {slot for node in actual.nodes for slot in node.slots}
    for node in actual.nodes:
        half = frozenset(slot for slot, _source in node.importing if slot not in owned)
        if half:
            raise RedisClusterError(
                f"pool {pool.name}: slots {ranges_text(half)} are half moved to {node.instance}: a run of redis_scale was "
                "interrupted, run graphic_school.scaling.redis_scale again"
            )


def _without_outsiders(pool: Pool, actual: Actual) -> Actual:
    """Leave out instances of leaving hosts that own nothing and copy nobody: they are out, and stay out."""
    owners = {node.id for node in actual.nodes if node.slots}
    return replace(
        actual,
        nodes=tuple(
            node
            for node in actual.nodes
            if node.instance.host not in pool.leaving or node.slots or node.primary_id in owners
        ),
    )


def _check(pool: Pool, actual: Actual) -> None:
    hosts = set(pool.hosts)
    answering = {node.instance for node in actual.nodes}
    for instance in pool.instances:
        if instance not in answering and instance.host not in pool.leaving:
            raise RedisClusterError(
                f"pool {pool.name}: {instance} ({instance.address}) doesn't answer: start it, "
                f"or set fleet_state: down for {instance.host} until it is back"
            )
    if pool.replicas >= len(hosts):
        raise RedisClusterError(
            f"pool {pool.name}: {pool.replicas} replicas of a primary need {pool.replicas + 1} hosts, "
            f"not {len(hosts)}: {', '.join(sorted(hosts))}"
        )
    owned = any(node.slots for node in actual.nodes)
    if not owned and len(hosts) < 3:
        raise RedisClusterError(
            f"pool {pool.name}: a Redis Cluster votes with three primaries on three hosts, not {len(hosts)}: "
            f"{', '.join(sorted(hosts))}"
        )


def _home(actual: Actual) -> frozenset[str]:
    """Return the ids of the cluster that the others join: the one with keys, then with most slots, then most nodes."""
    left = {node.id: node for node in actual.nodes}
    links: dict[str, set[str]] = {identity: set() for identity in left}
    for node in actual.nodes:
        for other in node.knows & left.keys():
            links[node.id].add(other)
            links[other].add(node.id)
    groups: list[list[Node]] = []
    while left:
        frontier = [next(iter(left))]
        group = []
        while frontier:
            identity = frontier.pop()
            if identity in left:
                group.append(left.pop(identity))
                frontier.extend(links[identity])
        groups.append(group)

    def weight(group: list[Node]) -> tuple[int, int, int, tuple[str, ...]]:
        slots = {slot for node in group for slot in node.slots}
        first = min(node.instance for node in group)
        return -sum(n.keys for n in group), -len(slots), -len(group), (first.host, f"{first.port:05d}")

    return frozenset(node.id for node in min(groups, key=weight))


def _replaced(pool: Pool, stranger: Stranger) -> bool:
    """Say whether another instance answers where this node was: its memory of the cluster is lost, it can't come back."""
    places = {f"{instance.address}:{instance.port}" for instance in pool.instances}
    return stranger.failed and (stranger.address in places or stranger.address.endswith(":0"))


def _heirs(pool: Pool, actual: Actual, home: frozenset[str]) -> dict[str, Node]:
    """Return, for each lost node that still owns slots, a replica of its that is left.

    A host that is built again within the node timeout isn't voted dead: its address answers, under another id.
    """
    found: dict[str, Node] = {}
    for stranger in actual.strangers:
        copies = [node for node in actual.nodes if node.primary_id == stranger.id and node.id in home]
        if stranger.slots and copies and _replaced(pool, stranger):
            found[stranger.id] = max(copies, key=lambda node: node.keys)
    return found


def _take_over(work: _Work, actual: Actual, heirs: Mapping[str, Node]) -> None:
    for stranger in actual.strangers:
        heir = heirs.get(stranger.id)
        if heir is not None:
            work.steps.append(TakeOver(heir.instance, stranger.id))
            work.nodes[heir.id] = replace(heir, primary_id=None, slots=stranger.slots)


def _refuse_foreign(pool: Pool, actual: Actual, home: frozenset[str], heirs: Mapping[str, Node]) -> None:
    for stranger in actual.strangers:
        if stranger.id in heirs or not stranger.slots or not stranger.seen_by & home:
            continue
        if _replaced(pool, stranger):
            raise RedisClusterError(
                f"pool {pool.name}: slots {ranges_text(stranger.slots)} were on the lost node {stranger.id} and no replica "
                "of it is left: bring its data directory back, or give its keys up (CLUSTER FORGET with that id on every "
                "instance of the pool, within a minute), then run again"
            )
        raise RedisClusterError(
            f"pool {pool.name}: slots {ranges_text(stranger.slots)} are on {stranger.address}, "
            "which is no instance of the inventory: add its host, start it, or move its slots away first"
        )
    ours = {node.id for node in actual.nodes} | heirs.keys()
    for node in actual.nodes:
        foreign = [s for s in actual.strangers if node.id in s.seen_by and not s.failed]
        if node.id not in home and foreign:
            raise RedisClusterError(
                f"pool {pool.name}: {node.instance} belongs to another cluster, it knows {foreign[0].address}: "
                "add that host to the inventory, or reset the instance by hand (CLUSTER RESET HARD)"
            )
        if node.id not in home and node.keys:
            raise RedisClusterError(
                f"pool {pool.name}: {node.instance} holds {node.keys} keys outside of the pool's cluster: "
                "save them and empty the instance (FLUSHALL, CLUSTER RESET HARD), then run again"
            )
        if node.keys and not node.slots and (node.primary_id is None or node.primary_id not in ours):
            raise RedisClusterError(
                f"pool {pool.name}: {node.instance} holds {node.keys} keys, but owns no slot and replicates no "
                "instance of the inventory: save them and empty the instance (FLUSHALL), then run again"
            )


def _reset(work: _Work, node: Node) -> None:
    work.steps.append(Reset(node.instance))
    work.nodes[node.id] = Node(instance=node.instance, id=node.id)


def _clear_outsiders(work: _Work, home: frozenset[str]) -> None:
    for node in list(work.nodes.values()):
        if node.id not in home and (node.slots or node.primary_id or node.knows):
            _reset(work, node)


def _settle_double_owners(work: _Work) -> None:
    """Leave each slot to one owner: the one with keys, else the one with most slots."""
    ranked = sorted(work.owners(), key=lambda node: (-node.keys, -len(node.slots), node.instance))
    taken: dict[int, Node] = {}
    for node in ranked:
        double = frozenset(slot for slot in node.slots if slot in taken)
        if double and node.keys:
            other = taken[min(double)]
            raise RedisClusterError(
                f"pool {work.pool.name}: {other.instance} and {node.instance} both own slots {ranges_text(double)} and "
                "both hold keys: decide which keys to keep and empty the other instance"
            )
        if double:
            work.steps.append(DropSlots(node.instance, double))
            work.nodes[node.id] = replace(node, slots=node.slots - double)
        for slot in node.slots - double:
            taken[slot] = node


def _choose_new_owners(work: _Work) -> list[Node]:
    """Return empty instances that become primaries: one for each host without an owner, while slots are free.

    In a cluster without any owner a host's first instance is reset when all of them are replicas.
    """
    owners = work.owners()
    if len({slot for node in owners for slot in node.slots}) == SLOTS:
        return []
    chosen = []
    for host in work.hosts:
        mine = sorted((n for n in work.nodes.values() if n.instance.host == host), key=lambda node: node.instance)
        if any(node.slots for node in mine):
            continue
        idle = [node for node in mine if node.primary_id is None]
        if idle:
            chosen.append(idle[0])
        elif not owners and not any(node.keys for node in mine):
            _reset(work, mine[0])
            chosen.append(mine[0])
    if not owners and len(chosen) < 3:
        raise RedisClusterError(
            f"pool {work.pool.name}: nobody owns a slot and only {len(chosen)} hosts have an instance that may: "
            "empty the others (FLUSHALL, CLUSTER RESET HARD), then run again"
        )
    return chosen


def _introduce(work: _Work, home: frozenset[str]) -> None:
    """Make everyone know one instance of the home cluster; gossip does the rest."""
    known = [node for node in work.nodes.values() if node.id in home]
    everyone = set(work.nodes)
    anchor = min(known, key=lambda node: (-len(node.knows & everyone), not node.slots, node.instance))
    for node in sorted(work.nodes.values(), key=lambda node: node.instance):
        if node.id != anchor.id and (anchor.id not in node.knows or node.id not in anchor.knows):
            work.steps.append(Meet(node.instance, anchor.instance))
    for node in list(work.nodes.values()):
        work.nodes[node.id] = replace(node, knows=frozenset(everyone - {node.id}))


def _cover_slots(work: _Work, chosen: Sequence[Node]) -> None:
    """Share out the free slots so that the owners end near the same number, each with as few ranges as possible."""
    owned = {slot for node in work.nodes.values() for slot in node.slots}
    free = [slot for slot in range(SLOTS) if slot not in owned]
    if not free:
        return
    order = {host: index for index, host in enumerate(work.hosts)}
    targets = sorted(
        [node.id for node in [*work.owners(), *chosen] if node.instance.host in order],
        key=lambda identity: (order[work.nodes[identity].instance.host], work.nodes[identity].instance.port),
    )
    for index, identity in enumerate(targets):
        node = work.nodes[identity]
        ideal = SLOTS * (index + 1) // len(targets) - SLOTS * index // len(targets)
        share = frozenset(free[: max(0, ideal - len(node.slots))])
        free = free[len(share) :]
        if share:
            work.steps.append(AddSlots(node.instance, share))
            work.nodes[identity] = replace(node, slots=node.slots | share)


def _place_replicas(work: _Work) -> None:
    """Give each owner its replicas on other hosts with as few moves as possible, then a primary to whoever idles."""
    owners = {node.id: node for node in work.owners()}
    others = {node.id: node for node in work.nodes.values() if not node.slots}
    fixed = frozenset(node.id for node in others.values() if node.instance.host in work.pool.leaving)
    goal = seats(work.pool, owners, others, fixed)
    for identity in sorted(goal, key=lambda identity: others[identity].instance):
        if others[identity].primary_id != goal[identity]:
            work.steps.append(Replicate(others[identity].instance, owners[goal[identity]].instance))


def seats(
    pool: Pool,
    owners: Mapping[str, Node],
    candidates: Mapping[str, Node],
    fixed: frozenset[str] = frozenset(),
    strict: bool = True,
) -> dict[str, str]:
    """Return for each candidate (by id) the primary it shall copy: on another host, with as few moves as possible.

    First each owner gets `pool.replicas` of them, then everyone who is left goes where the fewest are. Those that are
    `fixed` stay where they are. Raises RedisClusterError when an owner can't have its replicas, unless not `strict`.
    """
    others = {node.id: node for node in sorted(candidates.values(), key=lambda node: node.instance)}
    hosts = list(dict.fromkeys(instance.host for instance in pool.instances))
    place = {host: index for index, host in enumerate(hosts)}

    def fits(replica: Node, primary: Node) -> bool:
        return replica.instance.host != primary.instance.host

    # One seat for each wanted replica; replicas that are right already sit, everyone else stands.
    chairs = [(owner, number) for owner in owners for number in range(pool.replicas)]
    right = {n.id for n in others.values() if n.primary_id and n.primary_id in owners and fits(n, owners[n.primary_id])}
    seated: dict[str, tuple[str, int]] = {}
    taken: dict[tuple[str, int], str] = {}
    for identity in sorted(right, key=lambda identity: (identity not in fixed, others[identity].instance)):
        owner = others[identity].primary_id
        chair = next((chair for chair in chairs if chair[0] == owner and chair not in taken), None)
        if chair:
            seated[identity], taken[chair] = chair, identity

    def by_preference(primary: Node) -> list[str]:
        def rank(node: Node) -> tuple[bool, bool, int, Instance]:
            distance = (place[node.instance.host] - place[primary.instance.host]) % len(hosts)
            return node.id in seated, node.id in right, distance, node.instance

        return [node.id for node in sorted(others.values(), key=rank) if fits(node, primary) and node.id not in fixed]

    def seat_somebody(chair: tuple[str, int], asked: set[str]) -> bool:
        for identity in by_preference(owners[chair[0]]):
            if identity in asked:
                continue
            asked.add(identity)
            if identity not in seated or seat_somebody(seated[identity], asked):
                seated[identity], taken[chair] = chair, identity
                return True
        return False

    for chair in chairs:
        if chair not in taken and not seat_somebody(chair, set()) and strict:
            raise RedisClusterError(
                f"pool {pool.name}: {owners[chair[0]].instance} can't have {pool.replicas} replicas on other "
                f"hosts: {len(owners)} primaries and {len(others)} other instances on {len(hosts)} hosts; "
                "move slots so that there are fewer primaries, or add a host"
            )

    goal = {identity: chair[0] for identity, chair in seated.items()}
    load = {owner: list(goal.values()).count(owner) for owner in owners}
    for node in others.values():
        if node.id in goal or (node.id in fixed and node.id not in right):
            continue
        if node.id in right and node.primary_id is not None:
            goal[node.id] = node.primary_id
        else:
            open_owners = [owner for owner in owners.values() if fits(node, owner)]
            if not open_owners:
                raise RedisClusterError(
                    f"pool {pool.name}: {node.instance} can't be a replica, all primaries are on its own host "
                    f"{node.instance.host}: fail one over to another host first"
                )
            beside = {goal[n.id] for n in others.values() if n.id in goal and n.instance.host == node.instance.host}
            goal[node.id] = min(open_owners, key=lambda o: (o.id in beside, load[o.id], o.instance)).id
        load[goal[node.id]] += 1
    return goal


def _forget_the_dead(work: _Work, actual: Actual) -> None:
    """Drop nodes that were replaced, once they own nothing; one that was just taken over from goes in the next plan."""
    reset = {step.node for step in work.steps if isinstance(step, Reset)}
    remaining = {node.id for node in actual.nodes if node.instance not in reset}  # a reset forgets by itself
    for stranger in actual.strangers:
        if not stranger.slots and stranger.seen_by & remaining and _replaced(work.pool, stranger):
            work.steps.append(Forget(stranger.id, stranger.address))


# -- where primaries are ---------------------------------------------------------------------------------------------


def seen_from_one(pool: Pool, lines: Iterable[Line]) -> Actual:
    """Return what is as one instance sees it: the pool's instances that are well, by address."""
    by_address = {f"{instance.address}:{instance.port}": instance for instance in pool.instances}
    return Actual(
        tuple(
            Node(by_address[line.address], line.id, line.primary_id, line.slots)
            for line in lines
            if line.address in by_address and not line.failed and "fail?" not in line.flags
        )
    )


def hand_over(pool: Pool, actual: Actual) -> HandOver | None:
    """Return the next planned failover that keeps one host's loss from stopping the pool, or None when there is none.

    A Redis Cluster stops when half of its primaries are lost at once, and failovers pile them up: after redis1 has died,
    redis2 may hold two of three. Where a host holds too many, primaries move along replicas to a host with room, the
    last of the chain first. Nothing else is ever moved.
    """
    owners = {node.id: node for node in actual.nodes if node.slots}
    most = len(owners) - (len(owners) // 2 + 1)
    held = _held(pool, owners.values())
    full = max(held, key=lambda host: held[host])
    if most < 1 or held[full] <= most:
        return None
    return _chain(actual, full, held, {host: most for host in held if host not in pool.leaving})


def make_room(pool: Pool, actual: Actual) -> HandOver | None:
    """Return the next planned failover towards one primary for each host that stays and none on those that leave, or None.

    Hosts that stay full because nobody has room are left as they are: their slots have to move.
    """
    owners = {node.id: node for node in actual.nodes if node.slots}
    held = _held(pool, owners.values())
    room = {host: 1 for host in pool.hosts}
    for full in sorted(held, key=lambda host: (-held[host], host)):
        if held[full] > room.get(full, 0):
            step = _chain(actual, full, held, room)
            if step is not None:
                return step
    return None


def _held(pool: Pool, owners: Iterable[Node]) -> dict[str, int]:
    held: dict[str, int] = {instance.host: 0 for instance in pool.instances}
    for owner in owners:
        held[owner.instance.host] += 1
    return held


def _chain(actual: Actual, full: str, held: Mapping[str, int], room: Mapping[str, int]) -> HandOver | None:
    """Return the last hand-over of the shortest chain along replicas from a full host to one with room."""
    owners = {node.id: node for node in actual.nodes if node.slots}
    came_by: dict[str, HandOver] = {}
    reached = deque([full])
    while reached:
        host = reached.popleft()
        for node in actual.nodes:
            primary = owners.get(node.primary_id or "")
            if primary is None or primary.instance.host != host or node.instance.host in {full, *came_by}:
                continue
            came_by[node.instance.host] = HandOver(node.instance, primary.instance)
            if held[node.instance.host] < room.get(node.instance.host, 0):
                return came_by[node.instance.host]
            reached.append(node.instance.host)
    return None
