# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet uses of what it has, and what would do: from Prometheus' history, sizes and prices to a report. Pure.

The rules:

- A host needs its 95th percentile of CPU, memory, connections and busy PHP children below a target share of what a size offers.
  What it uses is taken as cores and megabytes that stay the same on another size.
- The memory of MySQL and Redis is meant to be full. MySQL is judged by its buffer pool: how much data is in it, and when it is
  full, whether it answers nearly all requests. Redis is judged by its pools' use of C(maxmemory); one that drops keys is full by design.
- Hosts that take over from each other (a MySQL cluster, Redis, the balancers) need what the busiest of them needs.
- What ``capacity`` computes for a size is what the size offers; a suggestion that the connection budget refuses is taken back.
- Nothing is suggested for a host with less history than was asked for, and nothing dearer where nothing is above its target.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .capacity import CapacityError, Host, Settings, number_from, settings_from, size_host
from .connection_budget import connection_budget
from .fleet import DEFAULT_SIZES
from .report_history import (
    HOUR,
    RESIZED,
    History,
    daily_minimum,
    hourly_hosts,
    quantile,
    trend,
    unchanged_since,
    weighted,
)

QUANTILE = 0.95
HOURS_A_MONTH = 730
MB = 2**20
# Samples that end earlier than this before the report's end say nothing of today.
STALE_SECONDS = 3600
# Tiers whose hosts take over from each other at any moment.
SHARED_FATE = ("load_balancers", "redis_cluster")
FULL_BY_DESIGN = ("mysql", "redis_cluster")
# Only these wait for their disks.
BOUND_TO_STORAGE = ("mysql", "object_storage")
FASTER = {name: rank for rank, name in enumerate(("hdd", "ssd", "nvme"))}
# Role variables that an inventory may set by hand instead of what is computed from the size.
BY_HAND: Mapping[str, tuple[str, str]] = {
    "php_fpm_max_children": ("app_servers", "php_fpm_children"),
    "mysql_max_connections": ("mysql", "mysql_max_connections"),
    "mysql_buffer_pool_mb": ("mysql", "innodb_buffer_pool_mb"),
}
KIND_UNITS: Mapping[str, str] = {
    "vcpus": "cores",
    "memory_mb": "MB",
    "mysql_max_connections": "connections",
    "php_fpm_children": "PHP children",
    "innodb_buffer_pool_mb": "MB of buffer pool",
    "redis_maxmemory_mb": "MB of maxmemory",
    "queue_worker_processes": "worker processes",
}


class ReportError(ValueError):
    """A report can't be made; one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Policy:
    """What is enough: history in hours, targets in percent of what a size offers."""

    history_hours: float = 168.0
    window_hours: float = 336.0
    cpu_percent: float = 60.0
    memory_percent: float = 75.0
    connections_percent: float = 80.0
    children_percent: float = 80.0
    pool_percent: float = 90.0
    pool_hits_percent: float = 99.0
    queue_seconds: float = 60.0
    disk_days: float = 30.0
    currency: str = "USD"


@dataclass(frozen=True)
class MachineSize:
    """A size that can be had; prices per hour, None where the table says nothing."""

    name: str
    vcpus: int
    memory_mb: int
    storage: str | None = None
    price: Decimal | None = None
    reserved: Decimal | None = None

    @property
    def bulk(self) -> int:
        """One number for a machine, a core counting as 2 GB, to order sizes that have no price."""
        return self.vcpus * 2048 + self.memory_mb


@dataclass(frozen=True)
class Machine:
    """A host as the inventory has it, with the size that it has now."""

    name: str
    tiers: tuple[str, ...]
    state: str
    size: MachineSize | None
    storage: str = "ssd"
    own_storage: str | None = None
    cluster: str = ""
    cost: Settings = field(default_factory=Settings)
    by_hand: Mapping[str, int] = field(default_factory=dict)

    def offers(self, size: MachineSize) -> dict[str, float]:
        """How much of each kind this host would have on that size."""
        figures = size_host(Host(self.name, size.memory_mb, size.vcpus, size.storage or self.storage, self.tiers), self.cost)
        computed = {name: float(figure.value) for name, figure in figures.items()}
        found = {"vcpus": float(size.vcpus), "memory_mb": float(size.memory_mb), **computed}
        for kind, value in self.by_hand.items():
            found |= {f"computed {kind}": computed[kind], kind: float(value)}
        return found


@dataclass(frozen=True)
class Need:
    """C(amount) of C(kind) must be at most C(target) (0..1) of what a size offers. C(tier) limits it to hosts of that tier."""

    what: str
    kind: str
    amount: float
    target: float
    tier: str = ""
    note: str = ""

    def share(self, offers: Mapping[str, float]) -> float:
        has = offers.get(self.kind, 0.0)
        return self.amount / has if has else float("inf")

    def met(self, offers: Mapping[str, float]) -> bool:
        return self.amount <= self.target * offers.get(self.kind, 0.0) * (1 + 1e-9)

    def told(self, offers: Mapping[str, float]) -> str:
        """``CPU: 0.42 of 1 cores = 42 %, at most 60 %``"""
        has = offers.get(self.kind, 0.0)
        unit = KIND_UNITS.get(self.kind.removeprefix("computed "), self.kind)
        unit = "core" if unit == "cores" and has == 1 else unit
        if self.target == 1.0:
            return f"{self.what}: at least {amount(self.amount)} {unit}, has {amount(has)}"
        return f"{self.what}: {amount(self.amount)} of {amount(has)} {unit} = {percent(self.share(offers))}, at most {percent(self.target)}"


@dataclass(frozen=True)
class Use:
    """The 95th percentile of one thing: its share (0..1) of what the host has; C(used) and C(has) in C(unit) where they are known."""

    share: float
    used: float | None = None
    has: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is said of a host: C(smaller), C(larger), C(keep), C(stuck) (no size is enough) or C(refused). Money is per hour."""

    host: str
    outcome: str
    reason: str
    arithmetic: tuple[str, ...] = ()
    now: str = ""
    then: str = ""
    price_now: Decimal | None = None
    price_then: Decimal | None = None

    @property
    def saving(self) -> Decimal | None:
        """What it saves per hour; below 0 when it costs more; None without both prices."""
        if not self.then or self.price_now is None or self.price_then is None:
            return None
        return self.price_now - self.price_then


