# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From inventory data to the topology of the fleet: pure, the same under --limit, in check mode and before facts."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TIERS = ("load_balancers", "app_servers", "queue_workers", "mysql", "redis_cluster", "object_storage", "monitoring")
REQUIRED_TIERS = ("load_balancers", "app_servers", "mysql", "redis_cluster")
STATES = ("active", "draining", "standby", "down")
STORAGES = ("ssd", "nvme", "hdd")
REDIS_PRIMARIES = 3
# The group in which scale.yml names those who leave.
LEAVING = "fleet_leaving"
# Tiers that can't share a host, and why.
CLASHES = (
    ("load_balancers", "app_servers", "each brings its own nginx to port 80"),
    ("load_balancers", "monitoring", "each brings its own nginx to port 443"),
    ("app_servers", "monitoring", "each brings its own nginx.conf"),
    ("mysql", "app_servers", "MySQL listens on port 3306, where the application looks for its database router"),
    ("mysql", "queue_workers", "MySQL listens on port 3306, where the workers look for their database router"),
)

KNOWN_KEYS = (
    "fleet_address",
    "fleet_address_pool",
    "fleet_count",
    "fleet_groups",
    "fleet_host",
    "fleet_interface",
    "fleet_maximum",
    "fleet_memory_mb",
    "fleet_minimum",
    "fleet_provider",
    "fleet_provider_options",
    "fleet_provider_tasks",
    "fleet_scaled",
    "fleet_scaling",
    "fleet_secrets_dir",
    "fleet_size",
    "fleet_sizes",
    "fleet_state",
    "fleet_storage",
    "fleet_tier",
    "fleet_vcpus",
    "fleet_vip",
    "fleet_weight",
)
KNOWN_PREFIXES = ("fleet_admin_",)

WEIGHTS = (1, 1000)
VCPUS = (1, 4096)
MEMORY_MB = (128, 64 * 1024 * 1024)

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?\Z")
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\Z")
_LOOKS_NUMERIC = re.compile(r"[0-9.]+\Z")


class FleetError(ValueError):
    """The inventory describes a fleet that can't work. Each problem is one sentence: the thing, the value, the cure."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Size:
    """What one machine offers; None where the inventory leaves it to facts."""

    vcpus: int | None = None
    memory_mb: int | None = None
    storage: str | None = None


DEFAULT_SIZES: Mapping[str, Size] = {
    "small": Size(1, 2048),
    "medium": Size(2, 4096),
    "large": Size(4, 8192),
    "xlarge": Size(8, 16384),
    "2xlarge": Size(16, 32768),
}


@dataclass(frozen=True)
class Server:
    """One host of the fleet, as the inventory describes it."""

    name: str
    address: str
    state: str = "active"
    weight: int = 1
    size: str | None = None
    vcpus: int | None = None
    memory_mb: int | None = None
    storage: str = "ssd"
    tiers: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "address": self.address,
            "state": self.state,
            "weight": self.weight,
            "size": self.size,
            "vcpus": self.vcpus,
            "memory_mb": self.memory_mb,
            "storage": self.storage,
            "tiers": list(self.tiers),
        }


@dataclass(frozen=True)
class MysqlCluster:
    """One primary and its replicas, as the inventory starts them; who is primary now is asked elsewhere."""

    name: str
    primary: Server
    hosts: tuple[Server, ...]

    def as_dict(self, servers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        return {
            "cluster": self.name,
            "primary": servers[self.primary.name],
            "replicas": [servers[host.name] for host in self.hosts if host is not self.primary],
            "hosts": [servers[host.name] for host in self.hosts],
        }


@dataclass(frozen=True)
class Fleet:
    """The whole topology. ``as_dict`` is what playbooks see."""

    pools: Mapping[str, tuple[Server, ...]]
    mysql_clusters: tuple[MysqlCluster, ...]
    vip: str | None
    hosts: Mapping[str, Server]

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts and lists: one list per tier, ``mysql``, ``mysql_clusters``, ``vip`` and ``hosts`` by name."""
        servers = {name: host.as_dict() for name, host in self.hosts.items()}
        result: dict[str, Any] = {
            tier: [servers[host.name] for host in self.pools[tier]] for tier in TIERS if tier != "mysql"
        }
        clusters = {cluster.name: cluster.as_dict(servers) for cluster in self.mysql_clusters}
        first = next(iter(clusters.values()), None)
        result["mysql"] = first or {"cluster": None, "primary": None, "replicas": [], "hosts": []}
        result["mysql_clusters"] = clusters
        result["vip"] = self.vip
        result["hosts"] = servers
        return result


