# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep autoscaling's decisions on the control node."""

from __future__ import annotations

import fcntl
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ..module_utils.autoscale_loop import Kept, failed, history_from, kept, line
from ..module_utils.autoscale_policy import AutoscaleError
from ..plugin_utils.control_action import ControlAction, bound, replace

ARGUMENTS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "decisions": {"type": "list", "elements": "dict", "required": True},
    "earlier": {"type": "list", "elements": "dict", "default": []},
    "finished": {"type": "bool", "default": False},
    "error": {"type": "str", "default": ""},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        # Ansible's own strings carry tags, which are not for files.
        decisions = json.loads(json.dumps(arguments["decisions"]))
        earlier = json.loads(json.dumps(arguments["earlier"]))
        now = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if arguments["error"]:
            decisions = [failed(row, arguments["error"], now) for row in decisions]
        elif arguments["finished"]:
            decisions = [{**row, "finished": now} for row in decisions]
        try:
            found = _keep(Path(arguments["directory"]), decisions, earlier, write=not self._task.check_mode)
        except (AutoscaleError, OSError) as error:
            raise AnsibleActionFail(f"decisions can't be kept: {error}") from error
        for row in found.logged:
            # Each on a line of its own, for extensions/eda/playbooks/look.yml.
            Display().display(line(row))
        return {"changed": bool(found.logged), "publish": found.publish, "text": text_of(found)}


def _keep(folder: Path, decisions: list[dict[str, Any]], earlier: list[dict[str, Any]], *, write: bool) -> Kept:
    """Lay the decisions over those in the folder; C(earlier) are those of another control host, for a folder that has none."""
    file, log = folder / "decisions.json", folder / "decisions.log"
    if not write:
        return kept(history_from(file.read_text("utf-8"), str(file)) if file.exists() else earlier, decisions)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "decisions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = kept(history_from(file.read_text("utf-8"), str(file)) if file.exists() else earlier, decisions)
        replace(file, text_of(found))
        bound(log)
        with log.open("a", encoding="utf-8") as sink:
            sink.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found.logged)
    return found


def text_of(found: Kept) -> str:
    """The decisions as they are kept and shown."""
    return json.dumps(found.rows, indent=1, ensure_ascii=False) + "\n"
