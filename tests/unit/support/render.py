# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render what a role would write to a host, without a host.

Ansible itself does the work: its inventory, its order of precedence, its Templar, the role's own defaults, vars and the
arguments of the role's own `converge` task. So a template test sees what a run would see.

    fleet = Fleet("inventories/lab")
    files = fleet.render_role("nginx_lb", host="lb1")               # {"/etc/nginx/nginx.conf": "...", ...}
    files = Fleet().render_role("nginx_lb", vars={"nginx_lb_upstream_servers": [...]})      # the role alone
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.utils.display import Display
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from plugins.action.converge import ActionModule
from plugins.module_utils.converge import desired_from

from .compiled_templates import remember_compiled_templates

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = "graphic_school.scaling"
CONVERGE = f"{COLLECTION}.converge"

# What a Debian 13 host with 2 cores and 4 GiB answers to the facts that the plays gather.
DEBIAN_13: dict[str, Any] = {
    "architecture": "x86_64",
    "distribution": "Debian",
    "distribution_major_version": "13",
    "distribution_release": "trixie",
    "distribution_version": "13.2",
    "os_family": "Debian",
    "pkg_mgr": "apt",
    "service_mgr": "systemd",
    "system": "Linux",
    "kernel": "6.12.0",
    "python_version": "3.13.5",
    "processor_nproc": 2,
    "processor_vcpus": 2,
    "processor_count": 1,
    "memtotal_mb": 4096,
    "default_ipv4": {"address": "192.0.2.1", "interface": "eth0"},
    "env": {},
    "user_id": "root",
}


@functools.cache
def _load_plugins() -> None:
    init_plugin_loader([str(ROOT / ".collections")])
    Display().verbosity = 0
    remember_compiled_templates()


@functools.cache
def _loader() -> DataLoader:
    """One for all tests: it remembers the files of roles and playbooks, which no test changes. Inventories are read anew."""
    loader = DataLoader()
    loader.set_basedir(str(ROOT / "playbooks"))
    return loader


def role_names() -> list[str]:
    """Every role of the collection, by name."""
    return sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())


