# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The primary moves only where nothing can be lost, and a move that was interrupted anywhere is finished by the next run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.mysql_gtid import GtidSet
from plugins.module_utils.mysql_move import Move, Options, Seen, failover, move_data, seen_from, switchover
from plugins.module_utils.mysql_plan import Channel, Cluster, PlanError, Server, State, Wanted, plan

ADDRESS = {"db1": "192.0.2.31", "db2": "192.0.2.32", "db3": "192.0.2.33"}
UUID = {name: f"{number}0000000-0000-0000-0000-000000000000" for number, name in enumerate(ADDRESS, 1)}
States = dict[str, State]


def cluster(*names: str, **states: str) -> Cluster:
    return Cluster(
        "main", "db1", tuple(Server(name, ADDRESS[name], states.get(name, "active")) for name in names or ADDRESS)
    )


def gtids(count: int, **more: int) -> GtidSet:
    return GtidSet.parse(",".join(f"{UUID[name]}:1-{number}" for name, number in {"db1": count, **more}.items() if number))


def primary(count: int = 9, **more: int) -> State:
    return State(
        read_only=False,
        super_read_only=False,
        read_only_persisted=False,
        executed=gtids(count, **more),
        semi_sync_source=True,
        semi_sync_replicas=2,
    )


def replica(applied: int = 9, received: int = 0, source: str = "db1", **channel: str) -> State:
    return State(
        executed=gtids(applied),
        channel=Channel(ADDRESS[source], 3306, received=gtids(max(received, applied)), **channel),  # type: ignore[arg-type]
    )


SILENT = State(answers=False, why="timed out")
RUNNING: States = {"db1": primary(), "db2": replica(), "db3": replica(8)}
DEAD: States = {"db1": SILENT, "db2": replica(7), "db3": replica(9)}


def acts(move: Move, host: str) -> list[str]:
    return [step.action for step in move.steps if step.host == host]


# -- switchover ---------------------------------------------------------------------------------------------------------


def test_the_replica_that_misses_least_takes_over_and_all_others_follow_it() -> None:
    move = switchover(cluster(), RUNNING, Options())
    assert (move.primary, move.former, move.fence) == ("db2", "db1", "")
    assert acts(move, "db1") == ["hand_over", "semi_sync_off", "attach"]
    assert acts(move, "db2") == ["take_over", "forget_source"]
    assert acts(move, "db3") == ["follow"]
    assert "db1 hands over to db2" in move.why[0]


def test_the_one_that_was_asked_for_takes_over() -> None:
    assert switchover(cluster(), RUNNING, Options(to="db3")).primary == "db3"


def test_a_standby_is_not_chosen() -> None:
    assert switchover(cluster(db2="standby"), RUNNING, Options()).primary == "db3"


def test_who_is_primary_already_stays_so() -> None:
    assert switchover(cluster(), RUNNING, Options(to="db1")).steps == ()


@pytest.mark.parametrize(
    ("servers", "states", "to", "words"),
    [
        pytest.param(cluster(), RUNNING, "db9", "db9 is no server of cluster main", id="a server that does not exist"),
        pytest.param(cluster(db3="draining"), RUNNING, "db3", "only an active server", id="a server that drains"),
        pytest.param(
            cluster(), {**RUNNING, "db3": SILENT}, "db2", "db3 does not answer: timed out", id="a replica that is away"
        ),
        pytest.param(
            cluster(),
            {**RUNNING, "db3": replica(8, applier="OFF", error="applier, error 1062: duplicate")},
            "db2",
            "db3 has stopped replicating: applier, error 1062",
            id="a replica that has stopped",
        ),
        pytest.param(cluster(), {**RUNNING, "db1": SILENT}, "db2", "could be the primary", id="a primary that is away"),
        pytest.param(cluster("db1"), {"db1": primary()}, "", "no active replica", id="a server alone"),
        pytest.param(
            cluster(), {**RUNNING, "db2": primary(7, db2=1)}, "db3", "2 writable servers", id="two writable servers"
        ),
    ],
)
def test_a_primary_stays_where_it_is(servers: Cluster, states: States, to: str, words: str) -> None:
    with pytest.raises(PlanError, match=words.replace("(", r"\(")):
        switchover(servers, states, Options(to=to))


# What a move does, one small thing after another, as the hosts would be left if it ended there.
ALL = gtids(9)


def change(name: str, **fields: object) -> Callable[[States], States]:
    return lambda states: {**states, name: replace(states[name], **fields)}  # type: ignore[arg-type]


