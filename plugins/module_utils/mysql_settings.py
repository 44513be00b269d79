# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL's settings: names as the server spells them, values that can be compared, a server's number."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SIZE = re.compile(r"(\d+)([KMGTPE])", re.IGNORECASE)
UNITS = {unit: 1024 ** (power + 1) for power, unit in enumerate("KMGTPE")}
SWITCHES = {"ON": "1", "TRUE": "1", "YES": "1", "OFF": "0", "FALSE": "0", "NO": "0"}
# The server rounds these up to whole blocks of its own, so a running value may be a little above the one asked for.
ROUNDED = frozenset({"innodb_buffer_pool_size", "innodb_redo_log_capacity"})


# Where a value comes from that is neither my.cnf's nor the server's own (performance_schema.variables_info).
SET_SINCE = frozenset({"DYNAMIC", "PERSISTED"})
# The record is written after the last SET, on a clock of a few milliseconds.
SLACK_SECONDS = 1.0


class SettingError(ValueError):
    """A setting that my.cnf cannot carry."""


@dataclass(frozen=True)
class Asked:
    """What the running server was asked for, at its start and while it ran, and when for the last time (seconds since 1970)."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0

    def same(self, name: str, wanted: Any) -> bool:
        """Whether the variable C(name) was asked to be what is wanted now: asking once more changes nothing."""
        return name in self.settings and comparable(self.settings[name]) == comparable(wanted)

    def kept(self, name: str, wanted: Any, source: str, set_at: float) -> bool:
        """Whether a server that holds something else than C(wanted) has made it so by itself.

        C(source) and C(set_at) are the VARIABLE_SOURCE of performance_schema.variables_info and its SET_TIME: a value that
        somebody has set since is no answer of the server to what it was asked.
        """
        since = source == "PERSISTED" or (source in SET_SINCE and set_at > self.at + SLACK_SECONDS)
        return self.same(name, wanted) and not since


def normal_name(name: str) -> str:
    """Return the name of the variable behind an option: C(loose-clone-ssl-ca) → C(clone_ssl_ca)."""
    return re.sub(r"^loose_", "", name.lower().replace("-", "_"))


def merged_settings(computed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``computed`` with ``given`` laid over it, whatever dashes either uses. None takes a setting out; a list repeats
    the line. Raises SettingError for what would break out of its line."""
    result = {str(name).lower().replace("-", "_"): value for name, value in computed.items()}
    for name, value in given.items():
        plain = str(name).lower().replace("-", "_")
        if not re.fullmatch(r"[a-z0-9_.]+", plain):
            raise SettingError(f"mysql_settings: {name!r} is no name of an option; use letters, digits and underscores")
        for known in [known for known in result if normal_name(known) == normal_name(plain)]:
            plain = known
        result[plain] = value
    for name, value in result.items():
        if any(character in str(one) for one in _lines(value) for character in "\r\n\0"):
            raise SettingError(f"mysql_settings: the value of {name} spans lines; a line of my.cnf holds one")
    return {name: _written(value) for name, value in result.items() if value is not None}


def _lines(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _written(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_written(one) for one in value]
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return value if isinstance(value, int) else str(value)


def parse_my_cnf(content: str) -> dict[str, Any]:
    """Return the options of the section C([mysqld]); an option that stands there more than once becomes a list."""
    result: dict[str, Any] = {}
    section = ""
    for line in (raw.strip() for raw in content.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "mysqld" and line and line[0] not in "#;!":
            name, _equals, value = (part.strip() for part in line.partition("="))
            result[name] = [*_lines(result[name]), value] if name in result else value
    return result


def asked_settings(content: str) -> dict[str, Any]:
    """Return the variables that the record C(content) asks for, by the server's own names."""
    return {normal_name(name): value for name, value in parse_my_cnf(content).items()}


def record_of(content: str, settings: Mapping[str, Any]) -> str:
    """Return the record C(content) after the running server was also asked for C(settings)."""
    asked = {**asked_settings(content), **settings}
    return "".join(["[mysqld]\n", *(f"{name} = {line}\n" for name, value in asked.items() for line in _lines(value))])


def comparable(value: Any) -> str:
    """Return a value in one spelling: C(1G) and C(1073741824), C(ON) and C(1) are the same."""
    text = str(value).strip()
    if text.startswith("/"):
        return text.rstrip("/")
    size = SIZE.fullmatch(text)
    if size:
        return str(int(size[1]) * UNITS[size[2].upper()])
    if text.upper() in SWITCHES:
        return SWITCHES[text.upper()]
    return re.sub(r"\.0+$", "", text) if re.fullmatch(r"\d+\.0+", text) else text.casefold()


def differing_settings(wanted: Mapping[str, Any], running: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Return name → (wanted, running) of the settings that the running server holds otherwise. ``running``: its global
    variables; options that are no variables cannot be compared and are left out."""
    result: dict[str, tuple[Any, str]] = {}
    for option, value in wanted.items():
        name = normal_name(option)
        if name not in running or isinstance(value, (list, tuple)):
            continue
        want, have = comparable(value), comparable(running[name])
        if name == "log_bin" and want not in SWITCHES.values():
            # As an option it names the files, as a variable it says whether they are written.
            want = "1"
        if want == have or (name in ROUNDED and _rounded_up(want, have)):
            continue
        result[name] = (value, running[name])
    return result


def _rounded_up(want: str, have: str) -> bool:
    return want.isdigit() and have.isdigit() and int(want) <= int(have) <= int(want) * 1.25 + 2**20


def server_id(address: str) -> int:
    """Return a number between 1 and 2^32-1 that stays with the address: an IPv4 address as it is, anything else hashed."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, ipaddress.IPv4Address) and int(parsed):
        return int(parsed)
    return int.from_bytes(hashlib.sha256(address.encode()).digest()[:4], "big") % (2**32 - 1) + 1
