# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A witness of the machine itself: when it stood still, nobody on it can tell what the fleet did meanwhile.

A process of its own, before all others, that wants to run every 50 ms and notes when it could not for half a second: a virtual
machine that was paused, or one without a processor for anybody. It knows nothing of the fleet, so that no fault of the fleet
can make it say so; hosts that starve each other don't stop it either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICK_SECONDS = 0.05
STALL_SECONDS = 0.5
# After a stall: until the balancers have agreed again on who holds the address.
SETTLING_SECONDS = 3.0


@dataclass(frozen=True)
class Stall:
    """From when to when the machine stood still, in seconds since 1970."""

    begin: float
    end: float

    def __str__(self) -> str:
        return f"{self.end - self.begin:.1f} s until {time.strftime('%H:%M:%S', time.localtime(self.end))}"


class Witness:
    """What the witness has written until now."""

    def __init__(self, record: Path) -> None:
        self.record = record

    @property
    def stalls(self) -> list[Stall]:
        lines = self.record.read_text("ascii").splitlines(keepends=True) if self.record.exists() else []
        return [Stall(*json.loads(line)) for line in lines if line.endswith("\n")]

    def disturbed(self, begin: float, end: float) -> bool:
        """Whether the machine stood still while something was under way, or so shortly before that its traces remained."""
        return any(begin <= stall.end + SETTLING_SECONDS and end >= stall.begin for stall in self.stalls)


@contextmanager
def witness(record: Path) -> Iterator[Witness]:
    """A witness for as long as this is entered."""
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("", "ascii")
    process = subprocess.Popen([sys.executable, __file__, str(record)], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield Witness(record)
    finally:
        process.terminate()
        process.wait(10)


def _clocks() -> tuple[float, float, float]:
    # A paused machine shows in one of them, which one depends on who paused it.
    return time.monotonic(), time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


def _watch(record: Path) -> None:
    with suppress(OSError):
        os.nice(-20)
        Path("/proc/self/autogroup").write_text("-20", "ascii")
    before = _clocks()
    while True:
        time.sleep(TICK_SECONDS)
        now = _clocks()
        stood = max(after - earlier for earlier, after in zip(before, now, strict=True))
        if stood > STALL_SECONDS:
            with record.open("a", encoding="ascii") as sink:
                sink.write(json.dumps([now[1] - stood, now[1]]) + "\n")
        before = now


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