STOPPED = Channel(ADDRESS["db1"], 3306, "OFF", "OFF", received=ALL)
FOLLOWING = Channel(ADDRESS["db2"], 3306, received=ALL)
REFUSES = [change("db1", read_only=True), change("db1", super_read_only=True), change("db3", executed=ALL)]
PROMOTES = [
    change("db2", channel=STOPPED),
    change("db2", semi_sync_source=True),
    change("db2", super_read_only=False),
    change("db2", read_only=False, read_only_persisted=False),
    change("db2", channel=None, semi_sync_replicas=1),
]
FOLLOWS = [change("db3", channel=replace(STOPPED, applier="ON")), change("db3", channel=FOLLOWING)]
LEAVES = [
    change("db1", read_only_persisted=None),
    change("db1", semi_sync_source=False),
    change("db1", channel=FOLLOWING),
]
ORDERS = {
    "the others follow last": REFUSES + PROMOTES + LEAVES + FOLLOWS,
    "the others follow first": REFUSES + FOLLOWS + PROMOTES + LEAVES,
}


def performed(states: States, steps: Mapping[str, list[tuple[str, Mapping[str, object]]]]) -> States:
    """The states after the steps, as far as who is writable and who follows whom."""
    result = dict(states)
    everything = GtidSet({})
    for state in states.values():
        everything = everything.plus(state.held)
    for name, own in steps.items():
        for action, arguments in own:
            state = result[name]
            if action in ("hand_over", "make_read_only"):
                state = replace(state, read_only=True, super_read_only=True, read_only_persisted=None)
            elif action in ("take_over", "promote", "make_writable"):
                stopped = replace(state.channel, receiver="OFF", applier="OFF") if state.channel else None
                state = replace(state, read_only=False, super_read_only=False, read_only_persisted=False, channel=stopped)
                state = replace(state, semi_sync_source=True, executed=everything)
            elif action == "forget_source":
                state = replace(state, channel=None)
            elif action == "semi_sync_off":
                state = replace(state, semi_sync_source=False)
            elif action in ("attach", "follow"):
                state = replace(state, executed=everything, channel=Channel(str(arguments["host"]), 3306))
            elif action == "start":
                assert state.channel
                state = replace(state, channel=replace(state.channel, receiver="ON", applier="ON"))
            else:
                assert action in ("stand_still", "semi_sync_on"), action
            result[name] = state
    return result


def after(states: States, move: Move, servers: Cluster) -> States:
    """The states after a run: the move, then what the ordinary plan finds left."""
    moved = performed(states, {name: [(s.action, s.arguments) for s in move.steps if s.host == name] for name in states})
    left = plan(servers, moved, Wanted())
    assert left.refused == {}
    return performed(moved, {name: [(s.action, s.arguments) for s in left.of(name)] for name in states})


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("to", ["db2", ""], ids=["named again", "not named"])
def test_a_move_that_was_interrupted_at_any_step_is_finished(order: str, to: str) -> None:
    small_steps = ORDERS[order]
    for number in range(len(small_steps) + 1):
        states: States = dict(RUNNING)
        for step in small_steps[:number]:
            states = step(states)
        ends = after(states, switchover(cluster(), states, Options(to=to)), cluster())
        writable = [name for name, state in ends.items() if state.writable]
        assert len(writable) == 1, f"after {number} steps"
        if to or 1 < number < len(small_steps):
            assert writable == ["db2"], f"after {number} steps"
        sources = {state.channel.source_host for name, state in ends.items() if name not in writable and state.channel}
        assert sources == {ADDRESS[writable[0]]}, f"after {number} steps"


# -- failover -----------------------------------------------------------------------------------------------------------


def test_the_most_advanced_is_promoted_after_the_dead_one_is_switched_off() -> None:
    move = failover(cluster(), DEAD, {}, Options())
    assert (move.primary, move.former, move.fence) == ("db3", "db1", "db1")
    assert acts(move, "db3") == ["stand_still", "promote"]
    assert acts(move, "db2") == ["stand_still", "follow"]
    assert acts(move, "db1") == []
    assert any("db2 7, db3 9 transactions" in why for why in move.why)


def test_what_was_received_counts_though_it_is_not_applied() -> None:
    assert failover(cluster(), {**DEAD, "db2": replica(2, received=11)}, {}, Options()).primary == "db2"


def test_of_two_that_hold_the_same_the_one_with_less_to_apply_is_promoted() -> None:
    states = {"db1": SILENT, "db2": replica(2, received=9), "db3": replica(9)}
    assert failover(cluster(), states, {}, Options()).primary == "db3"


ALIVE = {"db1": Seen(True, True, ("db2",))}


