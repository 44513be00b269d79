"""The plan of redis_scale: few slots move, all stay owned, no replica is beside its primary, and it goes on from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.module_utils.redis_cluster import (
    SLOTS,
    Actual,
    Forget,
    HandOver,
    Instance,
    Node,
    Pool,
    RedisClusterError,
    Replicate,
    Reset,
    Step,
    Stranger,
    plan,
)
from plugins.module_utils.redis_scale import (
    TOLERANCE,
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


def make_pool(hosts: int, replicas: int = 1, leaving: Sequence[int] = ()) -> Pool:
    instances = tuple(
        Instance(f"redis{host}", f"192.0.2.{host}", 6379 + number)
        for host in range(1, hosts + 1)
        for number in range(1 + replicas)
    )
    return Pool("durable", replicas, instances, frozenset(f"redis{host}" for host in leaving))


def built(pool: Pool) -> Actual:
    """The cluster as `redis_cluster` builds it over the hosts that stay; the others' instances are fresh."""
    actual = Actual(tuple(Node(instance, f"id-{instance}") for instance in pool.instances))
    for step in plan(pool, actual):
        actual = take(pool, actual, step)
    return actual


def take(pool: Pool, actual: Actual, step: Step) -> Actual:
    slots = getattr(step, "slots", frozenset())
    if type(step).__name__ == "AddSlots":
        nodes = [replace(n, slots=n.slots | slots) if n.instance == step.node else n for n in actual.nodes]  # type: ignore[attr-defined]
        return replace(actual, nodes=tuple(nodes))
    return after(actual, step)


def joined(pool: Pool, actual: Actual) -> Actual:
    """What `site.yml` makes of it: new hosts' instances join as replicas."""
    for step in plan(pool, actual):
        actual = take(pool, actual, step)
    return actual


def with_hosts(pool: Pool, actual: Actual) -> Actual:
    known = {node.instance: node for node in actual.nodes}
    return replace(actual, nodes=tuple(known.get(i, Node(i, f"id-{i}")) for i in pool.instances))


def grown(before: int = 3, hosts: int = 4, replicas: int = 1) -> tuple[Pool, Actual]:
    pool = make_pool(hosts, replicas)
    return pool, joined(pool, with_hosts(pool, built(make_pool(before, replicas))))


def go(pool: Pool, actual: Actual, steps: Sequence[Step]) -> Actual:
    for step in steps:
        before = actual
        actual = after(actual, step)
        hold(pool, before, actual, step)
    return actual


def hold(pool: Pool, before: Actual, actual: Actual, step: Step) -> None:
    """What is true after each step, whatever the step."""
    owned = [slot for node in actual.nodes for slot in node.slots]
    assert len(owned) == SLOTS, f"{step}: {len(owned)} slots are owned"
    assert len(set(owned)) == SLOTS, f"{step}: a slot has two owners"
    nodes = {node.id: node for node in actual.nodes}
    were = {node.id: node.primary_id for node in before.nodes}
    for node in actual.nodes:
        if node.primary_id is not None:
            primary = nodes[node.primary_id]
            # With a failover Redis itself lets all replicas follow; a second one on that host is moved away next.
            followed = isinstance(step, HandOver) or (isinstance(step, Replicate) and step.node != node.instance)
            if node.primary_id != were[node.id] and not followed:
                assert primary.instance.host != node.instance.host, f"{step}: {node.instance} is beside its primary"
            assert primary.primary_id is None, f"{step}: {node.instance} copies a replica"
            assert not node.slots, f"{step}: the replica {node.instance} owns slots"
    if isinstance(step, (Reset, Leave)):
        gone = next(node for node in before.nodes if node.instance == step.node)
        assert not gone.slots, f"{step}: it owned slots"
        assert not any(node.primary_id == gone.id for node in before.nodes), f"{step}: somebody copied it"
    if isinstance(step, MoveSlots):
        target = next(node for node in before.nodes if node.instance == step.target)
        assert target.slots or any(n.primary_id == target.id for n in before.nodes), f"{step}: to nobody's primary"


