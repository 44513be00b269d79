# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a host's memory, cores and storage to the numbers in its configuration, each with the arithmetic that made it.

The rules, all in megabytes and all monotonic (more memory never lowers a number):

- The system keeps a quarter of the memory up to 256 MB, and an eighth of it (at most 8 GB) where that is more.
- The rest is shared by the tiers that the host is in, by ``SHARES``; a host in one tier gives it everything.
- Within its share each service subtracts what it needs before the first client comes, then divides by the cost of one.

Sources:

- Buffer pool and redo log: MySQL 8.4 manual, 17.8.12 "Enabling Automatic InnoDB Configuration for a Dedicated MySQL
  Server" (half of the memory up to 4 GB, three quarters above; redo = logical processors / 2 GB, at most 16 GB) and
  17.8.3.1 "Configuring InnoDB Buffer Pool Size" (a pool is rounded *up* to whole chunks, so ours is rounded down
  first: to 128 MB, the default chunk, and to 16 MB below 1 GB).
- MySQL's own memory and that of connections: measured with MySQL 9.7 and this collection's settings. 380 MB before the
  first client; 0.25 MB for an idle connection, 1.35 MB for one that has sorted and grouped: 0.5 MB is what a pool of
  connections costs of which a quarter is busy. Pages in the pool cost 5 % more than their size.
- I/O capacity: MySQL 8.4 manual, 17.8.7 (10,000 is the default, meant for NVMe; lower for slower disks; the maximum is
  twice the capacity).
- Redis: redis.io, "Redis administration" (while it rewrites its files under heavy writes, Redis may use up to twice its
  data's memory), so that its data gets 60 % of the share.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

# How tiers on one host divide its memory. A database keeps its data in memory, nginx only its buffers.
SHARES: Mapping[str, int] = {
    "mysql": 4,
    "app_servers": 3,
    "redis_cluster": 3,
    "queue_workers": 2,
    "object_storage": 2,
    "monitoring": 2,
    "load_balancers": 1,
}

IO_CAPACITY: Mapping[str, int] = {"hdd": 200, "ssd": 2000, "nvme": 10000}

INNODB_STEP_MB, INNODB_STEP_SMALL_MB, INNODB_LEAST_MB = 128, 16, 32
INNODB_POOL_PERCENT = 95
MYSQL_LEAST_CONNECTIONS = 32
REDO_MIN_MB, REDO_MAX_MB = 96, 16 * 1024


class CapacityError(ValueError):
    """A host can't be sized, or the fleet's connections don't fit; one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Settings:
    """What one of something costs, in MB unless the name says otherwise. An inventory overrides it by name."""

    php_child_mb: float = 48.0
    php_opcache_mb: int = 192
    php_children_per_vcpu: int = 25
    mysql_base_mb: int = 380
    mysql_connections_percent: int = 20
    mysql_connection_mb: float = 0.5
    mysql_connections_limit: int = 4000
    redis_data_percent: int = 60
    queue_worker_mb: float = 64.0
    queue_supervisor_mb: int = 32
    queue_workers_per_vcpu: int = 4
    nginx_connection_kb: float = 64.0
    nginx_connections_limit: int = 16384
    # Of the connections budget: Laravel opens one connection to write and one to read, and reads go to the primary
    # when no replica is fit.
    connections_per_process: int = 2
    scheduler_processes: int = 2
    health_connections: int = 2
    replica_connections: int = 2
    admin_connections: int = 10


@dataclass(frozen=True)
class Host:
    """What sizing needs to know of a host."""

    name: str
    memory_mb: int
    vcpus: int
    storage: str
    tiers: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A number, its unit and the arithmetic behind it."""

    value: int
    unit: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "unit": self.unit, "why": self.why}


@dataclass(frozen=True)
class _Share:
    """The memory that one tier of a host may use, and how it was found."""

    mb: int
    why: str