@dataclass
class _Problems:
    """Collects what is wrong, so that one run tells everything; each sentence once, on one line whatever it quotes."""

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        sentence = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in sentence)
        if sentence not in self.sentences:
            self.sentences.append(sentence)


def build_fleet(
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    group_names: Mapping[str, Any] | None = None,
) -> Fleet:
    """The topology that the inventory describes.

    ``groups`` and ``hostvars`` are Ansible's own. Of each host's variables only ``fleet_*``, ``ansible_host`` and
    ``mysql_primary`` are read, because Ansible renders each value that is looked at.
    ``group_names`` maps a tier to the inventory's name for it, to None for a fleet without that tier, and ``mysql``
    also to a list of groups, one for each cluster.

    ``hosts`` of the result holds every host of the inventory, also those of no tier, but for those that ``scale.yml`` has
    just destroyed: a host that add_host named stays in ``groups`` until the run ends, also when the inventory has lost it.

    Raises FleetError with every problem found.
    """
    problems = _Problems()
    names = _tier_groups(groups, group_names or {}, problems)
    members = {
        tier: _members(groups, tier, names[tier], names_given=group_names or {}, problems=problems) for tier in TIERS
    }

    tiers_of: dict[str, list[str]] = {}
    for tier in TIERS:
        for host in members[tier]:
            tiers_of.setdefault(host, []).append(tier)

    hosts: dict[str, Server] = {}
    vips: dict[str, list[str]] = {}
    primaries: set[str] = set()
    destroyed = {str(host) for host in groups.get(LEAVING, ())} - {*tiers_of}
    for host in sorted({*tiers_of, *(str(host) for host in groups.get("all", ()))} - destroyed):
        variables = hostvars[host]
        tiers = tuple(tiers_of.get(host, ()))
        hosts[host] = _server(host, variables, tiers, problems)
        if "load_balancers" in tiers:
            vip = variables.get("fleet_vip")
            if vip not in (None, ""):
                vips.setdefault(str(vip), []).append(host)
        if "mysql_primary" in variables and _boolean(host, "mysql_primary", variables["mysql_primary"], problems):
            primaries.add(host)

    vip = _vip(vips, _by_address(hosts, problems), problems)
    pools = {tier: tuple(hosts[host] for host in members[tier]) for tier in TIERS}
    for tier in TIERS:
        _refuse_idle_pool(tier, names[tier], pools[tier], problems)
    _refuse_small_redis_cluster(names["redis_cluster"], pools["redis_cluster"], problems)
    _refuse_ports_taken_twice(hosts.values(), problems)
    clusters = _mysql_clusters(groups, names, members["mysql"], hosts, primaries, problems=problems)

    if problems.sentences:
        raise FleetError(problems.sentences)
    return Fleet(pools=pools, mysql_clusters=clusters, vip=vip, hosts=hosts)


def _tier_groups(
    groups: Mapping[str, Iterable[str]], given: Mapping[str, Any], problems: _Problems
) -> dict[str, tuple[str, ...]]:
    """For each tier the inventory's groups that make it up: none, one, or (MySQL clusters) several."""
    for tier in given:
        if tier not in TIERS:
            problems.add(
                f"fleet_groups: {tier!r} is not a tier of the fleet{_did_you_mean(str(tier), TIERS)}; "
                f"the tiers are {', '.join(TIERS)}"
            )
    result: dict[str, tuple[str, ...]] = {}
    for tier in TIERS:
        value = given.get(tier, tier)
        if value is None:
            result[tier] = ()
        elif isinstance(value, str):
            result[tier] = (str(value),)
        elif tier == "mysql" and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            result[tier] = tuple(str(item) for item in value)
        else:
            problems.add(f"fleet_groups: {tier} must be the name of a group or null, not: {value!r}")
            result[tier] = ()
    return result


