# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command on the control node, within the run's own process."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

from ansible.errors import AnsibleActionFail

from ..plugin_utils.control_action import ControlAction

# Of what a command that failed has said, as much as a person reads.
TOLD = 2000

ARGUMENTS: dict[str, dict[str, Any]] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
    "seconds": {"type": "float", "default": 600},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        argv, seconds = arguments["argv"], arguments["seconds"]
        words = shlex.join(argv)
        if self._task.check_mode:
            return {"changed": True, "argv": argv, "stdout_lines": []}
        try:
            done = subprocess.run(
                argv, cwd=arguments["chdir"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise AnsibleActionFail(f"{words} did not end within {seconds:g} s") from error
        except OSError as error:
            raise AnsibleActionFail(f"{words} can't be run: {error.strerror}: {error.filename}") from error
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip())[-TOLD:]
            raise AnsibleActionFail(f"{words} ended with {done.returncode}: {said}")
        return {"changed": True, "argv": argv, "stdout_lines": done.stdout.splitlines()}
