# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes writes of clients, asked of every MySQL server ten times a second: two at once would each acknowledge what the other lacks.

A server that stands still says nothing, and takes no writes either; what it would do when it goes on, it says then.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.support.lab import Lab
from tests.e2e.support.niceness import without_privilege

EVERY_SECONDS = 0.1
AGAIN_SECONDS = 0.5
QUESTION = "SELECT UNIX_TIMESTAMP(NOW(6)), @@read_only;\n"


@dataclass(frozen=True, slots=True)
class Word:
    """What a server said of itself, by its own clock, which all hosts of the lab share."""

    at: float
    host: str
    writable: bool


@dataclass
class Primaries:
    """What was heard until now."""

    words: list[Word] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """A line for each word: seconds since 1970, host, whether it takes writes."""
        path.write_text("".join(f"{word.at:.3f} {word.host} {word.writable}\n" for word in self.words), "ascii")

    def two_at_once(self) -> list[str]:
        """A sentence for each time that a server still took writes after another one had begun to."""
        return overlaps(sorted(self.words, key=lambda word: word.at))


def overlaps(words: Sequence[Word]) -> list[str]:
    """A sentence for each word, in the order of time, of a server that takes writes though another has begun to since it did itself.

    A server that fell silent has its first word of before still counted when it speaks again: only a no ends its time as primary.
    """
    found: list[str] = []
    since: dict[str, float] = {}
    for word in words:
        if not word.writable:
            since.pop(word.host, None)
            continue
        began = since.setdefault(word.host, word.at)
        later = {other: at for other, at in since.items() if at > began}
        found += [f"{word.host} takes writes at {_time(word.at)}, {other} has since {_time(at)}" for other, at in later.items()]
    return found


def _time(at: float) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at % 1 * 100):02d}"


@contextmanager
def watched(lab: Lab) -> Iterator[Primaries]:
    """Ask all servers for as long as this is entered."""
    heard = Primaries()
    over = threading.Event()
    threads = [threading.Thread(target=_ask, args=(host, heard, over), daemon=True) for host in lab.tier("mysql")]
    for thread in threads:
        thread.start()
    try:
        yield heard
    finally:
        over.set()
        for thread in threads:
            thread.join(10)


def _ask(host: str, heard: Primaries, over: threading.Event) -> None:
    words = without_privilege(["podman", "exec", "--interactive", host, "mysql", "--batch", "--skip-column-names", "--unbuffered"])
    while not over.wait(AGAIN_SECONDS):
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdin is not None and process.stdout is not None
        reader = threading.Thread(target=_listen, args=(host, process, heard), daemon=True)
        reader.start()
        with suppress(OSError):
            while process.poll() is None and not over.wait(EVERY_SECONDS):
                process.stdin.write(QUESTION)
                process.stdin.flush()
        process.kill()
        process.wait()
        with suppress(OSError):
            process.stdin.close()
        reader.join(5)


def _listen(host: str, process: subprocess.Popen[str], heard: Primaries) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        at, read_only = line.split()
        heard.words.append(Word(float(at), host, read_only == "0"))