def host_from(server: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Host:
    """The host that a server of the ``fleet`` filter describes; Ansible's facts fill in what its inventory leaves out.

    Raises CapacityError when neither tells its memory or its cores.
    """
    facts = facts or {}
    name = str(server.get("name", "?"))
    memory_mb = server.get("memory_mb") or facts.get("memtotal_mb")
    vcpus = server.get("vcpus") or facts.get("processor_vcpus") or facts.get("processor_nproc")
    if not memory_mb or not vcpus:
        missing = " and ".join(
            what for what, value in (("memory is", memory_mb), ("number of cores is", vcpus)) if not value
        )
        raise CapacityError(
            f"host {name}: its {missing} not known: set fleet_size, or fleet_memory_mb and fleet_vcpus, "
            "or gather its hardware facts first"
        )
    return Host(
        name=name,
        memory_mb=int(memory_mb),
        vcpus=int(vcpus),
        storage=str(server.get("storage") or "ssd"),
        tiers=tuple(str(tier) for tier in server.get("tiers") or ()),
    )


def settings_from(given: Mapping[str, Any] | None) -> Settings:
    """The settings with those of an inventory laid over the defaults. Raises CapacityError for an unknown or bad one."""
    known = {item.name: item for item in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in (given or {}).items():
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), n=1, cutoff=0.6)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise CapacityError(f"capacity_settings: unknown key {key}{hint}; it holds {', '.join(known)}")
        number = number_from(value)
        if number is None or number <= 0:
            raise CapacityError(f"capacity_settings: {key} must be a number above 0, not: {value!r}")
        if key.endswith("_percent") and number > 100:
            raise CapacityError(f"capacity_settings: {key} must be from 1 to 100, not: {value!r}")
        if isinstance(known[str(key)].default, int):
            if number != int(number):
                raise CapacityError(f"capacity_settings: {key} must be a whole number, not: {value!r}")
            values[str(key)] = int(number)
        else:
            values[str(key)] = float(number)
    return replace(Settings(), **values)


