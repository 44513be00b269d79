# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which SSH doors may be closed while somebody stands in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .host_facts import DEFAULT_KEYS_FILES

ADMIN_KEYS_FILE = "/etc/ssh/authorized_keys.d/%u"
ROOT_LOGINS = ("no", "prohibit-password", "forced-commands-only", "yes")


class SshdPolicyError(ValueError):
    """A wish that cannot be met; the message names the value and the cure."""


@dataclass(frozen=True)
class Access:
    """How the host is reached now: login user (empty when not over SSH) and the keys that open it and root's account."""

    user: str = ""
    user_keys: int = 0
    root_keys: int = 0
    keys_files: tuple[str, ...] = DEFAULT_KEYS_FILES
    by_password: bool = False


@dataclass(frozen=True)
class Policy:
    """Values for sshd_config; None leaves what the host has. C(why) has a sentence for each wish that was not met."""

    password_authentication: str | None
    permit_root_login: str | None
    admin_keys_files: tuple[str, ...]
    why: tuple[str, ...]


def sshd_policy(
    access: Access, *, admin_user: str, admin_keys: Sequence[str], password_authentication: bool, root_login: str
) -> Policy:
    """Return the strictest settings up to the wish that leave the connection in use, and one key, a way in.

    Passwords are refused only when the account in use (or, not over SSH, root or the admin user) opens by key and the
    connection itself doesn't use a password. Root's login is closed only to those who come in as somebody else.
    Raises SshdPolicyError for an unknown C(root_login).
    """
    if root_login not in ROOT_LOGINS:
        raise SshdPolicyError(
            f"base_ssh_permit_root_login is {root_login!r}; sshd knows: {', '.join(ROOT_LOGINS)} (quote yes and no)"
        )
    admin_keys = admin_keys if admin_user else ()
    why: list[str] = []
    if access.user:
        keys = access.user_keys + (len(admin_keys) if access.user == admin_user else 0)
        stays_open = keys > 0 and not access.by_password
        reason = f"{access.user} is connected " + ("with a password" if access.by_password else "and has no key")
    else:
        stays_open = bool(access.root_keys or admin_keys)
        reason = "neither root nor an admin user has a key"

    password: str | None = "yes" if password_authentication else "no"
    if password == "no" and not stays_open:
        password = None
        why.append(f"passwords are still accepted: {reason}")

    root: str | None = root_login
    if root_login == "no" and (access.user == "root" or not (access.user or admin_keys)):
        root = "prohibit-password"
        why.append(
            "root may still log in with a key: "
            + ("the connection in use is root's" if access.user else "there is no admin user with a key")
        )
    if root not in ("yes", None) and access.user == "root" and not stays_open:
        root = None
        why.append(f"root's login stays as it is: {reason}")
    found = access.keys_files if access.user and access.user == admin_user else DEFAULT_KEYS_FILES
    files = tuple(path for path in found if path not in (ADMIN_KEYS_FILE, "none"))
    return Policy(password, root, (*files, ADMIN_KEYS_FILE), tuple(why))
