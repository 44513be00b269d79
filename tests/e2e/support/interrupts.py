# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interrupting a verb in the middle of each of its steps: which steps it has, how they end, and what the clients see of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lab import site
from tests.e2e.support.lab import Lab, begun
from tests.e2e.support.waiting import until

# A step is met in its first half, but not later than this: long ones mostly wait.
LATEST_SECONDS = 3.0
# A run that lost SSH may go on with the hosts that it still reaches, to the end of what a whole scaling takes.
SSH_LOST_SECONDS = 300


@dataclass(frozen=True)
class Step:
    """A task that changed something, for the C(turn)th time in a run: batches repeat their tasks."""

    play: str
    task: str
    turn: int
    seconds: float
    hosts: tuple[str, ...]

    def __str__(self) -> str:
        again = f" ({self.turn})" if self.turn > 1 else ""
        return f"{self.task}{again} on {', '.join(self.hosts)}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Way:
    """How a run ends in the middle of a step."""

    name: str
    accelerate: bool
    part: float = 0.4

    def __str__(self) -> str:
        return f"{self.name}, {'mitogen' if self.accelerate else 'plain'}, after {self.part:.0%}"


# Plain Ansible leaves a module running on its host when the control node goes away; mitogen takes it along.
WAYS = tuple(
    Way(name, fast) for name, fast in (
        ("Ctrl-C", False), ("SSH lost", True), ("killed", False), ("Ctrl-C", True), ("SSH lost", False), ("killed", True),
    )
)  # fmt: skip


def environment(accelerate: bool, record: Path) -> dict[str, str]:
    """The environment of a run that tells its steps."""
    return {
        **site.environment(Path(sys.prefix), accelerate=accelerate),
        "ANSIBLE_CALLBACKS_ENABLED": "graphic_school.scaling.run_record",
        "GRAPHIC_SCHOOL_RUN_RECORD": str(record),
    }


class Record:
    """What a run writes of itself (plugins/callback/run_record.py), read along: each line once."""

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, 0
        self._rows: list[dict[str, Any]] = []

    def rows(self) -> list[dict[str, Any]]:
        """The lines until now; one that is being written is not there yet."""
        if self.path.exists():
            with self.path.open("rb") as record:
                record.seek(self._read)
                lines, _end, _rest = record.read().rpartition(b"\n")
            self._rows += [json.loads(line) for line in lines.splitlines()]
            self._read += len(lines) + 1 if lines else 0
        return self._rows


def steps(told: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The steps of a whole run that changed something, in their order."""
    found: list[Step] = []
    turns: Counter[tuple[str, str]] = Counter()
    begins = [index for index, row in enumerate(told) if _begins(row) or "end" in row]
    for begin, end in pairwise(begins):
        name = (told[begin]["play"], told[begin]["task"])
        turns[name] += 1
        hosts = tuple(sorted({row["host"] for row in told[begin:end] if row.get("result", {}).get("changed")}))
        if hosts:
            found.append(Step(*name, turns[name], told[end]["at"] - told[begin]["at"], hosts))
    return found


def _begins(row: Mapping[str, Any]) -> bool:
    return "task" in row and "host" not in row


def reached(told: Sequence[Mapping[str, Any]], step: Step) -> bool:
    """Whether the run has begun the step."""
    return sum(_begins(row) and (row["play"], row["task"]) == (step.play, step.task) for row in told) >= step.turn


@contextmanager
def unreachable(lab: Lab, hosts: Sequence[str]) -> Iterator[None]:
    """SSH to the hosts breaks off, as when a firewall restarts; machines that don't exist yet can't be cut off."""
    there = [host for host in hosts if host in lab.containers()]
    rules = (
        "table inet e2e_interrupt { chain input { type filter hook input priority -20;"
        " tcp dport 22 reject with tcp reset; }; chain output { type filter hook output priority -20;"
        " tcp sport 22 tcp flags & rst == 0 drop; }; }"
    )

    def nft(host: str, *words: str) -> None:
        subprocess.run(["podman", "exec", host, "nft", *words], capture_output=True, timeout=20, check=False)

    for host in there:
        nft(host, rules)
    try:
        yield
    finally:
        for host in there:
            nft(host, "delete", "table", "inet", "e2e_interrupt")


def interrupted(lab: Lab, verb: str, options: Sequence[str], step: Step, *, way: Way, folder: Path) -> str:
    """Run the verb and interrupt it in the middle of the step; returns how it went out."""
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder / "interrupted.record")
    record.path.unlink(missing_ok=True)
    with begun(verb, *options, env=environment(way.accelerate, record.path), log=folder / "interrupted.log") as run:
        def there() -> bool:
            over = run.poll() is not None
            if reached(record.rows(), step):
                return True
            if over:
                raise RuntimeError(f"the run ended before it came to this step: {(folder / 'interrupted.log').read_text()[-1500:]}")
            return False

        until(f"{verb} came to: {step}", there, seconds=300, every=0.02)
        time.sleep(min(step.seconds * way.part, LATEST_SECONDS))
        if run.poll() is not None:
            return "had ended before it was interrupted"
        if way.name == "SSH lost":
            # A step of the control node itself: it loses whom it talks to next.
            with unreachable(lab, [host for host in step.hosts if host in lab.containers()] or lab.containers()):
                run.wait(SSH_LOST_SECONDS)
        else:
            os.killpg(run.pid, signal.SIGINT if way.name == "Ctrl-C" else signal.SIGKILL)
            run.wait(60)
        return f"ended with {run.returncode}"


@dataclass(frozen=True)
class Trial:
    """One interruption, and what came of it; C(trouble) is empty when the next run finished the work and no request failed."""

    number: int
    step: Step
    way: Way
    went: str
    seconds: float
    requests: int
    trouble: tuple[str, ...]

    def __str__(self) -> str:
        verdict = "; ".join(self.trouble) or "finished by the next run"
        return f"{self.number:3}  {self.step}\n     {self.way}: {self.went}; {self.seconds:.0f} s, {self.requests} requests: {verdict}"


def chosen(text: str, count: int) -> list[int]:
    """The numbers that C(text) names, as in "1-4,7"; all when it is empty."""
    if not text:
        return list(range(1, count + 1))
    found: list[int] = []
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return [number for number in found if 1 <= number <= count]


def attempt(what: str, check: Callable[[], object]) -> str:
    """What went wrong in a check, "" for nothing."""
    try:
        check()
    except Exception as error:
        return f"{what}: {str(error) or repr(error)}"[:1500]
    return ""
