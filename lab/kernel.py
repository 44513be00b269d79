"""What all hosts share of this machine's kernel: set while the lab runs, put back by `make demo-down`."""

from __future__ import annotations

import json
from pathlib import Path

from .shell import detail

# Twelve systems with systemd use some ten inotify instances each, and Linux gives all containers of one user 128
# together; MySQL's asynchronous I/O counts against one number for the whole machine.
LIMITS = {
    "proc/sys/fs/inotify/max_user_instances": 2048,
    "proc/sys/fs/inotify/max_user_watches": 262144,
    "proc/sys/fs/aio-max-nr": 1048576,
}
# In a real fleet each host has its own processors. Here Linux gives all containers together the weight of one session:
# the control node or a test beside them starves the fleet, a balancer is late with its adverts, and loses its address.
# By file, in cgroup v1 and v2: what one host weighs.
WEIGHTS = {
    "sys/fs/cgroup/cpu/libpod_parent/cpu.shares": 1024,
    "sys/fs/cgroup/libpod_parent/cpu.weight": 100,
}
BEFORE_FILE = Path("/run/graphic-school-lab-machine.json")


def raise_limits(root: Path = Path("/"), before_file: Path = BEFORE_FILE) -> list[str]:
    """Raise what is too low for many hosts; returns the files that changed. A limit that can't be set is told."""
    return _raise(LIMITS, "many hosts may run out of it", root, before_file)


def weigh_hosts(hosts: int, root: Path = Path("/"), before_file: Path = BEFORE_FILE) -> list[str]:
    """Let each of so many hosts weigh as much as one session of this machine; returns the files that changed.

    Podman's own group has the weight, so there must be a host already. Where systemd owns the groups nothing is changed.
    """
    wanted = {name: one * max(hosts, 1) for name, one in WEIGHTS.items() if (root / name).exists()}
    return _raise(wanted, "other programs on this machine may starve the hosts", root, before_file)


def _raise(wanted: dict[str, int], danger: str, root: Path, before_file: Path) -> list[str]:
    noted: dict[str, list[int]] = json.loads(before_file.read_text("utf-8")) if before_file.exists() else {}
    changed = []
    for name, value in wanted.items():
        path = root / name
        try:
            now = int(path.read_text("ascii"))
            if now >= value:
                continue
            path.write_text(f"{value}\n", "ascii")
        except OSError as error:
            detail(f"{path} could not be raised to {value} ({error.strerror}): {danger}")
            continue
        before, ours = noted.get(name, [now, now])
        noted[name] = [before if ours == now else now, value]
        changed.append(name)
    if changed:
        before_file.write_text(json.dumps(noted), "utf-8")
    return changed


def restore(root: Path = Path("/"), before_file: Path = BEFORE_FILE) -> None:
    """Put back what the lab raised, unless somebody changed it since, or it went with the last host."""
    if not before_file.exists():
        return
    for name, (before, ours) in json.loads(before_file.read_text("utf-8")).items():
        path = root / name
        if path.exists() and int(path.read_text("ascii")) == ours:
            path.write_text(f"{before}\n", "ascii")
    before_file.unlink()