def right(pool: Pool, actual: Actual) -> None:
    owners = {node.instance.host: node for node in actual.nodes if node.slots}
    assert sorted(owners) == sorted(pool.hosts), "each host that stays has one primary, the others have none"
    assert len([node for node in actual.nodes if node.slots]) == len(owners)
    ideal = SLOTS / len(owners)
    for node in owners.values():
        assert abs(len(node.slots) - ideal) <= ideal * TOLERANCE
        copies = [n for n in actual.nodes if n.primary_id == node.id]
        assert len(copies) >= pool.replicas
        assert node.instance.host not in {copy.instance.host for copy in copies}
    for node in actual.nodes:
        if node.instance.host in pool.leaving:
            assert node == Node(node.instance, node.id), f"{node.instance} still has something"


def moved(steps: Sequence[Step]) -> int:
    return sum(len(step.slots) for step in steps if isinstance(step, MoveSlots))


def test_a_fourth_host_gets_a_quarter_and_not_a_slot_more_moves() -> None:
    pool, actual = grown()
    steps = whole_plan(pool, actual)
    assert moved(steps) == SLOTS // 4
    assert all(step.target.host == "redis4" for step in steps if isinstance(step, MoveSlots))
    right(pool, go(pool, actual, steps))


def test_the_fourth_host_goes_and_only_its_slots_move() -> None:
    pool, actual = grown()
    actual = go(pool, actual, whole_plan(pool, actual))
    pool = make_pool(4, leaving=[4])
    steps = whole_plan(pool, actual)
    assert moved(steps) == SLOTS // 4
    assert [str(step) for step in steps[-2:]] == ["redis4:6379 leaves the cluster", "redis4:6380 leaves the cluster"]
    right(pool, go(pool, actual, steps))


def test_without_release_an_emptied_host_stays_to_send_clients_on() -> None:
    pool, actual = grown()
    actual = go(pool, actual, whole_plan(pool, actual))
    pool = make_pool(4, leaving=[4])
    steps = whole_plan(pool, actual, release=False)
    assert not any(isinstance(step, Leave) for step in steps)
    actual = go(pool, actual, steps)
    assert [type(step) for step in whole_plan(pool, actual)] == [Leave, Leave]


def test_a_right_pool_is_left_alone() -> None:
    for hosts in (3, 4, 5, 7):
        pool = make_pool(hosts)
        assert whole_plan(pool, built(pool)) == ()


def test_a_host_is_exchanged_for_another_by_handing_over_alone() -> None:
    pool = make_pool(4, leaving=[1])
    actual = joined(pool, with_hosts(pool, built(make_pool(3))))
    steps = whole_plan(pool, actual)
    assert moved(steps) == 0
    assert any(isinstance(step, HandOver) for step in steps)
    right(pool, go(pool, actual, steps))


def test_what_is_heavy_stays_when_other_slots_can_go() -> None:
    pool, actual = grown()
    heavy = frozenset(range(0, SLOTS, 7))
    steps = whole_plan(pool, actual, heavy)
    gone = {slot for step in steps if isinstance(step, MoveSlots) for slot in step.slots}
    assert not gone & heavy
    right(pool, go(pool, actual, steps))


def test_what_is_heavy_goes_when_its_host_leaves() -> None:
    pool = make_pool(4, leaving=[2])
    actual = joined(make_pool(4), built(make_pool(4)))
    right(pool, go(pool, actual, whole_plan(pool, actual, frozenset(range(SLOTS)))))


def test_site_leaves_a_host_that_leaves_as_it_is_and_never_joins_it_again() -> None:
    everybody = make_pool(4)
    actual = built(everybody)
    pool = make_pool(4, leaving=[4])
    assert plan(pool, actual) == (), "before it is emptied"
    actual = go(pool, actual, whole_plan(pool, actual))
    assert plan(pool, actual) == (), "after it has left"
    assert plan(everybody, actual) != (), "once it is active again"


def test_a_new_host_is_joined_by_redis_cluster_first() -> None:
    pool = make_pool(4)
    alone = with_hosts(pool, built(make_pool(3)))
    assert unjoined(pool, alone)
    assert not unjoined(pool, joined(pool, alone))
    assert not unjoined(make_pool(4, leaving=[4]), alone)


