# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processor time on a machine that is client, control node and fleet at once: the client, which needs little, comes first.

What the hosts weigh is the lab's own matter: lab/kernel.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
SCHEDSTAT = Path("/proc/self/schedstat")
CLIENT_NICENESS = -10


@contextmanager
def client_first(autogroup: Path = AUTOGROUP) -> Iterator[list[str]]:
    """Inside, this process goes before others; outside, as it was before. Yields what could not be set."""
    troubles: list[str] = []
    with ExitStack() as undo:
        try:
            niceness = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, CLIENT_NICENESS)
            undo.callback(_try, lambda: os.setpriority(os.PRIO_PROCESS, 0, niceness))
            if autogroup.is_file():
                # Where Linux groups processes by session, niceness only counts inside of one; the group has its own.
                before = autogroup.read_text("ascii").split()[-1]
                autogroup.write_text(str(CLIENT_NICENESS), "ascii")
                undo.callback(_try, lambda: autogroup.write_text(before, "ascii"))
        except OSError:
            troubles.append("the client may not go first on this machine: watch how late it was")
        yield troubles


def _try(restore: Callable[[], object]) -> None:
    with suppress(OSError):
        restore()


def waited_for_cpu() -> float:
    """Seconds that the client was ready to run and another program had the processor: what a late client may be late for."""
    try:
        return int(SCHEDSTAT.read_text("ascii").split()[1]) / 1e9
    except OSError:
        return 0.0