@dataclass(frozen=True)
class HostRow:
    """What one host has and uses; C(since) is when it got its size, 0 when it had it all the time."""

    host: str
    tiers: tuple[str, ...]
    state: str
    size: str
    vcpus: int | None
    memory_mb: int | None
    history_hours: float
    since: float
    cpu: Use | None
    memory: Use | None
    disk: Use | None
    connections: Use | None


@dataclass(frozen=True)
class TierRow:
    """A tier as a whole: CPU and memory of all its hosts together, the fullest disk, the most connections of one host."""

    tier: str
    hosts: tuple[str, ...]
    vcpus: int
    memory_mb: int
    cpu: Use | None
    memory: Use | None
    disk: Use | None
    connections: Use | None
    price_now: Decimal | None
    price_then: Decimal | None


@dataclass(frozen=True)
class Split:
    """How many hosts of a tier are always needed, and what reserving them saves per hour; or why that can't be said."""

    tier: str
    reason: str
    refused: bool = False
    reserve: int = 0
    average: float = 0.0
    most: int = 0
    hosts: tuple[str, ...] = ()
    daily: tuple[tuple[float, int], ...] = ()
    saving: Decimal | None = None
    arithmetic: str = ""


@dataclass(frozen=True)
class Growth:
    """One file system: its size, what is free, what it grows by per day, and when it is full."""

    host: str
    mountpoint: str
    size_bytes: float
    free_bytes: float
    bytes_per_day: float
    days_left: float | None


@dataclass(frozen=True)
class Report:
    """All that is said; C(made) in seconds since 1970."""

    made: float
    policy: Policy
    hosts: tuple[HostRow, ...]
    tiers: tuple[TierRow, ...]
    verdicts: tuple[Verdict, ...]
    splits: tuple[Split, ...]
    growth: tuple[Growth, ...]
    notes: tuple[str, ...]
    priced: bool

    @property
    def suggestions(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.outcome in ("smaller", "larger"))

    @property
    def refusals(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.outcome == "refused")

    @property
    def refused(self) -> bool:
        """Whether there was too little history to say anything of any host."""
        return bool(self.refusals) and len(self.refusals) == len(self.verdicts)

    @property
    def price_now(self) -> Decimal:
        return sum((row.price_now for row in self.tiers if row.price_now is not None), Decimal(0))

    @property
    def price_then(self) -> Decimal:
        return sum((row.price_then for row in self.tiers if row.price_then is not None), Decimal(0))

    @property
    def saving(self) -> Decimal:
        """Of all suggestions together, per hour."""
        return sum((verdict.saving for verdict in self.suggestions if verdict.saving is not None), Decimal(0))

    @property
    def reserving_saves(self) -> Decimal:
        return sum((split.saving for split in self.splits if split.saving is not None), Decimal(0))

    @property
    def filling(self) -> tuple[Growth, ...]:
        """File systems that will be full within C(policy.disk_days)."""
        return tuple(row for row in self.growth if row.days_left is not None and row.days_left <= self.policy.disk_days)

    def as_dict(self) -> dict[str, Any]:
        """Plain data; money as numbers per hour, times as ISO 8601."""
        rows = [{**asdict(verdict), "saving": verdict.saving} for verdict in self.verdicts]
        found = _plain(
            {
                **asdict(self),
                "made": iso(self.made),
                "hosts": [{**asdict(row), "since": iso(row.since) if row.since else None} for row in self.hosts],
                "verdicts": rows,
                "splits": [{**asdict(row), "daily": {iso(day)[:10]: count for day, count in row.daily}} for row in self.splits],
                "refused": self.refused,
                "price_now": self.price_now if self.priced else None,
                "price_then": self.price_then if self.priced else None,
                "saving": self.saving if self.priced else None,
                "reserving_saves": self.reserving_saves if self.priced else None,
                "hours_a_month": HOURS_A_MONTH,
            }
        )
        return dict(found)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return round(value, 6) if isinstance(value, float) else value


# -- words ------------------------------------------------------------------------------------------------------------


def iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.0f} %"


