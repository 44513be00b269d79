# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is primary is asked, never told; no data is lost by a plan; a plan performed leaves nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.mysql_gtid import GtidSet
from plugins.module_utils.mysql_plan import (
    Channel,
    Cluster,
    Plan,
    PlanError,
    Server,
    State,
    Wanted,
    cluster_from,
    plan,
    plan_data,
    state_from,
)
from plugins.module_utils.mysql_users import FoundUser, WantedUser

UUID = {
    name: f"{number:08d}-0000-0000-0000-000000000000" for number, name in enumerate(("db1", "db2", "db3", "db4"), 1)
}
ADDRESS = {"db1": "192.0.2.31", "db2": "192.0.2.32", "db3": "192.0.2.33", "db4": "192.0.2.34"}
APP = WantedUser("app", privileges={"school.*": frozenset({"SELECT"})})
WANTED = Wanted(users=(APP,), databases=("school",))
HELD = {"app@%": FoundUser("caching_sha2_password", True, {"school.*": frozenset({"SELECT"})})}


def cluster(*names: str, primary: str = "db1", states: Mapping[str, str] | None = None) -> Cluster:
    return Cluster(
        "main", primary, tuple(Server(name, ADDRESS[name], (states or {}).get(name, "active")) for name in names)
    )


def gtids(**counts: int) -> GtidSet:
    return GtidSet.parse(",".join(f"{UUID[name]}:1-{count}" for name, count in counts.items()))


def primary_state(executed: GtidSet, semi_sync: bool = True, replicas: int = 2) -> State:
    return State(
        uuid=UUID["db1"],
        read_only=False,
        super_read_only=False,
        read_only_persisted=False,
        executed=executed,
        semi_sync_source=semi_sync,
        semi_sync_replicas=replicas,
        databases=frozenset({"school"}),
        users=HELD,
    )


def replica_state(executed: GtidSet, source: str = "db1", **channel: object) -> State:
    return State(
        executed=executed,
        channel=replace(Channel(ADDRESS[source], 3306), **channel),  # type: ignore[arg-type]
        databases=frozenset({"school"}),
        users=HELD,
    )


def steps(found: Plan, host: str) -> list[str]:
    return [f"{step.phase}: {step.action}" for step in found.of(host)]


THREE = cluster("db1", "db2", "db3")
RUNNING = {
    "db1": primary_state(gtids(db1=9)),
    "db2": replica_state(gtids(db1=9)),
    "db3": replica_state(gtids(db1=8)),
}


# -- who is primary -----------------------------------------------------------------------------------------------------


def test_a_cluster_that_is_right_needs_nothing() -> None:
    found = plan(THREE, RUNNING, WANTED)
    assert (found.primary, found.steps, found.warnings, found.refused) == ("db1", (), (), {})


def test_a_new_cluster_begins_where_the_inventory_says() -> None:
    found = plan(cluster("db1", "db2", "db3", primary="db2"), {name: State() for name in UUID}, WANTED)
    assert found.primary == "db2"
    assert steps(found, "db2") == [
        "primary: make_writable",
        "primary: create_database",
        "primary: user",
        "primary: user",
        "finish: semi_sync_on",
    ]
    assert steps(found, "db1") == steps(found, "db3") == ["replicas: clone", "replicas: attach"]


def test_hosts_without_mysql_yet_can_be_planned_in_check_mode() -> None:
    found = plan(THREE, {name: State(installed=False) for name in UUID}, WANTED)
    assert found.primary == "db1"
    assert steps(found, "db2") == ["replicas: clone", "replicas: attach"]


def test_a_replica_promoted_by_hand_stays_primary() -> None:
    states = {
        "db1": replica_state(gtids(db1=9), source="db2"),
        "db2": primary_state(gtids(db1=9, db2=3)),
        "db3": replica_state(gtids(db1=9), source="db1", receiver="OFF", applier="OFF"),
    }
    found = plan(THREE, states, WANTED)
    assert found.primary == "db2"
    assert steps(found, "db1") == []
    assert steps(found, "db3") == ["replicas: attach"]


def test_a_promotion_without_its_finish_is_finished() -> None:
    promoted = replace(
        primary_state(gtids(db1=9, db2=1), semi_sync=False),
        read_only_persisted=None,
        channel=Channel(ADDRESS["db1"], 3306, "OFF", "OFF"),
    )
    states = {
        "db1": replica_state(gtids(db1=9), source="db2"),
        "db2": promoted,
        "db3": replica_state(gtids(db1=9), source="db2"),
    }
    assert steps(plan(THREE, states, WANTED), "db2") == [
        "primary: forget_source",
        "primary: make_writable",
        "finish: semi_sync_on",
    ]


