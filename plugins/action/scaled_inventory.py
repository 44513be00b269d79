# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Note on the control node which hosts scaling brought in or took out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ..plugin_utils.control_action import ControlAction, replace
from ..plugin_utils.scaled_inventory import ScaledInventoryError, addresses, merged

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "group": {"type": "str", "required": True},
    "hosts": {"type": "dict", "default": {}},
    "found": {"type": "list", "elements": "dict", "default": []},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        path = Path(arguments["path"])
        before = path.read_text("utf-8") if path.exists() else ""
        try:
            group, rows = arguments["group"], dict(arguments["hosts"])
            rows |= addresses(before, group, arguments["found"], str(path))
            after = merged(before, group, rows, str(path))
            if after != before and not self._task.check_mode:
                _replace(path, after)
        except (ScaledInventoryError, OSError) as error:
            raise AnsibleActionFail(str(error)) from error
        diff = {"before": before, "after": after, "before_header": str(path), "after_header": str(path)}
        return {"changed": after != before, "path": str(path), "diff": diff}


def _replace(path: Path, text: str) -> None:
    """The whole file or the old one; an empty file is none."""
    if text:
        replace(path, text)
    else:
        path.unlink(missing_ok=True)
