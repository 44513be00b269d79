# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that lived for eight days: its inventory, and what Prometheus would have recorded of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plugins.module_utils.capacity import Host, size_host
from plugins.module_utils.fleet import DEFAULT_SIZES
from plugins.module_utils.report import MB

from .prometheus import Labels

HOUR, DAY = 3600.0, 86400.0
DAYS, STEP = 8, 60.0
PRICES = {
    "small": {"on_demand": 0.0208, "reserved": 0.0131},
    "medium": {"on_demand": 0.0416, "reserved": 0.0261},
    "large": {"on_demand": 0.0832, "reserved": 0.0522},
    "xlarge": {"on_demand": 0.1664, "reserved": 0.1045},
}
Signal = Callable[[float], float | None]


@dataclass(frozen=True)
class Lived:
    """A host: its use as shares at night and at the height of the day, what its disk grows by, when it is there."""

    tier: str
    size: str
    cpu: tuple[float, float]
    memory: tuple[float, float]
    disk_gb_a_day: float = 0.0
    hours: float = DAYS * 24
    awake: tuple[int, int] = (0, 24)
    more: dict[str, float] = field(default_factory=dict)


FLEET = {
    "lb1": Lived("load_balancers", "small", (0.03, 0.15), (0.2, 0.22)),
    "lb2": Lived("load_balancers", "small", (0.01, 0.02), (0.2, 0.2)),
    "app1": Lived("app_servers", "large", (0.03, 0.2), (0.14, 0.2), 0.1, more={"fpm": 0.15}),
    "app2": Lived("app_servers", "medium", (0.1, 0.85), (0.3, 0.5), 0.1, more={"fpm": 0.6}),
    "app3": Lived("app_servers", "medium", (0.1, 0.35), (0.3, 0.6), 0.1, awake=(7, 21), more={"fpm": 0.3}),
    "app4": Lived("app_servers", "medium", (0.1, 0.4), (0.3, 0.4), 0.1, hours=10, more={"fpm": 0.3}),
    "db1": Lived("mysql", "xlarge", (0.05, 0.2), (0.8, 0.9), 1.0, more={"connections": 90, "data_mb": 4000, "misses": 0.2}),
    "db2": Lived("mysql", "xlarge", (0.02, 0.1), (0.8, 0.9), 1.0, more={"connections": 20, "data_mb": 4000, "misses": 0.1}),
    "redis1": Lived("redis_cluster", "medium", (0.02, 0.1), (0.5, 0.7), more={"durable": 0.3, "cache": 0.99}),
    "redis2": Lived("redis_cluster", "medium", (0.02, 0.1), (0.5, 0.7), more={"durable": 0.3, "cache": 0.99}),
    "redis3": Lived("redis_cluster", "medium", (0.02, 0.1), (0.5, 0.7), more={"durable": 0.3, "cache": 0.99}),
    "worker1": Lived("queue_workers", "medium", (0.05, 0.25), (0.2, 0.45), 0.05),
}


def inventory(folder: Path) -> Path:
    """The folder's inventory file."""
    groups: dict[str, Any] = {}
    for number, (name, host) in enumerate(FLEET.items(), 1):
        row = {"ansible_host": f"192.0.2.{number}", "fleet_size": host.size, **({"mysql_primary": True} if name == "db1" else {})}
        groups.setdefault(host.tier, {"hosts": {}})["hosts"][name] = row
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(groups), encoding="utf-8")
    return path


