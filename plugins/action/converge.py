# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control node's half of converge: render the role's templates, ship everything once, have what is missing installed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from ..module_utils.converge import ConvergeError, Desired, desired_from, glob_matches, pack
from ..plugin_utils.before_fork import load_filters

load_filters()

OPTIONS = frozenset(
    {
        "component",
        "parts",
        "templates",
        "packages",
        "default_release",
        "users",
        "directories",
        "files",
        "file_options",
        "links",
        "absent",
        "validate",
        "on_change",
        "services",
    }
)
# What a role may also hand over computed, several at once: rows of lists.
PART_KEYS = ("packages", "users", "directories", "files", "absent", "validate", "on_change", "services")
FILE_KEYS = frozenset({"path", "content", "template", "vars", "owner", "group", "mode", "secret"})
FILE_OPTION_KEYS = frozenset({"owner", "group", "mode", "secret"})
HOST_MODULE = "graphic_school.scaling.converge_host"


def plain(value: Any) -> Any:
    """Return C(value) as JSON types without Ansible's tags."""
    return json.loads(json.dumps(value, default=str))


def template_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (path on the host, file) for each file below a role's templates, leaving out folders that start with _."""
    for source in sorted(folder.rglob("*")):
        relative = source.relative_to(folder)
        if (
            source.is_file()
            and not any(part.startswith("_") for part in relative.parts[:-1])
            and relative.name != ".gitkeep"
        ):
            yield "/" + re.sub(r"\.j2$", "", relative.as_posix()), source


def with_parts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the lists of C(parts) before their own. Raises ConvergeError for what converge doesn't know."""
    unknown = sorted(set(arguments) - OPTIONS)
    if unknown:
        raise ConvergeError(f"converge has no option {unknown[0]!r}; it has: {', '.join(sorted(OPTIONS))}")
    whole = {key: value for key, value in arguments.items() if key != "parts"}
    for part in reversed(arguments.get("parts") or []):
        unknown = sorted(set(part) - set(PART_KEYS))
        if unknown:
            raise ConvergeError(f"an entry of parts has the unknown key {unknown[0]!r}; known are: {', '.join(PART_KEYS)}")
        for key, rows in part.items():
            whole[key] = [*rows, *(whole.get(key) or [])]
    return whole


