# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The new lines of log files that grow, are rotated (renamed or cut) and come anew. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

# A line that is longer isn't one; it would fill the memory.
LONGEST = 1 << 20
CHUNK = 1 << 18


@dataclass
class _Open:
    stream: BinaryIO
    inode: int
    rest: bytes = b""


@dataclass
class Follower:
    """Follows one path. Lines that were there at the first look are not counted, those of a file that comes later all are.

    A renamed file is read on until it is quiet for one look after its successor has appeared: nginx writes to it until it is told to
    open the new one.
    """

    path: Path
    from_start: bool = False
    _now: _Open | None = field(default=None, repr=False)
    _before: list[_Open] = field(default_factory=list, repr=False)
    _looked: bool = False

    def lines(self) -> Iterator[str]:
        """What came since the last call, without line ends. A line that is not finished waits for the next call."""
        self._open()
        for old in list(self._before):
            quiet = True
            for line in _read(old):
                quiet = False
                yield line
            if quiet:
                old.stream.close()
                self._before.remove(old)
        if self._now:
            if os.fstat(self._now.stream.fileno()).st_size < self._now.stream.tell():
                self._now.stream.seek(0)
                self._now.rest = b""
            yield from _read(self._now)

    def close(self) -> None:
        for item in [*self._before, *([self._now] if self._now else [])]:
            item.stream.close()
        self._now, self._before = None, []

    def _open(self) -> None:
        first, self._looked = not self._looked, True
        try:
            inode = self.path.stat().st_ino
            if self._now and self._now.inode == inode:
                return
            stream = self.path.open("rb")
        except OSError:
            return
        if self._now:
            self._before.append(self._now)
        elif first and not self.from_start:
            stream.seek(0, os.SEEK_END)
        self._now = _Open(stream, os.fstat(stream.fileno()).st_ino)


def _read(item: _Open) -> Iterator[str]:
    while data := item.stream.read(CHUNK):
        *whole, item.rest = (item.rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
        if len(item.rest) > LONGEST:
            item.rest = b""
