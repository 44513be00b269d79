# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory that scaling writes beside the hosts file: from its text to its text, pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

HEAD = """\
---
# Written by scale.yml: the hosts that scaling added, and the states of hosts that it took out or brought in. It is read after
# hosts.yml and wins over it. Don't edit it while a verb runs; a line that is deleted here is a host that nobody knows any more.
"""


class ScaledInventoryError(ValueError):
    """The file can't be used; one sentence: the thing, the value, the cure."""


def merged(text: str, group: str, rows: Mapping[str, Mapping[str, Any] | None], path: str) -> str:
    """The file with ``rows`` laid over the hosts of ``group``: None takes a host out, and as a value a key out of its host.

    A host that has nothing left to say is taken out too; a file without hosts is the empty string.
    """
    groups = _parsed(text, path)
    # Ansible's own strings carry tags, which YAML can't write.
    group, rows = json.loads(json.dumps([group, rows]))
    hosts = groups.setdefault(group, {})
    for name, row in rows.items():
        if row is None:
            hosts.pop(name, None)
            continue
        entry = {key: value for key, value in {**hosts.get(name, {}), **row}.items() if value is not None}
        hosts[name] = entry
        if not entry:
            hosts.pop(name)
    left = {name: {"hosts": dict(sorted(found.items()))} for name, found in sorted(groups.items()) if found}
    return HEAD + yaml.safe_dump(left, sort_keys=False, width=120) if left else ""


def addresses(text: str, group: str, found: Iterable[Mapping[str, Any]], path: str) -> dict[str, dict[str, Any]]:
    """Rows for ``merged``: the address that a provider gave to each host of the group that has none yet."""
    hosts = _parsed(text, path).get(group, {})
    return {
        str(row["name"]): {"ansible_host": str(row["address"])}
        for row in found
        if row.get("address") and row["name"] in hosts and not hosts[row["name"]].get("ansible_host")
    }


def _parsed(text: str, path: str) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        data = yaml.safe_load(text) or {}
        return {
            str(group): {str(name): dict(row or {}) for name, row in (body.get("hosts") or {}).items()}
            for group, body in data.items()
        }
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise ScaledInventoryError(
            f"{path} is not what scale.yml wrote (groups of hosts): {error}; repair it, or move its hosts into your hosts file"
        ) from error
