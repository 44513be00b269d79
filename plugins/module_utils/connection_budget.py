# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every connection that the fleet may open to MySQL at once, against what the smallest MySQL host allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .capacity import CapacityError, Figure, Host, Settings, host_from, number_from, settings_from, size_host

THE_PRIMARY = "the primary"
ONE_WORKER = "one worker host"


@dataclass(frozen=True)
class BudgetRow:
    """Clients of one kind that open the same number of connections on each of their hosts."""

    client: str
    hosts: tuple[str, ...]
    per_host: int
    why: str

    @property
    def connections(self) -> int:
        return self.per_host * len(self.hosts)

    def as_dict(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "hosts": list(self.hosts),
            "per_host": self.per_host,
            "connections": self.connections,
            "why": self.why,
        }


@dataclass(frozen=True)
class Budget:
    """All connections that may be open at once against what the smallest MySQL host allows."""

    rows: tuple[BudgetRow, ...]
    max_connections: int | None
    tightest: str | None
    unknown: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(row.connections for row in self.rows)

    @property
    def why(self) -> str:
        by_client: dict[str, int] = {}
        for row in self.rows:
            by_client[row.client] = by_client.get(row.client, 0) + row.connections
        parts = " + ".join(f"{connections} {client}" for client, connections in by_client.items()) or "0"
        text = f"{parts} = {self.total}"
        if self.max_connections is not None:
            text += f" of {self.max_connections} that {self.tightest} allows"
        if self.unknown:
            names = ", ".join(self.unknown[:10]) + (" and more" if len(self.unknown) > 10 else "")
            text += f"; not counted, because their size is not in the inventory: {names}"
        return text

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": [row.as_dict() for row in self.rows],
            "total": self.total,
            "max_connections": self.max_connections,
            "headroom": None if self.max_connections is None else self.max_connections - self.total,
            "unknown": list(self.unknown),
            "why": self.why,
        }


@dataclass(frozen=True)
class _Sizes:
    """Looks up what a host sets for itself, computes the rest, and remembers both sizes and hosts without one."""

    hostvars: Mapping[str, Mapping[str, Any]]
    cost: Settings
    sized: dict[tuple[Host, Settings], dict[str, Figure]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def variables(self, server: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.hostvars.get(server["name"], {})

    def value(self, server: Mapping[str, Any], variable: str, figure: str) -> int | None:
        """The host's own variable, else the figure of its size, else None."""
        own = self.variables(server)
        given = _whole(server, own, variable)
        if given is not None:
            return given
        settings = own.get("capacity_settings")
        try:
            host = replace(host_from(server), name="")
        except CapacityError:
            self.unknown.add(str(server["name"]))
            return None
        key = (host, settings_from(settings) if settings else self.cost)
        if key not in self.sized:
            self.sized[key] = size_host(*key)
        return self.sized[key][figure].value


def connection_budget(
    fleet: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Budget:
    """What every client of MySQL may open at once, against the smallest ``max_connections`` of its hosts.

    ``fleet`` is the result of the ``fleet`` filter. A host's own ``php_fpm_max_children``, ``queue_workers_programs``,
    ``queue_workers_processes``, ``mysql_max_connections``, ``mysql_settings.max_connections`` and ``capacity_settings`` in
    ``hostvars`` win over what is computed. Draining and standby hosts count, because they may come in; hosts that are down
    don't. Every MySQL host may become the primary, so the smallest limit counts. With several clusters each must bear all
    clients.

    Raises CapacityError when the total is above the limit.
    """
    sizes = _Sizes(hostvars or {}, settings_from(settings))
    # Through Ansible, values() is an iterator, good for one loop.
    clusters = list(fleet["mysql_clusters"].values())
    rows = (*_application_rows(fleet, sizes), *_database_rows(clusters, sizes.cost))
    limits = [
        (limit, str(server["name"]))
        for cluster in clusters
        for server in cluster["hosts"]
        if (limit := _mysql_limit(server, sizes)) is not None
    ]
    limit, tightest = min(limits) if limits else (None, None)
    budget = Budget(rows, limit, tightest, tuple(sorted(sizes.unknown)))
    if limit is not None and budget.total > limit:
        raise CapacityError(
            f"the fleet may open {budget.total} connections to MySQL, but {tightest} allows {limit} "
            f"(max_connections): {budget.why}; give the MySQL hosts more memory, raise mysql_max_connections, "
            "or lower php_fpm_max_children or queue_workers_processes"
        )
    return budget


def _application_rows(fleet: Mapping[str, Any], sizes: _Sizes) -> list[BudgetRow]:
    each = sizes.cost.connections_per_process
    found: dict[tuple[str, int, str], list[str]] = {}

    def add(client: str, count: int, what: str, host: str) -> None:
        found.setdefault((client, count * each, f"{count} {what} x {each}"), []).append(host)

    for server in _counted(fleet, "app_servers"):
        children = sizes.value(server, "php_fpm_max_children", "php_fpm_children")
        if children is not None:
            add("PHP-FPM", children, "children", server["name"])
    workers = _counted(fleet, "queue_workers")
    for server in workers:
        fixed, shared = _program_processes(sizes.variables(server).get("queue_workers_programs"))
        rest = sizes.value(server, "queue_workers_processes", "queue_worker_processes") if shared else 0
        if rest is not None:
            add("queue workers", fixed + rest, "processes", server["name"])
    if workers:
        add("scheduler", sizes.cost.scheduler_processes, "processes", ONE_WORKER)
    return [BudgetRow(client, tuple(hosts), per_host, why) for (client, per_host, why), hosts in found.items()]


def _database_rows(clusters: Sequence[Mapping[str, Any]], cost: Settings) -> list[BudgetRow]:
    if not clusters:
        return []
    rows = []
    replicas = max(len(cluster["replicas"]) for cluster in clusters)
    if replicas:
        each = cost.replica_connections
        rows.append(BudgetRow("replicas", (THE_PRIMARY,), replicas * each, f"{replicas} replicas x {each}"))
    rows.append(BudgetRow("health service", (THE_PRIMARY,), cost.health_connections, "its own connections"))
    rows.append(BudgetRow("administrators", (THE_PRIMARY,), cost.admin_connections, "kept free for them"))
    return rows


def _mysql_limit(server: Mapping[str, Any], sizes: _Sizes) -> int | None:
    settings = sizes.variables(server).get("mysql_settings")
    native = _whole(server, settings, "max_connections") if isinstance(settings, Mapping) else None
    return sizes.value(server, "mysql_max_connections", "mysql_max_connections") if native is None else native


def _counted(fleet: Mapping[str, Any], tier: str) -> list[Mapping[str, Any]]:
    return [server for server in fleet[tier] if server["state"] != "down"]


def _whole(server: Mapping[str, Any], variables: Mapping[str, Any], key: str) -> int | None:
    value = variables.get(key)
    if value is None:
        return None
    number = number_from(value)
    if number is None or number < 1 or number != int(number):
        raise CapacityError(f"host {server['name']}: {key} must be a whole number above 0, not: {value!r}")
    return int(number)


def _program_processes(programs: Any) -> tuple[int, bool]:
    """The processes that rows of ``queue_workers_programs`` fix, and whether there are rows that share the rest."""
    if not isinstance(programs, Sequence) or isinstance(programs, str) or not programs:
        return 0, True
    numbers = [number_from(row.get("processes")) if isinstance(row, Mapping) else None for row in programs]
    return sum(int(number) for number in numbers if number is not None), None in numbers
