#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring one release to a host, step by step; the action plugin of the same name ships the archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Unpack, configure, migrate and activate a release of a Laravel application
version_added: "0.1.0"
description:
  - Keeps releases in C(releases/), what outlives them in C(shared/), and the link C(current) that names the one in use.
  - O(state=prepared) ships the archive to a host that lacks the release, unpacks it and builds its configuration cache; a release
    that can't be configured goes no further. Nothing that serves is touched.
  - O(state=migrated) runs the migrations of a prepared release; use it on one host of a fleet.
  - O(state=current) asks the prepared release for its health through PHP-FPM before it gets traffic, switches the link in one
    atomic step, asks again through the web server, and switches back when that fails.
author: graphic_school.scaling contributors (@graphic_school)
options:
  root:
    description: Folder of the application; holds C(releases/), C(shared/) and C(current).
    type: path
    required: true
  release:
    description: Name of the release; needed unless O(state=seen).
    type: str
    default: ""
  state:
    description: How far the release should be brought, or what should be noted or told of it.
    type: str
    choices: [prepared, migrated, current, marked, seen]
    default: prepared
  verdict:
    description: What O(state=marked) notes of the release.
    type: str
    choices: [verified, failed, withdrawn]
    default: failed
  why:
    description: Why, for whoever is refused this release later.
    type: str
    default: ""
  archive:
    description: The packed release on the control node, made by M(graphic_school.scaling.release_build).
    type: path
  user:
    description: System user as which the application runs; needed unless O(state=marked) or O(state=seen).
    type: str
    default: ""
  php:
    description: PHP's command line program.
    type: path
    default: /usr/bin/php
  config_program:
    description: PHP program that writes the configuration cache, called with the release, O(values) and the file to write.
    type: path
    default: /nonexistent
  values:
    description: JSON file on the host with the values that are laid over the application's configuration.
    type: path
    default: /nonexistent
  configuration_changes:
    description: Whether this run changes the files that the configuration is made from; in check mode they are not there yet.
    type: bool
    default: false
  warm_commands:
    description: Artisan commands that build further caches of a release.
    type: list
    elements: str
    default: []
  migrate_commands:
    description: Artisan commands that O(state=migrated) runs. One that ends with 75 is repeated, because another host holds the lock.
    type: list
    elements: str
    default: ["migrate --force --isolated=75"]
  checks:
    description: Pages that must answer before a release counts as working. Empty where no web server runs.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Path of the page., type: str, required: true}
      status: {description: Status that it must answer., type: int, default: 200}
  patience:
    description: Seconds within which each check must succeed.
    type: int
    default: 30
  socket:
    description: FastCGI socket of PHP-FPM. Empty where no PHP-FPM runs.
    type: str
    default: ""
  opcache_program:
    description: PHP program that answers with the state of OPcache, asked over O(socket) to see whether PHP-FPM needs a reload.
    type: path
  port:
    description: Port of the web server on this host.
    type: int
    default: 80
  domain:
    description: Name under which clients reach the application; sent as Host.
    type: str
    default: localhost
  server:
    description: Name of this host, for messages.
    type: str
    default: this host
  reload:
    description: systemd units that are reloaded gracefully when they would go on with an earlier configuration.
    type: list
    elements: str
    default: []
  keep:
    description: How many releases stay on the host.
    type: int
    default: 5
attributes:
  check_mode:
    description: Says what would be done; also on hosts where nothing is installed yet.
    support: full
  diff_mode:
    description: Shows the release and the signature of its configuration before and after.
    support: full
"""

EXAMPLES = r"""
- name: Deploy | Ship the release and build its configuration
  graphic_school.scaling.release:
    root: /srv/school
    release: "{{ build.release }}"
    archive: "{{ build.archive }}"
    user: app
    config_program: /usr/local/lib/graphic_school/build-config.php
    values: /srv/school/shared/fleet.json
  register: prepared

- name: Deploy | Switch
  graphic_school.scaling.release:
    root: /srv/school
    release: "{{ build.release }}"
    state: current
    user: app
    config_program: /usr/local/lib/graphic_school/build-config.php
    values: /srv/school/shared/fleet.json
    socket: /run/php/school.sock
    checks: [{path: /up}, {path: /api/health}]
    reload: [php8.4-fpm.service]
  when: not prepared.current
"""

RETURN = r"""
release:
  description: Name of the release.
  returned: success
  type: str
path:
  description: Folder of the release.
  returned: success
  type: str
previous:
  description: The release that C(current) named before, empty when there was none.
  returned: success
  type: str
current:
  description: Whether the host serves this release with this configuration.
  returned: success
  type: bool
