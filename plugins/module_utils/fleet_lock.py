# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes a fleet: who holds its lock, and whether that run still lives."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


class FleetLockError(Exception):
    """Another run holds the fleet; the message names it, and the cure."""


@dataclass(frozen=True)
class Holder:
    """A run of a playbook: its process, the moment that began (in the kernel's ticks), where, what, and since when."""

    pid: int
    began: str
    host: str
    verb: str
    since: str


def holder_text(holder: Holder) -> str:
    """Return the content of the lock."""
    return json.dumps(asdict(holder), sort_keys=True) + "\n"


def parse_holder(text: str) -> Holder | None:
    """Return who holds the lock that says C(text), None for a text that says nothing: its writer died over it."""
    try:
        data = json.loads(text)
        return Holder(int(data["pid"]), str(data["began"]), str(data["host"]), str(data["verb"]), str(data["since"]))
    except (ValueError, KeyError, TypeError):
        return None


def process_began(pid: int, proc: Path = Path("/proc")) -> str:
    """Return when process C(pid) began, in ticks since the boot, "" when there is none. A pid that was given again began later."""
    try:
        # Field 22 of proc_pid_stat(5); the name in parentheses may hold anything.
        return (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def refusal(holder: Holder, me: Holder, began: str, path: str) -> str:
    """Return why C(me) may not take the lock of C(holder), "" when it may: it is free, stale, or C(me)'s own.

    C(began) is when the holder's process began as this machine sees it now, "" when there is none.
    """
    if holder.host != me.host:
        return (
            f"{holder.verb} has held the fleet since {holder.since}, as process {holder.pid} on {holder.host}; wait for it, or, if nothing "
            f"runs there any more, remove {path}"
        )
    if (holder.pid, holder.began) == (me.pid, me.began) or not began or began != holder.began:
        return ""
    return f"{holder.verb} has held the fleet since {holder.since}, as process {holder.pid}; wait for it to end, or end it"
