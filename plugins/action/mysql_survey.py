# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See from the control node whether a MySQL host answers, and ask it what its server is only if it does."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure

from ..module_utils.mysql_probe import probe
from ..plugin_utils.control_action import Action

STATE = "graphic_school.scaling.mysql_state"

ARGUMENTS: dict[str, dict[str, Any]] = {
    "address": {"type": "str", "required": True},
    "ssh_port": {"type": "int", "default": 22},
    "health_port": {"type": "int", "default": 9200},
    "seconds": {"type": "float", "default": 1.0},
    "state": {"type": "dict", "default": {}},
}


class ActionModule(Action):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        seen = probe(arguments["address"], arguments["ssh_port"], arguments["health_port"], arguments["seconds"])
        result: dict[str, Any] = {"changed": False, "seen": seen}
        if not seen["ssh"]:
            return {**result, "server": _silent("SSH does not answer")}
        try:
            told = self._execute_module(module_name=STATE, module_args=arguments["state"], task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            told = {"server": _silent(f"cannot log in: {error}")}
        return {**result, **told, "changed": False}


def _silent(why: str) -> dict[str, Any]:
    return {"installed": True, "answers": False, "why": why}
