#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's half of the action converge: read what is there, plan, validate, perform."""

from __future__ import annotations

DOCUMENTATION = r"""
module: converge_host
short_description: Bring files and services of one component to their state (called by converge)
version_added: "0.1.0"
description:
  - The part of M(graphic_school.scaling.converge) that runs on the host. Use M(graphic_school.scaling.converge) in tasks.
  - Reports packages and users that are missing and stops there, so that the action can have them installed first.
author: graphic_school.scaling contributors (@graphic_school)
options:
  payload:
    description: The wanted state, as the action plugin packed it.
    type: str
    required: true
attributes:
  check_mode:
    description: Can run in check mode and say what it would change.
    support: full
  diff_mode:
    description: Shows the lines that change, except in files marked secret.
    support: full
extends_documentation_fragment: []
"""

EXAMPLES = r"""
- name: Not called directly; this is what uses it
  graphic_school.scaling.converge:
    packages: [nginx]
    services: [{name: nginx, reload_on: ["/etc/nginx/**"]}]
"""

RETURN = r"""
changed_paths:
  description: Paths written, linked, removed, or given another owner or mode.
  returned: success
  type: list
  elements: str
effects:
  description: For each changed path what follows from it, such as C(reload nginx.service), C(hold mysql.service) or C(run apt-get update).
  returned: success
  type: dict
services_reloaded:
  description: Units that were (in check mode, would be) reloaded.
  returned: success
  type: list
  elements: str
services_restarted:
  description: Units that were (in check mode, would be) restarted.
  returned: success
  type: list
  elements: str
services_started:
  description: Units that were (in check mode, would be) started.
  returned: success
  type: list
  elements: str
restart_pending:
  description: Units whose restart is held back that still run with an earlier configuration.
  returned: success
  type: list
  elements: str
missing_packages:
  description: Packages that are not installed.
  returned: success
  type: list
  elements: str
missing_users:
  description: Users that do not exist, or lack a group.
  returned: success
  type: list
  elements: str
"""

import contextlib
import grp
import json
import os
import pwd
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.converge import (
    ENABLED_UNIT_FILE_STATES,
    Actual,
    ConvergeError,
    Desired,
    FoundPath,
    FoundService,
    Memory,
    Plan,
    Validation,
    WantedUser,
    effects,
    plan,
    unpack,
)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STATE_FOLDER = Path("/var/lib/graphic_school")
SERVICE_PROPERTIES = (
    "Id,Names,LoadState,ActiveState,UnitFileState,ConditionResult,ConditionTimestampMonotonic,ActiveEnterTimestamp"
)


class HostError(Exception):
    """A step failed on the host; the message says which."""


