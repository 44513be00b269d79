# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time changes a fleet: who holds its lock, and whether those runs still live."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

# In a list of verbs: whoever it is.
ANY = "any"


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


def verb_of(playbooks: Collection[str]) -> str:
    """Return what a run of C(playbooks) is called, given as files or by their full names."""
    names = [PurePath(name).stem if name.endswith((".yml", ".yaml")) else name.rpartition(".")[2] for name in playbooks]
    return "+".join(names) or "ansible-playbook"


def lock_text(holders: Collection[Holder]) -> str:
    """Return the content of the lock: one JSON object a line."""
    return "".join(json.dumps(asdict(holder), sort_keys=True) + "\n" for holder in holders)


def parse_lock(text: str) -> tuple[Holder, ...]:
    """Return who holds the lock that says C(text). A line that says nothing holds nothing: its writer died over it."""
    holders = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            holders.append(Holder(int(row["pid"]), str(row["began"]), str(row["host"]), str(row["verb"]), str(row["since"])))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(holders)


def process_began(pid: int, proc: Path = Path("/proc")) -> str:
    """Return when process C(pid) began, in ticks since the boot, "" when there is none or it has ended and nobody has noticed.

    A pid that was given again began later.
    """
    try:
        # Fields 3 and 22 of proc_pid_stat(5); the name in parentheses may hold anything.
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]
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
    return (
        f"{holder.verb} has held the fleet since {holder.since}, as process {holder.pid}; wait for it to end, or end it "
        f"(kill -INT {holder.pid}) and run it again later: it finishes what it began"
    )


def taken(
    text: str, me: Holder, path: str, began: Callable[[int], str] = process_began, beside: Collection[str] = ()
) -> tuple[Holder, ...]:
    """Return who holds the lock that says C(text) once C(me) has taken it: C(me), and those beside whom it goes on.

    C(beside) are verbs that C(me) doesn't wait for, or C(ANY). Raises FleetLockError.
    """
    others = []
    for holder in parse_lock(text):
        why = refusal(holder, me, began(holder.pid) if holder.host == me.host else "", path)
        if why and holder.verb not in beside and ANY not in beside:
            raise FleetLockError(why)
        if why:
            others.append(holder)
    return (*others, me)
