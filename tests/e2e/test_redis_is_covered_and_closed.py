# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both Redis pools cover every slot, survive one host by their layout, serve the application and nobody else."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.e2e.support.lab import Lab
from tests.e2e.support.redis_pools import POOLS, cluster, connect, host_of, nodes, pools_are_whole
from tests.e2e.support.web import new_key

POOL = pytest.mark.parametrize("pool", sorted(POOLS))


@POOL
def test_every_slot_is_covered_by_three_primaries(lab: Lab, pool: str) -> None:
    primaries = [node for node in nodes(lab, pool) if node.is_primary]
    assert len(primaries) == 3
    assert sum(node.slots for node in primaries) == 16384
    assert pools_are_whole(lab)


@POOL
def test_a_primary_and_its_replica_are_on_different_hosts(lab: Lab, pool: str) -> None:
    seen = {node.id: node for node in nodes(lab, pool)}
    together = [
        host_of(lab, node)
        for node in seen.values()
        if not node.is_primary and host_of(lab, seen[node.primary_id]) == host_of(lab, node)
    ]
    assert together == []


@POOL
def test_the_cluster_client_of_redis_py_reads_and_writes(lab: Lab, pool: str) -> None:
    # The application's user may touch the application's keys only, so the test uses its prefix.
    keys = [f"school:{new_key('proof')}" for _turn in range(30)]
    with cluster(lab, pool) as client:
        for number, key in enumerate(keys):
            assert client.set(key, number, ex=60)
        assert [client.get(key) for key in keys] == [str(number) for number in range(len(keys))]
        owners = {client.get_node_from_key(key).name for key in keys}
        assert len(owners) == 3, "30 keys have to meet all three primaries"
        assert [client.delete(key) for key in keys] == [1] * len(keys)


def stranger(lab: Lab, host: str, port: int, **claims: str) -> redis.Redis:
    # redis-py would try again for seconds after each refusal.
    return redis.Redis(host=lab.address(host), port=port, socket_timeout=5, retry=Retry(NoBackoff(), 0), **claims)


@POOL
def test_a_stranger_is_refused_by_every_instance(lab: Lab, pool: str) -> None:
    for host in lab.tier("redis_cluster"):
        for port in POOLS[pool]:
            with stranger(lab, host, port) as anonymous:
                with pytest.raises(redis.AuthenticationError):
                    anonymous.get("school:anything")
                with pytest.raises(redis.AuthenticationError):
                    anonymous.ping()
            with (
                stranger(lab, host, port, username="app", password="guessed") as guesser,
                pytest.raises(redis.AuthenticationError),
            ):
                guesser.ping()


@POOL
def test_the_application_may_not_administer(lab: Lab, pool: str) -> None:
    host = lab.tier("redis_cluster")[0]
    with connect(lab, host, POOLS[pool][0]) as client:
        for command in ("CONFIG GET maxmemory", "ACL LIST", "SHUTDOWN NOSAVE", "FLUSHALL"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def test_only_the_cache_forgets(lab: Lab) -> None:
    host = lab.tier("redis_cluster")[0]
    policies = {}
    for pool, ports in POOLS.items():
        with connect(lab, host, ports[0], "admin") as client:
            policies[pool] = (
                client.config_get("maxmemory-policy")["maxmemory-policy"],
                client.config_get("appendonly")["appendonly"],
            )
    assert policies == {"durable": ("noeviction", "yes"), "cache": ("allkeys-lru", "no")}
