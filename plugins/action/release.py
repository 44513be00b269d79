# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ship a packed release to a host that lacks it; everything else is the module's work."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

MODULE = "graphic_school.scaling.release"


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        archive = arguments.pop("archive", None)
        answer = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        if answer.get("needs_archive"):
            if not archive or not os.path.isfile(archive):
                host = (task_vars or {}).get("inventory_hostname", "this host")
                raise AnsibleActionFail(
                    f"release {arguments.get('release')} is neither on {host} nor packed on the control node; deploy its source"
                )
            folder = self._make_tmp_path()
            try:
                remote = self._transfer_file(archive, self._connection._shell.join_path(folder, "release.tar.gz"))
                self._fixup_perms2((folder, remote))
                answer = self._execute_module(module_name=MODULE, module_args={**arguments, "archive": remote}, task_vars=task_vars)
            finally:
                self._remove_tmp_path(folder)
        answer.pop("invocation", None)
        return {**result, **answer}