class Answer(NamedTuple):
    """What a command said, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[[list[str]], Answer]


# -- reading ----------------------------------------------------------------------------------------------------------


def installed_packages(run: Run) -> set[str]:
    """Names of installed packages and of what they provide."""
    answer = run(["dpkg-query", "--show", "--showformat", "${db:Status-Status}|${Package}|${Provides}\n"])
    names: set[str] = set()
    for line in answer.stdout.splitlines():
        status, package, provides = line.split("|", 2)
        if status == "installed":
            names.add(package)
            names.update(entry.split(" ")[0].split(":")[0] for entry in provides.split(", ") if entry)
    return names


def user_is_right(user: WantedUser) -> bool:
    try:
        entry = pwd.getpwnam(user.name)
    except KeyError:
        return False
    if entry.pw_shell != user.shell or (user.home and entry.pw_dir != user.home):
        return False
    members = {group.gr_name for group in grp.getgrall() if user.name in group.gr_mem or group.gr_gid == entry.pw_gid}
    return set(user.groups) <= members


def find_path(path: str) -> FoundPath | None:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return FoundPath("link", owner, group, mode, target=str(Path(path).readlink()))
    if stat.S_ISDIR(status.st_mode):
        return FoundPath("directory", owner, group, mode)
    if stat.S_ISREG(status.st_mode):
        return FoundPath("file", owner, group, mode, content=Path(path).read_bytes())
    return FoundPath("other", owner, group, mode)


def find_services(run: Run, names: list[str]) -> dict[str, FoundService]:
    if not names:
        return {}
    answer = run(["systemctl", "show", "--timestamp=unix", f"--property={SERVICE_PROPERTIES}", "--", *names])
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in answer.stdout.strip().split("\n\n")
    ]
    if answer.returncode != 0 or len(blocks) != len(names):
        raise HostError(f"systemctl show {' '.join(names)} failed: {answer.stderr.strip() or answer.stdout.strip()}")
    return {
        name: FoundService(
            loaded=block.get("LoadState") == "loaded",
            active=block.get("ActiveState") in ("active", "reloading", "activating"),
            enabled=block.get("UnitFileState") in ENABLED_UNIT_FILE_STATES,
            condition_failed=block.get("ConditionResult") == "no"
            and block.get("ConditionTimestampMonotonic", "0") != "0",
            active_since=float(block.get("ActiveEnterTimestamp", "").lstrip("@") or 0),
        )
        for name, block in zip(names, blocks, strict=True)
    }


def memory_file(component: str) -> Path:
    return STATE_FOLDER / f"{component}.json"


def read_memory(component: str) -> Memory:
    try:
        data = json.loads(memory_file(component).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Memory()
    except ValueError as error:
        raise HostError(f"{memory_file(component)} is not JSON ({error}); remove it and run again") from error
    return Memory(
        paths=frozenset(data["paths"]),
        owed=frozenset(data["owed"]),
        held=dict(data["held"]),
        services=tuple(data.get("services", ())),
    )


def write_memory(component: str, memory: Memory) -> None:
    STATE_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    text = json.dumps(
        {
            "paths": sorted(memory.paths),
            "owed": sorted(memory.owed),
            "held": dict(sorted(memory.held.items())),
            "services": sorted(memory.services),
        },
        indent=1,
    )
    if memory_file(component).exists() and memory_file(component).read_text(encoding="utf-8") == text:
        return
    replace_file(memory_file(component), text.encode(), 0, 0, 0o644)


def read_actual(run: Run, desired: Desired) -> Actual:
    memory = read_memory(desired.component)
    paths = {item.path for item in desired.files} | {item.path for item in desired.directories}
    paths |= {path for path, _target in desired.links} | set(desired.absent) | set(memory.paths)
    found = {path: entry for path in paths if (entry := find_path(path)) is not None}
    return Actual(
        paths=found, services=find_services(run, [service.name for service in desired.services]), memory=memory
    )


# -- validating -------------------------------------------------------------------------------------------------------


def stage(tree: str, folder: Path, desired: Desired, steps: Plan) -> tuple[str, Path]:
    """Copy C(tree) (or its nearest existing parent), lay the planned changes over it; return mount point and copy."""
    mount_point = Path(tree)
    while not mount_point.exists():
        mount_point = mount_point.parent
    if len(mount_point.parts) < 2:
        raise HostError(f"the tree {tree} of validate lies below nothing that exists; create its parent first")

    def copy(source: str, target: str) -> str:
        shutil.copy2(source, target, follow_symlinks=False)
        status = os.lstat(source)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        return target

    def ignore_special(where: str, names: list[str]) -> list[str]:
        return [
            name
            for name in names
            if not (Path(where, name).is_file() or Path(where, name).is_dir() or Path(where, name).is_symlink())
        ]

    target = folder / mount_point.name
    shutil.copytree(mount_point, target, symlinks=True, copy_function=copy, ignore=ignore_special)

    def inside(path: str) -> Path | None:
        try:
            return target / Path(path).relative_to(mount_point)
        except ValueError:
            return None

    for directory in steps.directories:
        if place := inside(directory.path):
            place.mkdir(parents=True, exist_ok=True)
    for path in steps.removals:
        if place := inside(path):
            place.unlink(missing_ok=True)
    for wanted in (*steps.writes, *steps.attributes):
        if place := inside(wanted.path):
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, wanted.content, *ids(wanted.owner, wanted.group), wanted.mode)
    for path, link_target in steps.links:
        if place := inside(path):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(link_target)
    return str(mount_point), target


def validate(run: Run, check: Validation, desired: Desired, steps: Plan, check_mode: bool) -> None:
    """Run the real tool against the new tree, mounted over the old one in a mount namespace of its own."""
    program = shutil.which(check.command[0], path=PATH)
    if program is None:
        if check_mode:
            return
        raise HostError(
            f"{check.command[0]} is not installed, so {', '.join(check.trees)} can't be validated; add its package to packages"
        )
    with tempfile.TemporaryDirectory(prefix="converge-") as folder:
        mounts: list[str] = []
        for number, tree in enumerate(check.trees):
            place = Path(folder, str(number))
            place.mkdir()
            mount_point, copy = stage(tree, place, desired, steps)
            mounts += [str(copy), mount_point]
        script = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 125; shift 2; done; shift; exec "$@"'
        answer = run(
            [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "sh",
                *mounts,
                "--",
                program,
                *check.command[1:],
            ]
        )
        if answer.returncode != 0:
            raise HostError(
                f"{' '.join(check.command)} refuses the new {', '.join(check.trees)}; nothing was changed. It says:\n"
                + (answer.stderr.strip() + "\n" + answer.stdout.strip()).strip()
            )


# -- performing -------------------------------------------------------------------------------------------------------


def ids(owner: str, group: str) -> tuple[int, int]:
    try:
        return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise HostError(
            f"owner {owner}:{group} does not exist on this host; add it to users, or the package that makes it"
        ) from error


def replace_file(path: Path, content: bytes, uid: int, gid: int, mode: int) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            os.fchown(stream.fileno(), uid, gid)
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def land(steps: Plan) -> None:
    for directory in steps.directories:
        os.makedirs(directory.path, exist_ok=True)
        os.chown(directory.path, *ids(directory.owner, directory.group))
        os.chmod(directory.path, directory.mode)
    for path in steps.removals:
        os.unlink(path)
    for wanted in steps.writes:
        os.makedirs(os.path.dirname(wanted.path), exist_ok=True)
        replace_file(Path(wanted.path), wanted.content, *ids(wanted.owner, wanted.group), wanted.mode)
    for wanted in steps.attributes:
        os.chown(wanted.path, *ids(wanted.owner, wanted.group))
        os.chmod(wanted.path, wanted.mode)
    for path, target in steps.links:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.converge"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.replace(temporary, path)


def must(run: Run, command: list[str], unit: str = "") -> None:
    answer = run(command)
    if answer.returncode == 0:
        return
    message = f"{' '.join(command)} failed: {answer.stderr.strip() or answer.stdout.strip()}"
    if unit:
        journal = run(["journalctl", "--no-pager", "--lines=15", "--output=cat", f"--unit={unit}"])
        message += f"\nthe last lines of {unit}:\n{journal.stdout.strip()}"
    raise HostError(message)


def act(run: Run, steps: Plan) -> None:
    if steps.daemon_reload:
        must(run, ["systemctl", "daemon-reload"])
    for command in steps.commands:
        must(run, list(command))
    if steps.disable:
        must(run, ["systemctl", "disable", *steps.disable])
    for unit in steps.stop:
        must(run, ["systemctl", "stop", unit], unit)
    if steps.enable:
        must(run, ["systemctl", "enable", *steps.enable])
    for verb, units in (("start", steps.start), ("restart", steps.restart), ("reload", steps.reload)):
        for unit in units:
            must(run, ["systemctl", verb, unit], unit)


# -- the edge ---------------------------------------------------------------------------------------------------------


def describe(steps: Plan, actual: Actual) -> list[dict[str, str]]:
    """Before and after of what changes, in the form of Ansible's diff; secrets are named, not shown."""
    rows: list[dict[str, str]] = []
    for wanted in steps.writes:
        found = actual.paths.get(wanted.path)
        if wanted.secret:
            rows.append({"prepared": f"{wanted.path}: content differs (secret, not shown)"})
            continue
        before = found.content.decode(errors="replace") if found else ""
        rows.append(
            {
                "before_header": wanted.path,
                "after_header": wanted.path,
                "before": before,
                "after": wanted.content.decode(errors="replace"),
            }
        )
    owned = [(item.path, item.owner, item.group, item.mode) for item in steps.attributes]
    owned += [(item.path, item.owner, item.group, item.mode) for item in steps.directories]
    for path, owner, group, mode in owned:
        old = actual.paths.get(path)
        before = f"{old.owner}:{old.group} {old.mode:04o}\n" if old else ""
        after = f"{owner}:{group} {mode:04o}\n"
        rows.append({"before_header": path, "after_header": path, "before": before, "after": after})
    for path in steps.removals:
        rows.append({"prepared": f"{path}: removed"})
    for path, target in steps.links:
        rows.append({"prepared": f"{path} -> {target}"})
    return rows


