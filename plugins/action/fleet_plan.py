# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook of the collection in check mode, as this run was called, and say what it would change."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.template import trust_as_template

from ..module_utils.fleet_plan import FORMATS, Plan, headline, plan_from, read_record, render, scrubbed
from ..plugin_utils.control_action import ControlAction, tell

ARGUMENTS: dict[str, dict[str, Any]] = {
    "playbook": {"type": "str", "default": "site"},
    "format": {"type": "str", "choices": list(FORMATS)},
    "file": {"type": "path"},
    "seconds": {"type": "int", "default": 1800},
}
CALLBACK = "graphic_school.scaling.run_record"
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
# What can't be asked for a second time, and the options that give it in a file.
PROMPTS = {
    "ask_vault_pass": "--vault-password-file",
    "ask_pass": "--connection-password-file",
    "become_ask_pass": "--become-password-file",
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan(arguments["playbook"], arguments["seconds"], task_vars)
        tell({form: partial(render, plan, form) for form in FORMATS}, arguments["format"], arguments["file"], "plan_file")
        result: dict[str, Any] = {"changed": False, "headline": headline(plan)}
        if plan.refusals:
            reasons = "\n".join(f"{row.host}: {row.message}" for row in plan.refusals)
            return {**result, "failed": True, "msg": f"{headline(plan)}\n{reasons}"}
        return {**result, "plan": plan.as_dict()}

    def _plan(self, playbook: str, seconds: int, task_vars: dict[str, Any]) -> Plan:
        path = PLAYBOOKS / f"{playbook}.yml"
        if not path.is_file() or playbook == "plan":
            known = ", ".join(sorted(file.stem for file in PLAYBOOKS.glob("*.yml") if file.stem != "plan"))
            raise AnsibleActionFail(f"plan_playbook must be a playbook of the collection, not: {playbook}; there are {known}")
        with tempfile.TemporaryDirectory(prefix="plan-") as folder:
            record = Path(folder, "record")
            code, said = self._rehearse(path, record, seconds)
            rows = read_record(record.read_text(encoding="utf-8")) if record.exists() else []
        if not rows:
            raise AnsibleActionFail(f"{playbook}.yml in check mode did not begin (exit code {code}): {said[-2000:]}")
        servers, settings, secrets, budget = self._variables(rows, task_vars)
        plan = plan_from(rows, playbook, servers, settings, budget)
        if code and not plan.refusals:
            raise AnsibleActionFail(f"{playbook}.yml in check mode ended with {code} and named no reason: {said[-2000:]}")
        return scrubbed(plan, secrets)

    def _rehearse(self, path: Path, record: Path, seconds: int) -> tuple[int, str]:
        """Run the playbook with this run's own arguments plus C(--check)."""
        for option, cure in PROMPTS.items():
            if context.CLIARGS.get(option):
                raise AnsibleActionFail(
                    f"plan.yml runs the playbook once more in check mode and can't ask for a password twice: give it with {cure}"
                )
        named = [str(word) for word in context.CLIARGS.get("args") or ()]
        words = [word for word in sys.argv[1:] if word not in named]
        command = [sys.executable, "-m", "ansible", "playbook", *words, "--check", "--diff", str(path)]
        callbacks = [os.environ.get("ANSIBLE_CALLBACKS_ENABLED", ""), CALLBACK]
        env = {
            **os.environ,
            "ANSIBLE_CALLBACKS_ENABLED": ",".join(name for name in callbacks if name),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "GRAPHIC_SCHOOL_RUN_RECORD": str(record),
        }
        try:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise AnsibleActionFail(f"{path.stem}.yml in check mode took longer than plan_seconds: {seconds}") from error
        return done.returncode, done.stdout + done.stderr

    def _variables(
        self, rows: list[dict[str, Any]], task_vars: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], set[str], Mapping[str, Any] | None]:
        """The servers, their capacity_settings, the secrets that must not be shown, the connections; what can be known of them."""
        hostvars = task_vars["hostvars"]
        hosts = sorted({row["host"] for row in rows if "host" in row and row["host"] in hostvars})
        settings = {host: hostvars[host].get("capacity_settings") or {} for host in hosts}
        secrets: set[str] = set()
        for host in hosts:
            secrets |= {str(hostvars[host][name]) for name in list(hostvars[host]) if name.startswith("vault_")}
        try:
            servers = dict(self._templar.template(trust_as_template("{{ fleet.hosts }}")))
        except AnsibleError:
            return {}, settings, secrets, None
        try:
            budget = self._templar.template(trust_as_template("{{ connection_budget }}"))
        except AnsibleError:
            budget = None
        return servers, settings, secrets, budget
