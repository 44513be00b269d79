"""The driver takes the plan's steps over connections: against instances that answer as Redis does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from plugins.module_utils.redis_client import RedisReplyError
from plugins.module_utils.redis_cluster import Instance, Pool, RedisClusterError
from plugins.module_utils.redis_driver import (
    Connection,
    Difference,
    PoolDriver,
    Tools,
    apply_settings,
    canonical,
    differences,
    restart_instance,
    spread,
)
from plugins.module_utils.redis_mover import PoolMover

POOL = Pool(
    "durable", 1, tuple(Instance(f"redis{n}", f"192.0.2.{n}", port) for n in (1, 2, 3) for port in (6379, 6380))
)


class Server:
    """One instance: its id, whom it copies, what it owns, whom it knows."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.id = f"{port:08d}{address.replace('.', '')}".ljust(40, "0")
        self.primary: Server | None = None
        self.slots: set[int] = set()
        self.silent = False
        self.config = {"maxmemory": "1048576", "tcp-backlog": "511", "save": "", "maxmemory-policy": ""}


class Network:
    """Instances with immediate gossip; `asked` holds every command that changes something."""

    def __init__(self, pool: Pool = POOL) -> None:
        self.servers = {(i.address, i.port): Server(i.address, i.port) for i in pool.instances}
        self.clusters = [{server} for server in self.servers.values()]
        self.asked: list[str] = []
        self.now = 0.0

    def tools(self, seconds: float = 5) -> Tools:
        return Tools(self.connect, lambda: self.now, self.sleep, seconds)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def connect(self, address: str, port: int) -> Connection:
        server = self.servers[address, port]
        if server.silent:
            raise ConnectionRefusedError("connection refused")
        return Client(self, server)

    def cluster_of(self, server: Server) -> set[Server]:
        return next(cluster for cluster in self.clusters if server in cluster)

    def take_over(self, replica: Server) -> None:
        old = replica.primary
        assert old is not None
        replica.slots, old.slots, replica.primary, old.primary = old.slots, set(), None, replica


class Client:
    def __init__(self, network: Network, server: Server) -> None:
        self.network, self.server = network, server

    def close(self) -> None:
        pass

    def command(self, *words: object) -> Any:
        text = " ".join(map(str, words))
        network, me = self.network, self.server
        answers: dict[str, Callable[[], Any]] = {
            "CLUSTER NODES": self.nodes,
            "DBSIZE": lambda: 0,
            "CLUSTER INFO": lambda: "cluster_state:ok\r\n",
            "INFO memory": lambda: "used_memory:900000\r\n",
            "INFO replication": lambda: f"role:{'slave' if me.primary else 'master'}\r\nmaster_link_status:up\r\n",
        }
        if text in answers:
            return answers[text]()
        if text.startswith("CONFIG GET"):
            return [part for name in words[2:] if name in me.config for part in (name, me.config[str(name)])]
        network.asked.append(f"{me.address}:{me.port} {text}")
        if text.startswith("CLUSTER MEET"):
            other = network.servers[str(words[2]), int(str(words[3]))]
            joined = network.cluster_of(me) | network.cluster_of(other)
            network.clusters = [c for c in network.clusters if not c & joined] + [joined]
        elif text.startswith("CLUSTER ADDSLOTSRANGE"):
            me.slots |= set(range(int(str(words[2])), int(str(words[3])) + 1))
        elif text.startswith("CLUSTER REPLICATE"):
            me.primary = next(server for server in network.cluster_of(me) if server.id == words[2])
        elif text == "CLUSTER FAILOVER":
            network.take_over(me)
        elif text.startswith("CONFIG SET"):
            if words[2] == "tcp-backlog":
                raise RedisReplyError("ERR CONFIG SET failed - can't set immutable config")
            if words[3] == "nonsense":
                raise RedisReplyError("ERR argument must be a memory value")
            me.config[str(words[2])] = str(words[3])
        elif text == "SHUTDOWN":
            raise ConnectionResetError
        return "OK"

    def nodes(self) -> str:
        lines = []
        for server in sorted(self.network.cluster_of(self.server), key=lambda server: server.id):
            flags = ["myself"] if server is self.server else []
            flags += ["slave"] if server.primary else ["master"]
            flags += ["fail"] if server.silent else []
            slots = f" {min(server.slots)}-{max(server.slots)}" if server.slots else ""
            lines.append(
                f"{server.id} {server.address}:{server.port}@{server.port + 10000} {','.join(flags)} "
                f"{server.primary.id if server.primary else '-'} 0 0 1 connected{slots}"
            )
        return "\n".join(lines)


def test_fresh_instances_become_a_cluster_and_a_second_run_asks_for_nothing() -> None:
    network = Network()
    steps = PoolDriver(POOL, network.tools()).build()
    assert str(steps[-1]) == "redis3:6380 replicates redis2:6379"
    assert sum(len(server.slots) for server in network.servers.values()) == 16384
    network.asked.clear()
    assert PoolDriver(POOL, network.tools()).build() == ()
    assert network.asked == []


def test_check_mode_tells_the_same_steps_and_takes_none() -> None:
    network = Network()
    told = PoolDriver(POOL, network.tools()).first_plan(1)
    assert network.asked == []
    assert set(PoolDriver(POOL, network.tools()).build()) == set(told)


