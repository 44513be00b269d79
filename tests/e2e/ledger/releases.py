# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases lay on which application server at which moment, so that an answer by a deleted one is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.e2e.ledger.figures import Answer

# Two forks a second and host; the shell does the rest by itself.
WATCH = 'while :; do set -- {root}/releases/*; echo "${{*##*/}}"; sleep 0.5; done'


@dataclass
class ReleaseLog:
    """What was seen, as spans during which a release was missing for sure: from first to last time it wasn't there."""

    _present: dict[str, frozenset[str]] = field(default_factory=dict)
    _gone: dict[tuple[str, str], list[list[float]]] = field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        return sorted(self._present)

    def saw(self, host: str, at: float, releases: Iterable[str]) -> None:
        now = frozenset(releases)
        for release in self._present.get(host, now) - now:
            self._gone.setdefault((host, release), []).append([at, at])
        for (where, release), spans in self._gone.items():
            if where == host and release not in now:
                spans[-1][1] = at
        self._present[host] = now

    def was_deleted(self, host: str, release: str, at: float) -> bool:
        return any(start <= at <= end for start, end in self._gone.get((host, release), []))

    def by_deleted(self, answers: Sequence[Answer]) -> list[Answer]:
        """Answers that were still being given, or begun, when their release was deleted."""
        return [a for a in answers if a.release and self.was_deleted(a.server, a.release, a.ended)]


async def watch(command: Sequence[str], host: str, log: ReleaseLog, clock: Callable[[], float]) -> None:
    """Note what is there twice a second, until cancelled; a host that can't be reached is tried again."""
    while True:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            async for line in process.stdout:
                log.saw(host, clock(), [word for word in line.decode().split() if word != "*"])
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await asyncio.sleep(2)