def number_from(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def size_host(host: Host, settings: Settings | None = None) -> dict[str, Figure]:
    """Every figure of the host by name; for a tier that the host isn't in, what it would be if it joined."""
    cost = settings or Settings()
    pool = _innodb_buffer_pool(host, cost)
    io_capacity = IO_CAPACITY.get(host.storage, IO_CAPACITY["ssd"])
    processes = max(1, host.vcpus)
    return {
        "php_fpm_children": _php_fpm_children(host, cost),
        "innodb_buffer_pool_mb": pool,
        "innodb_redo_log_mb": _innodb_redo_log(host, pool.value),
        "innodb_io_capacity": Figure(io_capacity, "IOPS", f"{host.storage}: {io_capacity}"),
        "innodb_io_capacity_max": Figure(
            2 * io_capacity, "IOPS", f"2 x innodb_io_capacity {io_capacity} = {2 * io_capacity}"
        ),
        "mysql_max_connections": _mysql_max_connections(host, cost),
        "redis_maxmemory_mb": _redis_maxmemory(host, cost),
        "queue_worker_processes": _queue_workers(host, cost),
        "nginx_worker_processes": Figure(processes, "processes", f"one per core: {host.vcpus}"),
        "nginx_worker_connections": _nginx_connections(host, cost, processes),
    }


def _system_mb(memory_mb: int) -> int:
    return max(min(memory_mb // 4, 256), min(memory_mb // 8, 8192))


def _share(host: Host, tier: str) -> _Share:
    tiers = sorted({*host.tiers, tier} & set(SHARES))
    system = _system_mb(host.memory_mb)
    free = f"{host.memory_mb} MB - {system} MB for the system"
    left = host.memory_mb - system
    if len(tiers) == 1:
        return _Share(left, free)
    total = sum(SHARES[one] for one in tiers)
    others = ", ".join(one for one in tiers if one != tier)
    return _Share(left * SHARES[tier] // total, f"({free}) x {SHARES[tier]}/{total} shared with {others}")


def _count(
    share: _Share, minus: Sequence[tuple[int, str]], cost: float, unit: str, limits: tuple[int, int, str]
) -> tuple[int, str]:
    """How many of ``cost`` MB fit after ``minus``, and the arithmetic; ``limits`` are low, high and why high."""
    low, high, because = limits
    usable = share.mb - sum(mb for mb, _what in minus)
    fits = int(max(usable, 0) / cost)
    subtracted = "".join(f" - {mb} MB {what}" for mb, what in minus)
    why = f"({share.why}{subtracted}) / {cost:g} MB per {unit} = {fits}"
    if fits > high:
        return high, f"{why}, at most {high} ({because})"
    if fits < low:
        return low, f"{why}, at least {low}"
    return fits, why


def _php_fpm_children(host: Host, cost: Settings) -> Figure:
    high = max(2, cost.php_children_per_vcpu * host.vcpus)
    value, why = _count(
        _share(host, "app_servers"),
        [(cost.php_opcache_mb, "OPcache")],
        cost.php_child_mb,
        "child",
        (2, high, f"{cost.php_children_per_vcpu} per core x {host.vcpus}"),
    )
    return Figure(value, "children", why)


def _queue_workers(host: Host, cost: Settings) -> Figure:
    value, why = _count(
        _share(host, "queue_workers"),
        [(cost.queue_supervisor_mb, "supervisor")],
        cost.queue_worker_mb,
        "worker",
        (1, cost.queue_workers_per_vcpu * host.vcpus, f"{cost.queue_workers_per_vcpu} per core x {host.vcpus}"),
    )
    return Figure(value, "processes", why)


def _mysql_memory(host: Host, cost: Settings) -> tuple[int, int, str]:
    """What is left beside the server itself, what of it connections may take, and the arithmetic."""
    share = _share(host, "mysql")
    left = max(share.mb - cost.mysql_base_mb, 0)
    connections = min(
        left * cost.mysql_connections_percent // 100, int(cost.mysql_connections_limit * cost.mysql_connection_mb)
    )
    return left, connections, f"{share.why} - {cost.mysql_base_mb} MB server and performance_schema"


def _innodb_buffer_pool(host: Host, cost: Settings) -> Figure:
    left, connections, why = _mysql_memory(host, cost)
    raw = (left - connections) * INNODB_POOL_PERCENT // 100
    step = INNODB_STEP_MB if raw >= 1024 else INNODB_STEP_SMALL_MB
    value = max(raw // step * step, INNODB_LEAST_MB)
    why = f"({why} - {connections} MB for connections) x {INNODB_POOL_PERCENT} % = {raw}, "
    why += f"in steps of {step} MB: {value}" if raw >= INNODB_LEAST_MB else f"at least {INNODB_LEAST_MB}"
    return Figure(value, "MB", why)


def _innodb_redo_log(host: Host, pool_mb: int) -> Figure:
    by_cores = host.vcpus * 1024 // 2
    value = max(REDO_MIN_MB, min(by_cores, REDO_MAX_MB, pool_mb))
    return Figure(
        value,
        "MB",
        f"{host.vcpus} cores / 2 x 1024 MB = {by_cores}, at most the buffer pool ({pool_mb}) and {REDO_MAX_MB}, "
        f"at least {REDO_MIN_MB}: {value}",
    )


def _mysql_max_connections(host: Host, cost: Settings) -> Figure:
    _left, connections, why = _mysql_memory(host, cost)
    fits = int(connections / cost.mysql_connection_mb)
    value = max(fits, MYSQL_LEAST_CONNECTIONS)
    why = (
        f"({why}) x {cost.mysql_connections_percent} %, at most {cost.mysql_connections_limit} connections: "
        f"{connections} MB / {cost.mysql_connection_mb:g} MB per connection = {fits}"
    )
    if value != fits:
        why += f", at least {value}"
    return Figure(value, "connections", why)


def _redis_maxmemory(host: Host, cost: Settings) -> Figure:
    share = _share(host, "redis_cluster")
    value = max(share.mb * cost.redis_data_percent // 100, 16)
    return Figure(
        value,
        "MB",
        f"({share.why}) x {cost.redis_data_percent} % = {value}; the rest is for copy-on-write, buffers, fragmentation",
    )


def _nginx_connections(host: Host, cost: Settings, processes: int) -> Figure:
    share = _share(host, "load_balancers")
    fits = int(share.mb * 1024 / cost.nginx_connection_kb / processes)
    value = max(512, min(fits // 256 * 256, cost.nginx_connections_limit))
    return Figure(
        value,
        "connections",
        f"({share.why}) / {cost.nginx_connection_kb:g} kB per connection / {processes} processes = {fits}, "
        f"in steps of 256, from 512 to {cost.nginx_connections_limit}: {value}",
    )
