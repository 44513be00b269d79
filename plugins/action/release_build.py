# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the release that a source makes, and build it on the control node when it isn't in the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils.release import ReleaseError, parse_source, parse_steps
from ..module_utils.release_ledger import Seen, choose, parse
from ..plugin_utils.control_action import Action
from ..plugin_utils.release_build import Builder, Wish

ARGUMENTS: dict[str, dict[str, Any]] = {
    "source": {"type": "dict", "required": True},
    "steps": {"type": "list", "elements": "raw", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "cache": {"type": "path", "required": True},
    "keep": {"type": "int", "default": 10},
    "release": {"type": "str", "default": ""},
    "root": {"type": "path", "default": ""},
    "known_bad": {"type": "str", "choices": ["stay", "refuse", "take"], "default": "stay"},
}


class ActionModule(Action):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        builder = Builder(Path(arguments["cache"]).expanduser().absolute(), arguments["keep"])
        try:
            if arguments["release"]:
                return {"changed": False, **self._named(builder, arguments["release"])}
            wish = Wish(parse_source(arguments["source"]), parse_steps(arguments["steps"]), tuple(arguments["exclude"]))
            found = builder.find(wish)
            choice = choose(found.release, self._seen(arguments["root"], task_vars), arguments["known_bad"])
            if choice.release != found.release:
                self._display.warning(f"{choice.why}; staying with release {choice.release}")
                return {"changed": False, "instead_of": found.release, "why": choice.why, **self._named(builder, choice.release)}
            archive = builder.archive(found.release)
            built = not archive.is_file()
            if not self._task.check_mode:
                archive, built = builder.build(wish, found)
        except ReleaseError as error:
            raise AnsibleActionFail(str(error)) from error
        return {"changed": built, "release": found.release, "commit": found.commit, "archive": str(archive)}

    @staticmethod
    def _named(builder: Builder, release: str) -> dict[str, Any]:
        """Return what is known of a release without its source: its archive, if it is still in the cache."""
        archive = builder.archive(release)
        return {"release": release, "commit": "", "archive": str(archive) if archive.is_file() else ""}

    def _seen(self, root: str, task_vars: dict[str, Any]) -> Seen:
        """Return what the host of this task remembers of releases."""
        if not root:
            return Seen("", (), {})
        answer = self._execute_module(
            module_name="graphic_school.scaling.release", module_args={"state": "seen", "root": root}, task_vars=task_vars
        )
        if answer.get("failed") or answer.get("unreachable"):
            raise AnsibleActionFail(f"the host could not be asked for its releases: {answer.get('msg', answer)}")
        return Seen(answer["previous"], tuple(answer["releases"]), parse(json.dumps(answer["verdicts"])))