def test_a_former_primary_that_comes_back_becomes_a_replica() -> None:
    states = {
        "db1": primary_state(gtids(db1=9), replicas=0),
        "db2": primary_state(gtids(db1=9, db2=3)),
        "db3": replica_state(gtids(db1=9, db2=3), source="db2"),
    }
    found = plan(THREE, states, WANTED)
    assert found.primary == "db2"
    assert steps(found, "db1") == ["replicas: semi_sync_off", "replicas: make_read_only", "replicas: attach"]


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        pytest.param(
            {"db1": primary_state(gtids(db1=10)), "db2": primary_state(gtids(db1=9, db2=3)), "db3": State()},
            r"2 writable servers: db1 \(10 transactions\), db2 \(12 transactions\); nothing was changed",
            id="two are writable and each has what the other lacks",
        ),
        pytest.param(
            {"db1": primary_state(gtids(db1=9)), "db2": primary_state(gtids(db1=9)), "db3": State()},
            "2 writable servers: db1",
            id="two are writable and nothing tells them apart",
        ),
        pytest.param(
            {
                "db1": primary_state(gtids(db1=9)),
                "db2": primary_state(gtids(db1=9, db2=3)),
                "db3": replica_state(gtids(db1=9)),
            },
            "2 writable servers: db1",
            id="the one that holds less still has a replica",
        ),
        pytest.param(
            {**RUNNING, "db1": replace(RUNNING["db1"], read_only=True, super_read_only=True)},
            r"holds data and has no writable server: db1 .* Promote the one with the most",
            id="none is writable",
        ),
        pytest.param(
            {**RUNNING, "db1": State(answers=False, why="connection refused")},
            r"could be the primary: db1 \(connection refused\); nothing was changed",
            id="the silent one could be it",
        ),
        pytest.param(
            {"db1": State(), "db2": State(answers=False, why="unreachable"), "db3": State()},
            r"could be the primary: db2 \(unreachable\)",
            id="a cluster does not begin while one cannot be asked",
        ),
    ],
)
def test_without_a_certain_primary_nothing_is_planned(states: dict[str, State], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        plan(THREE, states, WANTED)


def test_a_cluster_does_not_begin_on_a_server_that_is_down() -> None:
    down = cluster("db1", "db2", states={"db1": "down"})
    with pytest.raises(PlanError, match="db1, which is fleet_state: down; set mysql_primary: true on another"):
        plan(down, {"db2": State()}, WANTED)


def test_an_interrupted_beginning_goes_on() -> None:
    begun = replace(primary_state(gtids(db1=1), semi_sync=False), read_only=True, super_read_only=True, users={})
    found = plan(THREE, {"db1": begun, "db2": State(), "db3": State()}, WANTED)
    assert found.primary == "db1"
    assert "primary: make_writable" in steps(found, "db1")


def test_a_silent_replica_is_refused_alone() -> None:
    found = plan(THREE, {**RUNNING, "db3": State(answers=False, why="refused")}, WANTED)
    assert list(found.refused) == ["db3"]
    assert found.steps == ()


def test_a_server_that_is_down_takes_no_part() -> None:
    found = plan(cluster("db1", "db2", "db3", states={"db3": "down"}), {**RUNNING, "db3": State(answers=False)}, WANTED)
    assert (found.steps, found.refused) == ((), {})


# -- replicas -----------------------------------------------------------------------------------------------------------


def test_a_fourth_replica_is_copied_from_a_replica_not_from_the_primary() -> None:
    found = plan(cluster("db1", "db2", "db3", "db4"), {**RUNNING, "db4": State()}, WANTED)
    copy, attach = found.of("db4")
    assert (copy.action, copy.arguments["host"]) == ("clone", ADDRESS["db2"])
    assert (attach.action, attach.arguments["host"]) == ("attach", ADDRESS["db1"])


def test_transactions_that_the_primary_never_had_are_not_thrown_away() -> None:
    stray = replica_state(gtids(db1=9, db3=2), source="db2", receiver="OFF", applier="OFF")
    found = plan(THREE, {**RUNNING, "db3": stray}, WANTED)
    assert "db3 holds 2 transaction(s) that the primary db1 never had" in found.refused["db3"]
    assert "--include-gtids" in found.refused["db3"]
    assert steps(found, "db3") == []


def test_a_former_primary_with_the_remainder_of_a_crash_is_saved_then_copied() -> None:
    states = {**RUNNING, "db3": State(executed=gtids(db1=9, db3=2), databases=frozenset({"school"}), users=HELD)}
    found = plan(THREE, states, replace(WANTED, rejoin_transactions=2))
    assert found.refused == {}
    assert steps(found, "db3") == ["replicas: save", "replicas: clone", "replicas: attach"]
    assert list(plan(THREE, states, replace(WANTED, rejoin_transactions=1)).refused) == ["db3"]


def test_transactions_whose_binary_logs_are_gone_cannot_be_saved() -> None:
    state = State(executed=gtids(db1=9, db3=2), purged=gtids(db3=1), databases=frozenset({"school"}), users=HELD)
    assert list(plan(THREE, {**RUNNING, "db3": state}, replace(WANTED, rejoin_transactions=9)).refused) == ["db3"]


def test_a_replica_that_is_ahead_of_what_the_primary_said_a_moment_ago_is_right() -> None:
    assert plan(THREE, {**RUNNING, "db2": replica_state(gtids(db1=12))}, WANTED).refused == {}


def test_a_replica_whose_binary_logs_are_gone_is_copied_anew() -> None:
    states = {
        **RUNNING,
        "db1": replace(RUNNING["db1"], purged=gtids(db1=7)),
        "db3": replica_state(gtids(db1=4), receiver="OFF", error="receiver, error 13114: purged"),
    }
    assert steps(plan(THREE, states, WANTED), "db3") == ["replicas: clone", "replicas: attach"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(replica_state(gtids(db1=8), receiver="OFF", applier="OFF"), ["replicas: start"], id="stopped"),
        pytest.param(replica_state(gtids(db1=8), as_wanted=False), ["replicas: attach"], id="another password"),
        pytest.param(replica_state(gtids(db1=8), receiver="CONNECTING"), [], id="still asking for its source"),
        pytest.param(
            replace(replica_state(gtids(db1=8)), super_read_only=False), ["replicas: make_read_only"], id="takes writes"
        ),
        pytest.param(
            replace(replica_state(gtids(db1=8)), read_only_persisted=False),
            ["replicas: make_read_only"],
            id="would take writes later",
        ),
        pytest.param(
            replace(replica_state(gtids(db1=8)), semi_sync_source=True),
            ["replicas: semi_sync_off"],
            id="waits like a primary",
        ),
        pytest.param(
            replace(replica_state(gtids(db1=8)), settings_restart={"port": (1, "2")}),
            ["restart: restart"],
            id="needs a restart",
        ),
        pytest.param(
            replace(replica_state(gtids(db1=8)), settings_online={"max_connections": (1, "2")}),
            ["replicas: set"],
            id="set while it runs",
        ),
        pytest.param(State(), ["replicas: clone", "replicas: attach"], id="empty"),
    ],
)
def test_a_replica_is_brought_to_its_state(state: State, expected: list[str]) -> None:
    assert steps(plan(THREE, {**RUNNING, "db3": state}, WANTED), "db3") == expected