def amount(value: float) -> str:
    """Cores with two digits, everything large as a whole number with commas."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def size_of(bytes_: float) -> str:
    for unit, factor in (("TB", 2**40), ("GB", 2**30), ("MB", 2**20)):
        if abs(bytes_) >= 0.95 * factor:
            return f"{bytes_ / factor:,.1f} {unit}"
    return f"{bytes_ / 1024:,.0f} kB"


def a_month(hourly: Decimal, currency: str) -> str:
    return f"{hourly * HOURS_A_MONTH:,.2f} {currency} a month"


def tier_words(tiers: Sequence[str]) -> str:
    return ", ".join(tiers) or "no tier"


# -- what is given ----------------------------------------------------------------------------------------------------


def policy_from(given: Mapping[str, Any]) -> Policy:
    """The policy with what is given (None for the default) laid over it. Raises ReportError.

    The window is twice the history unless it is given.
    """
    values: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        if key == "currency":
            values[key] = str(value)
            continue
        number = number_from(value)
        top = 100.0 if key.endswith("_percent") else float("inf")
        if number is None or not 0 < number <= top:
            limits = "from 1 to 100" if key.endswith("_percent") else "a number above 0"
            raise ReportError(f"report_{key} must be {limits}, not: {value}")
        values[key] = number
    policy = Policy(**values)
    if "window_hours" not in values:
        return replace(policy, window_hours=2 * policy.history_hours)
    if policy.window_hours < policy.history_hours:
        raise ReportError(
            f"report_window_hours must be at least report_history_hours ({policy.history_hours:g}), not: {policy.window_hours:g}; "
            "leave it out to look back twice as far"
        )
    return policy


def sizes_from(fleet_sizes: Mapping[str, Any], prices: Mapping[str, Any] | None) -> tuple[MachineSize, ...]:
    """The sizes that can be had: with a price table those that it names, else all. Raises ReportError for a bad table.

    ``prices`` maps a size to its price per hour, or to C(on_demand) and C(reserved).
    """
    rows: dict[str, MachineSize] = {
        name: MachineSize(name, int(size.vcpus or 0), int(size.memory_mb or 0), size.storage) for name, size in DEFAULT_SIZES.items()
    }
    for name, row in fleet_sizes.items():
        vcpus, memory_mb = number_from(row.get("vcpus")), number_from(row.get("memory_mb"))
        if vcpus and memory_mb:
            rows[str(name)] = MachineSize(str(name), int(vcpus), int(memory_mb), row.get("storage"))
    if not prices:
        return tuple(rows.values())
    priced = []
    for name, told in prices.items():
        if name not in rows:
            near = difflib.get_close_matches(str(name), list(rows), n=1, cutoff=0.6)
            hint = f" (did you mean {near[0]}?)" if near else ""
            known = ", ".join(sorted(rows))
            raise ReportError(f"report_prices: {name} is not a size{hint}; use one of {known}, or describe it in fleet_sizes")
        row = told if isinstance(told, Mapping) else {"on_demand": told}
        unknown = [str(key) for key in row if key not in ("on_demand", "reserved")]
        if unknown or "on_demand" not in row:
            raise ReportError(f"report_prices.{name} must be a price per hour, or hold on_demand and maybe reserved, not: {told}")
        on_demand, reserved = (_price(f"report_prices.{name}", row.get(key)) for key in ("on_demand", "reserved"))
        priced.append(replace(rows[name], price=on_demand, reserved=reserved))
    return tuple(priced)


def _price(where: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    number = number_from(value)
    if number is None or number < 0:
        raise ReportError(f"{where} must be a price per hour, such as 0.0416, not: {value}")
    return Decimal(str(value).strip())


def machines_from(
    fleet: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    sizes: Sequence[MachineSize],
    fleet_sizes: Mapping[str, Any],
    history: History,
) -> tuple[Machine, ...]:
    """The hosts of ``fleet`` (as its filter gives it); what the inventory leaves out of a size, Prometheus saw."""
    all_sizes = {size.name: size for size in (*sizes_from(fleet_sizes, None), *sizes)}
    clusters = {
        row["name"]: str(name) for name, cluster in (fleet.get("mysql_clusters") or {}).items() for row in cluster.get("hosts", ())
    }
    found = []
    for name, server in sorted(fleet["hosts"].items()):
        own = hostvars.get(name, {})
        try:
            cost = settings_from(own.get("capacity_settings"))
        except CapacityError as error:
            raise ReportError(f"host {name}: {error}") from error
        tiers = tuple(server["tiers"])
        by_hand = {
            kind: int(number)
            for variable, (tier, kind) in BY_HAND.items()
            if tier in tiers and (number := number_from(own.get(variable)))
        }
        found.append(
            Machine(
                name=name, tiers=tiers, state=server["state"], size=_size_now(server, all_sizes, history),
                storage=str(server.get("storage") or "ssd"), own_storage=own.get("fleet_storage"), cluster=clusters.get(name, ""),
                cost=cost, by_hand=by_hand,
            )
        )  # fmt: skip
    return tuple(found)


def _size_now(server: Mapping[str, Any], sizes: Mapping[str, MachineSize], history: History) -> MachineSize | None:
    vcpus = server.get("vcpus") or round(_last(history, "cores", server["name"]))
    memory_mb = server.get("memory_mb") or round(_last(history, "memory_bytes", server["name"]) / MB)
    if not vcpus or not memory_mb:
        return None
    named = sizes.get(str(server.get("size")))
    if named is None:
        same = [size for size in sizes.values() if size.vcpus == vcpus and about(size.memory_mb, memory_mb)]
        named = min(same, key=lambda size: (size.price is None, size.price or 0, size.name), default=None)
    if named is None or named.vcpus != vcpus or not about(named.memory_mb, memory_mb):
        return MachineSize(f"{vcpus} vCPU, {memory_mb} MB", int(vcpus), int(memory_mb), server.get("storage"))
    return named


def about(one: float, other: float) -> bool:
    """Whether two machines have the same memory; the kernel keeps some of what was paid for."""
    return abs(one - other) <= RESIZED * max(one, other)


def _last(history: History, name: str, host: str) -> float:
    points = history.of(name, host)
    return points[-1][1] if points else 0.0


# -- use --------------------------------------------------------------------------------------------------------------


def _since(machine: Machine, history: History) -> float:
    return max(unchanged_since(history.of(name, machine.name)) for name in ("memory_bytes", "cores"))


def _host_row(machine: Machine, history: History) -> HostRow:
    since, size = _since(machine, history), machine.size
    cpu = [point for point in history.of("cpu", machine.name) if point[0] >= since]
    return HostRow(
        host=machine.name, tiers=machine.tiers, state=machine.state, size=size.name if size else "unknown",
        vcpus=size.vcpus if size else None, memory_mb=size.memory_mb if size else None,
        history_hours=history.hours(cpu), since=since,
        cpu=_use(history.values("cpu", machine.name, since=since), size.vcpus if size else None, "cores"),
        memory=_use(history.values("memory", machine.name, since=since), size.memory_mb if size else None, "MB"),
        disk=_use(history.values("disk", machine.name), None, ""),
        connections=_connections(machine.name, history, since),
    )  # fmt: skip


def _use(values: Sequence[float], has: float | None, unit: str) -> Use | None:
    share = quantile(values, QUANTILE)
    return None if share is None else Use(share, share * has if has else None, has, unit)


def _connections(host: str, history: History, since: float) -> Use | None:
    used = quantile(history.values("connections", host, since=since), QUANTILE)
    share = quantile(history.values("connections_used", host, since=since), QUANTILE)
    if used is None or share is None:
        return None
    return Use(share, used, round(used / share) if share else None, "connections")


# -- needs ------------------------------------------------------------------------------------------------------------


def _needs(machine: Machine, row: HostRow, history: History, policy: Policy) -> list[Need]:
    """What the host needs by its own use; C(note) says what was judged otherwise than one would think."""
    if machine.size is None or row.cpu is None or row.cpu.used is None:
        raise AssertionError(f"{machine.name} has no size or no use of CPU: who asks leaves it out")
    offers = machine.offers(machine.size)
    needs = [Need("CPU", "vcpus", row.cpu.used, policy.cpu_percent / 100)]
    if not set(machine.tiers) & set(FULL_BY_DESIGN) and row.memory is not None and row.memory.used is not None:
        needs.append(Need("memory", "memory_mb", row.memory.used, policy.memory_percent / 100))
    if "app_servers" in machine.tiers:
        busy = quantile(history.values("fpm", machine.name, since=row.since), QUANTILE)
        children = offers["php_fpm_children"]
        if busy is None:
            note = "it keeps its PHP children: there are no samples of fleet:fpm_busy:ratio"
            needs.append(Need("PHP", "php_fpm_children", children, 1.0, "app_servers", note))
        else:
            needs.append(Need("busy PHP children", "php_fpm_children", busy * children, policy.children_percent / 100, "app_servers"))
    if "mysql" in machine.tiers:
        needs += _mysql_needs(machine, row, history, policy, offers)
    if "redis_cluster" in machine.tiers:
        needs += _redis_needs(machine, row, history, policy, offers)
    if "queue_workers" in machine.tiers:
        needs += _queue_needs(history, policy, offers)
    for kind, value in machine.by_hand.items():
        kept = min(float(value), offers[f"computed {kind}"])
        note = f"{kind} is set to {value} in the inventory: a size that computes less than {amount(kept)} is not for it"
        needs.append(Need(f"{kind} set by hand", f"computed {kind}", kept, 1.0, note=note))
    return needs


def _mysql_needs(machine: Machine, row: HostRow, history: History, policy: Policy, offers: Mapping[str, float]) -> Iterator[Need]:
    kind, tier = "innodb_buffer_pool_mb", "mysql"
    if row.connections is not None and row.connections.used is not None:
        limit = policy.connections_percent / 100
        yield Need("database connections", "mysql_max_connections", row.connections.used, limit, tier)
    else:
        note = "it keeps its connections: there are no samples of fleet:database_connections:count"
        yield Need("database connections", "mysql_max_connections", offers["mysql_max_connections"], 1.0, tier, note)
    data = quantile(history.values("pool_data_bytes", machine.name, since=row.since), QUANTILE)
    pool = _last(history, "pool_bytes", machine.name) / MB or offers[kind]
    hits = quantile(history.values("pool_hits", machine.name, since=row.since), 1 - QUANTILE)
    told = "memory is meant to be full on a MySQL host, so the buffer pool decides: "
    if data is None:
        note = told + "nothing is known of it, so it keeps what it has and only CPU is judged"
        yield Need("buffer pool", kind, offers[kind], 1.0, tier, note)
    elif data / MB <= policy.pool_percent / 100 * pool:
        used = data / MB
        note = told + f"{amount(used)} MB of data in a pool of {amount(pool)} MB leave room"
        yield Need("data in the buffer pool", kind, used, policy.pool_percent / 100, tier, note)
    elif hits is not None and hits < policy.pool_hits_percent / 100:
        note = told + f"it is full and answers {hits * 100:.1f} % of the page requests, below {policy.pool_hits_percent:g} %"
        yield Need("a larger buffer pool", kind, offers[kind] + 1, 1.0, tier, note)
    else:
        said = f"it is full and answers {hits * 100:.1f} % of the page requests" if hits is not None else "it is full"
        note = told + f"{said}; nobody can say what a smaller one would answer, so it is kept and only CPU and connections are judged"
        yield Need("buffer pool", kind, offers[kind], 1.0, tier, note)


def _redis_needs(machine: Machine, row: HostRow, history: History, policy: Policy, offers: Mapping[str, float]) -> list[Need]:
    """Each instance must keep its data below the target in its share of the host's C(maxmemory)."""
    kind, tier, told = "redis_maxmemory_mb", "redis_cluster", "memory is Redis' to fill, so use of maxmemory decides: "
    limits = {key: points[-1][1] / MB for key in history.keys("redis_limit_bytes") if key[0] == machine.name
              and (points := history.of("redis_limit_bytes", *key))[-1][1] > 0}  # fmt: skip
    used = {key: quantile(history.values("redis_used_bytes", *key, since=row.since), QUANTILE) for key in limits}
    if not limits or any(value is None for value in used.values()):
        note = told + "nothing is known of it, so it keeps what it has and only CPU is judged"
        return [Need("maxmemory", kind, offers[kind], 1.0, tier, note)]
    dropping = [key for key in limits if any(value > 0 for value in history.values("redis_evicted", *key, since=row.since))]
    needs = [
        Need("maxmemory", kind, offers[kind], 1.0, tier, told + f"{key[1]} drops keys, so it is full by design and keeps what it has")
        for key in dropping
    ]
    whole = sum(limits.values())
    for key in sorted(set(limits) - set(dropping)):
        data = (used[key] or 0.0) / MB
        note = told + f"{key[1]} holds {amount(data)} of {amount(limits[key])} MB"
        needs.append(Need(f"data of {key[1]}", kind, data * whole / limits[key], policy.memory_percent / 100, tier, note))
    return needs