@pytest.mark.parametrize(
    ("states", "seen", "options", "words"),
    [
        pytest.param(RUNNING, {}, Options(), "db1 is alive.*nothing to fail over", id="the primary is alive and well"),
        pytest.param(RUNNING, {}, Options(to="db2"), "db1 is alive", id="the primary is alive and another was named"),
        pytest.param(DEAD, ALIVE, Options(), "db1 is alive: db2 reached it", id="a replica still reaches the primary"),
        pytest.param(
            {**DEAD, "db2": SILENT}, {}, Options(), "db2 may alone hold acknowledged", id="a replica cannot be asked"
        ),
        pytest.param(DEAD, {}, Options(to="db2"), "db2 lacks .* 2 that db3 holds", id="the named one lacks transactions"),
        pytest.param(DEAD, {}, Options(to="db1"), "db1 does not answer", id="the named one is the dead one"),
        pytest.param(
            {"db1": SILENT, "db2": replica(9), "db3": State(executed=gtids(8, db3=1), channel=Channel(ADDRESS["db1"], 3306))},
            {},
            Options(),
            "no server holds what all others hold",
            id="each replica holds something that the other lacks",
        ),
        pytest.param(dict.fromkeys(ADDRESS, SILENT), {}, Options(), "no server answers", id="nobody answers"),
        pytest.param(DEAD, {}, Options(acknowledgements=2), "would have 1 replica", id="too few to acknowledge"),
    ],
)
def test_nobody_is_promoted(states: States, seen: Mapping[str, Seen], options: Options, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        failover(cluster(), states, seen, options)


@pytest.mark.parametrize(
    ("states", "seen", "options", "promoted", "fence"),
    [
        pytest.param(DEAD, ALIVE, Options(force=True), "db3", "db1", id="a primary that others reach"),
        pytest.param(RUNNING, {}, Options(force=True), "db2", "db1", id="a primary that answers"),
        pytest.param(DEAD, {}, Options(force=True, to="db2"), "db2", "db1", id="one that lacks transactions"),
        pytest.param(
            {**DEAD, "db2": SILENT}, {}, Options(force=True, alone=True), "db3", "db1", id="one without replicas"
        ),
    ],
)
def test_who_says_so_gets_it_and_the_former_primary_is_still_switched_off(
    states: States, seen: Mapping[str, Seen], options: Options, promoted: str, fence: str
) -> None:
    move = failover(cluster(), states, seen, options)
    assert (move.primary, move.fence) == (promoted, fence)


def test_alone_means_that_no_acknowledgement_is_waited_for() -> None:
    move = failover(cluster("db1", "db2"), {"db1": SILENT, "db2": replica()}, {}, Options(alone=True))
    assert next(s for s in move.steps if s.action == "promote").arguments["acknowledgements"] == 0


def test_run_again_it_brings_back_the_dead_one_and_promotes_nobody() -> None:
    states = {
        "db1": State(executed=gtids(9)),
        "db2": primary(9, db2=4),
        "db3": replica(9, source="db2"),
    }
    move = failover(cluster(), states, {}, Options())
    assert (move.primary, move.steps, move.fence) == ("db2", (), "")
    assert "db1 does not replicate from db2" in move.why[1]


def test_a_failover_that_was_interrupted_is_finished() -> None:
    small_steps = [
        change("db3", channel=replace(STOPPED, applier="ON")),
        change("db2", channel=STOPPED, executed=ALL),
        change("db2", semi_sync_source=True),
        change("db2", super_read_only=False),
        change("db2", read_only=False, read_only_persisted=False),
        change("db3", channel=FOLLOWING),
        change("db2", channel=None),
    ]
    for number in range(len(small_steps)):
        states: States = {"db1": SILENT, "db2": replica(), "db3": replica()}
        for step in small_steps[:number]:
            states = step(states)
        move = failover(cluster(), states, {}, Options())
        assert move.primary == "db2", f"after {number} steps"
        assert move.fence == ("db1" if number < 5 else ""), f"after {number} steps"


@given(
    held=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=2, max_size=2),
    missing=st.booleans(),
    acknowledgements=st.integers(1, 2),
)
def test_unless_told_to_whoever_is_promoted_holds_all_that_could_have_been_acknowledged(
    held: list[tuple[int, int]], missing: bool, acknowledgements: int
) -> None:
    states: States = {"db1": SILENT}
    for name, (applied, waiting) in zip(("db2", "db3"), held, strict=True):
        states[name] = replica(applied, applied + waiting)
    asked = dict(states, db3=SILENT) if missing else states
    try:
        move = failover(cluster(), asked, {}, Options(acknowledgements=acknowledgements))
    except PlanError:
        return
    # Acknowledged is what at least so many replicas hold.
    by_count = sorted((len(states[name].held) for name in ("db2", "db3")), reverse=True)
    assert len(states[move.primary].held) >= by_count[acknowledgements - 1]


def test_who_reached_a_server_is_named() -> None:
    states = {
        "db1": {"seen": {"address": ADDRESS["db1"], "ssh": False, "health": {"uuid": "u", "writable": True}}},
        "db2": {"server": {"reached": [ADDRESS["db1"]]}},
        "db3": {"skipped": True},
    }
    assert seen_from(states) == {"db1": Seen(True, True, ("the control node", "db2")), "db2": Seen(), "db3": Seen()}


def test_a_move_is_plain_data() -> None:
    data = move_data(failover(cluster(), DEAD, {}, Options()))
    assert (data["primary"], data["fence"], sorted(data["steps"])) == ("db3", "db1", ["db2", "db3"])