steps:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
releases:
  description: Releases that are unpacked on the host.
  returned: when state is seen
  type: list
  elements: str
verdicts:
  description: What the host remembers of releases, each with C(state), C(at) and C(why).
  returned: when state is seen
  type: dict
blames_release:
  description: Whether the release itself is at fault, and is known to be bad from now on.
  returned: failure
  type: bool
removed:
  description: Releases that were removed from the host.
  returned: when state is current
  type: list
  elements: str
"""

import os
import pwd
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.release import Actual, Desired, Plan, ReleaseError, plan
from ..module_utils.release_host import (
    RELOAD_MARKER,
    Check,
    Layout,
    Probe,
    Recipe,
    configuration_signature,
    configure,
    look,
    make_storage,
    mark,
    migrate,
    point_current,
    prune,
    reload_unit,
    remember,
    seen,
    unpack,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "root": {"type": "path", "required": True},
    "release": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["prepared", "migrated", "current", "marked", "seen"], "default": "prepared"},
    "verdict": {"type": "str", "choices": ["verified", "failed", "withdrawn"], "default": "failed"},
    "why": {"type": "str", "default": ""},
    "archive": {"type": "path"},
    "user": {"type": "str", "default": ""},
    "php": {"type": "path", "default": "/usr/bin/php"},
    "config_program": {"type": "path", "default": "/nonexistent"},
    "values": {"type": "path", "default": "/nonexistent"},
    "configuration_changes": {"type": "bool", "default": False},
    "warm_commands": {"type": "list", "elements": "str", "default": []},
    "migrate_commands": {"type": "list", "elements": "str", "default": ["migrate --force --isolated=75"]},
    "checks": {
        "type": "list", "elements": "dict", "default": [],
        "options": {"path": {"type": "str", "required": True}, "status": {"type": "int", "default": 200}},
    },
    "patience": {"type": "int", "default": 30},
    "socket": {"type": "str", "default": ""},
    "opcache_program": {"type": "path"},
    "port": {"type": "int", "default": 80},
    "domain": {"type": "str", "default": "localhost"},
    "server": {"type": "str", "default": "this host"},
    "reload": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "int", "default": 5},
}


class Runner:
    """Runs commands on this host, as another user where asked, with an environment that holds nothing of the caller's."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def __call__(self, command: Sequence[str], *, user: str = "", directory: str = "/") -> tuple[int, str, str]:
        prefix = ["/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", f"HOME={directory}"]
        if user:
            # Unlike su and runuser it opens no session, so nothing outlives the command.
            prefix = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", "--", *prefix]
        code, output, errors = self.module.run_command([*prefix, *command], cwd=directory, umask=0o027, expand_user_and_vars=False)
        return code, output, errors