def _queue_needs(history: History, policy: Policy, offers: Mapping[str, float]) -> Iterator[Need]:
    ages = {key[0]: quantile(history.values("queue_age", *key), QUANTILE) or 0.0 for key in history.keys("queue_age")}
    slow = max(ages, key=lambda queue: ages[queue], default="")
    kind = "queue_worker_processes"
    if not ages:
        note = "it keeps its processes: there are no samples of fleet:queue_oldest_job_age:seconds"
        yield Need("workers", kind, offers[kind], 1.0, "queue_workers", note)
    elif ages[slow] > policy.queue_seconds:
        note = f"it keeps its processes: jobs of queue {slow} wait up to {ages[slow]:.0f} s (p95), more than {policy.queue_seconds:g} s"
        yield Need("workers", kind, offers[kind], 1.0, "queue_workers", note)


# -- verdicts ---------------------------------------------------------------------------------------------------------


def _refusal(machine: Machine, row: HostRow, history: History, policy: Policy) -> str:
    """Why nothing can be suggested for the host, or nothing."""
    name = machine.name
    if machine.size is None:
        return f"{name}: its size is not known: set fleet_size, or fleet_memory_mb and fleet_vcpus, or let its node exporter run"
    seen = {kind: _last(history, kind, name) for kind in ("cores", "memory_bytes")}
    if (seen["cores"] and round(seen["cores"]) != machine.size.vcpus) or (
        seen["memory_bytes"] and not about(seen["memory_bytes"] / MB, machine.size.memory_mb)
    ):
        saw = f"{seen['cores']:.0f} cores and {seen['memory_bytes'] / MB:,.0f} MB"
        return (
            f"{name}: the inventory gives it {machine.size.vcpus} cores and {machine.size.memory_mb:,} MB, it has {saw}: "
            "run resize.yml, or correct the inventory"
        )
    for series, what in (("cpu", "fleet:cpu_used:ratio"), ("memory", "fleet:memory_used:ratio")):
        points = history.of(series, name)
        if not points:
            return f"{name}: there are no samples of {what} with host={name}: is its node exporter scraped?"
        if history.end - points[-1][0] > max(STALE_SECONDS, 3 * history.step):
            return f"{name}: the last sample of {what} is from {iso(points[-1][0])}: is its node exporter scraped?"
    hours = row.history_hours
    if hours < policy.history_hours:
        size = f" since it was resized at {iso(row.since)}" if row.since else ""
        return (
            f"{name}: {hours:.1f} h of history{size} is less than report_history_hours: {policy.history_hours:g}; "
            f"run it again in {policy.history_hours - hours:.0f} h, or accept less with -e report_history_hours={max(int(hours), 1)}"
        )
    return ""