def _members(
    groups: Mapping[str, Iterable[str]],
    tier: str,
    names: tuple[str, ...],
    names_given: Mapping[str, Any],
    problems: _Problems,
) -> tuple[str, ...]:
    found: set[str] = set()
    for name in names:
        if name not in groups:
            if tier in REQUIRED_TIERS or tier in names_given:
                near = _did_you_mean(name, [group for group in groups if group not in ("all", "ungrouped")])
                problems.add(
                    f"group {name} is not in the inventory{near}; add it with at least one host, "
                    f"or set fleet_groups: {{{tier}: null}} for a fleet without it"
                )
            continue
        hosts = [str(host) for host in groups[name]]
        if not hosts:
            problems.add(
                f"group {name} is empty: give it at least one host, or set fleet_groups: {{{tier}: null}} "
                "for a fleet without it"
            )
        found.update(hosts)
    return tuple(sorted(found))


def _server(name: str, variables: Mapping[str, Any], tiers: tuple[str, ...], problems: _Problems) -> Server:
    for key in variables:
        if key.startswith("fleet_") and key not in KNOWN_KEYS and not key.startswith(KNOWN_PREFIXES):
            problems.add(
                f"host {name}: unknown variable {key}{_did_you_mean(key, KNOWN_KEYS)}; "
                f"the fleet knows {', '.join(KNOWN_KEYS)} and fleet_admin_*"
            )

    if not _NAME.match(name):
        problems.add(
            f"host {name!r}: the name must be letters, digits, dots, dashes and underscores, "
            "beginning and ending with a letter or digit; put the address into ansible_host"
            if not _is_ip(name)
            else f"host {name}: give it a name of its own and put the address into ansible_host"
        )
    state = variables.get("fleet_state")
    state = "active" if state is None else str(state)
    if state not in STATES:
        problems.add(
            f"host {name}: fleet_state must be one of {', '.join(STATES)}, not: {state}{_did_you_mean(state, STATES)}"
        )
    size_name = variables.get("fleet_size")
    size = Size()
    if size_name is not None:
        size_name = str(size_name)
        size = _size(name, size_name, variables.get("fleet_sizes"), problems)
    weight = _whole(name, "fleet_weight", variables.get("fleet_weight"), WEIGHTS, problems, cure=_WEIGHT_CURE)
    vcpus = _whole(name, "fleet_vcpus", variables.get("fleet_vcpus"), VCPUS, problems)
    memory_mb = _whole(
        name, "fleet_memory_mb", variables.get("fleet_memory_mb"), MEMORY_MB, problems, cure=_MEMORY_CURE
    )
    storage = _storage(f"host {name}: fleet_storage", variables.get("fleet_storage"), problems)
    return Server(
        name=name,
        address=_address(name, variables, problems),
        state=state,
        weight=1 if weight is None else weight,
        size=size_name,
        vcpus=size.vcpus if vcpus is None else vcpus,
        memory_mb=size.memory_mb if memory_mb is None else memory_mb,
        storage=storage or size.storage or "ssd",
        tiers=tiers,
    )


_WEIGHT_CURE = "; to take a host out of traffic set fleet_state: draining"
_MEMORY_CURE = " megabytes, e.g. 4096 for 4 GB"


def _address(name: str, variables: Mapping[str, Any], problems: _Problems) -> str:
    key = "the name"
    value: Any = None
    for key in ("fleet_address", "ansible_host"):
        value = variables.get(key)
        if value not in (None, ""):
            break
    else:
        key, value = "the name", name
    address = str(value)
    if not _is_ip(address) and (not _DNS_NAME.match(address) or _LOOKS_NUMERIC.match(address)):
        problems.add(
            f"host {name}: {key} is not an address: {address!r}; set fleet_address to an IPv4 address, "
            "an IPv6 address without brackets, or a DNS name"
        )
    return address


