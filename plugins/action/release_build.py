# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the release that a source makes, and build it on the control node when it isn't in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.release import ReleaseError, parse_source, parse_steps
from ..plugin_utils.release_build import Builder, Wish


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(
            {
                "source": {"type": "dict", "required": True},
                "steps": {"type": "list", "elements": "raw", "default": []},
                "exclude": {"type": "list", "elements": "str", "default": []},
                "cache": {"type": "path", "required": True},
                "keep": {"type": "int", "default": 10},
                "release": {"type": "str", "default": ""},
            }
        )[1]
        builder = Builder(Path(arguments["cache"]).expanduser().absolute(), arguments["keep"])
        try:
            if arguments["release"] and builder.archive(arguments["release"]).is_file():
                archive = builder.archive(arguments["release"])
                return {**result, "changed": False, "release": arguments["release"], "commit": "", "archive": str(archive)}
            wish = Wish(parse_source(arguments["source"]), parse_steps(arguments["steps"]), tuple(arguments["exclude"]))
            found = builder.find(wish)
            if arguments["release"] not in ("", found.release):
                raise ReleaseError(
                    f"release {arguments['release']} is not in {builder.cache} any more, and app_source makes {found.release} now: "
                    "run this where the release was deployed from, or deploy first"
                )
            archive = builder.archive(found.release)
            built = not archive.is_file()
            if not self._task.check_mode:
                archive, built = builder.build(wish, found)
        except ReleaseError as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, "changed": built, "release": found.release, "commit": found.commit, "archive": str(archive)}
