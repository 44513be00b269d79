"""The plan of a Redis Cluster: from any starting point to all slots covered, each replica away from its primary."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plugins.module_utils.redis_cluster import (
    SLOTS,
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
    Stranger,
    TakeOver,
    agreed,
    hand_over,
    observe,
    parse_nodes,
    plan,
    ranges,
    ranges_text,
    seen_from_one,
)


def make_pool(hosts: int = 3, replicas: int = 1) -> Pool:
    instances = tuple(
        Instance(f"redis{host}", f"192.0.2.{host}", 6379 + number)
        for host in range(1, hosts + 1)
        for number in range(1 + replicas)
    )
    return Pool("durable", replicas, instances)


def fresh(pool: Pool) -> Actual:
    return Actual(tuple(Node(instance, f"id-{instance}") for instance in pool.instances))


class World:
    """What Redis does with a step, as far as the plan relies on it; gossip is immediate."""

    def __init__(self, actual: Actual) -> None:
        self.nodes = {node.instance: node for node in actual.nodes}
        self.strangers = list(actual.strangers)
        self.gossip()

    def by_id(self, identity: str) -> Node:
        return next(node for node in self.nodes.values() if node.id == identity)

    def by_id_or_none(self, identity: str | None, host: str) -> Node | None:
        found = [node for node in self.nodes.values() if node.id == identity and node.instance.host == host]
        return found[0] if found else None

    def gossip(self) -> None:
        changed = True
        while changed:
            changed = False
            for node in list(self.nodes.values()):
                known = set(node.knows)
                for other in list(self.nodes.values()):
                    if other.id in node.knows and node.id in other.knows:
                        known |= set(other.knows)
                known.discard(node.id)
                for identity in known - set(node.knows):
                    other = self.by_id(identity)
                    self.nodes[other.instance] = replace(other, knows=other.knows | {node.id})
                    changed = True
                self.nodes[node.instance] = replace(self.nodes[node.instance], knows=frozenset(known))

    def apply(self, step: Step) -> None:
        if isinstance(step, Forget):
            self.strangers = [stranger for stranger in self.strangers if stranger.id != step.id]
            return
        node = self.nodes[step.node]
        if isinstance(step, Reset):
            assert not node.keys, "CLUSTER RESET is refused by a primary with keys"
            self.nodes[step.node] = Node(node.instance, node.id)
            self.strangers = [
                replace(stranger, seen_by=stranger.seen_by - {node.id})
                for stranger in self.strangers
                if stranger.seen_by - {node.id}
            ]
        elif isinstance(step, TakeOver):
            lost = next(stranger for stranger in self.strangers if stranger.id == step.lost_id)
            assert node.primary_id == lost.id, "only a replica of the lost node has its keys"
            self.nodes[step.node] = replace(node, primary_id=None, slots=lost.slots)
            self.strangers = [replace(s, slots=frozenset()) if s is lost else s for s in self.strangers]
        elif isinstance(step, Meet):
            known = self.nodes[step.known]
            self.nodes[step.node] = replace(node, knows=node.knows | {known.id})
            self.nodes[step.known] = replace(known, knows=known.knows | {node.id})
            self.gossip()
        elif isinstance(step, DropSlots):
            assert not node.keys, "slots are only dropped where no key is lost"
            self.nodes[step.node] = replace(node, slots=node.slots - step.slots)
        elif isinstance(step, AddSlots):
            assert node.primary_id is None, "a replica owns no slots"
            assert not any(other.slots & step.slots for other in self.nodes.values()), "the slot is busy"
            self.nodes[step.node] = replace(node, slots=node.slots | step.slots)
        elif isinstance(step, Replicate):
            primary = self.nodes[step.primary]
            assert primary.id in node.knows, "an unknown node can't be replicated"
            assert primary.slots, "replicas follow owners of slots"
            assert node.primary_id or not (node.slots or node.keys), "a primary that becomes a replica must be empty"
            self.nodes[step.node] = replace(node, primary_id=primary.id)

    def actual(self) -> Actual:
        return Actual(tuple(self.nodes.values()), tuple(self.strangers))


def carried_out(pool: Pool, actual: Actual) -> World:
    world = World(actual)
    for step in plan(pool, world.actual()):
        world.apply(step)
    return world


def assert_right(pool: Pool, world: World) -> None:
    owned = [slot for node in world.nodes.values() for slot in node.slots]
    assert sorted(owned) == list(range(SLOTS)), "each slot has exactly one owner"
    everyone = {node.id for node in world.nodes.values()}
    for node in world.nodes.values():
        assert node.knows >= everyone - {node.id}, "everyone knows everyone"
        if node.slots:
            copies = [other for other in world.nodes.values() if other.primary_id == node.id]
            assert all(copy.instance.host != node.instance.host for copy in copies), "never on one host"
            assert len(copies) >= pool.replicas
        else:
            assert node.primary_id is not None, "nobody idles"
            assert world.by_id(node.primary_id).slots, "replicas follow owners of slots"
    assert plan(pool, world.actual()) == (), "a second run has nothing to do"


# -- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [0, 1, 2])
@pytest.mark.parametrize("hosts", [3, 4, 5, 7])
def test_a_fresh_pool_gets_a_primary_per_host_with_its_replicas_elsewhere(hosts: int, replicas: int) -> None:
    pool = make_pool(hosts, replicas)
    world = carried_out(pool, fresh(pool))
    assert_right(pool, world)
    sizes = [len(node.slots) for node in world.nodes.values() if node.slots]
    assert len(sizes) == hosts
    assert max(sizes) - min(sizes) <= 1


def test_the_fresh_plan_reads_as_people_expect() -> None:
    pool = make_pool()
    assert [str(step) for step in plan(pool, fresh(pool))] == [
        "redis1:6380 meets redis1:6379",
        "redis2:6379 meets redis1:6379",
        "redis2:6380 meets redis1:6379",
        "redis3:6379 meets redis1:6379",
        "redis3:6380 meets redis1:6379",
        "redis1:6379 takes slots 0-5460",
        "redis2:6379 takes slots 5461-10921",
        "redis3:6379 takes slots 10922-16383",
        "redis1:6380 replicates redis3:6379",
        "redis2:6380 replicates redis1:6379",
        "redis3:6380 replicates redis2:6379",
    ]


@pytest.mark.parametrize("stop_after", range(12))
def test_a_build_that_stopped_half_way_is_finished(stop_after: int) -> None:
    pool = make_pool()
    world = World(fresh(pool))
    for step in plan(pool, fresh(pool))[:stop_after]:
        world.apply(step)
    assert_right(pool, carried_out(pool, world.actual()))


@cache
def built_once(pool: Pool) -> Actual:
    return carried_out(pool, fresh(pool)).actual()


def built(pool: Pool) -> World:
    return World(built_once(pool))


def fail_over(world: World, replica: Instance) -> None:
    node = world.nodes[replica]
    assert node.primary_id is not None
    old = world.by_id(node.primary_id)
    world.nodes[replica] = replace(node, primary_id=None, slots=old.slots, keys=old.keys)
    for other in list(world.nodes.values()):
        if old.id in (other.primary_id, other.id):
            world.nodes[other.instance] = replace(other, primary_id=node.id, slots=frozenset())


def test_after_a_failover_the_roles_stay_where_they_are() -> None:
    pool = make_pool()
    world = built(pool)
    fail_over(world, pool.instances[1])
    assert plan(pool, world.actual()) == ()


def test_a_host_that_was_built_again_joins_in_its_old_place() -> None:
    pool = make_pool()
    world = built(pool)
    lost = [instance for instance in pool.instances if instance.host == "redis1"]
    for replica in list(world.nodes.values()):
        if replica.primary_id == world.nodes[lost[0]].id:
            fail_over(world, replica.instance)
    dead = [world.nodes[instance] for instance in lost]
    alive = [node for node in world.nodes.values() if node.instance.host != "redis1"]
    gone = frozenset(node.id for node in dead)
    nodes = [replace(node, knows=node.knows - gone) for node in alive]
    nodes += [Node(instance, f"new-{instance}") for instance in lost]
    strangers = tuple(
        Stranger(n.id, f"{n.instance.address}:{n.instance.port}", failed=True, seen_by=frozenset(a.id for a in alive))
        for n in dead
    )
    again = carried_out(pool, Actual(tuple(nodes), strangers))
    assert_right(pool, again)
    assert again.strangers == []


def built_again_in_no_time(pool: Pool, host: str) -> Actual:
    """What is left when a host lost its data and answers again before the others voted it dead."""
    world = built(pool)
    lost = [node for node in world.nodes.values() if node.instance.host == host]
    gone = frozenset(node.id for node in lost)
    left = [replace(n, knows=n.knows - gone, keys=5) for n in world.nodes.values() if n.instance.host != host]
    seen_by = frozenset(node.id for node in left)
    return Actual(
        tuple(left + [Node(node.instance, f"new-{node.instance}") for node in lost]),
        tuple(Stranger(node.id, ":0", node.slots, failed=True, seen_by=seen_by) for node in lost),
    )


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_replica_of_a_host_that_was_built_again_in_no_time_takes_over(replicas: int) -> None:
    pool = make_pool(3, replicas)
    actual = built_again_in_no_time(pool, "redis2")
    steps = plan(pool, actual)
    assert isinstance(steps[0], TakeOver)
    world = carried_out(pool, actual)
    for step in plan(pool, world.actual()):
        assert isinstance(step, Forget)
        world.apply(step)
    assert_right(pool, world)


def test_slots_whose_every_copy_is_lost_are_refused_by_name() -> None:
    pool = make_pool()
    actual = built_again_in_no_time(pool, "redis2")
    lost = next(stranger.id for stranger in actual.strangers if stranger.slots)
    nodes = tuple(replace(n, primary_id=None, keys=0) if n.primary_id == lost else n for n in actual.nodes)
    with pytest.raises(RedisClusterError, match=r"slots 5461-10921 were on the lost node .* no replica of it is left"):
        plan(pool, replace(actual, nodes=nodes))


def test_a_fourth_host_joins_as_spare_replicas_and_moves_nobody() -> None:
    pool = make_pool()
    wide = make_pool(4)
    world = built(pool)
    before = {node.instance: node.primary_id for node in world.nodes.values()}
    for instance in wide.instances[6:]:
        world.nodes[instance] = Node(instance, f"id-{instance}")
    steps = plan(wide, world.actual())
    assert {type(step) for step in steps} == {Meet, Replicate}
    after = carried_out(wide, world.actual())
    assert_right(wide, after)
    assert {instance: after.nodes[instance].primary_id for instance in before} == before


def test_a_replica_beside_its_primary_moves_and_only_it_and_its_counterpart() -> None:
    pool = make_pool()
    world = built(pool)
    first, copy = pool.instances[0], pool.instances[1]
    world.nodes[copy] = replace(world.nodes[copy], primary_id=world.nodes[first].id)
    steps = plan(pool, world.actual())
    assert all(isinstance(step, Replicate) for step in steps)
    assert_right(pool, carried_out(pool, world.actual()))
    assert len(steps) == 1


def test_a_switched_off_host_without_slots_is_left_in_peace() -> None:
    pool = make_pool()
    world = built(pool)
    wide = replace(pool, instances=pool.instances)
    strangers = (Stranger("old", "192.0.2.9:6379", failed=True, seen_by=frozenset(n.id for n in world.nodes.values())),)
    assert plan(wide, Actual(tuple(world.nodes.values()), strangers)) == ()


def change(actual: Actual, index: int, **fields: object) -> Actual:
    nodes = list(actual.nodes)
    nodes[index] = replace(nodes[index], **fields)  # type: ignore[arg-type]
    return replace(actual, nodes=tuple(nodes))


REFUSED = {
    "an instance that doesn't answer": (
        make_pool(),
        replace(fresh(make_pool()), nodes=fresh(make_pool()).nodes[1:]),
        "redis1:6379 (192.0.2.1) doesn't answer: start it, or set fleet_state: down for redis1",
    ),
    "two hosts for a fresh cluster": (make_pool(2), fresh(make_pool(2)), "three primaries on three hosts, not 2"),
    "more replicas than other hosts": (make_pool(3, 3), fresh(make_pool(3, 3)), "3 replicas of a primary need 4 hosts"),
    "keys outside of the cluster": (
        make_pool(),
        Actual(
            tuple(
                replace(node, knows=frozenset(), slots=frozenset(), primary_id=None, keys=2) if n == 3 else node
                for n, node in enumerate(change(built(make_pool()).actual(), 0, keys=10).nodes)
            )
        ),
        "redis2:6380 holds 2 keys",
    ),
    "keys without a slot": (
        make_pool(),
        change(fresh(make_pool()), 0, keys=3),
        "redis1:6379 holds 3 keys, but owns no slot",
    ),
    "slots on a node outside the inventory": (
        make_pool(),
        replace(
            fresh(make_pool()),
            strangers=(
                Stranger("x", "198.51.100.1:6379", frozenset({1, 2, 3}), seen_by=frozenset({"id-redis1:6379"})),
            ),
        ),
        "slots 1-3 are on 198.51.100.1:6379, which is no instance of the inventory",
    ),
    "a member of another cluster": (
        make_pool(),
        replace(
            fresh(make_pool()),
            strangers=(Stranger("x", "198.51.100.1:6379", seen_by=frozenset({"id-redis2:6379"})),),
        ),
        "redis2:6379 belongs to another cluster, it knows 198.51.100.1:6379",
    ),
    "two owners of one slot that both hold keys": (
        make_pool(),
        change(
            change(built(make_pool()).actual(), 0, keys=3),
            2,
            keys=4,
            slots=frozenset(range(5460, 10922)),
        ),
        "both own slots 5460",
    ),
    "everybody is a primary": (
        make_pool(),
        Actual(
            tuple(
                replace(
                    node,
                    slots=frozenset(range(SLOTS * n // 6, SLOTS * (n + 1) // 6)),
                    primary_id=None,
                )
                for n, node in enumerate(built(make_pool()).nodes.values())
            )
        ),
        "redis1:6379 can't have 1 replicas on other hosts: 6 primaries and 0 other instances on 3 hosts",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_lose_keys_is_refused_by_name(name: str) -> None:
    pool, actual, sentence = REFUSED[name]
    with pytest.raises(RedisClusterError) as refused:
        plan(pool, actual)
    assert sentence in str(refused.value)
    assert str(refused.value).startswith("pool durable: ")


# -- properties ------------------------------------------------------------------------------------------------------


@st.composite
def starting_points(draw: st.DrawFn) -> tuple[Pool, Actual]:
    """Any mixture of who knows whom, who owns what (also twice, also nobody), who copies whom, who holds keys."""
    pool = make_pool(draw(st.integers(3, 5)), draw(st.integers(0, 2)))
    ids = [f"id-{instance}" for instance in pool.instances]
    cuts = sorted(draw(st.lists(st.integers(0, SLOTS), max_size=6)))
    blocks = [range(a, b) for a, b in zip([0, *cuts], [*cuts, SLOTS], strict=True)]
    owned: dict[int, set[int]] = {}
    for block in blocks:
        for owner in draw(st.lists(st.integers(0, len(ids) - 1), max_size=2)):
            owned.setdefault(owner, set()).update(block)
    with_keys = draw(st.booleans())
    nodes = []
    for index, instance in enumerate(pool.instances):
        slots = frozenset(owned.get(index, set()))
        copied = draw(st.one_of(st.none(), st.sampled_from(ids)))
        knows = frozenset(draw(st.sets(st.sampled_from(ids)))) - {ids[index]}
        primary = copied if copied != ids[index] and not slots else None
        keys = draw(st.integers(0, 3)) if with_keys else 0
        nodes.append(Node(instance, ids[index], primary, slots, knows | ({primary} if primary else set()), keys))
    return pool, Actual(tuple(nodes))


@given(starting_points())
@settings(max_examples=100, deadline=None)
def test_from_any_starting_point_the_plan_ends_right_or_refuses_by_name(start: tuple[Pool, Actual]) -> None:
    pool, actual = start
    try:
        world = carried_out(pool, actual)
    except RedisClusterError as refused:
        assert str(refused).startswith("pool durable: redis") or "nobody owns a slot" in str(refused)
        return
    assert_right(pool, world)


@given(starting_points())
@settings(max_examples=40, deadline=None)
def test_without_keys_and_with_few_owners_nothing_is_refused(start: tuple[Pool, Actual]) -> None:
    pool, actual = start
    nodes = [replace(node, keys=0) for node in actual.nodes]
    owners = [node for node in nodes if node.slots]
    assume(all(owner.instance.port == 6379 for owner in owners))
    assume(all(len(owner.slots) < SLOTS for owner in owners))  # its own host's replica would have no other to copy
    assert_right(pool, carried_out(pool, Actual(tuple(nodes))))


@given(st.integers(3, 6), st.integers(1, 2), st.lists(st.integers(0, 17), max_size=8))
@settings(max_examples=40, deadline=None)
def test_no_failover_of_a_healthy_cluster_is_ever_undone(hosts: int, replicas: int, moves: list[int]) -> None:
    pool = make_pool(hosts, replicas)
    world = built(pool)
    for move in moves:
        instance = pool.instances[move % len(pool.instances)]
        if world.nodes[instance].primary_id:
            fail_over(world, instance)
    together = {
        node.instance
        for node in world.nodes.values()
        if node.primary_id and world.by_id(node.primary_id).instance.host == node.instance.host
    }
    moved = {step.node for step in plan(pool, world.actual()) if isinstance(step, Replicate)}
    assert bool(moved) == bool(together)
    assert_right(pool, carried_out(pool, world.actual()))


def primaries_per_host(world: World) -> dict[str, int]:
    held = {instance.host: 0 for instance in world.nodes}
    for node in world.nodes.values():
        held[node.instance.host] += bool(node.slots)
    return held


@given(st.integers(3, 6), st.integers(1, 2), st.lists(st.integers(0, 17), max_size=8))
@settings(max_examples=60, deadline=None)
def test_primaries_that_piled_up_spread_until_no_single_loss_stops_the_pool(
    hosts: int, replicas: int, moves: list[int]
) -> None:
    pool = make_pool(hosts, replicas)
    world = built(pool)
    for move in moves:
        instance = pool.instances[move % len(pool.instances)]
        if world.nodes[instance].primary_id:
            fail_over(world, instance)
    steps = 0
    while (step := hand_over(pool, world.actual())) is not None:
        assert world.nodes[step.replica].primary_id == world.nodes[step.primary].id
        fail_over(world, step.replica)
        steps += 1
        assert steps <= 3 * hosts, "it never goes round in circles"
    assert max(primaries_per_host(world).values()) <= hosts - (hosts // 2 + 1)


def test_after_a_host_died_and_came_back_one_primary_moves_back() -> None:
    pool = make_pool()
    world = built(pool)
    died = next(node for node in world.nodes.values() if node.slots)
    heir = next(node for node in world.nodes.values() if node.primary_id == died.id)
    fail_over(world, heir.instance)
    assert sorted(primaries_per_host(world).values()) == [0, 1, 2]
    step = hand_over(pool, world.actual())
    assert step is not None
    fail_over(world, step.replica)
    assert sorted(primaries_per_host(world).values()) == [1, 1, 1]
    assert hand_over(pool, world.actual()) is None


def test_while_a_host_is_dead_nobody_moves() -> None:
    pool = make_pool()
    world = built(pool)
    fail_over(world, next(n for n in world.nodes.values() if world.by_id_or_none(n.primary_id, "redis1")).instance)
    alive = tuple(node for node in world.nodes.values() if node.instance.host != "redis1")
    assert hand_over(pool, Actual(alive)) is None


@given(st.sets(st.integers(0, SLOTS - 1), max_size=40))
def test_ranges_hold_the_same_slots(slots: set[int]) -> None:
    assert {slot for first, last in ranges(slots) for slot in range(first, last + 1)} == slots


# -- protocol text ---------------------------------------------------------------------------------------------------

TEXT = """\
07c37df 192.0.2.1:6379@16379 myself,master - 0 0 1 connected 0-5460 [93->-292f8b]
67ed2db 192.0.2.2:6379@16379,redis2 master - 0 1426238316232 2 connected 5461-10922 16000
e7d1eec 192.0.2.3:6380@16380,,shard-id=69bc slave 67ed2db 0 1426238317239 4 connected
292f8b3 :0@0 master,fail,noaddr - 0 0 0 disconnected
aaaaaaa 192.0.2.9:6379@16379 handshake - 0 0 0 disconnected
"""


def test_cluster_nodes_is_read_with_hostnames_shards_and_open_slots() -> None:
    lines = parse_nodes(TEXT)
    assert lines[0] == Line(
        "07c37df", "192.0.2.1:6379", frozenset({"myself", "master"}), None, True, frozenset(range(5461)), True, ((93, "292f8b"),),
    )
    assert lines[1].slots == frozenset(range(5461, 10923)) | {16000}
    assert (lines[2].address, lines[2].primary_id) == ("192.0.2.3:6380", "67ed2db")
    assert lines[3].failed


def test_what_is_comes_from_what_the_instances_say() -> None:
    me = Instance("redis1", "192.0.2.1", 6379)
    actual = observe(Pool("durable", 1, (me,)), {me: (parse_nodes(TEXT), 7)})
    assert actual.nodes == (
        Node(
            me,
            "07c37df",
            None,
            frozenset(range(5461)),
            frozenset({"67ed2db", "e7d1eec", "292f8b3"}),
            7,
            migrating=((93, "292f8b"),),
        ),
    )
    assert [(stranger.id, stranger.failed) for stranger in actual.strangers] == [
        ("292f8b3", True),
        ("67ed2db", False),
        ("e7d1eec", False),
    ]


def test_one_instance_sees_the_pool_by_address_and_leaves_out_the_dead() -> None:
    pool = make_pool()
    seen = seen_from_one(
        pool, parse_nodes(TEXT.replace("192.0.2.2:6379@16379,redis2 master", "192.0.2.2:6379 master,fail"))
    )
    assert [str(node.instance) for node in seen.nodes] == ["redis1:6379", "redis3:6380"]


def test_instances_agree_only_when_they_tell_the_same_story() -> None:
    one = "a 192.0.2.1:1@2 myself,master - 0 0 1 connected 0-9\nb 192.0.2.2:1@2 slave a 0 0 1 connected\n"
    two = "a 192.0.2.1:1@2 master - 0 0 1 connected 0-9\nb 192.0.2.2:1@2 myself,slave a 0 0 1 connected\n"
    late = "a 192.0.2.1:1@2 master - 0 0 1 connected 0-9\nb 192.0.2.2:1@2 myself,master - 0 0 1 connected\n"
    alone = "c 192.0.2.3:1@2 myself,master - 0 0 1 connected\n"
    assert agreed([parse_nodes(one), parse_nodes(two), parse_nodes(alone)])
    assert not agreed([parse_nodes(one), parse_nodes(late)])
    assert not agreed([parse_nodes(one.replace("slave a", "slave,fail? a")), parse_nodes(two)])


def test_long_lists_of_slots_are_cut_for_people() -> None:
    assert ranges_text({1, 2, 3, 7}) == "1-3 7"
    assert ranges_text(range(0, 40, 2)).endswith("and 14 more ranges")