def test_an_error_of_replication_is_told_and_not_skipped() -> None:
    broken = replica_state(gtids(db1=8), applier="OFF", error="applier, error 1062: Duplicate entry")
    found = plan(THREE, {**RUNNING, "db3": broken}, WANTED)
    assert "error 1062" in found.refused["db3"]
    assert steps(found, "db3") == []


# -- the primary --------------------------------------------------------------------------------------------------------


def test_one_host_alone_works_without_semi_sync_and_says_so() -> None:
    found = plan(cluster("db1"), {"db1": primary_state(gtids(db1=9))}, WANTED)
    assert steps(found, "db1") == ["primary: semi_sync_off"]
    assert "one machine holds" in found.warnings[0]


def test_writes_that_nobody_could_acknowledge_wait_for_the_replicas() -> None:
    states = {"db1": replace(primary_state(gtids(db1=9), replicas=0), users={}), "db2": State(), "db3": State()}
    found = plan(THREE, states, WANTED)
    assert {step.phase for step in found.of("db1")} == {"finish"}


def test_more_acknowledgements_than_replicas_are_refused() -> None:
    with pytest.raises(PlanError, match=r"has 2 replica\(s\), so mysql_semi_sync_acknowledgements: 3 can never be met"):
        plan(THREE, RUNNING, replace(WANTED, acknowledgements=3))


def test_a_primary_is_not_restarted_in_traffic_unless_told() -> None:
    states = {
        **RUNNING,
        "db1": replace(RUNNING["db1"], settings_restart={"innodb_buffer_pool_chunk_size": ("16M", "32M")}),
    }
    found = plan(THREE, states, WANTED)
    assert found.steps == ()
    assert "db1 is primary and is not restarted: innodb_buffer_pool_chunk_size stays 32M" in found.warnings[0]
    assert steps(plan(THREE, states, replace(WANTED, restart_primary=True)), "db1") == ["finish: restart"]


