# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what every host said of itself to how the fleet is: findings, a verdict, a table. Pure.

A finding is *ill* when clients lose something now or would with the next fault, or when what the fleet promises isn't so; it
is a *note* when somebody meant it, or it will matter later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .redis_cluster import SLOTS
from .release import failing_parts

# A replica whose primary handed over links to the new one within a second or two; Redis says for how long it has none.
RELINK_SECONDS = 5

ILL, NOTE = "ill", "note"

# What a host of a tier must have been brought, by the name of the component.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "load_balancers": ("base", "nginx_lb"),
    "app_servers": ("base", "php_fpm", "app_server", "app_release"),
    "mysql": ("base", "mysql"),
    "redis_cluster": ("base", "redis_cluster"),
    "queue_workers": ("base", "app_release", "queue_workers"),
    "object_storage": ("base", "object_storage"),
    "monitoring": ("base", "prometheus", "alertmanager"),
}
# Units that stop on purpose while their tier is kept out of traffic on a host.
STOPPED_OUT_OF_TRAFFIC = {"supervisor.service": "queue_workers", "fleet-scheduler.service": "scheduler"}
GOOD_WORKERS = ("RUNNING", "STARTING", "STOPPING")


@dataclass(frozen=True)
class Limits:
    """From where on something is ill."""

    lag_seconds: float = 5.0
    queue_jobs: int = 1000
    certificate_days: int = 7
    certificate_note_days: int = 21
    disk_free_percent: int = 5
    disk_free_mb: int = 500
    memory_free_percent: int = 5


@dataclass(frozen=True)
class Finding:
    """One illness or note: where, what, what was seen, what to do."""

    level: str
    host: str
    thing: str
    value: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.host}: {self.thing}: {self.value}" + (f"; {self.cure}" if self.cure else "")


