# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the fleet for as long as this ansible-playbook lives: the lock is stale once its process is gone."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.fleet_lock import Holder, holder_text, parse_holder, process_began, refusal


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            {
                "path": {"type": "path", "required": True},
                "verb": {"type": "str", "default": ""},
                "patience": {"type": "float", "default": 0},
            }
        )[1]
        path = Path(arguments["path"]).expanduser().absolute()
        # Tasks run in short-lived children of the process that has to be remembered.
        pid = os.getppid()
        verb = arguments["verb"] or next((Path(word).stem for word in sys.argv[1:] if word.endswith((".yml", ".yaml"))), "ansible-playbook")
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        me = Holder(pid, process_began(pid), socket.gethostname(), verb, since)
        deadline = time.monotonic() + arguments["patience"]
        while said := self._take(path, me, check=self._task.check_mode):
            if time.monotonic() >= deadline:
                raise AnsibleActionFail(said)
            time.sleep(1)
        return {**result, "changed": False, "path": str(path)}

    @staticmethod
    def _take(path: Path, me: Holder, check: bool) -> str:
        """Take the lock; return why not, "" when it is held now. Check mode only looks."""
        if check and not path.exists():
            return ""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            holder = parse_holder(lock.read())
            said = refusal(holder, me, process_began(holder.pid), str(path)) if holder else ""
            if not said and not check:
                lock.truncate(0)
                lock.write(holder_text(me))
            return "" if check else said
