"""The hosts that inventories/lab asks for."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import settings
from .shell import LabError, run

# Group of the inventory → tier, which names the image. A host in groups of several tiers gets the base image.
TIERS = {
    "load_balancers": "lb",
    "app_servers": "app",
    "queue_workers": "app",
    "mysql": "mysql",
    "redis_cluster": "redis",
    "object_storage": "store",
    "monitoring": "mon",
}
# Tier → roles whose packages its image holds. A role missing here is installed by the play: slower, not wrong.
ROLES = {
    "base": ("base", "exporter"),
    "lb": ("nginx_lb", "keepalived", "exporter"),
    "app": ("db_router", "php_fpm", "app_server", "app_release", "queue_workers", "exporter"),
    "mysql": ("mysql", "exporter"),
    "redis": ("redis_cluster", "exporter"),
    "store": ("object_storage", "exporter"),
    "mon": ("prometheus", "alertmanager", "exporter"),
}
IGNORED_GROUPS = ("all", "ungrouped")


@dataclass(frozen=True)
class Host:
    """A host as the inventory wants it."""

    name: str
    address: str
    groups: tuple[str, ...]
    tier: str
    memory_mb: int
    vcpus: int
    state: str = "active"


def read(venv: Path, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """What `ansible-inventory --list` says about inventories/lab with further inventories laid over it."""
    sources = [word for path in (settings.INVENTORY, *extra) for word in ("-i", path)]
    answer = run([venv / "bin" / "ansible-inventory", *sources, "--list"], cwd=settings.ROOT)
    parsed: dict[str, Any] = json.loads(answer.stdout)
    return parsed


def vip(inventory: Mapping[str, Any]) -> str | None:
    """The fleet's virtual address, None when there is none."""
    for values in inventory["_meta"]["hostvars"].values():
        if "fleet_vip" in values:
            return str(values["fleet_vip"])
    return None


def hosts(inventory: Mapping[str, Any], subnet: str = settings.SUBNET) -> list[Host]:
    """The hosts in order of their address; LabError when one can't be a container of this lab."""
    values: Mapping[str, Mapping[str, Any]] = inventory["_meta"]["hostvars"]
    groups = _groups(inventory)
    found = [_host(name, values.get(name, {}), groups[name], subnet) for name in groups]
    found.sort(key=lambda host: ipaddress.ip_address(host.address))
    owners: dict[str, str] = {}
    for host in found:
        if host.address in owners:
            raise LabError(
                f"{owners[host.address]} and {host.name} both have address {host.address}: "
                f"give one of them another in {settings.INVENTORY}"
            )
        owners[host.address] = host.name
    return found


def packages(inventory: Mapping[str, Any], found: Sequence[Host], venv: Path) -> dict[str, list[str]]:
    """Tier → Debian packages of its roles, for the base and every tier that a host is in."""
    host_of = {host.tier: host.name for host in reversed(found)}
    # The base image serves every tier, so it holds what each host gets.
    shared = {"base": host_of.get("base", found[0].name)}
    # An image serves all groups of its tier: what any of them needs is in it.
    tiers_of = {tier: sorted(group for group, each in TIERS.items() if each == tier) for tier in {*host_of, "base"}}
    question = {
        "images": {
            tier: {"host": host, "roles": ROLES.get(tier, ()), "tiers": tiers_of[tier]} for tier, host in (shared | host_of).items()
        },
        "monitoring": [host.name for host in found if "monitoring" in host.groups],
        "hostvars": inventory["_meta"]["hostvars"],
    }
    program = [venv / "bin" / "python", Path(__file__).with_name("role_packages.py")]
    answer: dict[str, list[str]] = json.loads(run(program, stdin=json.dumps(question), cwd=settings.ROOT).stdout)
    return {tier: sorted({*answer.get(tier, ())}) for tier in shared | host_of}


def _groups(inventory: Mapping[str, Any]) -> dict[str, list[str]]:
    """Host → names of the groups it is in, child groups' parents included."""
    found: dict[str, list[str]] = {}

    def walk(group: str, path: tuple[str, ...]) -> None:
        entry = inventory.get(group, {})
        path = (*path, group)
        for name in entry.get("hosts", []):
            names = found.setdefault(name, [])
            names += [part for part in path if part not in IGNORED_GROUPS and part not in names]
        for child in entry.get("children", []):
            walk(child, path)

    walk("all", ())
    return found


def _host(name: str, values: Mapping[str, Any], groups: list[str], subnet: str) -> Host:
    address = str(values.get("fleet_address") or values.get("ansible_host") or "")
    try:
        inside = ipaddress.ip_address(address) in ipaddress.ip_network(subnet)
    except ValueError:
        inside = False
    if not inside:
        raise LabError(f"ansible_host of {name} is {address!r}: the lab needs an address in {subnet}")
    size = values.get("fleet_sizes", {}).get(values.get("fleet_size"), {})
    memory_mb = values.get("fleet_memory_mb") or size.get("memory_mb")
    vcpus = values.get("fleet_vcpus") or size.get("vcpus")
    if not memory_mb or not vcpus:
        raise LabError(
            f"{name} has no size: set fleet_memory_mb and fleet_vcpus, or fleet_size, in {settings.INVENTORY}"
        )
    tiers = {TIERS[group] for group in groups if group in TIERS}
    return Host(
        name=name,
        address=address,
        groups=tuple(groups),
        tier=tiers.pop() if len(tiers) == 1 else "base",
        memory_mb=int(memory_mb),
        vcpus=int(vcpus),
        state=str(values.get("fleet_state", "active")),
    )
