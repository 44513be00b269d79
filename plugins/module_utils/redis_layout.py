# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From servers and rows of pools to Redis instances: ports, names, memory, and the lines of each redis.conf."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

BUS_OFFSET = 10000
UNIT = "redis-cluster"
# Servers in these states keep what they have in a cluster and get nothing new; redis_scale empties them.
LEAVING = ("draining", "standby")
POOL_KEYS = frozenset({"name", "port", "replicas", "memory_percent", "settings", "app_commands"})
# What decides identity, place and trust of an instance; a pool's settings can't change it.
OWNED = frozenset(
    {
        "aclfile",
        "bind",
        "cluster-announce-ip",
        "cluster-config-file",
        "cluster-enabled",
        "cluster-port",
        "daemonize",
        "dir",
        "include",
        "masterauth",
        "masteruser",
        "maxmemory",
        "port",
        "supervised",
    }
)


class RedisLayoutError(Exception):
    """A pool or server can't be laid out; the text names it, the value and the cure."""


def layout(
    servers: Sequence[Mapping[str, Any]],
    pools: Sequence[Mapping[str, Any]],
    host: str,
    maxmemory_mb: int,
    node_timeout_ms: int = 1000,
) -> dict[str, Any]:
    """Return the pools of the fleet and the instances of one host.

    `pools`: name, replicas and instances (host, address, port) of each pool, over all servers that aren't `down`, and
    which of their hosts are `leaving`.
    `conductor`: the first server that stays, which does what one has to do for all; empty when none does.
    `local`: name, pool, port, address and settings (directive → text) of each instance on `host`.
    `ports`: the ports that clients and other instances need, for a firewall.
    `files`, `services`: rows for converge, for the instances on `host`.
    Raises RedisLayoutError.
    """
    rows = [_checked(pool) for pool in pools]
    _refuse_overlaps(rows)
    fleet = []
    local = []
    for row in rows:
        ports = _ports(row)
        fleet.append(
            {
                "name": row["name"],
                "replicas": row["replicas"],
                "leaving": [str(server["name"]) for server in servers if server.get("state") in LEAVING],
                "instances": [
                    {"host": str(server["name"]), "address": str(server["address"]), "port": port}
                    for server in servers
                    if server.get("state", "active") != "down"
                    for port in ports
                ],
            }
        )
        for server in servers:
            if server["name"] == host:
                local += [_instance(row, port, str(server["address"]), maxmemory_mb, node_timeout_ms) for port in ports]
    client = [port for row in rows for port in _ports(row)]
    staying = [str(s["name"]) for s in servers if s.get("state", "active") not in ("down", *LEAVING)]
    return {
        "pools": fleet,
        "conductor": staying[0] if staying else "",
        "local": local,
        "ports": sorted([*client, *(port + BUS_OFFSET for port in client)]),
        "files": [
            {
                "path": f"/etc/redis/{instance['name']}.conf",
                "template": "_instance/redis.conf.j2",
                "vars": {"instance": instance},
                "group": "redis",
                "mode": "0640",
            }
            for instance in local
        ],
        "services": [
            {
                "name": f"{UNIT}@{instance['name']}",
                "restart_on": [f"/etc/systemd/system/{UNIT}@.service"],
                "restart": "hold",
            }
            for instance in local
        ],
    }


def acl_files(
    pools: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, str]], app_user: str
) -> list[dict[str, Any]]:
    """Return rows for converge: each pool's ACL file, with the pool's `app_commands` added to the rules of `app_user`."""
    rows = [_checked(pool) for pool in pools]
    return [
        {
            "path": f"/etc/redis/{row['name']}.acl",
            "content": acl_text(
                [
                    {**user, "rules": f"{user['rules']} {row['app_commands']}".strip()}
                    if user["name"] == app_user
                    else user
                    for user in users
                ]
            ),
            "group": "redis",
            "mode": "0640",
            "secret": True,
        }
        for row in rows
    ]


