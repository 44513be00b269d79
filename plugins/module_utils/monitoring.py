# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the fleet and rows of exporters to what Prometheus asks, and to what each host has to run: pure.

A row of exporters says where it can be asked (``name``, ``port``, ``tiers``, ``path``, ``seconds``, ``login``); a row of programs says
how one is run on a host. Both are data of roles, see roles/monitoring and roles/exporter.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .fleet import TIERS

ALL = "all"
ROW_KEYS = ("name", "port", "tiers", "path", "seconds", "login")
PROGRAM_KEYS = ("package", "command", "arguments", "login", "environment", "secrets", "user", "groups", "unit", "files")
LOGINS = ("web_config", "environment", "front", "none")
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Where the role exporter keeps its files on a host.
ETC = "/etc/graphic_school/exporter"
UNIT_TEMPLATE = "_exporter/unit.j2"
FRONT_TEMPLATE = "_exporter/front.j2"
LOGIN_TEMPLATE = "_exporter/htpasswd.j2"
FRONT_FILE, LOGIN_FILE = "/etc/nginx/conf.d/exporters.conf", "/etc/nginx/exporters.htpasswd"
# What needs a web server before it listens on loopback, on its port and this.
FRONT_OFFSET = 10000
# What an exporter may not do unless its row says so. It reads counters and answers one port.
HARDENED: Mapping[str, str] = {
    "CapabilityBoundingSet": "",
    "LockPersonality": "true",
    "MemoryDenyWriteExecute": "true",
    "NoNewPrivileges": "true",
    "PrivateDevices": "true",
    "PrivateTmp": "true",
    "ProtectClock": "true",
    "ProtectControlGroups": "true",
    "ProtectHome": "true",
    "ProtectHostname": "true",
    "ProtectKernelLogs": "true",
    "ProtectKernelModules": "true",
    "ProtectKernelTunables": "true",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "true",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "true",
    "RestrictRealtime": "true",
    "RestrictSUIDSGID": "true",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
}


class MonitoringError(ValueError):
    """A row that can't be; one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Exporter:
    """Where one job is asked. ``seconds``: time between two questions, 0 for the fleet's usual. ``login``: whether it asks for one."""

    name: str
    port: int
    tiers: tuple[str, ...]
    path: str = "/metrics"
    seconds: int = 0
    login: bool = True

    def on(self, tiers: Iterable[str]) -> bool:
        """Whether a host of these tiers has it."""
        return ALL in self.tiers or bool({*self.tiers} & {*tiers})

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "port": self.port,
            "tiers": list(self.tiers),
            "path": self.path,
            "seconds": self.seconds,
            "login": self.login,
        }


def exporters(rows: Iterable[Mapping[str, Any]], extra: Iterable[Mapping[str, Any]] = ()) -> tuple[Exporter, ...]:
    """The rows, those of ``extra`` added or put in the place of the one with their name. Raises MonitoringError."""
    found: dict[str, Exporter] = {}
    for source in (rows, extra):
        named: set[str] = set()
        for row in source:
            one = _exporter(row)
            if one.name in named:
                raise MonitoringError(f"monitoring_exporters names {one.name} twice; leave one row")
            named.add(one.name)
            found[one.name] = one
    return tuple(found.values())


def _exporter(row: Mapping[str, Any]) -> Exporter:
    name = str(row.get("name", ""))
    _known(f"the row {name or dict(row)} of monitoring_exporters", row, ROW_KEYS)
    if not NAME.fullmatch(name):
        raise MonitoringError(f"name of an exporter must be a word of lower-case letters, digits and _, not: {name!r}")
    text = str(row.get("port", ""))
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise MonitoringError(f"port of exporter {name} must be a number from 1 to 65535, not: {text or 'nothing'}")
    tiers = row.get("tiers")
    if not isinstance(tiers, (list, tuple)) or not tiers:
        raise MonitoringError(f"tiers of exporter {name} must be a list of tiers, or [all], not: {tiers!r}")
    for tier in tiers:
        if tier != ALL and tier not in TIERS:
            raise MonitoringError(
                f"exporter {name} is for the tier {tier!r}, which is none; the tiers are {', '.join(TIERS)}, or all"
            )
    path = str(row.get("path") or "/metrics")
    if not re.fullmatch(r"/[A-Za-z0-9_./-]*", path):
        raise MonitoringError(f"path of exporter {name} must begin with / and hold no spaces, not: {path!r}")
    seconds = int(row.get("seconds") or 0)
    return Exporter(
        name, int(text), tuple(str(tier) for tier in tiers), path, seconds, login=bool(row.get("login", True))
    )


def _known(what: str, row: Mapping[str, Any], keys: Sequence[str]) -> None:
    for key in row:
        if key not in keys:
            near = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.6)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise MonitoringError(f"{what} has the unknown key {key!r}{hint}; known are: {', '.join(keys)}")


def authority(address: str, port: int) -> str:
    """Address and port as a URL has them: an IPv6 address gets its brackets."""
    return f"{_bracketed(address)}:{port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


