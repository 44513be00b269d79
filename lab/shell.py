"""Running programs and telling a person how it goes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class LabError(Exception):
    """Something a person can cure; the message names the thing, the value and the cure."""


def run(
    command: Sequence[object],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command; raise LabError with the end of its output when it fails.

    Output is returned, or appended to `log` (then `stdout` is empty).
    """
    words = [str(word) for word in command]
    try:
        if log is None:
            done = subprocess.run(words, env=env, cwd=cwd, input=stdin, text=True, capture_output=True, check=False)
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a", encoding="utf-8") as sink:
                sink.write(f"$ {' '.join(words)}\n")
                sink.flush()
                done = subprocess.run(
                    words, env=env, cwd=cwd, input=stdin, text=True, stdout=sink, stderr=subprocess.STDOUT, check=False
                )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is not installed: run `make demo`, which installs what the lab needs") from error
    if check and done.returncode != 0:
        if log is None:
            said = tail((done.stderr or "") + (done.stdout or ""))
        else:
            said = f"{tail(log.read_text(encoding='utf-8', errors='replace'))}\n(all of it: {log})"
        raise LabError(f"`{' '.join(words[:6])}` failed with {done.returncode}:\n{said}")
    return done


def tail(text: str, lines: int = 12) -> str:
    """The last non-empty lines of a text."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


@dataclass
class Progress:
    """Prints stages with the seconds each took and keeps them for the summary."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """One stage: announced when it starts, timed when it ends, named when it fails."""
        say(f"== {name}: {what}")
        start = time.monotonic()
        try:
            yield
        except BaseException:
            say(f"!! {name} failed after {time.monotonic() - start:.1f} s")
            raise
        self.seconds[name] = round(time.monotonic() - start, 1)
        say(f"   {name}: {self.seconds[name]:.1f} s")


def say(line: str = "") -> None:
    """Print one line now (progress must not wait in a buffer)."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def detail(line: str) -> None:
    """Print one line below the stage it belongs to."""
    say(f"   {line}")
