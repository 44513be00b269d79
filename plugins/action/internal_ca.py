# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the fleet's certificate authority on the control node."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils import internal_ca
from ..plugin_utils.control_action import ControlAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "ca_common_name": {"type": "str", "default": "graphic_school.scaling internal CA"},
    "certificates": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "dns": {"type": "list", "elements": "str", "default": []},
            "ip": {"type": "list", "elements": "str", "default": []},
        },
    },
    "valid_days": {"type": "int", "default": 825},
    "renew_days": {"type": "int", "default": 30},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        if not internal_ca.HAS_CRYPTOGRAPHY:
            raise AnsibleActionFail("internal_ca needs cryptography on the control node: pip install cryptography")
        try:
            made = internal_ca.ensure(
                Path(arguments["directory"]),
                arguments["ca_common_name"],
                [
                    internal_ca.Request(row["name"], tuple(row["dns"]), tuple(row["ip"]))
                    for row in arguments["certificates"]
                ],
                datetime.datetime.now(datetime.UTC),
                days=arguments["valid_days"],
                renew_days=arguments["renew_days"],
                dry_run=self._task.check_mode,
            )
        except internal_ca.InternalCaError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": bool(made), "issued": made}