@dataclass(frozen=True)
class Row:
    """One host in the table."""

    host: str
    tiers: tuple[str, ...]
    state: str
    health: str
    release: str
    role: str
    detail: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """How the fleet is."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    queues: Mapping[str, Mapping[str, int]]
    pools: Mapping[str, Mapping[str, int]]
    primaries: Mapping[str, str]
    releases: tuple[str, ...]
    vip: str | None
    vip_holder: str | None
    certificate_days: int | None

    @property
    def ill(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == ILL)

    @property
    def healthy(self) -> bool:
        return not self.ill

    def as_dict(self) -> dict[str, Any]:
        return {"healthy": self.healthy, **asdict(self)}


@dataclass(frozen=True)
class _Look:
    """A host as the inventory has it, and what it said; C(report) is empty when it said nothing."""

    name: str
    server: Mapping[str, Any]
    report: Mapping[str, Any]
    unreachable: str = ""

    @property
    def out(self) -> Mapping[str, Any]:
        """Why tiers of this host are kept out of traffic, by tier."""
        return self.part("out_of_traffic")

    def part(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.report.get(name) or {}
        return found

    def in_tier(self, tier: str) -> bool:
        return tier in self.server["tiers"]


def assess(fleet: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]], limits: Limits | None = None) -> Status:
    """How the fleet is.

    ``fleet`` is the result of the ``fleet`` filter, ``answers`` what Ansible returned for each host that was asked: C(report), or
    C(unreachable) and C(msg). A host that wasn't asked (``--limit``) is left out; one in state down is only shown.
    """
    limits = limits or Limits()
    looks = [_look(name, server, answers[name]) for name, server in sorted(fleet["hosts"].items()) if name in answers]
    whole = len(looks) == len(fleet["hosts"])
    findings: list[Finding] = []
    for look in looks:
        findings += _of_host(look, limits)
    databases, primaries = _databases(fleet, looks, limits, whole=whole)
    redis, pools = _redis(looks, whole=whole)
    release_findings, releases = _releases(looks)
    queues = {name: counts for look in looks for name, counts in look.part("queues").items()}
    holders = [look.name for look in looks if fleet.get("vip") and fleet["vip"] in look.report.get("addresses", [])]
    findings += [*databases, *redis, *release_findings, *_queues(queues, limits)]
    findings += _vip(fleet, looks, holders, whole=whole)
    findings = _without_echoes(findings)
    days = [entry["days_left"] for look in looks for entry in _certificates(look) if "days_left" in entry]
    ill = {finding.host for finding in findings if finding.level == ILL}
    return Status(
        rows=tuple(_row(look, ill, holders, primaries) for look in looks),
        findings=tuple(sorted(findings, key=lambda finding: finding.level)),
        queues=dict(sorted(queues.items())),
        pools=pools,
        primaries=primaries,
        releases=releases,
        vip=fleet.get("vip"),
        vip_holder=holders[0] if len(holders) == 1 else None,
        certificate_days=min(days) if days else None,
    )


def _look(name: str, server: Mapping[str, Any], answer: Mapping[str, Any]) -> _Look:
    report = answer.get("report") or {}
    if report or server["state"] == "down":
        return _Look(name, server, report)
    return _Look(name, server, {}, " ".join(str(answer.get("msg") or "no answer").split())[:300])


def _without_echoes(findings: Sequence[Finding]) -> list[Finding]:
    """The same sentence once; the first stays."""
    return list(dict.fromkeys(findings))


# -- one host ---------------------------------------------------------------------------------------------------------


def _of_host(look: _Look, limits: Limits) -> Iterator[Finding]:
    name, state = look.name, look.server["state"]
    if state == "down":
        yield Finding(NOTE, name, "state", "fleet_state: down, not asked")
        return
    if look.unreachable:
        yield Finding(
            ILL, name, "host", f"does not answer: {look.unreachable}",
            "start it, mend its network, or set fleet_state: down until it is replaced",
        )  # fmt: skip
        return
    if state != "active":
        yield Finding(NOTE, name, "state", f"fleet_state: {state}")
    for tier, mark in look.out.items():
        told = ", ".join(f"{key} {mark[key]}" for key in ("since", "by", "reason") if mark.get(key))
        yield Finding(NOTE, name, "traffic", f"{tier} kept out ({told or 'no reason given'})", "undrain.yml brings it back")
    have = look.part("components")
    missing = [part for tier in look.server["tiers"] for part in COMPONENTS.get(tier, ()) if part not in have]
    if missing:
        yield Finding(ILL, name, "host", f"was never brought {', '.join(dict.fromkeys(missing))}", "run site.yml")
    yield from _components(look)
    yield from _services(look)
    yield from _machine(look, limits)
    yield from _application(look)
    for entry in _certificates(look):
        yield from _certificate(name, entry, limits)


def _components(look: _Look) -> Iterator[Finding]:
    for component, kept in look.part("components").items():
        if kept["owed"]:
            owed = ", ".join(str(item).removeprefix("command:") for item in kept["owed"])
            yield Finding(ILL, look.name, component, f"an interrupted run still owes: {owed}", "run site.yml")
        for unit in kept["held"]:
            yield Finding(NOTE, look.name, unit, "runs with settings from before its last change, maybe", "run site.yml")


def _services(look: _Look) -> Iterator[Finding]:
    for unit, told in look.part("services").items():
        if told["state"] in ("active", "reloading", "activating", "done"):
            continue
        stopped = f"is {told['state']}" + (f" ({told['result']})" if told["result"] not in ("", "success") else "")
        if STOPPED_OUT_OF_TRAFFIC.get(unit) in look.out:
            yield Finding(NOTE, look.name, unit, f"{stopped}, as it is kept out of traffic")
        else:
            cure = f"systemctl start {unit}; journalctl -u {unit} says why it stopped"
            yield Finding(ILL, look.name, unit, stopped, cure)
    for unit in look.report.get("failed_units", []):
        if unit not in look.part("services"):
            yield Finding(NOTE, look.name, unit, "has failed", f"journalctl -u {unit}; systemctl reset-failed {unit}")


def _machine(look: _Look, limits: Limits) -> Iterator[Finding]:
    for disk in look.report.get("disks", []):
        if disk["free_percent"] < limits.disk_free_percent or disk["free_mb"] < limits.disk_free_mb:
            value = f"{disk['free_mb']} MB ({disk['free_percent']} %) free"
            yield Finding(ILL, look.name, f"disk of {disk['path']}", value, "make room or a bigger disk")
        if disk["free_inodes_percent"] < limits.disk_free_percent:
            value = f"{disk['free_inodes_percent']} % of its inodes free"
            yield Finding(ILL, look.name, f"disk of {disk['path']}", value, "remove what is many and small")
    memory = look.part("memory")
    if memory and memory["total_mb"] and 100 * memory["available_mb"] / memory["total_mb"] < limits.memory_free_percent:
        value = f"{memory['available_mb']} of {memory['total_mb']} MB available"
        yield Finding(NOTE, look.name, "memory", value, "raise fleet_memory_mb and run resize.yml")


def _application(look: _Look) -> Iterator[Finding]:
    for part, tier, what in (("app", "app_servers", "application"), ("balancer", "load_balancers", "balancer")):
        told = look.part(part)
        if not told or told.get("status") == 200 or tier in look.out:
            continue
        if "error" in told:
            yield Finding(ILL, look.name, what, f"{told['url']}: {told['error']}", "look at nginx and at PHP-FPM there")
            continue
        reasons = ", ".join(failing_parts(told["body"])) or " ".join(told["body"].split())[:200]
        yield Finding(ILL, look.name, what, f"{told['url']} answers {told['status']}: {reasons}", "mend what it names")
    router = look.part("router")
    if "error" in router:
        yield Finding(ILL, look.name, "db_router", str(router["error"]), "systemctl start haproxy")
    elif router:
        if len(router.get("primary", [])) != 1:
            seen = ", ".join(router.get("primary", [])) or "none"
            yield Finding(ILL, look.name, "db_router", f"sees {seen} as primary", "mend the database, see below")
        elif "replicas" in router and not router["replicas"]:
            yield Finding(NOTE, look.name, "db_router", "sees no replica that is fit: reads go to the primary")
    states = look.part("workers")
    bad = {state: count for state, count in states.items() if state not in GOOD_WORKERS}
    if bad and "queue_workers" not in look.out and look.server["state"] == "active":
        value = ", ".join(f"{count} {state}" for state, count in sorted(bad.items()))
        yield Finding(ILL, look.name, "queue workers", value, "supervisorctl status, and their logs in /var/log")


def _certificates(look: _Look) -> list[Mapping[str, Any]]:
    served = look.part("balancer")
    found = [{"path": f"served on {served['url']}", "days_left": served["days_left"]}] if "days_left" in served else []
    return [*look.report.get("certificates", []), *found]


def _certificate(name: str, entry: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    thing = f"certificate {entry['path']}"
    if "error" in entry:
        yield Finding(ILL, name, thing, str(entry["error"]), "replace it")
    elif entry["days_left"] < limits.certificate_note_days:
        level = ILL if entry["days_left"] < limits.certificate_days else NOTE
        ended = "has ended" if entry["days_left"] < 0 else f"{entry['days_left']} days left"
        yield Finding(level, name, thing, ended, "run site.yml, which renews what the fleet's authority issued")


# -- what only all hosts together can say -----------------------------------------------------------------------------


def _databases(
    fleet: Mapping[str, Any], looks: Sequence[_Look], limits: Limits, *, whole: bool
) -> tuple[list[Finding], dict[str, str]]:
    """Findings of the MySQL clusters, and who is primary in each."""
    findings: list[Finding] = []
    primaries: dict[str, str] = {}
    told = {look.name: look.part("mysql") for look in looks if look.in_tier("mysql") and look.part("mysql")}
    by_address = {server["address"]: name for name, server in fleet["hosts"].items()}
    for host, database in told.items():
        if "error" in database:
            findings.append(
                Finding(ILL, host, "MySQL", str(database["error"]), "systemctl start mysql; see /var/log/mysql/error.log")
            )
        elif database["health"] != 200:
            value = f"its health service answers {database['health']}, so no router uses the server"
            findings.append(Finding(ILL, host, "mysql-health", value, "systemctl start mysql-health"))
    for cluster, row in fleet["mysql_clusters"].items():
        members = [server["name"] for server in row["hosts"]]
        asked = {name: told[name] for name in members if name in told and "error" not in told[name]}
        writable = [name for name, database in asked.items() if database["writable"]]
        if len(writable) == 1:
            primaries[cluster] = writable[0]
        elif len(writable) > 1:
            value = f"{', '.join(writable)} all take writes"
            cure = "SET PERSIST super_read_only = ON on all but the one that holds everything, then run site.yml"
            findings.append(Finding(ILL, cluster, "MySQL primary", value, cure))
        elif whole:
            findings.append(Finding(ILL, cluster, "MySQL primary", "no server takes writes", "run failover.yml"))
        for name, database in asked.items():
            if name in writable:
                findings += _primary(name, database, len(members))
            else:
                findings += _replica(name, database, by_address, primaries.get(cluster), limits)
    return findings, primaries


def _primary(name: str, database: Mapping[str, Any], members: int) -> Iterator[Finding]:
    if members > 1 and not database["semi_sync"]:
        yield Finding(ILL, name, "semi-sync", "is off: the last writes exist only here", "run site.yml")
    elif database["semi_sync"] and database["replicas"] < database["needed"]:
        value = f"{database['replicas']} of {database['needed']} replicas attached: writes wait"
        yield Finding(ILL, name, "semi-sync", value, "bring a replica back, or run site.yml")
    if database["connections"] > 0.9 * database["max_connections"]:
        value = f"{database['connections']} of {database['max_connections']} connections in use"
        yield Finding(ILL, name, "connections", value, "see SHOW PROCESSLIST, and the budget in plan.yml")


def _replica(
    name: str, database: Mapping[str, Any], by_address: Mapping[str, str], primary: str | None, limits: Limits
) -> Iterator[Finding]:
    source = database["source"]
    if not source:
        yield Finding(ILL, name, "replication", "it takes no writes and replicates from nobody", "run site.yml")
        return
    follows = by_address.get(source["source_host"], source["source_host"])
    if source["error"]:
        yield Finding(
            ILL, name, "replication", f"from {follows} has stopped: {source['error']}", "mend the cause, START REPLICA"
        )
    elif source["receiver"] != "ON" or source["applier"] != "ON":
        value = f"from {follows}: receiver {source['receiver']}, applier {source['applier']}"
        yield Finding(ILL, name, "replication", value, "run site.yml, which starts it, or START REPLICA there")
    elif primary and follows != primary:
        yield Finding(ILL, name, "replication", f"it follows {follows}, but {primary} is primary", "run site.yml")
    elif database["lag"] is not None and database["lag"] > limits.lag_seconds:
        value = f"{database['lag']:.0f} s behind {follows}"
        yield Finding(ILL, name, "replication", value, "see long transactions on the primary, and the replica's disk")


def _redis(looks: Sequence[_Look], *, whole: bool) -> tuple[list[Finding], dict[str, dict[str, int]]]:
    """Findings of the Redis pools, and for each pool slots, primaries, replicas and memory in use."""
    findings: list[Finding] = []
    pools: dict[str, dict[str, int]] = {}
    told: dict[str, dict[str, tuple[str, Mapping[str, Any]]]] = {}
    wanted: dict[str, int] = {}
    expected: dict[str, dict[str, str]] = {}
    for look in looks:
        report = look.part("redis")
        if "error" in report:
            findings.append(Finding(ILL, look.name, "Redis", str(report["error"]), "run site.yml"))
            continue
        for pool, row in report.items():
            wanted[pool] = row["replicas"]
            expected.setdefault(pool, {}).update(row["expected"])
            for address, instance in row["instances"].items():
                told.setdefault(pool, {})[address] = (look.name, instance)
    for pool, instances in told.items():
        found, summary = _pool(pool, instances, expected[pool], wanted[pool], whole=whole)
        findings += found
        pools[pool] = summary
    return findings, pools


def _one_view(alive: Mapping[str, tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """Who serves which slots and who copies whom, as the instance sees it that knows the newest epoch.

    The hosts answer some seconds apart and a primary may hand over in between: what each says of itself then does not add
    up, though no slot was ever without a primary.
    """
    views = [instance for _host, instance in alive.values()]
    newest = max(views, key=lambda view: (view["state"] == "ok", view["epoch"]), default=None)
    return newest or {"slots": {}, "replicas": {}}


def _pool(
    pool: str,
    instances: Mapping[str, tuple[str, Mapping[str, Any]]],
    expected: Mapping[str, str],
    wanted: int,
    *,
    whole: bool,
) -> tuple[list[Finding], dict[str, int]]:
    findings: list[Finding] = []
    alive = {address: row for address, row in instances.items() if "error" not in row[1]}
    cut_off = set()
    for address, (host, instance) in instances.items():
        port = address.rpartition(":")[2]
        if "error" in instance:
            cure = f"systemctl restart redis-cluster@{pool}-{port}"
            findings.append(Finding(ILL, host, f"Redis {pool} {port}", f"does not answer: {instance['error']}", cure))
        elif instance["state"] != "ok":
            value = f"calls its cluster {instance['state']}"
            findings.append(Finding(ILL, host, f"Redis {pool} {port}", value, "bring the hosts back that hold its slots"))
        elif instance["link"] != "up" and instance["link_down_seconds"] >= RELINK_SECONDS:
            cut_off.add(address)
            value = f"has no link to its primary {instance['replicas'].get(address, '')}"
            findings.append(Finding(ILL, host, f"Redis {pool} {port}", value, "see the journal of both"))
    seen = _one_view(alive)
    primaries = {address: alive[address][0] for address in seen["slots"] if address in alive}
    slots = sum(seen["slots"][address] for address in primaries)
    if whole and slots != SLOTS:
        value = f"{slots} of {SLOTS} slots are served by hosts that answer"
        findings.append(Finding(ILL, f"pool {pool}", "slots", value, "bring the missing hosts back, or run site.yml"))
    for address, host in primaries.items():
        copies = [
            other_host
            for other, (other_host, _instance) in alive.items()
            if seen["replicas"].get(other) == address and other_host != host and other not in cut_off
        ]
        if whole and len(copies) < wanted:
            value = f"{address} has {len(copies)} of {wanted} replicas on other hosts"
            findings.append(Finding(ILL, host, f"Redis {pool}", value, "bring its replica's host back, or run site.yml"))
    if any(instance["moving"] for _host, instance in alive.values()):
        findings.append(Finding(NOTE, f"pool {pool}", "slots", "some are being moved", "run scale.yml to its end"))
    return findings, {
        "slots": slots,
        "primaries": len(primaries),
        "replicas": len(alive) - len(primaries),
        "instances": len(expected),
        "used_mb": sum(instance["used_mb"] for address, (_host, instance) in alive.items() if address in primaries),
        "limit_mb": sum(instance["limit_mb"] for address, (_host, instance) in alive.items() if address in primaries),
    }


def _releases(looks: Sequence[_Look]) -> tuple[list[Finding], tuple[str, ...]]:
    findings: list[Finding] = []
    serving: dict[str, list[str]] = {}
    for look in looks:
        if not (look.in_tier("app_servers") or look.in_tier("queue_workers")) or not look.report:
            continue
        release = look.part("release")
        if not release.get("current"):
            named = release.get("named")
            value = f"current names {named}, which is not there" if named else "none is in use"
            findings.append(Finding(ILL, look.name, "release", value, "run deploy.yml or site.yml"))
        elif not {"app_servers", "queue_workers"} & set(look.out) and look.server["state"] == "active":
            serving.setdefault(release["current"], []).append(look.name)
    if len(serving) > 1:
        value = "; ".join(f"{release} on {', '.join(hosts)}" for release, hosts in sorted(serving.items()))
        findings.append(Finding(ILL, "fleet", "release", f"more than one in use: {value}", "finish or repeat deploy.yml"))
    return findings, tuple(sorted(serving))


def _queues(queues: Mapping[str, Mapping[str, int]], limits: Limits) -> Iterator[Finding]:
    for name, counts in queues.items():
        if counts["waiting"] > limits.queue_jobs:
            value = f"{counts['waiting']} jobs wait (limit {limits.queue_jobs})"
            yield Finding(ILL, f"queue {name}", "length", value, "add workers: scale.yml -e fleet_tier=queue_workers")


def _vip(
    fleet: Mapping[str, Any], looks: Sequence[_Look], holders: Sequence[str], *, whole: bool
) -> Iterator[Finding]:
    balancers = [look.name for look in looks if look.in_tier("load_balancers")]
    if not fleet.get("vip") or not whole:
        return
    if not holders:
        cure = f"systemctl start keepalived nginx on {' or '.join(balancers)}"
        yield Finding(ILL, "fleet", f"VIP {fleet['vip']}", "no host that answers holds it", cure)
    elif len(holders) > 1:
        value = f"{' and '.join(holders)} both hold it"
        yield Finding(ILL, "fleet", f"VIP {fleet['vip']}", value, "mend VRRP between them: the network, or the password")


# -- the table --------------------------------------------------------------------------------------------------------


def _row(look: _Look, ill: set[str], holders: Sequence[str], primaries: Mapping[str, str]) -> Row:
    state = look.server["state"] + (", out" if look.out else "")
    if look.server["state"] == "down":
        health = "-"
    elif look.unreachable:
        health = "no answer"
    else:
        health = "ILL" if look.name in ill else "ok"
    return Row(
        host=look.name,
        tiers=tuple(look.server["tiers"]),
        state=state,
        health=health,
        release=str(look.part("release").get("current") or ""),
        role=_role(look, holders, primaries),
        detail=_detail(look),
        versions=look.part("versions"),
    )


def _role(look: _Look, holders: Sequence[str], primaries: Mapping[str, str]) -> str:
    parts = []
    if look.name in holders:
        parts.append("VIP")
    database = look.part("mysql")
    if look.name in primaries.values():
        parts.append("primary")
    elif database and "error" not in database:
        lag = database["lag"]
        parts.append("replica, lag unknown" if lag is None else f"replica, {lag:.1f} s behind")
    redis = look.part("redis")
    if redis and "error" not in redis:
        for pool, row in redis.items():
            alive = {a: instance for a, instance in row["instances"].items() if "error" not in instance}
            slots = sum(instance["slots"].get(address, 0) for address, instance in alive.items())
            parts.append(f"{pool} {slots} slots")
    return ", ".join(parts)


def _detail(look: _Look) -> str:
    parts = []
    memory = look.part("memory")
    if memory:
        parts.append(f"load {look.report['load']}, {memory['available_mb']} of {memory['total_mb']} MB free")
    states = look.part("workers")
    if states:
        parts.append(", ".join(f"{count} workers {state.lower()}" for state, count in sorted(states.items())))
    database = look.part("mysql")
    if database and "error" not in database:
        parts.append(f"{database['connections']} of {database['max_connections']} connections")
    return ", ".join(parts)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of aligned columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def as_text(status: Status) -> str:
    """The status for a terminal."""
    heading = ["host", "tiers", "state", "health", "release", "role", "machine"]
    lines = table(
        [
            heading,
            *(
                [row.host, ",".join(row.tiers), row.state, row.health, row.release or "-", row.role or "-", row.detail]
                for row in status.rows
            ),
        ]
    )
    lines.append("")
    if status.vip:
        lines.append(f"VIP           {status.vip} on {status.vip_holder or 'nobody that is known'}")
    for cluster, primary in status.primaries.items():
        lines.append(f"MySQL         {cluster}: {primary} is primary")
    for pool, counts in status.pools.items():
        lines.append(
            f"Redis         {pool}: {counts['slots']} slots, {counts['primaries']} primaries, {counts['replicas']} replicas, "
            f"{counts['used_mb']} of {counts['limit_mb']} MB"
        )
    if status.queues:
        lengths = ", ".join(
            f"{name} {counts['waiting']} (+{counts['delayed']} later, {counts['reserved']} running)"
            for name, counts in status.queues.items()
        )
        lines.append(f"queues        {lengths}")
    if status.releases:
        lines.append(f"release       {', '.join(status.releases)}")
    versions = sorted({f"{name} {number.split('-')[0]}" for row in status.rows for name, number in row.versions.items()})
    if versions:
        lines.append(f"versions      {', '.join(versions)}")
    if status.certificate_days is not None:
        lines.append(f"certificates  the first one ends in {status.certificate_days} days")
    lines.append("")
    notes = [finding for finding in status.findings if finding.level == NOTE]
    lines += [f"note  {finding}" for finding in notes]
    lines += [f"ILL   {finding}" for finding in status.ill]
    lines.append("The fleet is healthy." if status.healthy else f"The fleet is not healthy: {count(len(status.ill))}.")
    return "\n".join(lines)


def count(number: int) -> str:
    return "1 illness" if number == 1 else f"{number} illnesses"
