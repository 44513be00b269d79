# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From "this tier shall have N hosts" to who comes, who goes and where each is noted: pure.

The inventory and the file that scaling writes beside it are all that is remembered. A host on its way carries
``fleet_scaling``: C(joining) until it serves, C(leaving) until it is gone; so a run that was interrupted is finished by the
next one, whatever number that one asks for.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .fleet import LEAVING, TIERS, FleetError, build_fleet

SCALABLE = ("app_servers", "queue_workers", "load_balancers", "mysql", "redis_cluster")
# A MySQL primary acknowledges nothing that one machine alone holds; a Redis Cluster of two can't outvote the loss of one.
MINIMUM: Mapping[str, int] = {"mysql": 2, "redis_cluster": 3}
MAXIMUM = 10
STANDBY = "standby"
# Who has to learn of a change in a tier, besides the tier itself: playbooks, in the order in which they run. What watches the
# fleet, where there is any, learns of each.
LISTENERS: Mapping[str, tuple[str, ...]] = {
    "app_servers": ("load_balancers", "monitoring"),
    "queue_workers": ("monitoring",),
    "load_balancers": ("app_servers", "load_balancers", "monitoring"),
    "mysql": ("mysql", "app_servers", "queue_workers", "monitoring"),
    "redis_cluster": ("redis_cluster", "app_servers", "queue_workers", "monitoring"),
}
# Who has to forget those who left once they are gone. Everybody else let them go while they were on their way out.
FORGETTERS: Mapping[str, tuple[str, ...]] = {
    "app_servers": ("monitoring",),
    "queue_workers": ("monitoring",),
    "load_balancers": LISTENERS["load_balancers"],
    "mysql": LISTENERS["mysql"],
    "redis_cluster": ("redis_cluster", "monitoring"),
}
# Tiers of which check mode can tell what the others would do. Databases and Redis hosts ask each other, and one that isn't made
# can't answer.
REHEARSED = ("app_servers", "queue_workers", "load_balancers")
# Whose exporters ask the tier, and so have to know it.
ASKERS: Mapping[str, tuple[str, ...]] = {"redis_cluster": ("queue_workers",)}


class ScaleError(ValueError):
    """The wish can't be carried out. Each problem is one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Member:
    """A host of the tier. ``made``: scaling made it, so scaling may destroy it. ``phase``: joining, leaving or nothing.
    ``new``: the inventory doesn't know it yet."""

    name: str
    address: str
    state: str = "active"
    made: bool = False
    phase: str = ""
    new: bool = False

    @property
    def counts(self) -> bool:
        """Whether the host serves or is on its way to."""
        return self.state == "active" and self.phase != "leaving"


@dataclass(frozen=True)
class Wish:
    """What is asked for, and within which bounds."""

    tier: str
    count: int
    minimum: int = 1
    maximum: int = MAXIMUM
    provider: str = STANDBY
    addresses: tuple[str, ...] = ()  # the pool; empty: the provider gives addresses


@dataclass(frozen=True)
class Plan:
    """Who comes and who goes. ``create`` ⊆ ``join``, ``destroy`` ⊆ ``leave``; ``entries`` is laid over the file meanwhile,
    ``settled`` at the end; None takes a host (or one of its keys) out of it."""

    tier: str
    before: int
    after: int
    join: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    destroy: tuple[str, ...] = ()
    entries: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    settled: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    why: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "before": self.before,
            "after": self.after,
            "join": list(self.join),
            "leave": list(self.leave),
            "create": list(self.create),
            "destroy": list(self.destroy),
            "entries": {name: None if row is None else dict(row) for name, row in self.entries.items()},
            "settled": {name: None if row is None else dict(row) for name, row in self.settled.items()},
            "listeners": list(LISTENERS[self.tier]),
            "rehearsed": self.tier in REHEARSED,
            "why": list(self.why),
        }


def plan(
    wish: Wish,
    members: Iterable[Member],
    taken_names: Iterable[str] = (),
    taken_addresses: Iterable[str] = (),
    *,
    primary: str | None = None,
) -> Plan:
    """The way from the members to the count.

    Hosts that an interrupted run left on their way are finished, or turned round when the count wants that. New capacity is
    taken in this order: hosts that were about to leave, hosts that stand by, hosts that the provider makes. What leaves first
    was made by scaling, the youngest name first; the inventory's own hosts are set to standby and never destroyed.

    Raises ScaleError.
    """
    everyone = sorted(members, key=_by_number)
    _refuse_count(wish)
    staying = [member for member in everyone if member.counts]
    if wish.count >= len(staying):
        return _out(wish, everyone, staying, {*taken_names}, {*taken_addresses})
    return _in(wish, everyone, staying, primary)