def _groups(machines: Sequence[Machine]) -> list[list[Machine]]:
    """Hosts that must be of the same size because they take over from each other; most hosts are alone."""
    groups: list[tuple[set[str], list[Machine]]] = []
    for machine in machines:
        fates = {tier for tier in machine.tiers if tier in SHARED_FATE} | ({f"mysql {machine.cluster}"} if machine.cluster else set())
        touched = [group for group in groups if group[0] & fates]
        groups = [group for group in groups if group not in touched]
        groups.append((fates.union(*(group[0] for group in touched)), [*(one for group in touched for one in group[1]), machine]))
    return [members for _fates, members in groups]


@dataclass(frozen=True)
class _Judged:
    """A host that can be judged: its own needs, and those of all that it may have to take over from."""

    machine: Machine
    size: MachineSize
    own: tuple[Need, ...]
    shared: tuple[Need, ...]

    def fits(self, size: MachineSize, needs: Iterable[Need] | None = None) -> bool:
        offers = self.machine.offers(size)
        return all(need.met(offers) for need in (self.shared if needs is None else needs))


def _with_shared(judged: Sequence[_Judged]) -> list[_Judged]:
    """Each host with the needs of its whole group: of each kind the one that asks for most."""
    most: dict[tuple[str, str], Need] = {}
    for one in judged:
        for need in one.own:
            key = (need.kind, need.tier)
            if key not in most or need.amount / need.target > most[key].amount / most[key].target:
                most[key] = need
    found = []
    for one in judged:
        mine = tuple(need for need in most.values() if not need.tier or need.tier in one.machine.tiers)
        by_hand = {f"computed {kind}" for kind in one.machine.by_hand}
        found.append(replace(one, shared=tuple(need for need in mine if not need.kind.startswith("computed ") or need.kind in by_hand)))
    return found


