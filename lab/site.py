"""Running playbooks on the lab: everything to a log, one line per play and role to the person, the recap as data."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import settings
from .shell import LabError, detail

HEADING = re.compile(r"^(PLAY|TASK|RUNNING HANDLER|PLAY RECAP) ?(?:\[(.*)\])? \*+$")
TROUBLE = re.compile(r"^(?:fatal|failed): \[([^\]]+)\]")
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


@dataclass
class Story:
    """What a run of a playbook told, line by line."""

    tell: Callable[[str], None]
    play: str = ""
    role: str = ""
    task: str = ""
    tasks: int = 0
    trouble: list[str] = field(default_factory=list)  # the failing task, then what it said
    changed: dict[str, int] = field(default_factory=dict)  # host → changed tasks
    in_recap: bool = False

    def hear(self, line: str) -> None:
        """Take in one line of ansible-playbook's output."""
        heading = HEADING.match(line)
        if heading:
            self._heading(heading[1], heading[2] or "")
            return
        if self.in_recap:
            recap = RECAP.match(line)
            if recap:
                self.changed[recap[1]] = int(recap[3])
            return
        if TROUBLE.match(line):
            self.trouble = [f"{self.play} / {self.task}", line]
        elif self.trouble and len(self.trouble) < 40 and line.startswith((" ", "[ERROR]", "Origin")):
            self.trouble.append(line)

    def _heading(self, kind: str, name: str) -> None:
        self.in_recap = kind == "PLAY RECAP"
        if kind == "PLAY":
            self.play, self.role = name, ""
            self.tell(name)
        elif kind in ("TASK", "RUNNING HANDLER"):
            self.tasks += 1
            self.task = name
            role = name.partition(" : ")[0].rpartition(".")[2] if " : " in name else ""
            if role and role != self.role:
                self.role = role
                self.tell(f"  {role}")


@dataclass(frozen=True)
class Result:
    """How a run went."""

    seconds: float
    tasks: int
    changed: dict[str, int]
    cpu_seconds: float  # of the control side


def has_mitogen(venv: Path) -> bool:
    """Whether mitogen is installed."""
    return any(venv.glob("lib/python3.*/site-packages/ansible_mitogen"))


def environment(venv: Path, accelerate: bool) -> dict[str, str]:
    """The environment of a run: this checkout's settings, and mitogen where wanted and there."""
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(settings.ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{venv / 'bin'}:{os.environ.get('PATH', '')}",
    }
    if accelerate and has_mitogen(venv):
        env |= {"ANSIBLE_STRATEGY_PLUGINS": str(settings.STRATEGIES), "ANSIBLE_STRATEGY": "mitogen_lean"}
        # core announces the end of strategy plug-ins on every run; the lab's choice is ours, not the reader's
        env["ANSIBLE_DEPRECATION_WARNINGS"] = "0"
    return env


def play(
    venv: Path,
    playbook: str,
    *options: str,
    log: Path,
    accelerate: bool = False,
    quiet: bool = False,
) -> Result:
    """Run a playbook of this checkout against inventories/lab; LabError with the failing task when it fails."""
    command = [venv / "bin" / "ansible-playbook", "-i", settings.INVENTORY, playbook, *options]
    start, before = time.monotonic(), os.times()

    def tell(line: str) -> None:
        if not quiet:
            detail(f"{time.monotonic() - start:6.1f} s  {line}")

    story = Story(tell)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as sink:
        code = _follow(command, environment(venv, accelerate), sink.write, story)
    after = os.times()
    if code:
        said = "\n".join(story.trouble) or "\n".join(log.read_text("utf-8").splitlines()[-15:])
        raise LabError(f"{playbook} failed:\n{said}\n(all of it: {log})")
    cpu = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    return Result(time.monotonic() - start, story.tasks, story.changed, cpu)


def _follow(command: Sequence[object], env: dict[str, str], write: Callable[[str], object], story: Story) -> int:
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=settings.ROOT, env=env, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines: Iterable[str] = process.stdout or ()
    for line in lines:
        write(line)
        story.hear(line.rstrip("\n"))
    return process.wait()
