# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role wants of a host, what the host has, and the steps between them.

Nothing here touches a host: C(plan) compares two values and returns a third. C(plugins/modules/converge_host.py) reads
the actual state, asks for the plan, and performs it.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
SYSTEMD_TREE = "/etc/systemd/system/**"
# What `systemctl is-enabled` counts as enabled (systemctl(1), "is-enabled").
ENABLED_UNIT_FILE_STATES = frozenset(
    {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "transient"}
)


class ConvergeError(ValueError):
    """A wanted state that cannot be right; the message names the thing, the value and the cure."""


@dataclass(frozen=True)
class WantedFile:
    path: str
    content: bytes
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    secret: bool = False


@dataclass(frozen=True)
class WantedDirectory:
    path: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755


@dataclass(frozen=True)
class Validation:
    trees: tuple[str, ...]
    command: tuple[str, ...]


@dataclass(frozen=True)
class OnChange:
    paths: tuple[str, ...]
    command: tuple[str, ...]


@dataclass(frozen=True)
class WantedService:
    name: str
    enabled: bool = True
    running: bool = True
    reload_on: tuple[str, ...] = ()
    restart_on: tuple[str, ...] = ()
    hold_restart: bool = False


@dataclass(frozen=True)
class WantedUser:
    name: str
    home: str | None = None
    shell: str = "/usr/sbin/nologin"
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Desired:
    component: str
    packages: tuple[str, ...] = ()
    users: tuple[WantedUser, ...] = ()
    directories: tuple[WantedDirectory, ...] = ()
    files: tuple[WantedFile, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    validations: tuple[Validation, ...] = ()
    on_change: tuple[OnChange, ...] = ()
    services: tuple[WantedService, ...] = ()


@dataclass(frozen=True)
class FoundPath:
    """What lies at a path: C(kind) is file, directory, link or other; a path that holds nothing has no FoundPath."""

    kind: str
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    content: bytes = b""
    target: str = ""


@dataclass(frozen=True)
class FoundService:
    loaded: bool
    active: bool
    enabled: bool
    condition_failed: bool = False
    active_since: float = 0.0


@dataclass(frozen=True)
class Memory:
    """What an earlier run left on the host: the paths it wrote, the actions it still owed, the restarts it held back.

    C(services) are the units that it left running: what a look at the host's health expects to find.
    """

    paths: frozenset[str] = frozenset()
    owed: frozenset[str] = frozenset()
    held: Mapping[str, float] = field(default_factory=dict)
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Actual:
    paths: Mapping[str, FoundPath]
    services: Mapping[str, FoundService]
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True)
class Plan:
    """Steps in the order in which they are performed. C(owed) names the actions that survive an interrupted run."""

    directories: tuple[WantedDirectory, ...] = ()
    writes: tuple[WantedFile, ...] = ()
    attributes: tuple[WantedFile, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    removals: tuple[str, ...] = ()
    validations: tuple[Validation, ...] = ()
    daemon_reload: bool = False
    commands: tuple[tuple[str, ...], ...] = ()
    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    still_held: tuple[str, ...] = ()
    owed: frozenset[str] = frozenset()

    @property
    def changed_paths(self) -> list[str]:
        files = {item.path for item in (*self.writes, *self.attributes)}
        directories = {item.path for item in self.directories}
        return sorted(files | directories | {path for path, _target in self.links} | set(self.removals))

    @property
    def changed(self) -> bool:
        return bool(
            self.changed_paths
            or self.daemon_reload
            or self.commands
            or self.enable
            or self.disable
            or self.start
            or self.stop
            or self.reload
            or self.restart
        )


def glob_matches(pattern: str, path: str) -> bool:
    """True when C(path) matches C(pattern): C(*) and C(?) stay within one folder, C(**) crosses folders."""
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(wild.get(part, re.escape(part)) for part in parts), path) is not None


def _touches(patterns: Iterable[str], paths: Iterable[str]) -> bool:
    paths = list(paths)
    return any(glob_matches(pattern, path) for pattern in patterns for path in paths)


def _below(trees: Iterable[str], paths: Iterable[str]) -> bool:
    paths = list(paths)
    return any(path == tree or path.startswith(tree.rstrip("/") + "/") for tree in trees for path in paths)


def _command_key(command: Sequence[str]) -> str:
    return "command:" + json.dumps(list(command))


def _plan_paths(desired: Desired, actual: Actual) -> Plan:
    directories = tuple(
        wanted
        for wanted in desired.directories
        if (found := actual.paths.get(wanted.path)) is None
        or found.kind != "directory"
        or (found.owner, found.group, found.mode) != (wanted.owner, wanted.group, wanted.mode)
    )
    writes: list[WantedFile] = []
    attributes: list[WantedFile] = []
    for wanted in desired.files:
        found = actual.paths.get(wanted.path)
        if found is None or found.kind != "file" or found.content != wanted.content:
            writes.append(wanted)
        elif (found.owner, found.group, found.mode) != (wanted.owner, wanted.group, wanted.mode):
            attributes.append(wanted)
    links = tuple(
        (path, target)
        for path, target in desired.links
        if (found := actual.paths.get(path)) is None or found.kind != "link" or found.target != target
    )
    wanted_paths = {item.path for item in desired.files} | {path for path, _target in desired.links}
    unwanted = (set(desired.absent) | set(actual.memory.paths)) - wanted_paths
    removals = tuple(
        sorted(
            path
            for path in unwanted
            if (found := actual.paths.get(path)) is not None and found.kind in {"file", "link"}
        )
    )
    return Plan(
        directories=directories, writes=tuple(writes), attributes=tuple(attributes), links=links, removals=removals
    )


