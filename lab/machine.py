"""What machine is this, and can the lab live on it? Probing and judging are apart: `refusals` is pure."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path

from . import settings
from .shell import LabError


@dataclass(frozen=True)
class Network:
    """An IPv4 network that this machine already reaches, and through what."""

    cidr: str
    via: str


@dataclass(frozen=True)
class Machine:
    """The facts that decide whether the lab can be made here."""

    distribution: str
    debian_version: int | None  # major version; None when it is not Debian or has no number (testing, unstable)
    has_apt: bool
    is_root: bool
    has_sudo: bool
    memory_total_mb: int
    memory_available_mb: int
    disk_free_mb: int
    networks: tuple[Network, ...]  # without the lab's own
    lab_exists: bool  # the lab's containers are here already, and what they use is not free any more


def refusals(
    machine: Machine,
    *,
    memory_mb: int = settings.MEMORY_NEEDED_MB,
    disk_mb: int = settings.DISK_NEEDED_MB,
    subnet: str = settings.SUBNET,
) -> list[str]:
    """Every reason why the lab can't be made here: one sentence each, naming the thing, the value and the cure."""
    reasons: list[str] = []
    if not machine.has_apt:
        reasons.append(
            f"apt-get is missing on this {machine.distribution} system: run the lab on Debian 12 or later "
            "(a virtual machine will do)."
        )
    elif machine.debian_version is not None and machine.debian_version < 12:
        reasons.append(
            f"Debian {machine.debian_version} is too old, the lab needs Debian 12 or later (Podman 4): "
            "upgrade this machine or use another."
        )
    if not machine.is_root and not machine.has_sudo:
        reasons.append(
            "This user is not root and sudo is missing, but the lab makes networks and containers with limits: "
            "run it as root, or `apt-get install sudo` and allow this user to use it."
        )
    if not machine.is_root and machine.has_sudo:
        # What the lab itself has taken only root can tell apart: the rest is asked again once sudo has made this root.
        return reasons
    if not machine.lab_exists and machine.memory_available_mb < memory_mb:
        reasons.append(
            f"{machine.memory_available_mb} MB of {machine.memory_total_mb} MB memory are available, the thirteen hosts "
            f"need {memory_mb} MB: stop other programs, or give this machine more memory."
        )
    if not machine.lab_exists and machine.disk_free_mb < disk_mb:
        reasons.append(
            f"{machine.disk_free_mb} MB are free in {settings.CONTAINER_STORAGE}, the lab needs {disk_mb} MB: "
            "free some, or mount a larger disk there."
        )
    wanted = ipaddress.ip_network(subnet)
    for network in machine.networks:
        other = ipaddress.ip_network(network.cidr, strict=False)
        # 0.0.0.0/0 and halves of it are ways to the rest of the world, not networks that somebody lives in
        if other.prefixlen >= 8 and other.overlaps(wanted):
            reasons.append(
                f"Network {network.cidr} ({network.via}) overlaps {subnet}, where the lab lives: "
                f"remove it while the lab runs ({_cure(network)})."
            )
    return reasons


def _cure(network: Network) -> str:
    kind, _space, name = network.via.partition(" ")
    if kind == "podman":
        return f"podman network rm {name.removeprefix('network ')}"
    return f"ip route del {network.cidr}, or disconnect what set it on {name or network.via}"


def probe(environ: dict[str, str] | None = None) -> Machine:
    """Look at this machine. Needs nothing installed and changes nothing.

    LAB_PRETEND="memory_available_mb=512 has_apt=false" replaces single facts, to see what a refusal looks like.
    """
    environ = dict(os.environ) if environ is None else environ
    release = _os_release(Path("/etc/os-release"))
    version = release.get("VERSION_ID", "").partition(".")[0]
    memory = _meminfo(Path("/proc/meminfo"))
    lab_exists, bridges, podman_networks = _podman_networks()
    machine = Machine(
        distribution=release.get("PRETTY_NAME", "unknown"),
        debian_version=int(version) if release.get("ID") == "debian" and version.isdigit() else None,
        has_apt=shutil.which("apt-get") is not None,
        is_root=os.geteuid() == 0,
        has_sudo=shutil.which("sudo") is not None,
        memory_total_mb=memory.get("MemTotal", 0) // 1024,
        memory_available_mb=memory.get("MemAvailable", 0) // 1024,
        disk_free_mb=_free_mb(settings.CONTAINER_STORAGE),
        networks=tuple(routes(Path("/proc/net/route").read_text("ascii"), ignore=bridges)) + podman_networks,
        lab_exists=lab_exists,
    )
    return pretend(machine, environ.get("LAB_PRETEND", ""))


def pretend(machine: Machine, wishes: str) -> Machine:
    """The machine with single facts replaced: `name=value` words; networks as `networks=cidr,cidr`."""
    for wish in wishes.split():
        name, _sign, value = wish.partition("=")
        if name not in {field.name for field in fields(Machine)}:
            raise LabError(
                f"LAB_PRETEND knows no fact {name!r}: use one of {', '.join(f.name for f in fields(Machine))}"
            )
        old = getattr(machine, name)
        new: object
        if name == "networks":
            new = tuple(Network(cidr, "route eth9") for cidr in value.split(","))
        elif isinstance(old, bool):
            new = value == "true"
        elif isinstance(old, str):
            new = value
        else:
            new = int(value)
        machine = replace(machine, **{name: new})  # type: ignore[arg-type]
    return machine


def routes(table: str, ignore: Collection[str] = ()) -> list[Network]:
    """The networks of the kernel's table /proc/net/route, without those of the interfaces in `ignore`."""
    found = []
    for line in table.splitlines()[1:]:
        interface, destination, _gateway, _flags, _refs, _use, _metric, mask, *_rest = line.split()
        if interface in ignore:
            continue
        address, netmask = (socket.inet_ntoa(struct.pack("<L", int(word, 16))) for word in (destination, mask))
        found.append(Network(str(ipaddress.ip_network(f"{address}/{netmask}", strict=False)), f"route {interface}"))
    return found


def _podman_networks() -> tuple[bool, set[str], tuple[Network, ...]]:
    """Is the lab's own network here; the bridges of all Podman networks; the networks that are not the lab's."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        return False, set(), ()
    listed = subprocess.run(["podman", "network", "ls", "--quiet"], capture_output=True, text=True, check=False)
    names = listed.stdout.split()
    if not names:
        return False, set(), ()
    done = subprocess.run(["podman", "network", "inspect", *names], capture_output=True, text=True, check=False)
    lab_exists, bridges, others = False, set(), []
    for network in json.loads(done.stdout or "[]"):
        bridges.add(network.get("network_interface", ""))
        if (network.get("labels") or {}).get(settings.LABEL) == settings.NAME:
            lab_exists = True
            continue
        others += [Network(net["subnet"], f"podman network {network['name']}") for net in network.get("subnets") or []]
    return lab_exists, bridges, tuple(network for network in others if ":" not in network.cidr)


def _os_release(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text("utf-8").splitlines() if "=" in line)
    return {key: value.strip('"') for key, _sign, value in pairs}


def _meminfo(path: Path) -> dict[str, int]:
    pairs = (line.partition(":") for line in path.read_text("ascii").splitlines())
    return {key: int(value.split()[0]) for key, _sign, value in pairs}


def _free_mb(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 1024**2
