# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that work on Redis Clusters take: their options (documented in doc_fragments/redis_*.py), and what these mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .redis_cluster import Instance, Pool

_INSTANCE: Mapping[str, Any] = {
    "host": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
}
_POOL: Mapping[str, Any] = {
    "name": {"type": "str", "required": True},
    "replicas": {"type": "int", "default": 1},
    "leaving": {"type": "list", "elements": "str", "default": []},
    "instances": {"type": "list", "elements": "dict", "required": True, "options": _INSTANCE},
}
LOGIN_SPEC: Mapping[str, Any] = {
    "user": {"type": "str", "default": "default"},
    "passwords": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "timeout": {"type": "float", "default": 60},
}
POOLS_SPEC: Mapping[str, Any] = {
    "pools": {"type": "list", "elements": "dict", "required": True, "options": _POOL},
    **LOGIN_SPEC,
}


def pools_from(rows: Iterable[Mapping[str, Any]]) -> list[Pool]:
    """Return the pools of a module's option C(pools)."""
    return [
        Pool(
            row["name"],
            row["replicas"],
            tuple(Instance(**instance) for instance in row["instances"]),
            frozenset(row["leaving"]),
        )
        for row in rows
    ]