def history(end: float, seed: int = 4) -> dict[str, dict[Labels, list[tuple[float, float]]]]:
    """Eight days of samples, a minute apart, until C(end)."""
    noise = random.Random(seed)
    start = end - DAYS * DAY
    series: dict[str, dict[Labels, list[tuple[float, float]]]] = {}

    def record(metric: str, labels: dict[str, str], signal: Signal, hours: float = DAYS * 24) -> None:
        times = [start + position * STEP for position in range(int(DAYS * DAY / STEP) + 1)]
        points = ((when, signal(when)) for when in times if when >= end - hours * HOUR)
        series.setdefault(metric, {})[tuple(labels.items())] = [(when, value) for when, value in points if value is not None]

    for name, host in FLEET.items():
        both = {"host": name, "tier": host.tier}
        vcpus, memory_mb = DEFAULT_SIZES[host.size].vcpus or 0, DEFAULT_SIZES[host.size].memory_mb or 0
        figures = size_host(Host(name, memory_mb, vcpus, "ssd", (host.tier,)))

        def daily(low_high: tuple[float, float], host: Lived = host) -> Signal:
            def value(when: float) -> float | None:
                hour = when % DAY / HOUR
                if not host.awake[0] <= hour < host.awake[1]:
                    return None
                busy = max(0.0, math.sin((hour - 6) / 14 * math.pi)) if 6 <= hour <= 20 else 0.0
                low, high = low_high
                return min(max(low + (high - low) * busy + noise.gauss(0, 0.01), 0.0), 1.0)

            return value

        def steady(value: float, host: Lived = host) -> Signal:
            return lambda when: value if host.awake[0] <= when % DAY / HOUR < host.awake[1] else None

        record("fleet:cpu_used:ratio", both, daily(host.cpu), host.hours)
        record("fleet:memory_used:ratio", both, daily(host.memory), host.hours)
        record("fleet:up:bool", both, steady(1.0), host.hours)
        record("node_memory_MemTotal_bytes", {**both, "job": "node"}, steady(memory_mb * MB * 0.97), host.hours)
        for core in range(vcpus):
            labels = {**both, "job": "node", "cpu": str(core), "mode": "idle"}
            record("node_cpu_seconds_total", labels, lambda when: when - start, host.hours)
        disk = {**both, "job": "node", "device": "/dev/vda1", "fstype": "ext4", "mountpoint": "/"}
        size, used = 40 * 2.0**30, 12 * 2.0**30
        grows = host.disk_gb_a_day * 2.0**30 / DAY

        def free(when: float, size: float = size, used: float = used, grows: float = grows) -> float:
            return size - used - grows * (when - start) - noise.random() * 2e7

        record("node_filesystem_size_bytes", disk, steady(size), host.hours)
        record("node_filesystem_avail_bytes", disk, free, host.hours)
        record("fleet:disk_used:ratio", both, lambda when, free=free, size=size: 1 - free(when) / size, host.hours)
        more = host.more
        if "fpm" in more:
            record("fleet:fpm_busy:ratio", both, daily((0.02, more["fpm"])), host.hours)
        if "connections" in more:
            limit, pool_mb = figures["mysql_max_connections"].value, figures["innodb_buffer_pool_mb"].value
            record("fleet:database_connections:count", both, steady(more["connections"]))
            record("fleet:database_connections_used:ratio", both, steady(more["connections"] / limit))
            record("mysql_global_variables_innodb_buffer_pool_size", both, steady(pool_mb * MB))
            record("mysql_global_status_innodb_buffer_pool_bytes_data", both, steady(more["data_mb"] * MB))
            record("mysql_global_status_innodb_buffer_pool_read_requests", both, lambda when: (when - start) * 500)
            record("mysql_global_status_innodb_buffer_pool_reads", both, lambda when, more=more: (when - start) * more["misses"])
        for pool, share in ((pool, more[pool]) for pool in ("durable", "cache") if pool in more):
            labels = {**both, "job": "redis", "instance": f"{name}-{pool}"}
            limit_bytes = figures["redis_maxmemory_mb"].value / 2 * MB
            record("redis_memory_max_bytes", labels, steady(limit_bytes))
            record("redis_memory_used_bytes", labels, steady(limit_bytes * share))
            record("redis_evicted_keys_total", labels, lambda when, pool=pool: (when - start) * 2 if pool == "cache" else 0.0)
    record("fleet:queue_oldest_job_age:seconds", {"queue": "default"}, lambda when: 4.0 + noise.random())
    return series
