# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what every host said, print the table, write it as JSON; an ill fleet is a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ..module_utils.fleet_status import Limits, as_text, assess, count
from ..plugin_utils.control_action import ControlAction, write

ARGUMENTS: dict[str, dict[str, Any]] = {
    "fleet": {"type": "dict", "required": True},
    "answers": {"type": "dict", "required": True},
    "file": {"type": "path"},
    "lag_seconds": {"type": "float", "default": 5.0},
    "queue_jobs": {"type": "int", "default": 1000},
    "certificate_days": {"type": "int", "default": 7},
    "disk_free_percent": {"type": "int", "default": 5},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        limits = Limits(
            lag_seconds=arguments["lag_seconds"],
            queue_jobs=arguments["queue_jobs"],
            certificate_days=arguments["certificate_days"],
            certificate_note_days=max(21, arguments["certificate_days"]),
            disk_free_percent=arguments["disk_free_percent"],
        )
        status = assess(arguments["fleet"], arguments["answers"], limits)
        data = json.loads(json.dumps(status.as_dict(), default=str))
        if arguments["file"]:
            write(Path(arguments["file"]), json.dumps(data, indent=2, sort_keys=True) + "\n", "status_file")
        Display().display(f"\n{as_text(status)}\n")
        result: dict[str, Any] = {"changed": False, "healthy": status.healthy, "status": data}
        if not status.healthy:
            lines = "\n".join(str(finding) for finding in status.ill)
            result.update(failed=True, msg=f"The fleet is not healthy, {count(len(status.ill))}:\n{lines}")
        return result