# --- what Prometheus asks -----------------------------------------------------------------------------------------


def targets(
    fleet: Mapping[str, Any],
    rows: Iterable[Exporter],
    *,
    redis_ports: Mapping[str, Iterable[int]] | None = None,
    probes: Iterable[Mapping[str, Any]] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Job → groups as Prometheus' file_sd takes them, for a fleet as ``Fleet.as_dict`` gives it.

    Each group is one target with the labels ``host`` and ``tier`` (the first of the host's tiers). Hosts that are down are left
    out. The exporter of Redis is asked once for each instance, ``blackbox`` once for each of ``probes`` (host, url, module, probe); both
    get the label ``instance``, Redis also ``pool``, a probe also ``probe``.

    Raises MonitoringError for a probe of a host that is not in the fleet.
    """
    hosts = [host for _name, host in sorted(fleet["hosts"].items()) if host["state"] != "down"]
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups: list[dict[str, Any]] = []
        for host in hosts:
            if not row.on(host["tiers"]):
                continue
            place = authority(host["address"], row.port)
            if row.name == "redis":
                for pool, ports in (redis_ports or {}).items():
                    groups += [
                        _group(
                            place,
                            host,
                            pool=pool,
                            instance=authority(host["address"], int(port)),
                            **_asked("redis", host, port),
                        )
                        for port in ports
                    ]
            elif row.name == "blackbox":
                groups += _probed(place, fleet, probes)
            else:
                groups.append(_group(place, host))
        found[row.name] = groups
    return found


def _asked(scheme: str, host: Mapping[str, Any], port: int) -> dict[str, str]:
    return {"__param_target": f"{scheme}://{authority(host['address'], int(port))}"}


def _probed(place: str, fleet: Mapping[str, Any], probes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups = []
    for probe in probes:
        host = fleet["hosts"].get(probe["host"])
        if host is None:
            raise MonitoringError(
                f"a probe is for host {probe['host']}, which the inventory does not have; name one of its hosts"
            )
        if host["state"] != "down":
            extra = {"__param_target": str(probe["url"]), "__param_module": str(probe["module"])}
            groups.append(
                _group(
                    place, host, instance=str(probe["url"]), probe=str(probe.get("probe") or probe["module"]), **extra
                )
            )
    return groups


def _group(place: str, host: Mapping[str, Any], **labels: str) -> dict[str, Any]:
    tier = {"tier": host["tiers"][0]} if host["tiers"] else {}
    return {"targets": [place], "labels": {"host": host["name"], **tier, **labels}}


def probes(
    servers: Iterable[Mapping[str, Any]], scheme: str, paths: Mapping[str, str], module: str
) -> list[dict[str, Any]]:
    """Rows of probes for each of the servers: one for each path, whose key is the label ``probe``."""
    return [
        {
            "host": host["name"],
            "url": f"{scheme}://{_bracketed(host['address'])}{path}",
            "module": module,
            "probe": name,
        }
        for host in servers
        for name, path in paths.items()
    ]


def beside(places: Mapping[str, str], host: str) -> dict[str, list[dict[str, Any]]]:
    """Job → groups for what runs beside Prometheus on loopback, told apart by the name of the host it runs on."""
    return {
        job: [
            {
                "targets": [place],
                "labels": {"host": host, "tier": "monitoring", "instance": f"{host}:{place.rpartition(':')[2]}"},
            }
        ]
        for job, place in places.items()
        if place
    }


def jobs(rows: Iterable[Exporter], besides: Iterable[str], login: Mapping[str, str]) -> list[dict[str, Any]]:
    """Prometheus' scrape_configs: each row's job with the login, then those beside it without; all of them read file_sd."""
    found = []
    for row in rows:
        job: dict[str, Any] = {"job_name": row.name, "metrics_path": row.path}
        if row.login:
            job["basic_auth"] = dict(login)
        if row.seconds:
            job["scrape_interval"] = f"{row.seconds}s"
        found.append(job | _file_sd(row.name))
    return found + [{"job_name": name} | _file_sd(name) for name in besides]


def _file_sd(name: str) -> dict[str, Any]:
    return {"file_sd_configs": [{"files": [f"/etc/prometheus/targets/{name}.json"]}]}


def files(contents: Mapping[str, Any], folder: str, suffix: str) -> list[dict[str, str]]:
    """Rows of path and content, one for each name; a text as it is, the rest as JSON, which is YAML too."""

    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True) + "\n"

    return [{"path": f"{folder}{name}{suffix}", "content": text(value)} for name, value in sorted(contents.items())]


def page_data(fleet: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of the fleet draws: ``vip`` and ``hosts`` with name, address, tiers, state, memory_mb and vcpus, by name."""
    keys = ("name", "address", "tiers", "state", "memory_mb", "vcpus")
    return {
        "vip": fleet["vip"],
        "hosts": [{key: host[key] for key in keys} for _name, host in sorted(fleet["hosts"].items())],
    }


# --- what a host runs ---------------------------------------------------------------------------------------------


def layout(
    rows: Iterable[Exporter], programs: Mapping[str, Mapping[str, Any]], tiers: Iterable[str], address: str
) -> dict[str, Any]:
    """The exporters that a host of these tiers runs, as a part of the role's one task: ``packages``, ``files``, ``validate``,
    ``services``.

    Of the files each unit or drop-in has in its vars C(unit): ``name``, ``service``, ``path``, ``whole`` (a unit of our own, not a
    drop-in), ``command``, ``environment``, ``secrets`` (file), ``user``, ``groups`` and ``settings``. Where exporters know no login there
    is nginx' configuration before them, with C(fronts) in its vars. Services of programs for other tiers are stopped.

    A row without a program is somebody else's to run. Raises MonitoringError.
    """
    mine, units, packages, services, fronts, secret_files = {*tiers}, [], [], [], [], []
    for row in rows:
        if row.name not in programs:
            continue
        program = programs[row.name]
        _check_program(row.name, program)
        service = str(program.get("package") or f"fleet-exporter-{row.name.replace('_', '-')}")
        if not row.on(mine):
            # Looked for only where an earlier tier may have left it: a unit that is not there is already stopped.
            services.append({"name": service, "enabled": False, "state": "stopped"})
            continue
        unit = _unit(row, program, service, address)
        units.append(unit)
        packages += [str(program["package"])] if program.get("package") else []
        watched = [unit["path"], *([unit["secrets"]] if unit["secrets"] else []), *map(str, program.get("files") or ())]
        services.append({"name": service, "restart_on": watched})
        if unit["secrets"]:
            lines = "".join(f"{key}={_value(value)}\n" for key, value in sorted(program["secrets"].items()))
            secret_files.append({"path": unit["secrets"], "content": lines, "mode": "0600", "secret": True})
        if program.get("login", "web_config") == "front":
            fronts.append({"name": row.name, "listen": authority(address, row.port), "port": row.port + FRONT_OFFSET})
    files: list[dict[str, Any]] = [
        {"path": unit["path"], "template": UNIT_TEMPLATE, "vars": {"unit": unit}} for unit in units
    ]
    validate = []
    if fronts:
        files.append({"path": FRONT_FILE, "template": FRONT_TEMPLATE, "vars": {"fronts": fronts}})
        files.append({"path": LOGIN_FILE, "template": LOGIN_TEMPLATE})
        services.append({"name": "nginx", "reload_on": [FRONT_FILE, LOGIN_FILE]})
        validate.append({"trees": ["/etc/nginx"], "command": ["nginx", "-t"]})
    return {"packages": packages, "files": files + secret_files, "validate": validate, "services": services}


def _check_program(name: str, program: Mapping[str, Any]) -> None:
    _known(f"the program {name} of exporter_programs", program, PROGRAM_KEYS)
    if bool(program.get("package")) == bool(program.get("command")):
        raise MonitoringError(f"the program {name} of exporter_programs needs exactly one of package and command")
    if program.get("login", "web_config") not in LOGINS:
        raise MonitoringError(
            f"login of the exporter {name} must be one of {', '.join(LOGINS)}, not: {program['login']!r}"
        )


def _unit(row: Exporter, program: Mapping[str, Any], service: str, address: str) -> dict[str, Any]:
    login = program.get("login", "web_config")
    front = login == "front"
    listen = authority("127.0.0.1", row.port + FRONT_OFFSET) if front else authority(address, row.port)
    own = program.get("command")
    command = [str(word) for word in own] if own else [f"/usr/bin/{program['package']}"]
    command.append(f"--web.listen-address={listen}")
    command += [f"--web.config.file={ETC}/web.yml"] if login == "web_config" else []
    command += [str(argument) for argument in program.get("arguments") or ()]
    return {
        "name": row.name,
        "service": service,
        "whole": bool(own),
        "path": f"/etc/systemd/system/{service}.service" + ("" if own else ".d/graphic_school.conf"),
        "command": " ".join(_word(word) for word in command),
        "environment": [_word(f"{key}={value}") for key, value in (program.get("environment") or {}).items()],
        "secrets": f"{ETC}/{row.name}.env" if program.get("secrets") else "",
        "user": str(program.get("user") or "prometheus"),
        "groups": [str(group) for group in program.get("groups") or ()],
        "settings": {**HARDENED, **{str(key): str(value) for key, value in (program.get("unit") or {}).items()}},
    }


def _word(word: str) -> str:
    """A word of a unit's command or environment: systemd reads % and $ in it, so both are doubled (systemd.unit(5), systemd.service(5))."""
    return _value(word.replace("%", "%%").replace("$", "$$"))


def _value(value: Any) -> str:
    """A value as an EnvironmentFile holds it: in double quotes where it is more than a plain word."""
    text = str(value)
    if any(not sign.isprintable() for sign in text):
        raise MonitoringError(f"what an exporter is started with must be on one line, not: {text!r}")
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return text if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$^()|?*~\[\]{}-]+", text) else f'"{text}"'
