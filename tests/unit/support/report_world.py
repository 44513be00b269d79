# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A world for reports: what each host needs is known, and Prometheus' history follows from the machine that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from plugins.module_utils.report import MB, Machine, MachineSize, Policy, Report, make_report
from plugins.module_utils.report_history import HOUR, History, Key, Points, step_for

END = 1_764_028_800.0  # 2025-11-25, midnight UTC
SIZES = (
    MachineSize("small", 1, 2048, price=Decimal("0.02"), reserved=Decimal("0.012")),
    MachineSize("medium", 2, 4096, price=Decimal("0.04"), reserved=Decimal("0.025")),
    MachineSize("large", 4, 8192, price=Decimal("0.08"), reserved=Decimal("0.05")),
    MachineSize("xlarge", 8, 16384, price=Decimal("0.16"), reserved=Decimal("0.1")),
)
BY_NAME = {size.name: size for size in SIZES}


@dataclass(frozen=True)
class Load:
    """What runs on a host, in cores, MB, connections and PHP children; with C(hours) of history."""

    tiers: tuple[str, ...] = ("app_servers",)
    cores: float = 0.3
    memory_mb: float = 800.0
    connections: float = 20.0
    children: float = 5.0
    data_mb: float = 300.0
    hits: float = 0.999
    redis_mb: float = 100.0
    drops: bool = False
    hours: float = 336.0
    state: str = "active"
    storage: str = "ssd"
    without: frozenset[str] = field(default_factory=frozenset)


def machine(name: str, load: Load, size: MachineSize | None) -> Machine:
    cluster = "mysql" if "mysql" in load.tiers else ""
    return Machine(name, load.tiers, load.state, size, storage=load.storage, cluster=cluster)


def history(loads: Mapping[str, Load], sizes: Mapping[str, MachineSize], policy: Policy, queue_age: float | None = 5.0) -> History:
    """The history that these loads leave on these machines: flat, so that every percentile is the load itself."""
    step = step_for(policy.window_hours)
    start = END - policy.window_hours * HOUR
    series: dict[str, dict[Key, Points]] = {}
    for name, load in loads.items():
        size = sizes[name]
        offers = machine(name, load, size).offers(size)
        count = int(load.hours * HOUR / step)
        times = [END - position * step for position in range(count)][::-1]
        times = [time for time in times if time >= start]
        values = {
            "cpu": load.cores / size.vcpus,
            "memory": load.memory_mb / size.memory_mb,
            "disk": 0.4,
            "memory_bytes": size.memory_mb * MB * 0.96,
            "cores": size.vcpus,
        }
        if "app_servers" in load.tiers:
            values["fpm"] = load.children / offers["php_fpm_children"]
        if "mysql" in load.tiers:
            pool = offers["innodb_buffer_pool_mb"]
            values |= {
                "connections": load.connections,
                "connections_used": load.connections / offers["mysql_max_connections"],
                "pool_bytes": pool * MB,
                "pool_data_bytes": min(load.data_mb, pool) * MB,
                "pool_hits": load.hits,
            }
        for query, value in values.items():
            if query not in load.without:
                series.setdefault(query, {})[(name,)] = tuple((time, value) for time in times)
        series.setdefault("up", {})[name, load.tiers[0] if load.tiers else ""] = tuple((time, 1.0) for time in times)
        if "redis_cluster" in load.tiers and "redis" not in load.without:
            limit = offers["redis_maxmemory_mb"]
            for query, value in (
                ("redis_used_bytes", min(load.redis_mb, limit) * MB),
                ("redis_limit_bytes", limit * MB),
                ("redis_evicted", 9.0 if load.drops else 0.0),
            ):
                series.setdefault(query, {})[name, "durable"] = tuple((time, value) for time in times)
    if queue_age is not None:
        series["queue_age"] = {("default",): tuple((END - position * step, queue_age) for position in range(100))[::-1]}
    return History(start, END, step, series)


def report(
    loads: Mapping[str, Load],
    sizes: Mapping[str, str | MachineSize],
    *,
    policy: Policy | None = None,
    known: Sequence[MachineSize] = SIZES,
    queue_age: float | None = 5.0,
) -> Report:
    """The report on these loads on machines of these sizes."""
    policy = policy or Policy()
    now = {name: BY_NAME[size] if isinstance(size, str) else size for name, size in sizes.items()}
    machines = [machine(name, load, now[name]) for name, load in sorted(loads.items())]
    return make_report(machines, history(loads, now, policy, queue_age), known, policy)


def applied(found: Report, sizes: Mapping[str, str | MachineSize], known: Sequence[MachineSize] = SIZES) -> dict[str, str | MachineSize]:
    """The sizes after everything that was suggested was done."""
    by_name = {size.name: size for size in known}
    return {**sizes, **{verdict.host: by_name[verdict.then] for verdict in found.suggestions}}