def opened(actual: Actual, instance: int, **what: object) -> Actual:
    nodes = list(actual.nodes)
    nodes[instance] = replace(nodes[instance], **what)  # type: ignore[arg-type]
    return replace(actual, nodes=tuple(nodes))


FOUR = make_pool(4)
# Instances 0, 2, 4 and 6 are the primaries of redis1 to redis4; redis1 owns slots from 0 on.
WHOLE = built(FOUR)
A, B = WHOLE.nodes[0], WHOLE.nodes[2]


@pytest.mark.parametrize(
    ("actual", "steps"),
    [
        pytest.param(
            opened(WHOLE, 2, importing=((5, A.id),)),
            (CloseSlots(B.instance, frozenset({5})),),
            id="a target that waits for a slot of which nothing came stops waiting",
        ),
        pytest.param(
            opened(WHOLE, 2, importing=((5, A.id),), holding=frozenset({5})),
            (MoveSlots(A.instance, B.instance, frozenset({5})),),
            id="where keys have arrived the move goes on",
        ),
        pytest.param(
            opened(opened(WHOLE, 2, importing=((5, A.id),)), 0, migrating=((5, B.id),)),
            (MoveSlots(A.instance, B.instance, frozenset({5})),),
            id="an open slot on both sides goes on, since new keys may be on the target",
        ),
        pytest.param(
            opened(WHOLE, 0, migrating=((5, B.id),)),
            (MoveSlots(A.instance, B.instance, frozenset({5})),),
            id="an open slot on the source alone goes on",
        ),
        pytest.param(
            opened(WHOLE, 0, migrating=((5, "lost"),)),
            (CloseSlots(A.instance, frozenset({5})),),
            id="a move to a node that is lost ends",
        ),
        pytest.param(
            opened(opened(WHOLE, 0, slots=A.slots - {5}), 2, importing=((5, A.id),)),
            (ClaimSlots(B.instance, frozenset({5})),),
            id="a slot that its source gave away is claimed",
        ),
        pytest.param(
            opened(opened(WHOLE, 4, importing=((5, A.id),)), 2, importing=((5, A.id),), holding=frozenset({5})),
            (
                MoveSlots(A.instance, B.instance, frozenset({5})),
                CloseSlots(WHOLE.nodes[4].instance, frozenset({5})),
            ),
            id="of two targets the one with keys gets the slot",
        ),
        pytest.param(WHOLE, (), id="nothing is open"),
    ],
)
def test_open_slots_are_finished_or_closed(actual: Actual, steps: tuple[Step, ...]) -> None:
    assert heal(actual) == steps
    if steps:
        assert tuple(next_steps(FOUR, actual)) == steps, "before anything else"
        for step in steps:
            actual = after(actual, step)
        assert heal(actual) == ()
        right(FOUR, go(FOUR, actual, whole_plan(FOUR, actual)))


def test_site_says_what_finishes_a_half_moved_slot() -> None:
    actual = opened(opened(WHOLE, 0, slots=A.slots - {5}), 2, importing=((5, A.id),))
    with pytest.raises(RedisClusterError, match=r"slots 5 are half moved to redis2:6379.*redis_scale again"):
        plan(FOUR, actual)


@pytest.mark.parametrize(
    ("pool", "actual", "message"),
    [
        pytest.param(
            make_pool(3, leaving=[3]),
            built(make_pool(3)),
            "2 hosts would stay .redis1, redis2., and it needs 3: leave more",
            id="two hosts are too few to vote",
        ),
        pytest.param(
            make_pool(4, replicas=3, leaving=[4]),
            built(make_pool(4, replicas=3)),
            "3 hosts would stay .*, and it needs 4",
            id="three replicas need four hosts",
        ),
        pytest.param(
            FOUR, replace(WHOLE, nodes=WHOLE.nodes[1:]), "redis1:6379 .192.0.2.1. doesn't answer", id="a silent instance"
        ),
        pytest.param(
            make_pool(4, leaving=[1]),
            replace(WHOLE, nodes=WHOLE.nodes[1:]),
            "own 12288 of 16384 slots",
            id="a silent host that leaves while nobody has its slots",
        ),
        pytest.param(
            FOUR, opened(WHOLE, 0, slots=A.slots - {5}), "own 16383 of 16384 slots, 0 of them twice", id="a slot is lost"
        ),
    ],
)
def test_what_could_lose_keys_is_refused(pool: Pool, actual: Actual, message: str) -> None:
    with pytest.raises(RedisClusterError, match=message):
        whole_plan(pool, actual)