def _judge(one: _Judged, group: Sequence[_Judged], sizes: Sequence[MachineSize]) -> Verdict:
    machine, now = one.machine, one.size
    pressed = [other.machine.name for other in group if not other.fits(other.size, other.own)]
    offers_now = machine.offers(now)
    priced = any(size.price is not None for size in sizes)

    def cost(size: MachineSize) -> tuple[Decimal, int, str]:
        return (size.price or Decimal(0), size.bulk, size.name)

    def saves(size: MachineSize) -> bool:
        return size.price < now.price if priced and now.price is not None and size.price is not None else size.bulk < now.bulk

    def verdict(outcome: str, reason: str, then: MachineSize | None = None) -> Verdict:
        judged_on = [need.told(machine.offers(then or now)) for need in one.shared]
        notes = tuple(dict.fromkeys(need.note for need in one.shared if need.note))
        told = (*judged_on, *notes)
        return Verdict(
            machine.name, outcome, reason, told, now.name, then.name if then else "", now.price, then.price if then else None
        )

    enough = sorted((size for size in sizes if _storage_is_enough(machine, size) and one.fits(size)), key=cost)
    if one.fits(now):
        better = [size for size in enough[:1] if saves(size)]
        if not better:
            return verdict("keep", _why_kept(one, sizes, saves))
        return verdict("smaller", f"{better[0].name} is enough: {_tightest(one, better[0])}", better[0])
    short = _first_unmet(one.shared, offers_now)
    if not pressed:
        return verdict(
            "keep",
            f"{now.name} does for its own load, but not if it had to take over from the busiest of "
            f"{', '.join(other.machine.name for other in group)}: {short}",
        )
    why = short if machine.name in pressed else f"it may have to take over from {', '.join(pressed)}: {short}"
    if not enough:
        cure = "add hosts (scale.yml)" if set(machine.tiers) & {"app_servers", "queue_workers"} else "describe a larger one in fleet_sizes"
        table = " and give its price in report_prices" if priced and cure.startswith("describe") else ""
        return verdict("stuck", f"{now.name} is too small and no known size is enough: {why}; {cure}{table}")
    return verdict("larger", f"{now.name} is too small: {why}; with {enough[0].name}: {_tightest(one, enough[0])}", enough[0])


def _storage_is_enough(machine: Machine, size: MachineSize) -> bool:
    if not set(machine.tiers) & set(BOUND_TO_STORAGE):
        return True
    return FASTER[machine.own_storage or size.storage or "ssd"] >= FASTER[machine.storage]


def _first_unmet(needs: Iterable[Need], offers: Mapping[str, float]) -> str:
    unmet = [need for need in needs if not need.met(offers)]
    return "; ".join(need.told(offers) + (f" ({need.note})" if need.note else "") for need in unmet)


def _tightest(one: _Judged, size: MachineSize) -> str:
    """What comes nearest to its target on that size, in words."""
    offers = one.machine.offers(size)
    nearest = max((need for need in one.shared if need.target < 1.0), key=lambda need: need.share(offers) / need.target)
    return f"p95 of {nearest.told(offers)}"


def _why_kept(one: _Judged, sizes: Sequence[MachineSize], saves: Any) -> str:
    """What stands against the dearest of the sizes that would save something."""
    cheaper = sorted((size for size in sizes if saves(size)), key=lambda size: (size.price or Decimal(0), size.bulk), reverse=True)
    for size in cheaper:
        offers = one.machine.offers(size)
        if not _storage_is_enough(one.machine, size):
            return f"{size.name} would cost less, but its storage is slower than {one.machine.storage}"
        if not one.fits(size):
            return f"{size.name} would be too small: {_first_unmet(one.shared, offers)}"
    return f"{one.size.name} is the smallest size that is known" if one.size.price is None else f"no size costs less than {one.size.name}"


def judge(
    machines: Sequence[Machine], rows: Mapping[str, HostRow], history: History, sizes: Sequence[MachineSize], policy: Policy
) -> list[Verdict]:
    """A verdict for each host that is active and in a tier, in the order of ``machines``."""
    found: dict[str, Verdict] = {}
    for group in _groups([machine for machine in machines if machine.state == "active" and machine.tiers]):
        refusals = {machine.name: _refusal(machine, rows[machine.name], history, policy) for machine in group}
        if any(refusals.values()):
            first = next(name for name, sentence in refusals.items() if sentence)
            for machine in group:
                waits = f"{machine.name}: it gets the size of its group, which waits for {first}"
                size = machine.size.name if machine.size else ""
                found[machine.name] = Verdict(machine.name, "refused", refusals[machine.name] or waits, now=size)
            continue
        judged = _with_shared(
            [
                _Judged(machine, machine.size, tuple(_needs(machine, rows[machine.name], history, policy)), ())
                for machine in group
                if machine.size is not None
            ]
        )
        for one in judged:
            found[one.machine.name] = _judge(one, judged, sizes)
    return [found[machine.name] for machine in machines if machine.name in found]