def plan(desired: Desired, actual: Actual) -> Plan:
    """Return the steps that bring a host from C(actual) to C(desired).

    A service that is started anyway is neither reloaded nor restarted; a restart covers a reload. Actions that an
    interrupted run still owed are due again as long as the role still names them.
    """
    paths = _plan_paths(desired, actual)
    changed = paths.changed_paths
    owed_before = actual.memory.owed
    validations = tuple(item for item in desired.validations if _below(item.trees, changed))
    daemon_reload = _touches([SYSTEMD_TREE], changed) or "daemon-reload" in owed_before
    commands: list[tuple[str, ...]] = []
    for item in desired.on_change:
        due = _touches(item.paths, changed) or _command_key(item.command) in owed_before
        if due and item.command not in commands:
            commands.append(item.command)
    enable: list[str] = []
    disable: list[str] = []
    start: list[str] = []
    stop: list[str] = []
    reload: list[str] = []
    restart: list[str] = []
    hold: list[str] = []
    still_held: list[str] = []
    for service in desired.services:
        found = actual.services.get(service.name, FoundService(loaded=False, active=False, enabled=False))
        if service.enabled and not found.enabled:
            enable.append(service.name)
        if not service.enabled and found.enabled and found.loaded:
            disable.append(service.name)
        if not service.running:
            if found.active:
                stop.append(service.name)
            continue
        if not found.active:
            if not found.condition_failed or _touches((*service.reload_on, *service.restart_on), changed):
                start.append(service.name)
            continue
        if _touches(service.restart_on, changed) or f"restart:{service.name}" in owed_before:
            (hold if service.hold_restart else restart).append(service.name)
        elif _touches(service.reload_on, changed) or f"reload:{service.name}" in owed_before:
            reload.append(service.name)
        held_at = actual.memory.held.get(service.name)
        if service.hold_restart and held_at is not None and found.active_since < held_at and service.name not in hold:
            still_held.append(service.name)
    owed = {_command_key(command) for command in commands}
    owed |= {f"reload:{name}" for name in reload} | {f"restart:{name}" for name in restart}
    owed |= {"daemon-reload"} if daemon_reload else set()
    return Plan(
        directories=paths.directories,
        writes=paths.writes,
        attributes=paths.attributes,
        links=paths.links,
        removals=paths.removals,
        validations=validations,
        daemon_reload=daemon_reload,
        commands=tuple(commands),
        enable=tuple(enable),
        disable=tuple(disable),
        start=tuple(start),
        stop=tuple(stop),
        reload=tuple(reload),
        restart=tuple(restart),
        hold=tuple(hold),
        still_held=tuple(still_held),
        owed=frozenset(owed),
    )


def effects(desired: Desired, steps: Plan) -> dict[str, list[str]]:
    """For each changed path what follows from it, such as C(reload nginx.service); [] when nothing does.

    C(hold mysql.service): its restart is left to those who know when it may be.
    """
    verbs = [(verb, frozenset(getattr(steps, verb))) for verb in ("start", "restart", "reload", "hold")]
    found: dict[str, list[str]] = {path: [] for path in steps.changed_paths}
    for path, follows in found.items():
        for service in desired.services:
            patterns = (*service.reload_on, *service.restart_on)
            follows += [
                f"{verb} {service.name}" for verb, names in verbs if service.name in names and _touches(patterns, [path])
            ]
        follows += [
            f"run {' '.join(item.command)}"
            for item in desired.on_change
            if item.command in steps.commands and _touches(item.paths, [path])
        ]
        if not follows and _touches([SYSTEMD_TREE], [path]):
            follows.append("run systemctl daemon-reload")
    return found


# -- the form in which the wanted state travels from the control node to the host -------------------------------------


def pack(desired: Mapping[str, Any]) -> str:
    """Return C(desired) (JSON types only) as one compressed, base64-encoded string."""
    return base64.b64encode(zlib.compress(json.dumps(desired, sort_keys=True).encode())).decode()


def unpack(payload: str) -> Desired:
    """Return the wanted state that C(pack) wrote. Raises ConvergeError when a value in it cannot be right."""
    return desired_from(json.loads(zlib.decompress(base64.b64decode(payload))))


def _mode(path: str, value: object) -> int:
    text = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3,4}", text):
        raise ConvergeError(f'mode of {path} must be a quoted octal string such as "0644", not: {value!r}')
    return int(text, 8)