def test_a_dead_host_is_let_go_once_others_have_its_slots() -> None:
    pool = make_pool(4, leaving=[4])
    dead = [node for node in WHOLE.nodes if node.instance.host == "redis4"]
    heir = next(node for node in WHOLE.nodes if node.primary_id == dead[0].id)
    left = tuple(
        replace(node, primary_id=None, slots=dead[0].slots) if node is heir else node
        for node in WHOLE.nodes
        if node not in dead
    )
    orphan = next(node for node in left if node.instance.host != "redis4" and not node.slots)
    strangers = tuple(
        Stranger(node.id, f"{node.instance.address}:{node.instance.port}", failed=True, seen_by=frozenset({orphan.id}))
        for node in dead
    )
    steps = whole_plan(pool, Actual(left, strangers))
    assert [step.id for step in steps if isinstance(step, Forget)] == [node.id for node in dead]
    assert moved(steps) == len(dead[0].slots)


# -- any fleet, any interruption -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_from_any_history_each_step_is_safe_and_the_end_is_right(data: st.DataObject) -> None:
    replicas = data.draw(st.integers(1, 2), "replicas")
    least = replicas + 2
    hosts = data.draw(st.integers(max(3, least), 6), "hosts")
    everybody = make_pool(hosts, replicas)
    actual = built(everybody)
    leaving: list[int] = []
    for _turn in range(data.draw(st.integers(1, 4), "turns")):
        # Failovers: a replica takes over, as after a crash.
        for _failover in range(data.draw(st.integers(0, 2), "failovers")):
            able = [n for n in actual.nodes if n.primary_id]
            if able:
                replica = data.draw(st.sampled_from(able), "who takes over")
                primary = next(n for n in actual.nodes if n.id == replica.primary_id)
                if primary.slots:
                    actual = after(actual, HandOver(replica.instance, primary.instance))
        most = hosts - max(3, least)
        leaving = data.draw(st.lists(st.integers(1, hosts), max_size=most, unique=True), "leaving")
        pool = make_pool(hosts, replicas, leaving)
        if unjoined(pool, actual):
            actual = joined(pool, actual)
        steps = whole_plan(pool, actual)
        # An interruption anywhere; the next turn goes on, perhaps somewhere else.
        actual = go(pool, actual, steps[: data.draw(st.integers(0, len(steps)), "interrupted after")])
    pool = make_pool(hosts, replicas, leaving)
    if unjoined(pool, actual):
        actual = joined(pool, actual)
    actual = go(pool, actual, whole_plan(pool, actual))
    right(pool, actual)
    assert whole_plan(pool, actual) == ()
    assert plan(pool, actual) == (), "site.yml has nothing to undo"


@given(st.integers(3, 40), st.integers(1, 6))
@settings(max_examples=8, deadline=None)
def test_as_few_slots_as_possible_move(before: int, more: int) -> None:
    pool, actual = grown(before, before + more)
    fair = SLOTS // (before + more)
    steps = whole_plan(pool, actual)
    assert moved(steps) <= (fair + 1) * more
    assert any(isinstance(step, Replicate) for step in steps)


@pytest.mark.parametrize(
    ("counts", "packed"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(1, 0), (2, 0), (3, 0), (4, 0)], [[1, 2, 3], [4]], id="at most so many slots"),
        pytest.param([(1, 6), (2, 4), (3, 1)], [[1, 2], [3]], id="at most so many keys"),
        pytest.param([(1, 1), (2, 0), (3, 1), (4, 1)], [[1, 2, 3], [4]], id="at most so many with keys"),
        pytest.param([(1, 99), (2, 0), (3, 0)], [[1], [2, 3]], id="a large slot is alone"),
    ],
)
def test_slots_are_packed(counts: list[tuple[int, int]], packed: list[list[int]]) -> None:
    assert batches(counts, slots=3, keys=10, filled=2) == packed
