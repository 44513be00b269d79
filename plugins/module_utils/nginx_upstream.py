# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a list of servers to the text of nginx's upstream block. Nothing an inventory holds can leave its directive."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

METHODS: Mapping[str, str] = {
    "least_conn": "least_conn;",
    "round_robin": "",
    "ip_hash": "ip_hash;",
    "hash": "hash {key} consistent;",
    "random_two": "random two least_conn;",
}
# https://nginx.org/en/docs/http/ngx_http_upstream_module.html#server: backup "cannot be used along with the hash,
# ip_hash, and random load balancing methods".
METHODS_WITH_BACKUP = ("least_conn", "round_robin")
STATES = ("active", "draining", "standby", "down")

SERVER_KEYS = ("name", "address", "port", "state", "weight", "max_fails", "fail_timeout", "max_conns", "backup", "down")
# What a server of the fleet filter carries besides.
IGNORED_KEYS = ("size", "vcpus", "memory_mb", "storage", "tiers")

SERVERS_PER_MEGABYTE = 1000

_UPSTREAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}\Z")
_SERVER_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\Z")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\Z")
_TIME = re.compile(r"[0-9]{1,6}(?:ms|s|m|h|d)?\Z")
_HASH_KEY = re.compile(r"(?:\$[a-z_][a-z0-9_]*|\$\{[a-z_][a-z0-9_]*\}|[A-Za-z0-9_.:/|-])+\Z")
_LOOKS_NUMERIC = re.compile(r"[0-9.]+\Z")