def converge(run: Run, desired: Desired, check_mode: bool, clock: float) -> dict[str, Any]:
    """Bring the host to C(desired); return Ansible's result. Raises HostError."""
    have = installed_packages(run) if desired.packages else set()
    missing_packages = [package for package in desired.packages if package not in have]
    missing_users = [user.name for user in desired.users if not user_is_right(user)]
    result: dict[str, Any] = {"missing_packages": missing_packages, "missing_users": missing_users}
    if (missing_packages or missing_users) and not check_mode:
        return {**result, "changed": False, "prerequisites_missing": True}
    actual = read_actual(run, desired)
    steps = plan(desired, actual)
    for check in steps.validations:
        if not missing_packages and not missing_users:
            validate(run, check, desired, steps, check_mode)
    result.update(
        changed=steps.changed or bool(missing_packages or missing_users),
        changed_paths=steps.changed_paths,
        effects=effects(desired, steps),
        services_reloaded=list(steps.reload),
        services_restarted=list(steps.restart),
        services_started=list(steps.start),
        commands=[" ".join(command) for command in steps.commands],
        restart_pending=sorted({*steps.hold, *steps.still_held}),
        diff=describe(steps, actual),
    )
    if check_mode:
        return result
    held = {name: actual.memory.held[name] for name in steps.still_held} | {name: clock for name in steps.hold}
    paths = frozenset({item.path for item in desired.files} | {path for path, _target in desired.links})
    services = tuple(service.name for service in desired.services if service.running)
    if steps.changed_paths or steps.owed != actual.memory.owed:
        write_memory(desired.component, Memory(paths | actual.memory.paths, steps.owed, held, services))
    land(steps)
    act(run, steps)
    write_memory(desired.component, Memory(paths, frozenset(), held, services))
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={"payload": {"type": "str", "required": True, "no_log": True}}, supports_check_mode=True
    )

    def run(command: list[str]) -> Answer:
        return Answer(*module.run_command(command, environ_update={"LC_ALL": "C.UTF-8", "PATH": PATH}))

    try:
        module.exit_json(**converge(run, unpack(module.params["payload"]), module.check_mode, time.time()))
    except (ConvergeError, HostError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
