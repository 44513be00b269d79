# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes when each task begins and where it changed something, as it happens; tests/e2e/support/interrupts.py reads along."""

from __future__ import annotations

DOCUMENTATION = """
name: steps
type: aggregate
short_description: Write when each task begins and where it changed something, one JSON object a line
description: Only for the tests of interrupted runs.
options:
  path:
    description: The file, which is written anew.
    type: path
    required: true
    env:
      - name: E2E_STEPS
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "steps"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._play = ""
        self._path = Path()

    def set_options(self, *arguments: Any, **options: Any) -> None:
        super().set_options(*arguments, **options)
        self._path = Path(self.get_option("path"))
        self._path.write_text("", "utf-8")

    def _write(self, **row: Any) -> None:
        with self._path.open("a", encoding="utf-8") as record:
            record.write(json.dumps({"at": time.time(), **row}) + "\n")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play.get_name()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._write(play=self._play, task=task.get_name().rpartition(" : ")[2])

    def v2_runner_on_ok(self, result: Any) -> None:
        told = getattr(result, "result", None) or result._result
        if told.get("changed"):
            self._write(host=(getattr(result, "host", None) or result._host).get_name())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write(end=True)