class NginxUpstreamError(ValueError):
    """What was asked for can't become an upstream block; one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Line:
    """One ``server`` directive."""

    name: str
    endpoint: str
    parameters: tuple[str, ...]
    # The same server again, as nginx's backup that never counts as failed; () when it has none.
    last_resort: tuple[str, ...] = ()

    def text(self) -> str:
        comment = "" if self.name == self.endpoint else f"  # {self.name}"
        directives = [f"server {' '.join((self.endpoint, *self.parameters))};"]
        if self.last_resort:
            directives.append(f"server {' '.join((self.endpoint, *self.last_resort))};")
        return " ".join(directives) + comment


def render_upstream(
    servers: Iterable[Mapping[str, Any]],
    name: str,
    *,
    port: Any = 80,
    method: str = "least_conn",
    hash_key: str | None = None,
    keepalive: Any = 32,
    keepalive_requests: Any = None,
    keepalive_timeout: Any = None,
    max_fails: Any = 3,
    fail_timeout: Any = "10s",
    last_resort: Any = False,
    zone: Any = None,
) -> str:
    """The block ``upstream <name> { … }`` with one line for each server, sorted by name, ending in a newline.

    ``servers`` are those of the ``fleet`` filter or rows with ``address`` and any of ``SERVER_KEYS``; a row's
    ``weight``, ``port``, ``max_fails`` and so on win over the arguments. By state:

    - ``active`` takes part.
    - ``draining`` and ``standby`` are left out.
    - ``down`` stays, marked ``down``: nginx sends it nothing, and a reader sees that the machine is known.
    - with ``ip_hash``, ``draining`` is marked ``down`` too instead of left out: the manual asks for that, "in order to
      preserve the current hashing of client IP addresses".

    With ``last_resort`` nobody is left alone for good: a request that finds every server counted as failed asks them all
    the same, in the order of ``method``. Each line then names its server twice, the second time as a backup that cannot
    fail; a row that is a ``backup`` itself is that last resort, alone. Only the methods in ``METHODS_WITH_BACKUP`` can.

    ``zone`` is the shared memory in which nginx's workers count connections and failures together; without it
    ``least_conn`` and ``max_fails`` would be per worker. Its size grows in steps (1 MB for each 1,000 servers, in powers
    of two), so that a new server is one new line.

    Raises NginxUpstreamError.
    """
    if not isinstance(name, str) or not _UPSTREAM_NAME.match(name):
        raise NginxUpstreamError(
            f"upstream name {name!r} must be a letter followed by letters, digits, dots, dashes and underscores"
        )
    where = f"upstream {name}"
    _check_method(where, method, hash_key)
    last_resort = _flag(where, "last_resort", last_resort)
    if last_resort and method not in METHODS_WITH_BACKUP:
        raise NginxUpstreamError(
            f"{where}: last_resort needs backup servers, which nginx refuses with the method {method}: "
            f"leave it out, or use {' or '.join(METHODS_WITH_BACKUP)}"
        )
    default_port = _whole(where, "port", port, 1, 65535)
    defaults = {
        "max_fails": f"{_whole(where, 'max_fails', max_fails, 0, 1_000_000)}",
        "fail_timeout": _time(where, "fail_timeout", fail_timeout),
    }

    rows = sorted((_row(where, server) for server in servers), key=lambda row: str(row.get("name", row["address"])))
    lines: list[Line] = []
    takes_part = False
    only_backup = True
    seen: dict[str, str] = {}
    for row in rows:
        line = _line(where, row, method, default_port, defaults)
        if line is None:
            continue
        if line.endpoint in seen:
            raise NginxUpstreamError(
                f"{where}: servers {seen[line.endpoint]} and {line.name} have one address and port, {line.endpoint}: "
                "give each its own"
            )
        seen[line.endpoint] = line.name
        lines.append(line)
        if "down" not in line.parameters:
            takes_part = True
            only_backup = only_backup and "backup" in line.parameters
    if not takes_part:
        states = ", ".join(f"{row.get('name', row['address'])} is {row.get('state', 'down')}" for row in rows[:10])
        raise NginxUpstreamError(
            f"{where} has no active server{': ' + states if states else ''}; nginx would answer 502 to everything: "
            "set fleet_state: active on at least one"
        )
    if only_backup:
        raise NginxUpstreamError(f"{where} has backup servers only: leave backup out on at least one")
    if last_resort:
        lines = _with_last_resort(lines)

    directives = [f"zone {name} {_zone(where, zone, len(lines) * (2 if last_resort else 1))};"]
    if METHODS[method]:
        directives.append(METHODS[method].format(key=hash_key))
    directives.extend(line.text() for line in lines)
    if _whole(where, "keepalive", keepalive, 0, 100_000):
        directives.append(f"keepalive {int(keepalive)};")
        if keepalive_requests is not None:
            directives.append(
                f"keepalive_requests {_whole(where, 'keepalive_requests', keepalive_requests, 1, 10**9)};"
            )
        if keepalive_timeout is not None:
            directives.append(f"keepalive_timeout {_time(where, 'keepalive_timeout', keepalive_timeout)};")
    return "\n".join((f"upstream {name} {{", *(f"    {directive}" for directive in directives), "}", ""))


def _check_method(where: str, method: Any, hash_key: Any) -> None:
    if not isinstance(method, str) or method not in METHODS:
        raise NginxUpstreamError(
            f"{where}: method must be one of {', '.join(METHODS)}, not: {method}{_did_you_mean(str(method), METHODS)}"
        )
    if method != "hash":
        if hash_key not in (None, ""):
            raise NginxUpstreamError(f"{where}: hash_key belongs to the method hash, not to {method}: leave it out")
        return
    if hash_key in (None, ""):
        raise NginxUpstreamError(f"{where}: method hash needs hash_key, the variable to hash, e.g. $request_uri")
    if not isinstance(hash_key, str) or len(hash_key) > 256 or not _HASH_KEY.match(hash_key):
        raise NginxUpstreamError(
            f"{where}: hash_key must be made of nginx variables, letters, digits and ._:/|-, not: {hash_key!r}"
        )
    if "$" not in hash_key:
        raise NginxUpstreamError(
            f"{where}: hash_key {hash_key} holds no variable, so one server would get everything; e.g. $request_uri"
        )


def _row(where: str, server: Any) -> Mapping[str, Any]:
    if not isinstance(server, Mapping) or "address" not in server:
        raise NginxUpstreamError(f"{where}: a server must be a dictionary with an address, not: {server!r}")
    for key in server:
        if key in SERVER_KEYS or key in IGNORED_KEYS:
            continue
        if key == "slow_start":
            raise NginxUpstreamError(
                f"{where}: server {server['address']}: slow_start exists in NGINX Plus only; "
                "raise fleet_weight in steps instead"
            )
        raise NginxUpstreamError(
            f"{where}: server {server['address']!r} has an unknown key {key!r}"
            f"{_did_you_mean(str(key), SERVER_KEYS)}; a server holds {', '.join(SERVER_KEYS)}"
        )
    return server


def _line(
    where: str, row: Mapping[str, Any], method: str, default_port: int, defaults: Mapping[str, str]
) -> Line | None:
    address = row["address"]
    host = _host(where, address)
    name = row.get("name")
    if name is not None and (not isinstance(name, str) or not _SERVER_NAME.match(name)):
        raise NginxUpstreamError(
            f"{where}: server name {name!r} must be letters, digits, dots, dashes and underscores, "
            "beginning and ending with a letter or digit"
        )
    who = f"{where}: server {name or address}"
    state = row.get("state", "active")
    if state not in STATES:
        raise NginxUpstreamError(
            f"{who}: state must be one of {', '.join(STATES)}, not: {state}{_did_you_mean(str(state), STATES)}"
        )
    port = default_port if row.get("port") is None else _whole(who, "port", row["port"], 1, 65535)
    down = _flag(who, "down", row.get("down")) or state == "down"
    backup = _flag(who, "backup", row.get("backup"))
    if backup and method not in METHODS_WITH_BACKUP:
        raise NginxUpstreamError(
            f"{who}: backup can't be used with the method {method}: "
            f"leave it out, or use {' or '.join(METHODS_WITH_BACKUP)}"
        )

    parameters: list[str] = []
    weight = 1 if row.get("weight") is None else _whole(who, "weight", row["weight"], 1, 1_000_000)
    if weight != 1:
        parameters.append(f"weight={weight}")
    if row.get("max_conns") is not None:
        parameters.append(f"max_conns={_whole(who, 'max_conns', row['max_conns'], 0, 1_000_000)}")
    max_fails = row.get("max_fails")
    parameters.append(
        f"max_fails={defaults['max_fails'] if max_fails is None else _whole(who, 'max_fails', max_fails, 0, 1_000_000)}"
    )
    fail_timeout = row.get("fail_timeout")
    parameters.append(
        f"fail_timeout={defaults['fail_timeout'] if fail_timeout is None else _time(who, 'fail_timeout', fail_timeout)}"
    )
    if backup:
        parameters.append("backup")
    if state == "standby" or (state == "draining" and method != "ip_hash"):
        return None
    if down or state == "draining":
        parameters.append("down")
    endpoint = f"{host}:{port}"
    return Line(name or endpoint, endpoint, tuple(parameters))


def _with_last_resort(lines: Sequence[Line]) -> list[Line]:
    own = any("backup" in line.parameters and "down" not in line.parameters for line in lines)
    result = []
    for line in lines:
        never_fails = tuple(
            "max_fails=0" if parameter.startswith("max_fails=") else parameter
            for parameter in line.parameters
            if not parameter.startswith("fail_timeout=")
        )
        if "down" in line.parameters:
            result.append(line)
        elif "backup" in line.parameters:
            result.append(replace(line, parameters=never_fails))
        else:
            result.append(line if own else replace(line, last_resort=(*never_fails, "backup")))
    return result


def _host(where: str, address: Any) -> str:
    text = address if isinstance(address, str) else ""
    try:
        if "%" not in text:
            ip = ipaddress.ip_address(text)
            return f"[{text}]" if ip.version == 6 else str(text)
    except ValueError:
        pass
    if not _DNS_NAME.match(text) or _LOOKS_NUMERIC.match(text):
        raise NginxUpstreamError(
            f"{where}: {address!r} is not an address: use an IPv4 address, an IPv6 address without brackets, "
            "or a DNS name"
        )
    return str(text)


def _whole(who: str, key: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise NginxUpstreamError(f"{who}: {key} must be a whole number from {low} to {high}, not: {value!r}")
    return int(value)


def _time(who: str, key: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000_000:
        return f"{int(value)}s"
    if not isinstance(value, str) or not value.isascii() or not _TIME.match(value):
        raise NginxUpstreamError(f"{who}: {key} must be a time such as 10s, 500ms or 1m, not: {value!r}")
    return str(value)


def _flag(who: str, key: str, value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise NginxUpstreamError(f"{who}: {key} must be true or false, not: {value!r}")
    return bool(value)


def _zone(where: str, zone: Any, servers: int) -> str:
    if zone is None:
        megabytes = 1
        while megabytes * SERVERS_PER_MEGABYTE < servers:
            megabytes *= 2
        return f"{megabytes}m"
    if not isinstance(zone, str) or not re.match(r"[1-9][0-9]{0,8}[km]\Z", zone):
        raise NginxUpstreamError(f"{where}: zone must be a size such as 512k or 1m, not: {zone!r}")
    return str(zone)


def _did_you_mean(word: str, known: Sequence[str] | Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""