class ActionModule(ActionBase):  # type: ignore[misc]
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            wanted = self._wanted(task_vars)
            desired = desired_from(wanted)
        except ConvergeError as error:
            raise AnsibleActionFail(str(error)) from error
        answer = self._on_host(wanted, task_vars)
        if answer.get("prerequisites_missing"):
            installed = self._install(answer, desired, task_vars)
            if installed.get("failed"):
                return {**result, **installed}
            answer = {**self._on_host(wanted, task_vars), "changed": True}
            if answer.get("prerequisites_missing"):
                still = [*answer["missing_packages"], *answer["missing_users"]]
                raise AnsibleActionFail(
                    f"still missing after installation: {', '.join(still)}; name the package that is installed, not a virtual one"
                )
        answer.pop("invocation", None)
        answer.pop("prerequisites_missing", None)
        return {**result, **answer}

    def _on_host(self, wanted: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name=HOST_MODULE, module_args={"payload": pack(wanted)}, task_vars=task_vars
        )
        return answer

    def _install(self, answer: dict[str, Any], desired: Desired, task_vars: dict[str, Any]) -> dict[str, Any]:
        if answer["missing_packages"]:
            arguments = {
                "name": answer["missing_packages"],
                "state": "present",
                "install_recommends": False,
                "update_cache": True,
                "cache_valid_time": 3600,
                "lock_timeout": 300,
                # Debian starts a service as soon as it is unpacked; here it waits for its configuration.
                "policy_rc_d": 101,
            }
            if self._task.args.get("default_release"):
                arguments["default_release"] = self._task.args["default_release"]
            installed = self._execute_module(
                module_name="ansible.builtin.apt", module_args=arguments, task_vars=task_vars
            )
            if installed.get("failed"):
                return {
                    "failed": True,
                    "msg": f"apt could not install {', '.join(answer['missing_packages'])}: {installed.get('msg')}",
                }
        for user in desired.users:
            if user.name not in answer["missing_users"]:
                continue
            arguments = {
                "name": user.name,
                "system": True,
                "shell": user.shell,
                "groups": list(user.groups),
                "append": True,
                "create_home": False,
            }
            if user.home:
                arguments["home"] = user.home
            made = self._execute_module(module_name="ansible.builtin.user", module_args=arguments, task_vars=task_vars)
            if made.get("failed"):
                return {"failed": True, "msg": f"user {user.name} could not be made: {made.get('msg')}"}
        return {}

    # -- what the task wants ------------------------------------------------------------------------------------------

    def _wanted(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = with_parts(self._task.args)
        role = self._task._role
        component = arguments.get("component") or (role.get_name().rpartition(".")[2] if role else None)
        if not component:
            raise ConvergeError("component is needed when converge is used outside a role")
        folder = self._template_folder(role)
        templar = self._templar_for(component, folder, task_vars)
        files = list(self._from_tree(arguments.get("templates", True), folder, templar))
        for row in arguments.get("files") or []:
            self._check_keys("files", row, FILE_KEYS)
            files.append(self._from_row(row, folder, templar))
        options = arguments.get("file_options") or {}
        for pattern, values in options.items():
            self._check_keys(f"file_options[{pattern}]", values, FILE_OPTION_KEYS)
        wanted = {
            key: plain(arguments[key])
            for key in ("packages", "users", "directories", "links", "absent", "validate", "on_change", "services")
            if arguments.get(key)
        }
        rows = []
        for row in files:
            defaults: dict[str, Any] = {}
            for pattern, values in options.items():
                if glob_matches(pattern, row["path"]):
                    defaults.update(plain(values))
            rows.append({**defaults, **row})
        return {**wanted, "component": str(component), "files": rows}

    @staticmethod
    def _check_keys(what: str, row: object, known: frozenset[str]) -> None:
        if not isinstance(row, dict):
            raise ConvergeError(f"an entry of {what} must be a dictionary, not: {row!r}")
        unknown = sorted(set(row) - known)
        if unknown:
            raise ConvergeError(
                f"an entry of {what} has the unknown key {unknown[0]!r}; known are: {', '.join(sorted(known))}"
            )

    @staticmethod
    def _template_folder(role: Any) -> Path | None:
        return Path(role._role_path, "templates") if role else None

    def _templar_for(self, component: str, folder: Path | None, task_vars: dict[str, Any]) -> Any:
        variables = dict(task_vars)
        variables.setdefault(
            "ansible_managed", f"Written by graphic_school.scaling ({component}); changes made here are overwritten."
        )
        searchpath = [str(folder)] if folder else []
        return self._templar.copy_with_new_env(searchpath=searchpath, available_variables=variables)

    def _render(self, source: Path, templar: Any, extra: dict[str, Any]) -> str:
        if extra:
            templar = templar.copy_with_new_env(available_variables={**templar.available_variables, **extra})
        text = trust_as_template(source.read_text(encoding="utf-8"))
        rendered = templar.template(
            text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
        )
        return "" if rendered is None else str(rendered)

    def _from_tree(self, templates: Any, folder: Path | None, templar: Any) -> Iterator[dict[str, Any]]:
        if templates is False or folder is None or not folder.is_dir():
            return
        for path, source in template_files(folder):
            entry = self._from_source(path, source, templar, {})
            if entry is not None:
                yield entry

    def _from_source(self, path: str, source: Path, templar: Any, extra: dict[str, Any]) -> dict[str, Any] | None:
        if source.suffix != ".j2":
            return {"path": path, "content_base64": base64.b64encode(source.read_bytes()).decode()}
        content = self._render(source, templar, extra)
        return {"path": path, "content": content} if content.strip() else None

    def _from_row(self, row: dict[str, Any], folder: Path | None, templar: Any) -> dict[str, Any]:
        path = str(row.get("path", ""))
        if ("content" in row) == ("template" in row):
            raise ConvergeError(f"the entry of files for {path or row!r} needs exactly one of content and template")
        settings = {key: plain(row[key]) for key in FILE_OPTION_KEYS if key in row}
        if "content" in row:
            return {**settings, "path": path, "content": str(row["content"])}
        source = (folder or Path()) / str(row["template"])
        if not source.is_file():
            raise ConvergeError(f"template {row['template']} of {path} does not exist below {folder}")
        entry = self._from_source(path, source, templar, row.get("vars") or {})
        return {**settings, **(entry or {"path": path, "content": ""})}
