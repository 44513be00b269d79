# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the fleet's certificate authority on the control node."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils import internal_ca

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


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
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
        return {**result, "changed": bool(made), "issued": made}