# -- the connection budget ----------------------------------------------------------------------------------------------


def _within_budget(
    verdicts: Sequence[Verdict],
    machines: Sequence[Machine],
    sizes: Sequence[MachineSize],
    fleet: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
) -> list[Verdict]:
    """The verdicts without suggestions that all clients' connections wouldn't fit with; a MySQL cluster goes or stays as one.

    A fleet that is over its budget already is left to preflight.yml.
    """
    given: dict[str, MachineSize] = {}
    if not _budget(fleet, given, hostvars)[0]:
        return list(verdicts)
    by_name, machine = {size.name: size for size in sizes}, {one.name: one for one in machines}
    steps: dict[tuple[int, str], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.then:
            database, grows = "mysql" in machine[verdict.host].tiers, verdict.outcome == "larger"
            # What makes room comes first: databases that grow, clients that shrink.
            order = 0 if database and grows else 1 if not grows and not database else 2 if database else 3
            steps.setdefault((order, machine[verdict.host].cluster or verdict.host), []).append(verdict)
    withdrawn: dict[str, str] = {}
    for _key, group in sorted(steps.items(), key=lambda item: item[0]):
        tried = {**given, **{verdict.host: by_name[verdict.then] for verdict in group}}
        fits, why = _budget(fleet, tried, hostvars)
        if fits:
            given = tried
        else:
            withdrawn |= {verdict.host: why for verdict in group}
    return [
        replace(
            verdict, outcome="keep", then="", price_then=None,
            reason=f"{verdict.then} would do, but the connection budget refuses it: {withdrawn[verdict.host]}",
        )
        if verdict.host in withdrawn
        else verdict
        for verdict in verdicts
    ]  # fmt: skip


def _budget(
    fleet: Mapping[str, Any], given: Mapping[str, MachineSize], hostvars: Mapping[str, Mapping[str, Any]]
) -> tuple[bool, str]:
    def sized(row: Mapping[str, Any]) -> dict[str, Any]:
        size = given.get(row["name"])
        return {**row, "memory_mb": size.memory_mb, "vcpus": size.vcpus} if size else dict(row)

    changed: dict[str, Any] = {
        key: [sized(row) for row in value] if isinstance(value, (list, tuple)) else value for key, value in fleet.items()
    }
    changed["hosts"] = {name: sized(row) for name, row in fleet["hosts"].items()}

    def cluster(row: Mapping[str, Any]) -> dict[str, Any]:
        lists = {key: [sized(host) for host in row[key]] for key in ("replicas", "hosts")}
        return {**row, **lists, "primary": sized(row["primary"]) if row["primary"] else None}

    changed["mysql"] = cluster(fleet["mysql"])
    changed["mysql_clusters"] = {name: cluster(row) for name, row in fleet["mysql_clusters"].items()}
    try:
        connection_budget(changed, hostvars)
    except CapacityError as error:
        return False, str(error).partition(";")[0]
    return True, ""


# -- the whole --------------------------------------------------------------------------------------------------------


def make_report(
    machines: Sequence[Machine],
    history: History,
    sizes: Sequence[MachineSize],
    policy: Policy,
    *,
    fleet: Mapping[str, Any] | None = None,
    hostvars: Mapping[str, Mapping[str, Any]] | None = None,
) -> Report:
    """The report. With ``fleet`` and ``hostvars`` its suggestions are held against the connection budget."""
    rows = {machine.name: _host_row(machine, history) for machine in machines if machine.state != "down"}
    verdicts = judge(machines, rows, history, sizes, policy)
    if fleet is not None:
        verdicts = _within_budget(verdicts, machines, sizes, fleet, hostvars or {})
    by_host = {verdict.host: verdict for verdict in verdicts}
    by_name = {size.name: size for size in sizes}
    then = {
        machine.name: by_name.get(by_host[machine.name].then) or machine.size if machine.name in by_host else machine.size
        for machine in machines
    }
    priced = any(size.price is not None for size in sizes)
    return Report(
        made=history.end,
        policy=policy,
        hosts=tuple(rows.values()),
        tiers=tuple(_tiers(machines, rows, then, history)),
        verdicts=tuple(verdicts),
        splits=tuple(_splits(machines, then, history, policy)),
        growth=tuple(_growth(history, policy, {machine.name for machine in machines})),
        notes=tuple(_notes(machines, rows, sizes, history, priced=priced)),
        priced=priced,
    )


def _tiers(
    machines: Sequence[Machine], rows: Mapping[str, HostRow], then: Mapping[str, MachineSize | None], history: History
) -> Iterator[TierRow]:
    """Tiers in the order of their first host's name; a host in several counts in its first one."""
    for tier in dict.fromkeys(machine.tiers[0] for machine in machines if machine.tiers and machine.state != "down"):
        members = [machine for machine in machines if machine.tiers[:1] == (tier,) and machine.state != "down"]
        sized = {machine.name: machine.size for machine in members if machine.size is not None}
        vcpus, memory_mb = sum(size.vcpus for size in sized.values()), sum(size.memory_mb for size in sized.values())
        cpu = [value for _time, value in weighted(history, "cpu", {name: float(size.vcpus) for name, size in sized.items()})]
        memory = [value for _time, value in weighted(history, "memory", {name: float(size.memory_mb) for name, size in sized.items()})]
        own = [rows[machine.name] for machine in members]
        disks = [row.disk for row in own if row.disk]
        connections = [row.connections for row in own if row.connections]
        prices = [(size.price, other.price) for name, size in sized.items() if (other := then[name])]
        known = [(now, later) for now, later in prices if now is not None and later is not None]
        yield TierRow(
            tier=tier, hosts=tuple(machine.name for machine in members), vcpus=vcpus, memory_mb=memory_mb,
            cpu=_use(cpu, vcpus, "cores"), memory=_use(memory, memory_mb, "MB"),
            disk=max(disks, key=lambda use: use.share, default=None), connections=max(connections, key=lambda use: use.share, default=None),
            price_now=sum((now for now, _later in known), Decimal(0)) if known else None,
            price_then=sum((later for _now, later in known), Decimal(0)) if known else None,
        )  # fmt: skip


def _splits(
    machines: Sequence[Machine], then: Mapping[str, MachineSize | None], history: History, policy: Policy
) -> Iterator[Split]:
    for tier in dict.fromkeys(key[1] for key in history.keys("up") if key[1]):
        hourly = hourly_hosts(history, tier)
        times = {time for key in history.keys("up") if key[1] == tier for time, _value in history.of("up", *key)}
        hours = len(times) * history.step / HOUR
        if hours < policy.history_hours:
            yield Split(
                tier,
                f"{tier}: {hours:.1f} h of fleet:up:bool is less than report_history_hours: {policy.history_hours:g}; "
                f"run it again in {policy.history_hours - hours:.0f} h, or accept less with -e report_history_hours={max(int(hours), 1)}",
                refused=True,
            )
            continue
        daily = daily_minimum(hourly)
        reserve, most, average = min(daily.values()), max(hourly.values()), sum(hourly.values()) / len(hourly)
        there = {machine.name: len(history.of("up", machine.name, tier)) for machine in machines if history.of("up", machine.name, tier)}
        kept = sorted(there, key=lambda name: (-there[name], name))[:reserve]
        sizes = [then.get(name) for name in kept]
        parts: dict[tuple[str, Decimal, Decimal], int] = {}
        for size in sizes:
            if size is not None and size.price is not None and size.reserved is not None:
                part = (size.name, size.price, size.reserved)
                parts[part] = parts.get(part, 0) + 1
        saving = sum(((price - reserved) * count for (_name, price, reserved), count in parts.items()), Decimal(0)) if parts else None
        terms = " + ".join(f"{count} {name} x ({price} - {reserved})" for (name, price, reserved), count in parts.items())
        terms = f"({terms})" if len(parts) > 1 else terms
        sum_text = f"{terms} {policy.currency} x {HOURS_A_MONTH} h = {a_month(saving, policy.currency)}" if saving is not None else ""
        how_long = f"{len(daily)} days"
        if most == reserve:
            why = f"{'all ' if most > 1 else ''}{most} {'were' if most > 1 else 'was'} up all the time ({how_long}): reserve {reserve}"
        else:
            why = (
                f"never fewer than {reserve} of at most {most} were up ({average:.1f} on average, {how_long}): reserve {reserve}, "
                f"{average - reserve:.1f} on average stay on demand"
            )
        yield Split(
            tier=tier, reserve=reserve, average=average, most=most, hosts=tuple(kept), daily=tuple(sorted(daily.items())), saving=saving,
            arithmetic=sum_text, reason=why,
        )  # fmt: skip


def _growth(history: History, policy: Policy, hosts: set[str]) -> Iterator[Growth]:
    """One row for each device of each host, at the shortest of the paths where it is mounted."""
    at: dict[tuple[str, str], str] = {}
    for host, device, mountpoint in history.keys("disk_free_bytes"):
        if host in hosts:
            at[host, device] = min(at.get((host, device), mountpoint), mountpoint, key=lambda path: (len(path), path))
    for (host, device), mountpoint in sorted(at.items(), key=lambda item: (item[0][0], item[1])):
        free = history.of("disk_free_bytes", host, device, mountpoint)
        size = history.of("disk_bytes", host, device, mountpoint)
        # A disk that was made larger begins anew.
        free = tuple(point for point in free if point[0] >= unchanged_since(size))
        found = trend(free)
        if size and found and history.hours(free) >= policy.history_hours:
            yield Growth(host, mountpoint, size[-1][1], free[-1][1], found.bytes_per_day, found.days_left)


def _notes(
    machines: Sequence[Machine], rows: Mapping[str, HostRow], sizes: Sequence[MachineSize], history: History, *, priced: bool
) -> Iterator[str]:
    for machine in machines:
        if machine.state != "active":
            yield f"{machine.name} is {machine.state}, so its use says nothing about its size"
        elif not machine.tiers:
            yield f"{machine.name} is in no tier, so nothing is suggested for it"
    if not priced:
        yield "there is no price table, so nothing is said about money: set report_prices (docs/verbs/report.md)"
    else:
        used = sorted({machine.size.name for machine in machines if machine.size and machine.tiers and machine.state != "down"})
        known = {size.name for size in sizes}
        unknown = [name for name in used if name not in known]
        if unknown:
            yield f"report_prices has no price for {'; '.join(unknown)}: these hosts are left out of the sums"
    covered = max((history.hours(history.of(name, *key)) for name in ("cpu", "up") for key in history.keys(name)), default=0.0)
    asked = (history.end - history.start) / HOUR
    if rows and covered < asked - 1:
        yield f"Prometheus has {covered:.0f} h of the {asked:.0f} h that were asked for: see its --storage.tsdb.retention.time"
