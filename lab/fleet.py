"""Make the containers match the inventory: `plan` is pure and says what to do, `apply` does it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import settings
from .inventory import Host
from .podman import Container, create_words, keep_bridge_address, network_exists, podman, wait_until
from .podman import remove as remove_containers
from .shell import LabError, detail, run


@dataclass(frozen=True)
class Plan:
    """What to do so that the containers match the inventory."""

    create: tuple[Host, ...] = ()
    start: tuple[str, ...] = ()
    unpause: tuple[str, ...] = ()
    resize: tuple[Host, ...] = ()
    orphans: tuple[str, ...] = ()  # ours, no longer in the inventory: removed only by `prune`
    outdated: tuple[str, ...] = ()  # run on an older image than the one we would use now
    refusals: tuple[str, ...] = field(default=())

    @property
    def changes(self) -> int:
        """How many hosts this plan touches."""
        return len({host.name for host in (*self.create, *self.resize)} | {*self.start, *self.unpause})


def plan(
    desired: Iterable[Host],
    actual: Iterable[Container],
    images: Mapping[str, str],
    *,
    checkout: str,
    cpus_here: int,
) -> Plan:
    """Compare. `images` maps a tier to the image a new host would get; `checkout` is where we run."""
    wanted = list(desired)
    here = {container.name: container for container in actual}
    used = {c.address: c.name for c in here.values() if c.address and c.ours}
    create: list[Host] = []
    start: list[str] = []
    unpause: list[str] = []
    resize: list[Host] = []
    outdated: list[str] = []
    refusals: list[str] = []
    for host in wanted:
        container = here.get(host.name)
        if container is None:
            if host.address in used:
                refusals.append(
                    f"{host.name} wants address {host.address}, which container {used[host.address]} has: "
                    f"give it another, or remove the old host with `make demo-prune`"
                )
            create.append(host)
            continue
        if not container.ours:
            refusals.append(
                f"A container called {host.name} exists that the lab did not make: "
                f"rename it with `podman rename {host.name} another-name`, or rename the host in the inventory"
            )
            continue
        if container.labels.get(settings.CHECKOUT_LABEL, checkout) != checkout:
            refusals.append(
                f"{host.name} belongs to the lab of checkout {container.labels[settings.CHECKOUT_LABEL]}: "
                "run `make demo-down` there (or here), then try again"
            )
            continue
        if container.address != host.address:
            refusals.append(
                f"{host.name} has address {container.address}, the inventory says {host.address}: "
                f"remove the old one with `podman rm --force {host.name}`, then try again"
            )
            continue
        if container.state == "paused":
            unpause.append(host.name)
        elif container.state != "running":
            start.append(host.name)
        if container.memory_mb != host.memory_mb or container.vcpus != min(host.vcpus, cpus_here):
            resize.append(host)
        if host.tier in images and container.image.removesuffix(":latest") != images[host.tier]:
            outdated.append(host.name)
    names = {host.name for host in wanted}
    return Plan(
        create=tuple(create),
        start=tuple(start),
        unpause=tuple(unpause),
        resize=tuple(resize),
        orphans=tuple(sorted(c.name for c in here.values() if c.ours and c.name not in names)),
        outdated=tuple(outdated),
        refusals=tuple(refusals),
    )


def apply(todo: Plan, hosts: Iterable[Host], images: Mapping[str, str]) -> None:
    """Carry a plan out, hosts side by side, and wait until every host answers on port 22."""
    if todo.refusals:
        raise LabError("\n".join(todo.refusals))
    if not network_exists():
        podman(
            "network", "create", "--subnet", settings.SUBNET, "--label", f"{settings.LABEL}={settings.NAME}",
            settings.NETWORK,
        )  # fmt: skip
    everybody = list(hosts)
    make_keys(everybody)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda host: _create(host, images[host.tier]), todo.create))
        list(pool.map(lambda name: podman("start", name), todo.start))
        list(pool.map(lambda name: podman("unpause", name), todo.unpause))
        resized = {host.name for host in todo.resize}
        list(
            pool.map(
                lambda host: resize(host.name, host.memory_mb, host.vcpus),
                [host for host in everybody if host.name in resized],
            )
        )
    keep_bridge_address()
    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = dict(zip(everybody, pool.map(_wait_for_ssh, everybody), strict=True))
    silent = [host.name for host, answer in answers.items() if not answer]
    if silent:
        raise LabError(
            f"{', '.join(silent)} did not answer on port 22 within 30 s: "
            f"look at `podman logs {silent[0]}` and `podman exec {silent[0]} systemctl --failed`"
        )


def _create(host: Host, image: str) -> None:
    words = create_words(
        host.name, address=host.address, memory_mb=host.memory_mb, vcpus=host.vcpus, image=image, tier=host.tier
    )
    podman(*words)
    podman("cp", f"{settings.HOST_KEYS / host.name}/.", f"{host.name}:/")
    podman("start", host.name)
    detail(f"{host.name:<8} {host.address:<14} {host.memory_mb:>5} MB  {host.vcpus} CPU  created")


def resize(name: str, memory_mb: int, vcpus: int) -> None:
    """Give a host other limits while it runs."""
    cpus = min(vcpus, os.cpu_count() or 1)
    podman(
        "update", "--memory", f"{memory_mb}m", "--memory-swap", f"{2 * memory_mb}m", "--cpus", str(cpus), name,
    )  # fmt: skip
    detail(f"{name:<8} now {memory_mb} MB, {cpus} CPU")


def _wait_for_ssh(host: Host) -> bool:
    def answers() -> bool:
        try:
            with socket.create_connection((host.address, 22), timeout=2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    return wait_until(answers, seconds=30)


def make_keys(hosts: Iterable[Host]) -> None:
    """The lab's key, each host's own key (laid out as it lands on the host), and the known_hosts file, which forgets no other."""
    settings.SSH_KEY.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not settings.SSH_KEY.exists():
        _keygen(settings.SSH_KEY, "graphic-school-lab")
    public = settings.SSH_KEY.with_suffix(".pub").read_text("ascii")
    known = []
    for host in hosts:
        root = settings.HOST_KEYS / host.name
        key = root / "etc" / "ssh" / "ssh_host_ed25519_key"
        if not key.exists():
            key.parent.mkdir(parents=True, exist_ok=True)
            _keygen(key, f"root@{host.name}")
        authorized = root / "root" / ".ssh" / "authorized_keys"
        authorized.parent.mkdir(parents=True, exist_ok=True)
        (root / "root").chmod(0o700)
        authorized.parent.chmod(0o700)
        authorized.write_text(public, "ascii")
        authorized.chmod(0o600)
        known.append(f"{host.address},{host.name} {' '.join(key.with_suffix('.pub').read_text('ascii').split()[:2])}\n")
    _write_known_hosts(known)


def _write_known_hosts(known: Iterable[str], forget: Iterable[str] = ()) -> None:
    """Lay these lines over the known_hosts file, without hosts of these names."""
    old = settings.KNOWN_HOSTS.read_text("ascii") if settings.KNOWN_HOSTS.exists() else ""
    lines = {_known_name(line): line for line in old.splitlines(keepends=True)}
    new = {_known_name(line): line for line in known}
    addresses = {line.split(",")[0] for line in new.values()}
    kept = {
        name: line for name, line in lines.items() if name not in {*forget} and line.split(",")[0] not in addresses
    }
    text = "".join((kept | new).values())
    if text != old:
        settings.KNOWN_HOSTS.write_text(text, "ascii")


def _known_name(line: str) -> str:
    return line.split(maxsplit=1)[0].rpartition(",")[2]


def _keygen(path: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])


def remove(names: Iterable[str]) -> None:
    """Remove these hosts of ours, with their keys."""
    names = list(names)
    remove_containers(names)
    for name in names:
        shutil.rmtree(settings.HOST_KEYS / name, ignore_errors=True)
    _write_known_hosts((), forget=names)