def _is_ip(value: str) -> bool:
    try:
        return "%" not in value and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _canonical(address: str) -> str:
    """One spelling for each address, so that `2001:DB8:0::1` is `2001:db8::1`."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower()


def _whole(
    host: str, key: str, value: Any, bounds: tuple[int, int], problems: _Problems, *, cure: str = ""
) -> int | None:
    low, high = bounds
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        problems.add(f"host {host}: {key} must be a whole number from {low} to {high}, not: {value}{cure}")
        return None
    return int(value)


def _boolean(host: str, key: str, value: Any, problems: _Problems) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "yes", "false", "no"):
        return value.lower() in ("true", "yes")
    if value is None:
        return False
    if not isinstance(value, bool):
        problems.add(f"host {host}: {key} must be true or false, not: {value}")
        return False
    return bool(value)


def _storage(where: str, value: Any, problems: _Problems) -> str | None:
    if value is None:
        return None
    storage = str(value)
    if storage not in STORAGES:
        problems.add(f"{where} must be one of {', '.join(STORAGES)}, not: {storage}{_did_you_mean(storage, STORAGES)}")
        return None
    return storage


def _size(host: str, name: str, sizes: Any, problems: _Problems) -> Size:
    if sizes is not None and not isinstance(sizes, Mapping):
        problems.add(f"host {host}: fleet_sizes must map a name to vcpus and memory_mb, not: {sizes!r}")
        sizes = None
    if sizes is not None and name in sizes:
        row = sizes[name]
        if not isinstance(row, Mapping):
            problems.add(f"host {host}: fleet_sizes.{name} must hold vcpus and memory_mb, not: {row!r}")
            return Size()
        known = ("vcpus", "memory_mb", "storage")
        for key in row:
            if key not in known:
                problems.add(
                    f"host {host}: fleet_sizes.{name} has an unknown key {key}{_did_you_mean(str(key), known)}; "
                    f"a size holds {', '.join(known)}"
                )
        return Size(
            vcpus=_whole(host, f"fleet_sizes.{name}.vcpus", row.get("vcpus"), VCPUS, problems),
            memory_mb=_whole(
                host,
                f"fleet_sizes.{name}.memory_mb",
                row.get("memory_mb"),
                MEMORY_MB,
                problems,
                cure=_MEMORY_CURE,
            ),
            storage=_storage(f"host {host}: fleet_sizes.{name}.storage", row.get("storage"), problems),
        )
    if name in DEFAULT_SIZES:
        return DEFAULT_SIZES[name]
    known_sizes = sorted({*DEFAULT_SIZES, *(str(key) for key in sizes or {})})
    problems.add(
        f"host {host}: fleet_size {name} is not a known size{_did_you_mean(name, known_sizes)}; "
        f"use one of {', '.join(known_sizes)}, or describe it in fleet_sizes"
    )
    return Size()


def _by_address(hosts: Mapping[str, Server], problems: _Problems) -> dict[str, list[str]]:
    """The names of the hosts at each address; more than one is a problem."""
    by_address: dict[str, list[str]] = {}
    for host in hosts.values():
        by_address.setdefault(_canonical(host.address), []).append(host.name)
    for address, names in by_address.items():
        if len(names) > 1:
            problems.add(
                f"hosts {', '.join(names)} have one address, {address}: give each its own ansible_host or fleet_address"
            )
    return by_address


def _vip(vips: Mapping[str, Sequence[str]], by_address: Mapping[str, Sequence[str]], problems: _Problems) -> str | None:
    if not vips:
        return None
    if len(vips) > 1:
        which = ", ".join(f"{vip} on {' and '.join(names)}" for vip, names in vips.items())
        problems.add(f"fleet_vip must be the same on all load balancers, not: {which}; set it once for their group")
        return None
    vip = next(iter(vips))
    if not _is_ip(vip):
        problems.add(f"fleet_vip must be one IPv4 or IPv6 address without a prefix length, not: {vip}; e.g. 192.0.2.10")
        return None
    for name in by_address.get(_canonical(vip), ()):
        problems.add(f"fleet_vip {vip} is the address of host {name}: give the VIP an unused address of that network")
    return vip


def _refuse_idle_pool(tier: str, groups: tuple[str, ...], pool: Sequence[Server], problems: _Problems) -> None:
    if pool and not any(host.state == "active" for host in pool):
        states = ", ".join(f"{host.name} is {host.state}" for host in pool[:10])
        more = f" and {len(pool) - 10} more" if len(pool) > 10 else ""
        problems.add(
            f"group {' and '.join(groups)} has no active host: {states}{more}; set fleet_state: active on at least one"
        )


def _refuse_ports_taken_twice(hosts: Iterable[Server], problems: _Problems) -> None:
    for host in hosts:
        for tier, other, reason in CLASHES:
            if {tier, other} <= set(host.tiers):
                problems.add(f"host {host.name} is in {tier} and in {other}: {reason}; give one of them a host of its own")


def _refuse_small_redis_cluster(groups: tuple[str, ...], pool: Sequence[Server], problems: _Problems) -> None:
    active = [host.name for host in pool if host.state == "active"]
    if pool and active and len(active) < REDIS_PRIMARIES:
        problems.add(
            f"group {' and '.join(groups)} has {len(active)} active host{'s' if len(active) > 1 else ''} "
            f"({', '.join(active)}), too few to keep {REDIS_PRIMARIES} primaries and their replicas "
            f"on different hosts: it takes {REDIS_PRIMARIES}"
        )


def _mysql_clusters(
    groups: Mapping[str, Iterable[str]],
    names: Mapping[str, tuple[str, ...]],
    members: Sequence[str],
    hosts: Mapping[str, Server],
    primaries: set[str],
    *,
    problems: _Problems,
) -> tuple[MysqlCluster, ...]:
    if not members:
        return ()
    if len(names["mysql"]) > 1:
        split = {name: tuple(sorted(str(host) for host in groups.get(name, ()))) for name in names["mysql"]}
        for host in members:
            homes = [name for name, split_hosts in split.items() if host in split_hosts]
            if len(homes) > 1:
                problems.add(f"host {host} is in {len(homes)} MySQL clusters, {', '.join(homes)}: keep it in one")
    else:
        split = _child_groups(groups, names, members) or {names["mysql"][0]: tuple(members)}

    clusters: list[MysqlCluster] = []
    for cluster, cluster_hosts in split.items():
        marked = [host for host in cluster_hosts if host in primaries]
        if len(marked) == 1:
            clusters.append(MysqlCluster(cluster, hosts[marked[0]], tuple(hosts[host] for host in cluster_hosts)))
        elif marked:
            problems.add(
                f"group {cluster} must hold exactly one host with mysql_primary: true, not: {', '.join(marked)}"
            )
        elif cluster_hosts:
            problems.add(_no_primary(cluster, cluster_hosts, split, primaries))
    return tuple(clusters)


def _no_primary(
    cluster: str,
    cluster_hosts: Sequence[str],
    split: Mapping[str, Sequence[str]],
    primaries: set[str],
) -> str:
    elsewhere = [
        f"{host} of group {other}"
        for other, others in split.items()
        if other != cluster
        for host in others
        if host in primaries
    ]
    if not elsewhere:
        elsewhere = [f"{host}, which is outside the group" for host in sorted(primaries) if host not in cluster_hosts]
    hosts = ", ".join(cluster_hosts)
    if elsewhere:
        plural = len(cluster_hosts) > 1
        return (
            f"group {cluster}: the primary of its replica{'s' if plural else ''} {hosts} is in another group "
            f"({', '.join(elsewhere)}); put them into one group, or set mysql_primary: true on one of {hosts}"
        )
    return f"group {cluster} has no primary: set mysql_primary: true on exactly one of {hosts}"


def _child_groups(
    groups: Mapping[str, Iterable[str]], names: Mapping[str, tuple[str, ...]], members: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The groups that divide the MySQL hosts among themselves, each a cluster (shard) of its own; {} for one cluster.

    ``groups`` doesn't say which group is another's child, so a division is: groups (other than the tiers' own) that
    hold MySQL hosts only, don't overlap, and together hold all of them.
    """
    whole = set(members)
    taken = {"all", "ungrouped", *(name for tier in names.values() for name in tier), *TIERS}
    parts: dict[str, tuple[str, ...]] = {}
    for name in sorted(groups):
        if name in taken:
            continue
        hosts = groups[name]
        part: set[str] = set()
        for host in hosts:
            if host not in whole:
                break
            part.add(str(host))
        else:
            if part and part != whole:
                parts[str(name)] = tuple(sorted(part))
    counted = [host for part in parts.values() for host in part]
    return parts if len(counted) == len(whole) and set(counted) == whole else {}


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def certificates(fleet: Mapping[str, Any], app_domain: str | None = None) -> list[dict[str, Any]]:
    """The certificates that the hosts of a fleet (as ``Fleet.as_dict`` gives it) need: name, DNS names, addresses.

    Every host answers to its name, its address and, for clients beside it, to localhost. A load balancer answers to the
    VIP and to ``app_domain`` too.
    """
    result: list[dict[str, Any]] = []
    for name, host in sorted(fleet["hosts"].items()):
        names = [name, "localhost", host["address"]]
        if "load_balancers" in host["tiers"]:
            names += [item for item in (fleet["vip"], app_domain) if item]
        result.append(
            {
                "name": name,
                "dns": list(dict.fromkeys(item for item in names if not _is_ip(item))),
                "ip": list(dict.fromkeys([item for item in names if _is_ip(item)] + ["127.0.0.1"])),
            }
        )
    return result
