# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order hosts get the size that the inventory wants, and what is done to each: pure.

Two rules make the order. A host that grows is given the memory before the settings that use it, one that shrinks after. And the
connections that MySQL's clients may open never exceed what its servers allow, at no moment: servers grow first, then clients
shrink, then servers shrink, then clients grow. Every moment of the way is held against the connection budget.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .capacity import CapacityError
from .connection_budget import connection_budget

GROWS, SHRINKS = "grows", "shrinks"
RESIZABLE = ("load_balancers", "app_servers", "queue_workers", "mysql", "redis_cluster", "object_storage", "monitoring")
# These take another size while they run; jobs wait while the last worker is away, requests don't.
ONLINE = frozenset({"mysql", "redis_cluster"})
SERVING = ("load_balancers", "app_servers")
# A primary whose machine must stop has a phase of its own: another server takes over before it.
PHASES = ("servers_grow", "primaries_grow", "clients_shrink", "servers_shrink", "primaries_shrink", "clients_grow")
# Facts and providers tell a little less than was ordered: firmware and kernel keep some of it.
NEAR = 0.12


class ResizeError(ValueError):
    """The sizes can't be reached. Each problem is one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Size:
    """Memory in MB and cores; None where nobody says."""

    memory_mb: int | None = None
    vcpus: int | None = None

    def text(self) -> str:
        return f"{self.memory_mb or '?'} MB, {self.vcpus or '?'} cores"


@dataclass(frozen=True)
class Machine:
    """A host: what the inventory wants, what is there. ``online``: its provider resizes without stopping it. ``alone``: the tier
    that nobody else serves, if there is one."""

    name: str
    tiers: tuple[str, ...]
    wanted: Size
    actual: Size
    state: str = "active"
    online: bool = False
    alone: str = ""

    @property
    def differs(self) -> bool:
        return not (_near(self.wanted.memory_mb, self.actual.memory_mb) and self.wanted.vcpus in (None, self.actual.vcpus))

    @property
    def direction(self) -> str:
        """Memory decides, as pools and buffers are cut from it; cores only where memory stays."""
        if not _near(self.wanted.memory_mb, self.actual.memory_mb):
            return GROWS if (self.wanted.memory_mb or 0) > (self.actual.memory_mb or 0) else SHRINKS
        return GROWS if (self.wanted.vcpus or 0) > (self.actual.vcpus or 0) else SHRINKS


def _near(wanted: int | None, actual: int | None) -> bool:
    return wanted is None or (actual is not None and abs(wanted - actual) <= NEAR * wanted)


@dataclass(frozen=True)
class Step:
    """One host's turn. ``drain``: it leaves the traffic meanwhile. ``provider_first``: the machine before its settings."""

    host: str
    phase: str
    direction: str
    drain: bool
    provider_first: bool
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "phase": self.phase,
            "direction": self.direction,
            "drain": self.drain,
            "provider_first": self.provider_first,
            "why": self.why,
        }


def plan(machines: Iterable[Machine], primaries: Iterable[str] = ()) -> tuple[Step, ...]:
    """The turns, one host after the other; a primary comes last in its phase. Nothing for a host that has its size.

    Raises ResizeError for a host that nobody could stand in for.
    """
    leading = {*primaries}
    steps = [_step(machine, machine.name in leading) for machine in machines if machine.differs]
    return tuple(sorted(steps, key=lambda step: (PHASES.index(step.phase), step.host in leading, step.host)))


def _step(machine: Machine, primary: bool) -> Step:
    grows = machine.direction == GROWS
    server = "mysql" in machine.tiers
    if machine.alone and not machine.online:
        raise ResizeError(
            f"{machine.name} is the only active host of {machine.alone}, and has to stop to get another size: add one first (scale.yml)"
        )
    # Where the machine goes on as well as its service, nobody has to leave.
    drain = machine.state == "active" and not machine.alone and not (machine.online and {*machine.tiers} <= ONLINE)
    why = f"{machine.name} {machine.direction} from {machine.actual.text()} to {machine.wanted.text()}: "
    why += "machine, then settings" if grows else "settings, then machine"
    why += ", out of traffic meanwhile" if drain else ", while it serves"
    if primary and drain:
        why += "; it is the primary now, so another takes over first"
    kind = "clients" if not server else "primaries" if primary and drain else "servers"
    phase = f"{kind}_{'grow' if grows else 'shrink'}"
    return Step(machine.name, phase, machine.direction, drain, grows, why)