def _refuse_count(wish: Wish) -> None:
    if not wish.minimum <= wish.count <= wish.maximum:
        side = "fleet_minimum" if wish.count < wish.minimum else "fleet_maximum"
        raise ScaleError(
            f"fleet_count of {wish.tier} must be from {wish.minimum} to {wish.maximum}, not: {wish.count}; "
            f"set {side} for the group if the fleet shall be allowed that"
        )


def _out(
    wish: Wish,
    everyone: Sequence[Member],
    staying: Sequence[Member],
    names: set[str],
    addresses: set[str],
) -> Plan:
    joining, leaving = _phase(staying, "joining"), _phase(everyone, "leaving")
    missing = wish.count - len(staying)
    recalled = leaving[:missing]
    gone = leaving[missing:]
    ready = [member for member in everyone if member.state == STANDBY and member.phase != "leaving"]
    woken = ready[: missing - len(recalled)]
    rows: list[Member] = [*joining, *recalled, *woken]
    why = [f"{member.name} was on its way in: it is finished" for member in joining]
    why += [f"{member.name} was on its way out: it comes back" for member in recalled]
    why += [f"{member.name} stands by: it is activated" for member in woken]
    lacking = missing - len(recalled) - len(woken)
    if lacking and wish.provider == STANDBY:
        raise ScaleError(
            f"fleet_count {wish.count} of {wish.tier} takes {lacking} more host{'s' if lacking > 1 else ''} than stand by: add "
            f"{'them' if lacking > 1 else 'one'} to the inventory with fleet_state: standby, or set fleet_provider to one that makes hosts"
        )
    for _turn in range(lacking):
        name = next_name(wish.tier, [member.name for member in everyone], names)
        address = _next_address(wish, name, addresses)
        names.add(name)
        addresses.add(address)
        rows.append(Member(name, address, made=True, new=True))
        why.append(f"{name} is new: {wish.provider} makes it{' with ' + address if address else ''}")
    why += [f"{row.name} was on its way out: it is finished" for row in gone]
    return _plan(wish, len(staying) - len(joining), rows, gone, why)


def _plan(wish: Wish, before: int, coming: Iterable[Member], going: Iterable[Member], why: Iterable[str]) -> Plan:
    """Who comes ends active and who goes ends gone; of both only what scaling made is made, or destroyed."""
    coming, going = tuple(coming), tuple(going)
    return Plan(
        tier=wish.tier,
        before=before,
        after=wish.count,
        join=tuple(row.name for row in coming),
        leave=tuple(row.name for row in going),
        create=tuple(row.name for row in coming if row.made),
        destroy=tuple(row.name for row in going if row.made),
        entries={row.name: _entry(row, "active", "joining") for row in coming}
        | {row.name: _entry(row, "draining", "leaving") for row in going},
        settled={row.name: _entry(row, "active", "") for row in coming} | {row.name: _left(row) for row in going},
        why=tuple(why),
    )


def _phase(members: Iterable[Member], phase: str) -> list[Member]:
    return [member for member in members if member.phase == phase]


def _in(wish: Wish, everyone: Sequence[Member], staying: Sequence[Member], primary: str | None) -> Plan:
    joining, leaving = _phase(staying, "joining"), _phase(everyone, "leaving")
    # Last in, first out: unfinished hosts, then hosts that scaling made, then the inventory's own.
    order = sorted(staying, key=lambda member: (member.phase == "joining", member.made, _by_number(member)), reverse=True)
    movable = [member for member in order if member.name != primary]
    surplus = len(staying) - wish.count
    if surplus > len(movable):
        raise ScaleError(
            f"fleet_count {wish.count} of {wish.tier} would remove {primary}, which is the primary now: "
            f"move the primary first (switchover.yml), or ask for at least 1"
        )
    chosen = movable[:surplus]
    out = [*leaving, *chosen]
    kept = [member for member in joining if member not in chosen]
    why = [f"{member.name} was on its way out: it is finished" for member in leaving]
    why += [f"{member.name} leaves: {'it is destroyed' if member.made else 'it stands by from then on'}" for member in chosen]
    why += [f"{member.name} was on its way in: it is finished" for member in kept]
    return _plan(wish, len(staying) - len(joining), kept, out, why)


def _entry(row: Member, state: str, phase: str) -> dict[str, Any]:
    """What the file shall say of a host, laid over what it says; None takes a key out."""
    entry: dict[str, Any] = {"fleet_scaling": phase or None}
    if row.new:
        entry |= {"fleet_scaled": True, **({"ansible_host": row.address} if row.address else {})}
    else:
        entry["fleet_state"] = None if row.made and state == "active" else state
    return entry