def acl_text(users: Sequence[Mapping[str, str]]) -> str:
    """Return an ACL file: the default user off, and each row's `name` with `rules` and the SHA-256 of its `password`.

    Nobody can be the default user, who is off and has no password; but Redis replays its append-only file as that user and
    throws away each transaction that the user may not do (redis/redis#14541), so it may do everything.

    The last line is a switched-off user whose name is a digest of all lines before: ACL USERS tells with it whether
    an instance has loaded the file.
    """
    lines = ["user default off resetpass allkeys allchannels +@all"]
    for user in users:
        digest = hashlib.sha256(user["password"].encode()).hexdigest()
        if not re.fullmatch(r"[A-Za-z0-9_-]+", user["name"]):
            raise RedisLayoutError(f"a Redis user's name is letters, digits, _ and -, not: {user['name']!r}")
        lines.append(f"user {user['name']} on resetpass #{digest} {' '.join(user['rules'].split())}")
    revision = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return "\n".join([*lines, f"user revision-{revision} off resetpass resetkeys resetchannels -@all"]) + "\n"


def acl_revision(text: str) -> str:
    """Return the name of the user that marks this ACL file."""
    return text.rstrip("\n").rsplit("\n", 1)[-1].split()[1]


def _checked(pool: Mapping[str, Any]) -> dict[str, Any]:
    name = str(pool.get("name", ""))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RedisLayoutError(f"a Redis pool's name is lower case letters, digits and _, not: {name!r}")
    unknown = sorted(set(pool) - POOL_KEYS)
    if unknown:
        raise RedisLayoutError(f"pool {name} has the unknown key {unknown[0]}; it has: {', '.join(sorted(POOL_KEYS))}")
    row = {"replicas": 1, "memory_percent": 100, "settings": {}, "app_commands": "", **pool}
    for key, low, high in (("port", 1, 65535 - BUS_OFFSET), ("replicas", 0, 5), ("memory_percent", 1, 100)):
        value = row.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise RedisLayoutError(f"pool {name}: {key} is a whole number from {low} to {high}, not: {value!r}")
    owned = sorted(OWNED & set(row["settings"]))
    if owned:
        raise RedisLayoutError(f"pool {name}: the role sets {owned[0]} itself; take it out of the pool's settings")
    return row


def _refuse_overlaps(rows: Sequence[Mapping[str, Any]]) -> None:
    taken: dict[int, str] = {}
    names: set[str] = set()
    for row in rows:
        if row["name"] in names:
            raise RedisLayoutError(f"two Redis pools are called {row['name']}; rename one")
        names.add(row["name"])
        for port in _ports(row):
            if port in taken:
                raise RedisLayoutError(
                    f"pools {taken[port]} and {row['name']} both use port {port}: a pool takes 1 + replicas ports, "
                    "move one of them"
                )
            taken[port] = row["name"]
    percent = sum(row["memory_percent"] for row in rows)
    if percent > 100:
        raise RedisLayoutError(f"the pools' memory_percent add up to {percent}, which is more than 100: lower some")


def _ports(row: Mapping[str, Any]) -> range:
    return range(row["port"], row["port"] + 1 + row["replicas"])


def _instance(row: Mapping[str, Any], port: int, address: str, maxmemory_mb: int, timeout_ms: int) -> dict[str, Any]:
    name = f"{row['name']}-{port}"
    # After failovers each instance of a host may be a primary, so each gets an equal share.
    share_mb = maxmemory_mb * row["memory_percent"] // 100 // (1 + row["replicas"])
    if share_mb < 8:
        raise RedisLayoutError(
            f"pool {row['name']}: {maxmemory_mb} MB on the host leave {share_mb} MB for {name}, less than 8: "
            "give the host more memory or have fewer pools"
        )
    settings = {
        "port": port,
        "bind": f"{address} 127.0.0.1 -::1",
        "protected-mode": True,
        "supervised": "systemd",
        "daemonize": False,
        "logfile": "",
        "dir": f"/var/lib/redis/{name}",
        "aclfile": f"/etc/redis/{row['name']}.acl",
        "cluster-enabled": True,
        "cluster-config-file": "nodes.conf",
        "cluster-announce-ip": address,
        "cluster-port": port + BUS_OFFSET,
        "cluster-node-timeout": timeout_ms,
        "cluster-require-full-coverage": False,
        "maxmemory": share_mb * 1024 * 1024,
        **row["settings"],
    }
    return {
        "name": name,
        "pool": row["name"],
        "port": port,
        "address": address,
        "settings": {key: _text(row["name"], key, value) for key, value in settings.items()},
    }


def _text(pool: str, key: str, value: object) -> str:
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key) or "\n" in text or "\r" in text:
        raise RedisLayoutError(f"pool {pool}: a setting is one line, NAME VALUE, not: {key!r} {text!r}")
    return text