def refuse_crossing(
    steps: Sequence[Step],
    machines: Iterable[Machine],
    fleet: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Go the way in thought, from the sizes that are, and raise ResizeError at the first moment at which all clients together
    could open more connections than the smallest MySQL server allows."""
    known = {machine.name: machine for machine in machines}
    now = _copied(fleet)
    for name, machine in known.items():
        _set_size(now, name, machine.actual)
    if not _fits(now, hostvars)[0]:
        return  # It is so already: any step may be the cure.
    for step in steps:
        _set_size(now, step.host, known[step.host].wanted)
        fits, why = _fits(now, hostvars)
        if not fits:
            cure = (
                "resize its clients first (-e fleet_tier=app_servers, then queue_workers)"
                if not step.phase.startswith("clients")
                else "resize the databases first (-e fleet_tier=mysql)"
            )
            raise ResizeError(f"when {step.host} {step.direction} to {known[step.host].wanted.text()}, {why}; {cure}, or all tiers at once")


def _copied(value: Any) -> Any:
    """The same of plain dictionaries and lists, which may be changed; Ansible's own are rendered when they are looked at."""
    if isinstance(value, Mapping):
        return {str(key): _copied(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    return value


def _fits(fleet: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]] | None) -> tuple[bool, str]:
    try:
        connection_budget(fleet, hostvars)
    except CapacityError as error:
        return False, str(error).partition(";")[0]
    return True, ""


def _set_size(fleet: dict[str, Any], name: str, size: Size) -> None:
    rows = [fleet["hosts"].get(name)]
    rows += [row for tier in RESIZABLE if tier != "mysql" for row in fleet.get(tier, ()) if row["name"] == name]
    rows += [row for cluster in fleet["mysql_clusters"].values() for row in cluster["hosts"] if row["name"] == name]
    for row in rows:
        if row is not None:
            row["memory_mb"] = size.memory_mb or row["memory_mb"]
            row["vcpus"] = size.vcpus or row["vcpus"]


def chosen(fleet: Mapping[str, Any], tier: Any = "", hosts: Any = "") -> tuple[str, ...]:
    """The hosts that are meant: those of ``hosts`` (names with commas), else of ``tier``, else all that are not down.

    Raises ResizeError naming an unknown host or tier, and a host whose size the inventory leaves open.
    """
    names = [name.strip() for name in str(hosts or "").split(",") if name.strip()]
    for name in names:
        if name not in fleet["hosts"]:
            raise ResizeError(f"fleet_host: {name} is not a host of the fleet; its hosts are {', '.join(sorted(fleet['hosts']))}")
    if tier and tier not in RESIZABLE:
        near = difflib.get_close_matches(str(tier), RESIZABLE, n=1, cutoff=0.6)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ResizeError(f"fleet_tier must be one of {', '.join(RESIZABLE)}, not: {tier}{hint}")
    found = [
        name
        for name, host in sorted(fleet["hosts"].items())
        if host["state"] != "down" and (name in names if names else (tier in host["tiers"] if tier else host["tiers"]))
    ]
    silent = [name for name in found if not fleet["hosts"][name]["memory_mb"] or not fleet["hosts"][name]["vcpus"]]
    if silent and (names or tier):
        raise ResizeError(
            f"{', '.join(silent)} has no size in the inventory: set fleet_memory_mb and fleet_vcpus, or fleet_size, to what it shall get"
        )
    return tuple(name for name in found if name not in silent)


def machines_from(
    names: Iterable[str],
    fleet: Mapping[str, Any],
    told: Iterable[Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
) -> list[Machine]:
    """``told`` is what the provider answered; what it doesn't know of a machine, ``facts`` of the host do."""
    rows = {row["name"]: row for row in told}
    found = []
    for name in names:
        host, row, fact = fleet["hosts"][name], rows.get(name, {}), facts.get(name) or {}
        actual = Size(
            _whole(row.get("memory_mb")) or _whole(fact.get("memtotal_mb")),
            _whole(row.get("vcpus")) or _whole(fact.get("processor_vcpus")),
        )
        # A provider that has fewer cores than were asked for (a small lab) says which it would give.
        most = _whole(row.get("most_vcpus"))
        wanted = Size(host["memory_mb"], min(host["vcpus"], most) if host["vcpus"] and most else host["vcpus"])
        online = bool(row.get("online"))
        found.append(Machine(name, tuple(host["tiers"]), wanted, actual, host["state"], online, _alone(name, fleet)))
    return found


def _alone(name: str, fleet: Mapping[str, Any]) -> str:
    for tier in SERVING:
        serving = [other for other, host in fleet["hosts"].items() if tier in host["tiers"] and host["state"] == "active"]
        if serving == [name]:
            return tier
    return ""


def _whole(value: Any) -> int | None:
    return int(value) if value else None
