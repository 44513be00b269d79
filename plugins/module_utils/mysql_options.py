# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules for a MySQL server take alike: their options, documented in doc_fragments/mysql_server.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .mysql_client import Replication

_USER: Mapping[str, Any] = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str", "default": "%"},
    "password": {"type": "str", "no_log": True},
    "plugin": {"type": "str", "default": "caching_sha2_password"},
    "privileges": {"type": "dict"},
    "tls": {"type": "str", "default": "none"},
}
SERVER_SPEC: Mapping[str, Any] = {
    "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
    "users": {"type": "list", "elements": "dict", "default": [], "options": _USER},
    "replication_user": {"type": "str", "default": "replication"},
    "replication_password": {"type": "str", "no_log": True},
    "tls_ca": {"type": "path"},
    "tls_certificate": {"type": "path"},
    "tls_key": {"type": "path", "no_log": False},
}


def replication_from(options: Mapping[str, Any]) -> Replication:
    """Return how replicas log in, of a module's options."""
    return Replication(
        options["replication_user"],
        options["replication_password"] or "",
        options["tls_ca"] or "",
        options["tls_certificate"] or "",
        options["tls_key"] or "",
    )