def test_check_mode_before_anything_is_installed_counts_silence_as_fresh() -> None:
    network = Network()
    for server in network.servers.values():
        server.silent = True
    assert len(PoolDriver(POOL, network.tools()).first_plan(1)) == 11


def test_a_silent_instance_is_named_with_the_cure_and_nothing_is_touched() -> None:
    network = Network()
    network.servers["192.0.2.2", 6380].silent = True
    with pytest.raises(RedisClusterError, match=r"redis2:6380 .*connection refused.*fleet_state: down for redis2"):
        PoolDriver(POOL, network.tools()).build()
    assert network.asked == []


def test_a_primary_hands_over_before_it_restarts_and_a_replica_just_restarts() -> None:
    network = Network()
    PoolDriver(POOL, network.tools()).build()
    network.asked.clear()
    assert restart_instance("192.0.2.1", 6379, "durable-6379", network.tools())
    assert network.asked == ["192.0.2.2:6380 CLUSTER FAILOVER", "192.0.2.1:6379 SHUTDOWN"]
    network.asked.clear()
    assert not restart_instance("192.0.2.1", 6379, "durable-6379", network.tools())
    assert network.asked == ["192.0.2.1:6379 SHUTDOWN"]


def test_a_primary_without_a_replica_is_not_restarted() -> None:
    network = Network()
    PoolDriver(POOL, network.tools()).build()
    network.servers["192.0.2.2", 6380].silent = True
    with pytest.raises(RedisClusterError, match="durable-6379 is a primary without a replica"):
        restart_instance("192.0.2.1", 6379, "durable-6379", network.tools())


def test_only_the_host_that_should_take_over_does() -> None:
    network = Network()
    PoolDriver(POOL, network.tools()).build()
    network.take_over(network.servers["192.0.2.1", 6380])
    network.asked.clear()
    assert spread(POOL, "redis2", network.tools()) == ""
    assert network.asked == []
    assert spread(POOL, "redis3", network.tools()) == "pool durable: redis3:6379 takes over from redis1:6380"
    assert spread(POOL, "redis3", network.tools()) == ""


def test_what_can_be_set_is_set_and_what_needs_a_restart_is_told() -> None:
    network = Network()
    connection = network.connect("192.0.2.1", 6379)
    wanted = {"maxmemory": "2mb", "tcp-backlog": "600", "save": ""}
    foreseen = apply_settings(connection, wanted, check=True)
    assert [d.name for d in foreseen.changed] == ["maxmemory"]
    assert [d.name for d in foreseen.restart] == ["tcp-backlog"]
    same = ["maxmemory 1048576", "tcp-backlog 511"]
    assert network.asked == [f"192.0.2.1:6379 CONFIG SET {setting}" for setting in same], "only to the value that it has"
    applied = apply_settings(connection, wanted, check=False)
    assert applied.changed == (Difference("maxmemory", "1048576", "2mb"),)
    assert applied.restart == (Difference("tcp-backlog", "511", "600"),)


@pytest.mark.parametrize("ends_well", [True, False])
def test_while_slots_move_silence_is_borne_for_longer_and_not_afterwards(
    ends_well: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network()
    network.servers["192.0.2.3", 6380].silent = True
    mover = PoolMover(POOL, network.tools(), "admin", node_timeout_ms=1000)
    meanwhile: list[str] = []

    def move() -> tuple[()]:
        meanwhile.extend(network.asked)
        if not ends_well:
            raise RedisClusterError("interrupted")
        return ()

    monkeypatch.setattr(mover, "_run", move)
    with nullcontext() if ends_well else pytest.raises(RedisClusterError):
        mover.run()
    told = [f"{i.address}:{i.port} CONFIG SET cluster-node-timeout " for i in POOL.instances[:-1]]
    assert meanwhile == [f"{text}5000" for text in told]
    assert network.asked[5:] == [f"{text}1000" for text in told]


def test_less_memory_than_is_in_use_is_refused_where_nothing_may_be_dropped() -> None:
    network = Network()
    connection = network.connect("192.0.2.1", 6379)
    with pytest.raises(RedisClusterError, match="nothing may be dropped"):
        apply_settings(connection, {"maxmemory": "800000", "maxmemory-policy": "noeviction"}, check=False)
    assert network.asked == []
    assert apply_settings(connection, {"maxmemory": "800000", "maxmemory-policy": "allkeys-lru"}, check=False).changed
    assert apply_settings(connection, {"maxmemory": "950000", "maxmemory-policy": "noeviction"}, check=False).changed


def test_a_value_that_redis_refuses_is_told_with_its_words() -> None:
    connection = Network().connect("192.0.2.1", 6379)
    with pytest.raises(RedisClusterError, match="refuses maxmemory 'nonsense': ERR argument must be a memory value"):
        apply_settings(connection, {"maxmemory": "nonsense"}, check=False)


def test_a_setting_that_redis_does_not_have_is_named() -> None:
    with pytest.raises(RedisClusterError, match="no setting max-memory"):
        differences({"max-memory": "1"}, {"maxmemory": "1"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1mb", "1048576"),
        ("2k", "2000"),
        ("yes", "yes"),
        ("a  b", "a b"),
        ("replica 256mb 0 60", "replica 268435456 0 60"),
    ],
)
def test_two_ways_to_write_a_value_are_the_same(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
