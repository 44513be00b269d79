# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL users as data: what a stored password hash proves, what C(SHOW GRANTS) says, and what brings a user to its state."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

CRYPT_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The order in which SHA-crypt writes the bytes of a SHA-256 digest (https://www.akkadia.org/drepper/SHA-crypt.txt, step 22 e).
CRYPT_ORDER = (
    (0, 10, 20), (21, 1, 11), (12, 22, 2), (3, 13, 23), (24, 4, 14),
    (15, 25, 5), (6, 16, 26), (27, 7, 17), (18, 28, 8), (9, 19, 29),
)  # fmt: skip
GRANT = re.compile(
    r"GRANT (?P<privileges>.+?) ON (?P<object>(?:`(?:[^`]|``)*`|\*)\.(?:`(?:[^`]|``)*`|\*)) TO ", re.DOTALL
)
# What a user with ALL PRIVILEGES ON *.* holds: SHOW GRANTS lists them one by one, so a few that only ALL gives stand for all.
EVERYTHING = frozenset({"SELECT", "SUPER", "SHUTDOWN", "FILE", "CREATE USER"})
NAME = re.compile(r"[^\x00-\x1f'\"`\\]{1,32}")
HOST = re.compile(r"[0-9A-Za-z.:%_/-]{1,255}")
OBJECT = re.compile(r"(\*|[^\x00-\x1f'\"`\\.]{1,64})\.(\*|[^\x00-\x1f'\"`\\.]{1,64})")
PRIVILEGE = re.compile(r"[A-Za-z_][A-Za-z_ ]*(\([A-Za-z0-9_, ]+\))?")
TLS_MODES = ("none", "any", "x509")


class UserError(ValueError):
    """A wanted user that cannot be right; the message names the user, the value and the cure."""


@dataclass(frozen=True)
class WantedUser:
    """A user that must exist. ``privileges``: object (C(school.*)) → privilege names. ``tls``: none, any or x509."""

    name: str
    host: str = "%"
    plugin: str = "caching_sha2_password"
    privileges: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tls: str = "none"

    @property
    def account(self) -> str:
        return f"{self.name}@{self.host}"


@dataclass(frozen=True)
class FoundUser:
    """A user that exists. ``password_matches``: whether the stored hash belongs to the wanted password."""

    plugin: str
    password_matches: bool
    privileges: Mapping[str, frozenset[str]]
    tls: str = "none"


@dataclass(frozen=True)
class UserChange:
    """One statement's worth of change: ``kind`` is create, alter, grant or revoke."""

    kind: str
    account: str
    on: str = ""
    privileges: tuple[str, ...] = ()
    why: str = ""


def wanted_users(rows: Iterable[Mapping[str, Any]]) -> tuple[WantedUser, ...]:
    """Return the users that ``rows`` (the role's variable mysql_users) ask for. Raises UserError."""
    result: list[WantedUser] = []
    for row in rows:
        user = WantedUser(
            name=str(row["name"]),
            host=str(row.get("host") or "%"),
            plugin=str(row.get("plugin") or "caching_sha2_password"),
            privileges={
                str(on): frozenset(normal_privilege(str(one)) for one in privileges)
                for on, privileges in (row.get("privileges") or {}).items()
            },
            tls=str(row.get("tls") or "none"),
        )
        _check(user)
        if user.account in {other.account for other in result}:
            raise UserError(f"mysql_users names {user.account} twice; leave one row")
        result.append(user)
    return tuple(result)


def _check(user: WantedUser) -> None:
    if not NAME.fullmatch(user.name) or not HOST.fullmatch(user.host):
        raise UserError(
            f"mysql_users: {user.account!r} is no name@host that MySQL takes; use up to 32 plain characters, host % or an address"
        )
    if user.plugin not in ("caching_sha2_password", "auth_socket"):
        raise UserError(
            f"mysql_users: {user.account} has plugin {user.plugin!r}; use caching_sha2_password or auth_socket"
        )
    if user.tls not in TLS_MODES:
        raise UserError(f"mysql_users: {user.account} has tls {user.tls!r}; use one of: {', '.join(TLS_MODES)}")
    for on, privileges in user.privileges.items():
        if not OBJECT.fullmatch(on):
            raise UserError(f"mysql_users: {user.account} has privileges on {on!r}; write database.* or database.table")
        for privilege in privileges:
            if not PRIVILEGE.fullmatch(privilege):
                raise UserError(f"mysql_users: {user.account} has the privilege {privilege!r} on {on}, which is none")


def normal_privilege(text: str) -> str:
    """Return a privilege in one spelling: C(all) → C(ALL PRIVILEGES), C(select(a,b)) → C(SELECT (a, b))."""
    head, _bracket, columns = text.replace("`", "").partition("(")
    name = " ".join(head.upper().split())
    if columns:
        return f"{name} ({', '.join(sorted(column.strip() for column in columns.rstrip(') ').split(',')))})"
    return "ALL PRIVILEGES" if name == "ALL" else name


def parse_grants(lines: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return object → privileges of C(SHOW GRANTS) lines; USAGE (nothing) and role or proxy grants are left out."""
    result: dict[str, set[str]] = {}
    for line in lines:
        found = GRANT.match(line)
        if not found or found["privileges"] == "PROXY":
            continue
        privileges = {normal_privilege(one) for one in re.split(r",\s*(?![^()]*\))", found["privileges"])} - {"USAGE"}
        if "WITH GRANT OPTION" in line[found.end() :]:
            privileges.add("GRANT OPTION")
        if privileges:
            on = found["object"].replace("``", "\0").replace("`", "").replace("\0", "`").replace("\\_", "_")
            result.setdefault(on, set()).update(privileges)
    return {on: frozenset(privileges) for on, privileges in result.items()}


def user_changes(wanted: Iterable[WantedUser], found: Mapping[str, FoundUser]) -> tuple[UserChange, ...]:
    """Return what turns ``found`` (by account) into ``wanted``. Users that nobody asked for stay as they are."""
    changes: list[UserChange] = []
    for user in wanted:
        actual = found.get(user.account)
        if actual is None:
            changes.append(UserChange("create", user.account, why="it does not exist"))
        else:
            reasons = [
                *(["its authentication plug-in differs"] if actual.plugin != user.plugin else []),
                *(["its password differs"] if actual.plugin == user.plugin and not actual.password_matches else []),
                *(["its TLS requirement differs"] if actual.tls != user.tls else []),
            ]
            if reasons:
                changes.append(UserChange("alter", user.account, why=" and ".join(reasons)))
        changes.extend(_grant_changes(user, actual.privileges if actual else {}))
    return tuple(changes)


def _grant_changes(user: WantedUser, found: Mapping[str, frozenset[str]]) -> Iterable[UserChange]:
    for on in sorted(set(found) | set(user.privileges)):
        want, have = user.privileges.get(on, frozenset()), found.get(on, frozenset())
        if on == "*.*" and "ALL PRIVILEGES" in want and have >= EVERYTHING:
            continue
        if "ALL PRIVILEGES" in have and "ALL PRIVILEGES" not in want:
            yield UserChange("revoke", user.account, on, tuple(sorted(have)))
            have = frozenset()
        elif have - want and "ALL PRIVILEGES" not in want:
            yield UserChange("revoke", user.account, on, tuple(sorted(have - want)))
        if want - have:
            yield UserChange("grant", user.account, on, tuple(sorted(want - have)))


def password_matches(password: str, authentication_string: bytes) -> bool:
    """Return whether ``authentication_string`` (mysql.user, caching_sha2_password) was made of ``password``.

    MySQL stores C($A$005$) + 20 bytes of salt + SHA-crypt's 43 characters; 005 is the number of rounds in thousands, in
    hexadecimal.
    """
    head, salt, digest = authentication_string[:7], authentication_string[7:27], authentication_string[27:]
    if not re.fullmatch(rb"\$A\$[0-9A-Fa-f]{3}\$?", head[:7]) or not password:
        return not password and not authentication_string
    return sha256_crypt(password.encode(), salt, int(head[3:6], 16) * 1000) == digest


def sha256_crypt(password: bytes, salt: bytes, rounds: int) -> bytes:
    """Return the 43 characters of Ulrich Drepper's SHA-crypt (https://www.akkadia.org/drepper/SHA-crypt.txt).

    Python lost its C(crypt) module with 3.13, and crypt(3) takes only 16 bytes of salt where MySQL uses 20.
    """
    sha = hashlib.sha256
    other = sha(password + salt + password).digest()
    first = sha(password + salt + _repeated(other, len(password)))
    length = len(password)
    while length:
        first.update(other if length & 1 else password)
        length >>= 1
    digest = first.digest()
    p = _repeated(sha(password * len(password)).digest(), len(password))
    s = _repeated(sha(salt * (16 + digest[0])).digest(), len(salt))
    for i in range(rounds):
        step = sha(p if i & 1 else digest)
        if i % 3:
            step.update(s)
        if i % 7:
            step.update(p)
        step.update(digest if i & 1 else p)
        digest = step.digest()
    result = b"".join(_four(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in CRYPT_ORDER)
    return result + _four(digest[31] << 8 | digest[30], 3)


def _repeated(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _four(value: int, count: int) -> bytes:
    return bytes(CRYPT_ALPHABET[value >> 6 * i & 63] for i in range(count))
