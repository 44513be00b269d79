# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processor time on a machine that is client, control node and fleet at once.

In a real fleet each host has its own processors. Here Linux gives all containers of the lab together the weight of one
process (cgroup v1), so that any two programs beside them starve the fleet, and the client measures the machine. For the
time of a run each host weighs as much as a process, and the client, which needs little, comes first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHARES = Path("/sys/fs/cgroup/cpu/libpod_parent/cpu.shares")
ONE_PROCESS = 1024
CLIENT_NICENESS = -10


@contextmanager
def evened(hosts: int, shares: Path = SHARES) -> Iterator[list[str]]:
    """Even weights inside, as they were before outside; yields what could not be set."""
    troubles: list[str] = []
    before = None
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, CLIENT_NICENESS)
    except OSError:
        troubles.append("the client may not go first on this machine: watch how late it was")
    if shares.is_file():
        try:
            before = shares.read_text("ascii")
            shares.write_text(str(max(int(before), hosts * ONE_PROCESS)), "ascii")
        except OSError:
            troubles.append("the hosts share the weight of one process: other programs on this machine starve them")
    try:
        yield troubles
    finally:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
        if before is not None:
            with suppress(OSError):
                shares.write_text(before, "ascii")


def without_privilege(command: str) -> list[str]:
    """The words that run a shell command at the usual niceness, whatever that of the client is."""
    return ["nice", "-n", str(max(0, -os.getpriority(os.PRIO_PROCESS, 0))), "sh", "-c", command]
