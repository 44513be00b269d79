"""Limits of this machine's kernel that all hosts share: raised while the lab runs, put back by `make demo-down`."""

from __future__ import annotations

import json
from pathlib import Path

from .shell import detail

# Twelve systems with systemd use some ten inotify instances each, and Linux gives all containers of one user 128
# together; MySQL's asynchronous I/O counts against one number for the whole machine.
WANTED = {
    "fs/inotify/max_user_instances": 2048,
    "fs/inotify/max_user_watches": 262144,
    "fs/aio-max-nr": 1048576,
}
PROC_SYS = Path("/proc/sys")
BEFORE_FILE = Path("/run/graphic-school-lab-kernel.json")


def raise_limits(root: Path = PROC_SYS, before_file: Path = BEFORE_FILE) -> list[str]:
    """Raise what is too low and remember what it was; the names that changed. A limit that can't be set is told."""
    before: dict[str, int] = json.loads(before_file.read_text("utf-8")) if before_file.exists() else {}
    changed = []
    for name, wanted in WANTED.items():
        path = root / name
        try:
            now = int(path.read_text("ascii"))
            if now >= wanted:
                continue
            path.write_text(f"{wanted}\n", "ascii")
        except OSError as error:
            detail(f"{path} could not be raised to {wanted} ({error.strerror}): many hosts may run out of it")
            continue
        before.setdefault(name, now)
        changed.append(name)
    if changed:
        before_file.write_text(json.dumps(before), "utf-8")
    return changed


def restore_limits(root: Path = PROC_SYS, before_file: Path = BEFORE_FILE) -> None:
    """Put back what the lab raised, unless somebody changed it since."""
    if not before_file.exists():
        return
    for name, value in json.loads(before_file.read_text("utf-8")).items():
        path = root / name
        if int(path.read_text("ascii")) == WANTED.get(name):
            path.write_text(f"{value}\n", "ascii")
    before_file.unlink()
