# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: run_record
type: aggregate
short_description: Write when each task began and what it returned to a file, one JSON object a line
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - A line has C(at) (seconds since 1970), C(play) and C(task); with C(host) it is a result there, without one the task begins. The last has
    C(end).
  - P(graphic_school.scaling.fleet_plan#module) reads a run in check mode with it; on a real run it tells what was done in the same form.
  - Results of tasks with C(no_log) arrive censored. The file is readable by its owner only.
requirements:
  - enable it with C(ANSIBLE_CALLBACKS_ENABLED=graphic_school.scaling.run_record)
options:
  path:
    description: The file, which is written anew.
    type: path
    required: true
    env:
      - name: GRAPHIC_SCHOOL_RUN_RECORD
"""

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

LEFT_OUT = ("invocation", "exception", "ansible_loop_var", "warnings_deprecated")


def _name(task: Any) -> str:
    """Its name without its role's, which has a field of its own."""
    return str(task.get_name().rpartition(" : ")[2])


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Appends a line as soon as something is known, so that an interrupted run is told up to where it came."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "graphic_school.scaling.run_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play = ""
        self._file: Any = None

    def set_options(self, *arguments: Any, **options: Any) -> None:
        super().set_options(*arguments, **options)
        handle = os.open(self.get_option("path"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(handle, "w", encoding="utf-8")

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps({"at": time.time(), **row}, default=str) + "\n")
        self._file.flush()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play.get_name()
        self._write({"play": self._play})

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._write({"play": self._play, "task": _name(task)})

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._write({"play": self._play, "task": _name(task)})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write({"end": True})

    def _record(self, result: Any, outcome: str) -> None:
        task = getattr(result, "task", None) or result._task
        host = getattr(result, "host", None) or result._host
        told = dict(getattr(result, "result", None) or result._result)
        role = task._role.get_name().rpartition(".")[2] if task._role else ""
        self._write(
            {
                "play": self._play,
                "role": role,
                "task": _name(task),
                "action": task.resolved_action or task.action,
                "host": host.get_name(),
                "outcome": outcome,
                "result": {key: value for key, value in told.items() if key not in LEFT_OUT},
            }
        )

    def v2_runner_on_ok(self, result: Any) -> None:
        self._record(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._record(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._record(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._record(result, "skipped")