class Fleet:
    """An inventory as a run of `playbooks/site.yml` would see it."""

    def __init__(
        self,
        inventory: str | Path | None = None,
        *,
        extra_inventories: list[str | Path] | None = None,
        vars: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """`inventory` is relative to the checkout; without one there is a single host `host1` in no group.

        `vars` beat everything, as `-e` does. `facts` are laid over those of a Debian 13 host.
        """
        _load_plugins()
        self._known_values: dict[tuple[str, str], Templar] = {}
        self._known_plays: dict[str, list[tuple[Play, list[str], list[str]]]] = {}
        self.loader = _loader()
        sources = [str(ROOT / path) for path in [inventory, *(extra_inventories or [])] if path is not None]
        self.inventory = InventoryManager(loader=self.loader, sources=sources or ["host1,"])
        self.variables = VariableManager(loader=self.loader, inventory=self.inventory)
        HostVars(inventory=self.inventory, variable_manager=self.variables, loader=self.loader)  # registers itself
        # Not updated in place: Ansible keeps one dictionary of extra variables for the whole process.
        self.variables._extra_vars = {**self.variables.extra_vars, **_trusted(vars or {})}
        for host in self.inventory.get_hosts():
            self.variables.set_host_facts(host.name, DEBIAN_13 | {"hostname": host.name} | dict(facts or {}))

    @property
    def hosts(self) -> list[str]:
        return sorted(host.name for host in self.inventory.get_hosts())

    def value(self, expression: str, host: str | None = None, *, role: str = "app") -> Any:
        """What `{{ expression }}` is in a play that gives the host the role."""
        return self._values(role, host or self.hosts[0]).template(trust_as_template("{{" + expression + "}}"))

    def _values(self, role: str, host: str) -> Templar:
        if (role, host) not in self._known_values:
            self._known_values[role, host] = self._values_of(role, host)
        return self._known_values[role, host]

    def _values_of(self, role: str, host: str) -> Templar:
        play = self._play({"hosts": "all", "gather_facts": False, "roles": [f"{COLLECTION}.{role}"]})
        return self._templar(play, host)

    def plays(self, playbook: str = "playbooks/site.yml") -> list[tuple[Play, list[str], list[str]]]:
        """The plays of a playbook: the play, the hosts it meets, the roles it gives them."""
        if playbook not in self._known_plays:
            self._known_plays[playbook] = self._plays_of(playbook)
        return self._known_plays[playbook]

    def _plays_of(self, playbook: str) -> list[tuple[Play, list[str], list[str]]]:
        found = []
        for play in Playbook.load(str(ROOT / playbook), self.variables, self.loader).get_plays():
            pattern = self._templar(play, None).template(play.hosts)
            hosts = sorted(host.name for host in self.inventory.get_hosts(pattern))
            found.append((play, hosts, [role.get_name().rpartition(".")[2] for role in play.get_roles()]))
        return found

    def render_role(
        self, role: str, host: str | None = None, *, vars: Mapping[str, Any] | None = None, play: Play | None = None
    ) -> dict[str, str]:
        """Every file the role would write on the host: its path there and its content.

        A file whose rendering is empty is left out, as `converge` does. `vars` beat everything, as `-e` does. With a
        `play` (from `plays`) the variables of that play count too.
        """
        host = host or self.hosts[0]
        play = play or self._play({"hosts": "all", "gather_facts": False, "roles": [f"{COLLECTION}.{role}"]})
        files: dict[str, str] = {}
        for task in self._converge_tasks(play, role):
            templar = self._templar(play, host, task, vars)
            if all(templar.evaluate_conditional(condition) for condition in task.when):
                files |= self._render(templar, task)
        return files

    def converge_arguments(self, role: str, host: str | None = None) -> list[dict[str, Any]]:
        """The finished arguments of each `converge` task of the role."""
        play = self._play({"hosts": "all", "gather_facts": False, "roles": [f"{COLLECTION}.{role}"]})
        host = host or self.hosts[0]
        tasks = self._converge_tasks(play, role)
        return [self._templar(play, host, task).template(task.args) for task in tasks]

    def _play(self, data: dict[str, Any]) -> Play:
        return Play.load(_trusted(data), variable_manager=self.variables, loader=self.loader)

    def _templar(
        self, play: Play, host: str | None, task: Task | None = None, vars: Mapping[str, Any] | None = None
    ) -> Templar:
        found = self.inventory.get_host(host) if host else None
        options = {"ansible_check_mode": False, "ansible_diff_mode": False}
        values = options | self.variables.get_vars(play=play, host=found, task=task)
        if "topology" in values and self._topology is not None:
            values["fleet"] = self._topology
        return Templar(loader=self.loader, variables=values | _trusted(vars or {}))

    @functools.cached_property
    def _topology(self) -> Any:
        """`fleet` as a plain value, as preflight.yml makes it; None where the run would be refused or sets its own."""
        values = self.variables.get_vars(host=self.inventory.get_host(self.hosts[0]))
        try:
            return Templar(loader=self.loader, variables=values).template(trust_as_template("{{ fleet }}"))
        except AnsibleError:
            return None

    def _converge_tasks(self, play: Play, role: str) -> list[Task]:
        blocks = [
            block
            for found in play.get_roles()
            if found.get_name().rpartition(".")[2] == role
            for block in found.compile(play=play)
        ]
        return [task for task in _tasks(blocks) if CONVERGE in (task.resolved_action, task.action)]

    def _render(self, templar: Templar, task: Task) -> dict[str, str]:
        task = task.copy()
        task.args = templar.template(task.args)
        action = ActionModule(
            task=task, connection=None, play_context=None, loader=self.loader, templar=templar, shared_loader_obj=None
        )
        wanted = desired_from(action._wanted(dict(templar.available_variables)))
        texts = {file.path: file.content.decode("utf-8", "replace") for file in wanted.files}
        return {path: text for path, text in texts.items() if text.strip()}


def _tasks(blocks: list[Block]) -> Iterator[Task]:
    for item in blocks:
        if isinstance(item, Block):
            yield from _tasks([*item.block, *item.rescue, *item.always])
        else:
            yield item


def _trusted(value: Any) -> Any:
    """The value with every string in it allowed to be a template, as strings of a playbook are."""
    if isinstance(value, Mapping):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value
