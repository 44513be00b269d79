# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms in which a Laravel application takes its settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=\[\]-]*")


class LaravelError(ValueError):
    """A setting that Laravel could not read; the message names it."""


def dotenv_value(value: Any) -> str:
    """Return C(value) as vlucas/phpdotenv reads it back: plain where that is safe, else in double quotes with escapes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if PLAIN.fullmatch(text):
        return text
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def dotenv(settings: Mapping[str, Any]) -> str:
    """Return the text of a .env file with C(settings), one line each, in their order.

    Raises LaravelError for a name or value that can't be in such a file.
    """
    lines = []
    for name, value in settings.items():
        if not NAME.fullmatch(str(name)):
            raise LaravelError(f"{name!r} can't be a name in .env; use letters, digits and underscores")
        if isinstance(value, (dict, list, tuple)):
            raise LaravelError(f"{name} of .env must be text, a number or a boolean, not a {type(value).__name__}")
        if "\0" in str(value):
            raise LaravelError(f"{name} of .env holds a null byte")
        lines.append(f"{name}={dotenv_value(value)}\n")
    return "".join(lines)


def endpoints(servers: Iterable[Mapping[str, Any]], ports: Sequence[int]) -> list[dict[str, Any]]:
    """Return a row of host and port for each of C(ports) on each of C(servers); those whose state is down are left out.

    Those on their way out (draining) or not yet in (standby) stay as long as nobody else is there: a client asks one of
    them for the others, and one that has left knows nobody.
    """
    there = [server for server in servers if server.get("state") != "down"]
    staying = [server for server in there if server.get("state") not in ("draining", "standby")]
    return [{"host": str(server["address"]), "port": int(port)} for server in staying or there for port in ports]


def endpoint_urls(rows: Iterable[Mapping[str, Any]], scheme: str) -> list[str]:
    """Return C(rows) of host and port as URLs; IPv6 addresses get their brackets."""
    hosts = [(f"[{row['host']}]" if ":" in str(row["host"]) else str(row["host"]), row["port"]) for row in rows]
    return [f"{scheme}://{host}:{port}" for host, port in hosts]


def overlay(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fleet lays over an application's configuration: C(remove), C(set), C(release_paths), by dotted key.

    C(settings) holds server, database (connection, write, read), redis (durable, cache, username, password),
    queue_retry_seconds and extra. Raises LaravelError when one pool of Redis is given without the other.
    """
    database, redis = settings["database"], settings["redis"]
    connection = f"database.connections.{database['connection']}"
    values: dict[str, Any] = {
        "fleet.server": settings["server"],
        f"{connection}.write": {"host": [database["write"]["host"]], "port": int(database["write"]["port"])},
        f"{connection}.read": {"host": [database["read"]["host"]], "port": int(database["read"]["port"])},
        # A request that wrote reads its own writes.
        f"{connection}.sticky": True,
    }
    remove: list[str] = []
    pools = {"default": list(redis["durable"]), "cache": list(redis["cache"])}
    if all(pools.values()):
        # Laravel looks for a single connection before a cluster of the same name.
        remove = [f"database.redis.{name}" for name in pools]
        values.update({
            "database.redis.clusters": {
                name: [{"host": str(row["host"]), "port": int(row["port"])} for row in rows] for name, rows in pools.items()
            },
            "database.redis.options.cluster": "redis",
            # phpredis waits for ever by default: a host that died would hold requests until the web server gives up.
            "database.redis.options.timeout": 0.5,
            "database.redis.options.read_timeout": 3.0,
            # phpredis takes the credentials of a cluster as a whole, not of its nodes.
            "database.redis.options.password": [redis["username"], redis["password"]] if redis.get("username") else redis["password"],
            "session.connection": "default",
            "cache.stores.redis.connection": "cache",
            "cache.stores.redis.lock_connection": "default",
            "queue.connections.redis.connection": "default",
            # The keys of one queue must share a slot.
            "queue.connections.redis.queue": "{default}",
            "queue.connections.redis.retry_after": int(settings["queue_retry_seconds"]),
        })
    elif any(pools.values()):
        empty = next(name for name, rows in pools.items() if not rows)
        raise LaravelError(f"the Redis pool {empty!r} has no nodes while the other one has; give nodes for both or for neither")
    values.update(settings.get("extra") or {})
    # Compiled views belong to their release: view:cache of a new one must not remove those of the one that serves.
    return {"remove": remove, "set": values, "release_paths": {"view.compiled": "bootstrap/cache/views"}}
