# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See from the control node whether a MySQL host answers, and ask it what its server is only if it does."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..module_utils.mysql_probe import probe

STATE = "graphic_school.scaling.mysql_state"


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            {
                "address": {"type": "str", "required": True},
                "ssh_port": {"type": "int", "default": 22},
                "health_port": {"type": "int", "default": 9200},
                "seconds": {"type": "float", "default": 1.0},
                "state": {"type": "dict", "default": {}},
            }
        )[1]
        seen = probe(arguments["address"], arguments["ssh_port"], arguments["health_port"], arguments["seconds"])
        result |= {"changed": False, "seen": seen}
        if not seen["ssh"]:
            return {**result, "server": _silent("SSH does not answer")}
        try:
            told = self._execute_module(module_name=STATE, module_args=arguments["state"], task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            told = {"server": _silent(f"cannot log in: {error}")}
        return {**result, **told, "changed": False}


def _silent(why: str) -> dict[str, Any]:
    return {"installed": True, "answers": False, "why": why}
