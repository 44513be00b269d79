# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the fleet for as long as this ansible-playbook lives: the lock is stale once its process is gone."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail

from ..module_utils.fleet_lock import FleetLockError, Holder, lock_text, parse_lock, process_began, taken, verb_of
from ..plugin_utils.control_action import ControlAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "verb": {"type": "str", "default": ""},
    "patience": {"type": "float", "default": 0},
    "beside": {"type": "list", "elements": "str", "default": []},
    "otherwise": {"type": "str", "default": ""},
    "inventory": {"type": "path", "default": ""},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        path = Path(arguments["path"]).expanduser().absolute()
        result: dict[str, Any] = {"changed": False, "path": str(path), "beside": [], "inventory_changed": False}
        if self._task.check_mode:
            return result
        # Tasks run in short-lived children of the process that has to be remembered.
        pid = os.getppid()
        verb = arguments["verb"] or verb_of(context.CLIARGS.get("args", ()))
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        me = Holder(pid, process_began(pid), socket.gethostname(), verb, since)
        deadline = time.monotonic() + arguments["patience"]
        while True:
            try:
                before, others = self._take(path, me, arguments["beside"])
                break
            except OSError as error:
                raise AnsibleActionFail(f"the fleet's lock can't be taken: {error}; see who owns it") from error
            except FleetLockError as error:
                if time.monotonic() >= deadline:
                    hint = f"; {arguments['otherwise']}" if arguments["otherwise"] else ""
                    raise AnsibleActionFail(f"{error}{hint}") from error
            time.sleep(1)
        new = (me.pid, me.began) not in [(holder.pid, holder.began) for holder in before]
        changed = new and bool(arguments["inventory"]) and _changed_since(Path(arguments["inventory"]), me.began)
        return {**result, "beside": [holder.verb for holder in others], "inventory_changed": changed}

    @staticmethod
    def _take(path: Path, me: Holder, beside: Sequence[str]) -> tuple[Sequence[Holder], Sequence[Holder]]:
        """Take the lock; return who held it before, and beside whom it is held now. Raises FleetLockError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            text = lock.read()
            holders = taken(text, me, str(path), beside=beside)
            lock.truncate(0)
            lock.write(lock_text(holders))
        return parse_lock(text), holders[:-1]


def _changed_since(folder: Path, began: str) -> bool:
    """Whether something in the folder of the inventory was written, made or removed after the process that began then."""
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    start = time.time() - uptime + float(began) / os.sysconf("SC_CLK_TCK")
    return any(path.stat().st_mtime > start for path in (folder, *folder.glob("*.yml")))