def _left(row: Member) -> dict[str, Any] | None:
    return None if row.made else {"fleet_state": STANDBY, "fleet_scaling": None}


def _by_number(member: Member) -> tuple[str, int, str]:
    stem, number = _split(member.name)
    return stem, number, member.name


def _split(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?)(\d+)", name)
    return (found[1], int(found[2])) if found else (name, 0)


def next_name(tier: str, members: Sequence[str], taken: Iterable[str] = ()) -> str:
    """The next name of the tier's own series: app1, app2 → app3. A gap is filled, so that a name comes back after its host went."""
    series = [_split(name) for name in members if re.search(r"\d\Z", name)]
    stems = [stem for stem, _number in series]
    stem = max(sorted({*stems}), key=stems.count) if stems else tier.rstrip("s").replace("_", "-") + "-"
    used = {*members, *taken}
    number = max((number for each, number in series if each == stem), default=0)
    first = 1 if not series else min(number for each, number in series if each == stem)
    return next(name for step in range(first, number + len(used) + 2) if (name := f"{stem}{step}") not in used)


def _next_address(wish: Wish, name: str, taken: set[str]) -> str:
    if not wish.addresses:
        return ""
    free = next((address for address in wish.addresses if address not in taken), None)
    if free is None:
        raise ScaleError(
            f"fleet_address_pool of {wish.tier} has {len(wish.addresses)} addresses and none is left for {name}: "
            "add some to the group's fleet_address_pool"
        )
    return free


POOL_LIMIT = 4096


def parse_pool(value: Any) -> tuple[str, ...]:
    """The addresses of ``fleet_address_pool``: C(192.0.2.30-192.0.2.39), C(192.0.2.32/29), or a list of such and of addresses.

    Raises ScaleError.
    """
    if value in (None, "", []):
        return ()
    parts = value if isinstance(value, (list, tuple)) else [value]
    found: dict[str, None] = {}
    for part in parts:
        for address in _pool_part(str(part).strip()):
            found[address] = None
            if len(found) > POOL_LIMIT:
                raise ScaleError(f"fleet_address_pool holds more than {POOL_LIMIT} addresses: {value}; give a smaller range")
    return tuple(found)


def _pool_part(part: str) -> Iterable[str]:
    try:
        if "/" in part:
            # One by one: a network may hold more than anybody waits for.
            return map(str, ipaddress.ip_network(part, strict=False).hosts())
        first, dash, last = part.partition("-")
        low = ipaddress.ip_address(first.strip())
        high = ipaddress.ip_address(last.strip()) if dash else low
        if low.version == high.version and int(low) <= int(high) < int(low) + POOL_LIMIT:
            return [str(type(low)(number)) for number in range(int(low), int(high) + 1)]
    except ValueError:
        pass
    raise ScaleError(
        f"fleet_address_pool must be a range such as 192.0.2.30-192.0.2.39, a network such as 192.0.2.32/29, or a list of these, "
        f"not: {part!r}"
    )


def plan_for(
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    tier: Any,
    count: Any,
    group_names: Mapping[str, Any] | None = None,
    *,
    primary: str | None = None,
) -> tuple[Plan, str]:
    """The plan for an inventory, and the name of the tier's group in it.

    The fleet as it is and as it would be are both built first, so that what the inventory refuses is refused before anything is
    written. Raises ScaleError, FleetError.
    """
    tier, number = _tier(tier), _count(tier, count)
    fleet = build_fleet(groups, hostvars, group_names)
    pool = fleet.pools[tier]
    if not pool:
        raise ScaleError(f"the fleet has no {tier}: scaling adds to hosts that are there, so give the group its first host")
    group = str((group_names or {}).get(tier, tier))
    members = []
    for server in pool:
        own = hostvars[server.name]
        phase = str(own.get("fleet_scaling") or "")
        members.append(Member(server.name, server.address, server.state, bool(own.get("fleet_scaled")), phase))
    first = hostvars[pool[0].name]
    wish = Wish(
        tier=tier,
        count=number,
        minimum=_bound(tier, "fleet_minimum", first.get("fleet_minimum"), MINIMUM.get(tier, 1)),
        maximum=_bound(tier, "fleet_maximum", first.get("fleet_maximum"), MAXIMUM),
        provider=str(first.get("fleet_provider") or STANDBY),
        addresses=parse_pool(first.get("fleet_address_pool")),
    )
    found = plan(
        wish,
        members,
        fleet.hosts,
        [*(host.address for host in fleet.hosts.values()), *([fleet.vip] if fleet.vip else [])],
        primary=primary,
    )
    _refuse_marked_primary(found, hostvars)
    return found, group