def _absolute(what: str, path: object) -> str:
    text = str(path)
    if not text.startswith("/") or "/../" in text or text.endswith("/.."):
        raise ConvergeError(f"{what} must be an absolute path without '..', not: {text!r}")
    return text.rstrip("/") or "/"


def _strings(what: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, (str, int, float)) for item in value):
        raise ConvergeError(f"{what} must be a list of strings, not: {value!r}")
    return tuple(str(item) for item in value)


def _known(what: str, row: object, keys: Iterable[str]) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ConvergeError(f"an entry of {what} must be a dictionary, not: {row!r}")
    unknown = sorted(set(row) - set(keys))
    if unknown:
        raise ConvergeError(
            f"an entry of {what} has the unknown key {unknown[0]!r}; known are: {', '.join(sorted(keys))}"
        )
    return row


def _file(row: Mapping[str, Any]) -> WantedFile:
    path = _absolute("the path of a file", row["path"])
    content = base64.b64decode(row["content_base64"]) if "content_base64" in row else str(row["content"]).encode()
    return WantedFile(
        path=path,
        content=content,
        owner=str(row.get("owner", "root")),
        group=str(row.get("group", row.get("owner", "root"))),
        mode=_mode(path, row.get("mode", "0644")),
        secret=bool(row.get("secret", False)),
    )


def _directory(row: object) -> WantedDirectory:
    row = _known("directories", row, ("path", "owner", "group", "mode"))
    path = _absolute("the path of a directory", row.get("path", ""))
    owner = str(row.get("owner", "root"))
    return WantedDirectory(
        path=path, owner=owner, group=str(row.get("group", owner)), mode=_mode(path, row.get("mode", "0755"))
    )


def _service(row: object) -> WantedService:
    row = _known("services", row, ("name", "enabled", "state", "reload_on", "restart_on", "restart"))
    if row.get("state", "started") not in ("started", "stopped"):
        raise ConvergeError(f"state of service {row.get('name')} must be started or stopped, not: {row.get('state')!r}")
    if row.get("restart", "now") not in ("now", "hold"):
        raise ConvergeError(f"restart of service {row.get('name')} must be now or hold, not: {row.get('restart')!r}")
    name = str(row.get("name", ""))
    if not re.fullmatch(r"[A-Za-z0-9:_.@\\-]+", name):
        raise ConvergeError(f"name of a service must be the name of a systemd unit, not: {name!r}")
    if "." not in name.rpartition("@")[2] or not name.endswith(
        (".service", ".timer", ".socket", ".path", ".target", ".mount")
    ):
        name += ".service"
    return WantedService(
        name=name,
        enabled=bool(row.get("enabled", True)),
        running=row.get("state", "started") == "started",
        reload_on=_strings("reload_on", row.get("reload_on", [])),
        restart_on=_strings("restart_on", row.get("restart_on", [])),
        hold_restart=row.get("restart", "now") == "hold",
    )


def _user(row: object) -> WantedUser:
    row = _known("users", row, ("name", "home", "shell", "groups"))
    return WantedUser(
        name=str(row["name"]),
        home=str(row["home"]) if row.get("home") else None,
        shell=str(row.get("shell", "/usr/sbin/nologin")),
        groups=_strings("groups of a user", row.get("groups", [])),
    )


def desired_from(data: Mapping[str, Any]) -> Desired:
    """Return the typed form of what a task asked for. Raises ConvergeError naming the entry that cannot be right."""
    component = str(data.get("component", ""))
    if not re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", component):
        raise ConvergeError(f"component must be a name of letters, digits, _ and -, not: {component!r}")
    packages = _strings("packages", data.get("packages", []))
    for package in packages:
        if not PACKAGE_NAME.fullmatch(package):
            raise ConvergeError(f"an entry of packages must be the name of a Debian package, not: {package!r}")
    files = tuple(sorted((_file(row) for row in data.get("files", [])), key=lambda item: item.path))
    for first, second in itertools.pairwise(files):
        if first.path == second.path:
            raise ConvergeError(
                f"component {component} writes {first.path} twice; keep one of the template tree and the list files"
            )
    return Desired(
        component=component,
        packages=packages,
        users=tuple(_user(row) for row in data.get("users", [])),
        directories=tuple(_directory(row) for row in data.get("directories", [])),
        files=files,
        links=tuple(
            sorted((_absolute("a link", path), str(target)) for path, target in dict(data.get("links", {})).items())
        ),
        absent=tuple(_absolute("an entry of absent", path) for path in _strings("absent", data.get("absent", []))),
        validations=tuple(
            Validation(
                trees=tuple(_absolute("a tree of validate", tree) for tree in _strings("trees", row.get("trees", []))),
                command=_strings("command of validate", row.get("command", [])),
            )
            for row in (_known("validate", row, ("trees", "command")) for row in data.get("validate", []))
        ),
        on_change=tuple(
            OnChange(
                paths=_strings("paths of on_change", row.get("paths", [])),
                command=_strings("command", row.get("command", [])),
            )
            for row in (_known("on_change", row, ("paths", "command")) for row in data.get("on_change", []))
        ),
        services=tuple(_service(row) for row in data.get("services", [])),
    )
