# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Redis Cluster pools through Redis' own protocol."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from tests.e2e.support.lab import Lab

# The first instance of each pool on every host; the second one follows it.
POOLS = {"durable": (6379, 6380), "cache": (6389, 6390)}


@dataclass(frozen=True)
class Node:
    """One line of CLUSTER NODES."""

    id: str
    address: str
    port: int
    flags: frozenset[str]
    primary_id: str
    slots: int

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags


def password(lab: Lab, user: str) -> str:
    if user == "admin":
        return str(
            lab.credentials.get("vault_redis_admin_password") or lab.credentials["vault_redis_replication_password"]
        )
    return str(lab.credentials["vault_redis_app_password"])


def connect(lab: Lab, host: str, port: int, user: str = "app") -> redis.Redis:
    return redis.Redis(
        host=lab.address(host),
        port=port,
        username=user,
        password=password(lab, user),
        socket_timeout=5,
        decode_responses=True,
    )


def cluster(lab: Lab, pool: str) -> redis.RedisCluster:
    """redis-py's cluster client, as the application would come."""
    host = lab.tier("redis_cluster")[0]
    return redis.RedisCluster(
        host=lab.address(host),
        port=POOLS[pool][0],
        username="app",
        socket_timeout=5,
        password=password(lab, "app"),
        decode_responses=True,
    )


def nodes(lab: Lab, pool: str, host: str | None = None) -> list[Node]:
    """What the pool says about itself, asked from the first host that answers (or from the one named)."""
    for candidate in [host] if host else lab.tier("redis_cluster"):
        with connect(lab, candidate, POOLS[pool][0], "admin") as client:
            client.set_response_callback("CLUSTER NODES", lambda answer, **_options: answer)
            try:
                printed = str(client.execute_command("CLUSTER NODES"))
            except redis.ConnectionError:
                continue
            return [parse(line) for line in printed.splitlines() if line.strip()]
    raise AssertionError(f"no host of pool {pool} answers")


def parse(line: str) -> Node:
    name, where, flags, primary, *rest = line.split()
    address, port = where.partition("@")[0].rsplit(":", 1)
    slots = sum(size(word) for word in rest[4:] if not word.startswith("["))
    return Node(name, address, int(port), frozenset(flags.split(",")), primary, slots)


def size(slots: str) -> int:
    first, _dash, last = slots.partition("-")
    return int(last or first) - int(first) + 1


def host_of(lab: Lab, node: Node) -> str:
    return next(name for name in lab.hosts if lab.address(name) == node.address)


def durable_primaries(lab: Lab) -> dict[str, str]:
    """Node id → host, for every primary of the durable pool."""
    return {node.id: host_of(lab, node) for node in nodes(lab, "durable") if node.is_primary}


def replicas_have_everything(lab: Lab) -> bool:
    """Whether each replica of the durable pool has read what its primary has written."""
    for node in nodes(lab, "durable"):
        if node.is_primary:
            with connect(lab, host_of(lab, node), node.port, "admin") as client:
                info = client.info("replication")
            behind = [
                info["master_repl_offset"] - row["offset"]
                for key, row in info.items()
                if key.startswith("slave") and isinstance(row, dict)
            ]
            assert behind, f"{node.address}:{node.port} has no replica"
            assert max(behind) == 0, f"{node.address}:{node.port}: a replica is {max(behind)} bytes behind"
    return True


def pools_are_whole(lab: Lab) -> bool:
    """Whether every instance of both pools is there, in one cluster, with every slot and a replica for each primary."""
    for pool, ports in POOLS.items():
        for host in lab.tier("redis_cluster"):
            seen = nodes(lab, pool, host)
            ill = [node.flags for node in seen if {"fail", "fail?", "handshake", "noaddr"} & node.flags]
            primaries = {node.id for node in seen if node.is_primary and node.slots}
            followed = {node.primary_id for node in seen if not node.is_primary}
            assert not ill, f"{pool} as {host} sees it: {ill}"
            assert len(seen) == 2 * len(lab.tier("redis_cluster")), f"{pool}: {host} knows {len(seen)} nodes"
            assert sum(node.slots for node in seen if node.is_primary) == 16384, f"{pool}: {host} misses slots"
            assert primaries == followed, f"{pool}: a primary has no replica"
            for port in ports:
                with connect(lab, host, port, "admin") as client:
                    info = client.info("replication")
                    assert info["role"] == "master" or info["master_link_status"] == "up", (
                        f"{host}:{port} is not linked"
                    )
    return True