def _tier(value: Any) -> str:
    tier = str(value)
    if tier in SCALABLE:
        return tier
    if tier in TIERS:
        raise ScaleError(f"fleet_tier {tier} can't be scaled by a number of hosts; scale.yml knows {', '.join(SCALABLE)}")
    near = difflib.get_close_matches(tier, SCALABLE, n=1, cutoff=0.6)
    raise ScaleError(
        f"fleet_tier must be one of {', '.join(SCALABLE)}, not: {tier or 'nothing'}{f' (did you mean {near[0]}?)' if near else ''}"
    )


def _count(tier: Any, value: Any) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"\d{1,6}", text):
        raise ScaleError(f"fleet_count of {tier} must be a whole number of hosts, not: {text or 'nothing'}; say -e fleet_count=3")
    return int(text)


def _bound(tier: str, key: str, value: Any, default: int) -> int:
    if value is None:
        return default
    if not re.fullmatch(r"\d{1,6}", str(value)) or int(value) < 1:
        raise ScaleError(f"{key} of {tier} must be a whole number of hosts, at least 1, not: {value}")
    return int(value)


def _refuse_marked_primary(found: Plan, hostvars: Mapping[str, Mapping[str, Any]]) -> None:
    marked = [name for name in found.destroy if hostvars[name].get("mysql_primary")]
    if marked:
        raise ScaleError(f"{marked[0]} carries mysql_primary: true and would be destroyed: mark another host in the inventory first")


def overlaid(
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    found: Plan,
    group: str,
    keys: Iterable[str],
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Groups and host variables as they will be once the plan is carried out, for what checks a fleet.

    A new host has its neighbours' group variables, of which those named ``keys`` are taken.
    """
    names = {name: [str(host) for host in hosts] for name, hosts in groups.items()}
    pattern = hostvars[names[group][0]]
    inherited = {key: pattern[key] for key in keys if key in pattern and key not in _OWN}
    variables: dict[str, dict[str, Any]] = {host: {**_Picked(hostvars[host], keys)} for host in names.get("all", names[group])}
    for name, row in found.settled.items():
        if row is None:
            names = {each: [host for host in hosts if host != name] for each, hosts in names.items()}
            variables.pop(name, None)
            continue
        if name not in variables:
            variables[name] = dict(inherited)
            for each in (group, "all"):
                names.setdefault(each, []).append(name)
        variables[name] |= row
        variables[name] = {key: value for key, value in variables[name].items() if value is not None}
    return names, variables


def group_marks(
    found: Plan, tier_hosts: Iterable[str], listeners: Iterable[str], askers: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Rows of host and groups while the verb runs: fleet_joining, fleet_leaving, fleet_asked (the tier, when somebody leaves, to
    see who serves), fleet_concerned (all that learn of it) and fleet_metered (whose exporters are new, or learn of it)."""
    marks: dict[str, list[str]] = {str(host): ["fleet_concerned"] for host in listeners}
    marks |= {host: ["fleet_joining", "fleet_concerned"] for host in found.join}
    marks |= {host: [LEAVING, "fleet_concerned"] for host in found.leave}
    for host in {*map(str, tier_hosts)} - {*found.join} if found.leave else ():
        marks.setdefault(host, []).append("fleet_asked")
    for host in {*found.join, *map(str, askers if found.join or found.leave else ())} - {*found.leave}:
        marks.setdefault(host, []).append("fleet_metered")
    return [{"host": host, "groups": names} for host, names in sorted(marks.items())]


def group_marks_after(found: Plan, forgetters: Iterable[str]) -> list[dict[str, Any]]:
    """The same once the hosts are gone: fleet_left_behind for who has to forget them, fleet_resting for who stands by."""
    resting = [host for host in found.leave if host not in found.destroy]
    behind = {*map(str, forgetters)} - {*found.leave} if found.leave else set()
    marks = {host: ["fleet_left_behind"] for host in behind}
    marks |= {host: ["fleet_left_behind", "fleet_resting"] for host in resting}
    return [{"host": host, "groups": names} for host, names in sorted(marks.items())]


_OWN = frozenset({"ansible_host", "fleet_address", "fleet_state", "fleet_scaling", "fleet_scaled", "mysql_primary", "fleet_weight"})


class _Picked(dict[str, Any]):
    """Some keys of a mapping, as a dictionary: Ansible renders each value that is looked at."""

    def __init__(self, source: Mapping[str, Any], keys: Iterable[str]) -> None:
        super().__init__((key, source[key]) for key in keys if key in source)


__all__ = ["FleetError", "Member", "Plan", "ScaleError", "Wish", "next_name", "overlaid", "parse_pool", "plan", "plan_for"]