class Host:
    """The steps of one module call on this host."""

    def __init__(self, parameters: dict[str, Any], run: Runner) -> None:
        self.given, self.run = parameters, run
        self.blames_release = False
        self.layout = Layout(Path(parameters["root"]), parameters["user"], parameters["php"])
        self.release: str = parameters["release"]
        self.recipe = Recipe(Path(parameters["config_program"]), Path(parameters["values"]), tuple(parameters["warm_commands"]))
        self.checks = [Check(row["path"], row["status"]) for row in parameters["checks"]]
        self.probe = Probe(parameters["domain"], parameters["server"], time)
        self.actual: Actual = look(self.layout)
        self.signature = configuration_signature(self.layout, self.recipe)
        if parameters["configuration_changes"] and run.module.check_mode:
            self.signature = "another"
        self.plan: Plan = plan(Desired(self.release, self.signature), self.actual)

    def foreseen(self) -> list[str]:
        """What O(state) would do, as far as it can be known: OPcache may need a reload after a switch."""
        state = self.given["state"]
        if self.plan.done and state != "migrated":
            return []
        if state == "prepared":
            return [step for step in self.plan.steps if step != "switch"]
        if state == "migrated":
            return ["migrate"]
        used = (self.layout.release(self.release) / "bootstrap" / "cache" / "config.php").exists()
        reload = ["reload"] if self.plan.configure and used else []
        probe = ["probe"] if self.given["socket"] else []
        return [*reload, *probe, *(["switch"] if self.plan.switch else [])]

    def prepare(self) -> list[str]:
        steps = []
        if make_storage(self.layout):
            steps.append("make storage")
        if self.plan.unpack:
            unpack(self.layout, self.release, Path(self.given["archive"]))
            steps.append("unpack")
        if self.plan.configure:
            configure(self.layout, self.release, self.recipe, self.run)
            steps.append("configure")
        return steps

    def migrate(self) -> list[str]:
        return ["migrate"] if migrate(self.layout, self.release, self.given["migrate_commands"], self.run, time) else []

    def reload(self) -> None:
        for unit in self.given["reload"]:
            reload_unit(unit, self.run, time)

    def activate(self) -> list[str]:
        """Bring the release into service, and remember how that went."""
        try:
            steps = self._activate()
        except ReleaseError as error:
            if self.plan.switch and self._former_passes():
                remember(self.layout, self.release, "failed", str(error), time.time())
                self.blames_release = True
                raise
            if self.plan.switch and self.actual.current:
                raise ReleaseError(
                    f"{error}. Release {self.actual.current} fails its checks on this host too, so nothing is held against {self.release}: "
                    "see what ails the fleet"
                ) from error
            raise
        remember(self.layout, self.release, "verified", "", time.time())
        return steps

    def _former_passes(self) -> bool:
        """Return whether the release in service passes the checks that the new one failed; without one to ask, the new one is to blame."""
        if not (self.actual.current and self.given["socket"]):
            return True
        try:
            self.probe.through_fpm(self.layout, self.actual.current, self.given["socket"], self.checks, 3)
        except ReleaseError:
            return False
        return True

    def _activate(self) -> list[str]:
        steps = []
        marker = self.layout.release(self.release) / RELOAD_MARKER
        # OPcache does not look at files again, so a configuration that was replaced needs a reload to be seen.
        if marker.exists():
            self.reload()
            marker.unlink()
            steps.append("reload")
        socket, patience = self.given["socket"], self.given["patience"]
        if socket:
            self.probe.through_fpm(self.layout, self.release, socket, self.checks, patience)
            steps.append("probe")
        if self.plan.switch:
            point_current(self.layout, self.release)
            steps.append("switch")
        if socket and "reload" not in steps and self.given["opcache_program"] and self.probe.opcache_is_full(
            socket, Path(self.given["opcache_program"])
        ):
            self.reload()
            steps.append("reload")
        self._verify(patience)
        mark(self.layout, self.release, self.signature)
        return steps

    def _verify(self, patience: int) -> None:
        try:
            self.probe.through_web_server(self.given["port"], self.release, self.checks, patience)
        except ReleaseError as error:
            if not self.plan.switch:
                raise
            point_current(self.layout, self.actual.current)
            back = f"current names {self.actual.current} again" if self.actual.current else "there was no release to go back to"
            raise ReleaseError(f"{error}; {back}") from error


def note(module: AnsibleModule) -> None:
    """Do what needs no more than the application's folder: keep a verdict, or tell what is there."""
    given = module.params
    layout = Layout(Path(given["root"]), given["user"], given["php"])
    changed = False
    if given["state"] == "marked" and layout.shared.is_dir() and not module.check_mode:
        changed = remember(layout, given["release"], given["verdict"], given["why"], time.time())
    found = seen(layout)
    module.exit_json(
        changed=changed, release=given["release"], current=bool(found.current) and found.current == given["release"],
        previous=found.current, releases=list(found.releases), verdicts={name: asdict(verdict) for name, verdict in found.verdicts.items()},
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    state = module.params["state"]
    os.umask(0o022)
    host: Host | None = None
    try:
        if state in ("marked", "seen"):
            note(module)
        host = Host(module.params, Runner(module))
        answer: dict[str, Any] = {
            "release": host.release, "path": str(host.layout.release(host.release)), "previous": host.actual.current,
            "current": host.plan.done, "steps": [], "changed": False,
        }
        if module.check_mode:
            answer.update(steps=host.foreseen())
        elif state == "prepared":
            if host.plan.unpack and not (module.params["archive"] and os.path.exists(module.params["archive"])):
                module.exit_json(**answer, needs_archive=True)
            answer.update(steps=host.prepare())
        elif state == "migrated":
            answer.update(steps=host.migrate())
        else:
            answer.update(steps=host.activate(), current=True)
            answer.update(removed=prune(host.layout, module.params["keep"], [host.release, host.actual.current]))
        answer.update(changed=bool(answer["steps"]))
        # A migration is given no recipe, and changes no configuration that a signature could name.
        if answer["changed"] and state != "migrated":
            answer["diff"] = {
                "before": f"{host.actual.current or 'no release'} ({host.actual.signature[:12]})\n",
                "after": f"{host.release} ({host.signature[:12]}): {', '.join(answer['steps'])}\n",
            }
    except ReleaseError as error:
        module.fail_json(msg=str(error), blames_release=bool(host and host.blames_release))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
