# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run playbooks of the collection as this run was called, with further variables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail

from ..plugin_utils.control_action import ControlAction, bound

ARGUMENTS: dict[str, dict[str, Any]] = {
    "playbooks": {"type": "list", "elements": "str", "required": True},
    "variables": {"type": "dict", "default": {}},
    "tags": {"type": "str", "default": ""},
    "log": {"type": "path", "required": True},
    "seconds": {"type": "int", "default": 3600},
}
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
# Of what a run that failed has said, as much as a person reads.
TOLD = 1500


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        named = [str(word) for word in context.CLIARGS.get("args") or ()]
        command = command_for(arguments, [word for word in sys.argv[1:] if word not in named])
        began = time.monotonic()
        if not self._task.check_mode:
            follow(command, Path(arguments["log"]), arguments["seconds"])
        return {"changed": True, "playbooks": arguments["playbooks"], "seconds": round(time.monotonic() - began, 1)}


def command_for(arguments: dict[str, Any], words: Sequence[str]) -> list[str]:
    """The command of the playbooks; C(words) are this run's own options, and what is given here wins. Raises AnsibleActionFail."""
    paths = [PLAYBOOKS / f"{name}.yml" for name in arguments["playbooks"]]
    for path in paths:
        if not path.is_file():
            raise AnsibleActionFail(f"{path.stem} is no playbook of the collection; see {PLAYBOOKS}")
    # Ansible's own strings carry tags, which JSON doesn't.
    variables = json.dumps(arguments["variables"])
    tags = ["--tags", str(arguments["tags"])] if arguments["tags"] else []
    return [sys.executable, "-m", "ansible", "playbook", *words, "-e", variables, *tags, *map(str, paths)]


def follow(command: Sequence[str], log: Path, seconds: float) -> None:
    """Run the command, its output to the log's end. Raises AnsibleActionFail with the last that it said."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    bound(log)
    with log.open("a", encoding="utf-8") as sink:
        sink.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {' '.join(command[1:])}\n")
        sink.flush()
        start = log.stat().st_size
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise AnsibleActionFail(f"{_names(command)} did not end within {seconds:g} s; see {log}") from error
    if done.returncode:
        raise AnsibleActionFail(f"{_names(command)} ended with {done.returncode}: {reason(log.read_bytes()[start:])} ({log})")


def _names(command: Sequence[str]) -> str:
    return " and ".join(word.rpartition("/")[2] for word in command if word.startswith(str(PLAYBOOKS)))


def reason(said: bytes) -> str:
    """Of what ansible-playbook said: what went wrong, else the end."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    found = [line for line in lines if line.startswith(("fatal:", "[ERROR]", "ERROR!"))]
    return " ".join(found or lines)[-TOLD:]