def test_what_a_server_keeps_by_itself_is_told_and_asks_for_nothing() -> None:
    states = {**RUNNING, "db2": replace(RUNNING["db2"], settings_kept={"innodb_page_cleaners": ("2", "1")})}
    found = plan(THREE, states, WANTED)
    assert found.steps == ()
    assert "db2 keeps innodb_page_cleaners = 1 though my.cnf says 2: MySQL limits or rounds it" in found.warnings[0]


# -- all clusters -------------------------------------------------------------------------------------------------------


def gtid_sets() -> st.SearchStrategy[GtidSet]:
    counts = st.dictionaries(st.sampled_from(["db1", "db2", "db3"]), st.integers(1, 5), max_size=3)
    return counts.map(lambda some: gtids(**some))


def any_state() -> st.SearchStrategy[State]:
    channel = st.none() | st.builds(
        Channel,
        st.sampled_from([*ADDRESS.values(), "198.51.100.9"]),
        st.just(3306),
        st.sampled_from(["ON", "OFF", "CONNECTING"]),
        st.sampled_from(["ON", "OFF"]),
        st.sampled_from(["", "error 1062"]),
        st.booleans(),
    )
    return st.builds(
        State,
        answers=st.sampled_from([True, True, True, False]),
        read_only=st.booleans(),
        super_read_only=st.booleans(),
        read_only_persisted=st.none() | st.booleans(),
        executed=gtid_sets(),
        purged=gtid_sets(),
        channel=channel,
        semi_sync_source=st.booleans(),
        semi_sync_replicas=st.integers(0, 2),
        databases=st.sampled_from([frozenset(), frozenset({"school"})]),
    )


@given(st.fixed_dictionaries({"db1": any_state(), "db2": any_state(), "db3": any_state()}))
def test_no_plan_copies_over_data_that_the_primary_lacks_or_makes_two_writable(states: dict[str, State]) -> None:
    try:
        found = plan(THREE, states, WANTED)
    except PlanError:
        return
    for step in found.steps:
        if step.action == "clone":
            assert step.host != found.primary
            overwritten = states[step.host]
            assert overwritten.empty or overwritten.executed.within(states[found.primary].executed)
        if step.action in ("make_writable", "semi_sync_on", "create_database", "user"):
            assert step.host == found.primary
    for name, state in states.items():
        if name != found.primary and state.writable and state.answers:
            assert "replicas: make_read_only" in steps(found, name)


# -- plain data ---------------------------------------------------------------------------------------------------------


def test_a_server_s_answer_becomes_a_state() -> None:
    state = state_from(
        {
            "installed": True,
            "answers": True,
            "uuid": UUID["db2"],
            "read_only": True,
            "super_read_only": True,
            "read_only_persisted": None,
            "gtid_executed": f"{UUID['db1']}:1-9",
            "gtid_purged": "",
            "channel": {
                "source_host": "192.0.2.31",
                "source_port": 3306,
                "receiver": "ON",
                "applier": "ON",
                "error": "",
                "as_wanted": True,
            },
            "semi_sync_source": False,
            "semi_sync_replicas": 0,
            "databases": ["school"],
            "users": {
                "app@%": {"plugin": "caching_sha2_password", "password_matches": True, "privileges": {}, "tls": "none"}
            },
            "settings_online": {"max_connections": [1, "2"]},
            "settings_restart": {},
        }
    )
    assert state.executed == gtids(db1=9)
    assert state.channel == Channel("192.0.2.31", 3306)
    assert state_from({"installed": False}).empty
    assert state_from({"installed": True, "answers": False, "why": "x"}).why == "x"


def test_a_plan_is_plain_data_by_host_and_phase() -> None:
    data = plan_data(plan(THREE, {name: State() for name in UUID}, WANTED))
    assert data["primary"] == "db1"
    assert [step["action"] for step in data["steps"]["db2"]["replicas"]] == ["clone", "attach"]


@pytest.mark.parametrize("primary", [None, "db9", {"name": "db9"}])
def test_a_cluster_that_starts_nowhere_is_refused(primary: object) -> None:
    hosts = [{"name": "db1", "address": "192.0.2.31"}]
    with pytest.raises(PlanError, match="not one of its hosts: db1"):
        cluster_from("main", {"primary": primary, "hosts": hosts}, 3306)
