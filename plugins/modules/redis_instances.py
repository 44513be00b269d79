#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_instances
short_description: Bring running Redis instances to the settings and users of their files
version_added: "0.1.0"
description:
  - Compares what each instance runs with to what its file says, and sets the difference with C(CONFIG SET), without a restart.
  - Loads the ACL file when the instance runs with an older one.
  - What only a restart can change is named, or with O(restart=true) done, one instance after the other, where a primary
    hands its slots to a replica first.
author: graphic_school.scaling contributors (@graphic-school)
extends_documentation_fragment: [graphic_school.scaling.redis_login]
options:
  instances:
    description: The instances on this host, as the filter P(graphic_school.scaling.redis_layout#filter) lays them out.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the instance., type: str, required: true}
      pool: {description: The pool it belongs to., type: str}
      address: {description: Where it listens., type: str, required: true}
      port: {description: Its port., type: int, required: true}
      settings: {description: Directives and their values as text., type: dict, required: true}
  secrets:
    description: Further directives whose values are never shown, for all instances, such as C(masterauth).
    type: dict
    default: {}
  restart:
    description: Restart what needs it. Run this on one host at a time.
    type: bool
    default: false
  restart_units:
    description: Units that need a restart for other reasons, by name, such as C(redis-cluster@durable-6379).
    type: list
    elements: str
    default: []
  changed_paths:
    description: Files that this run changes; in check mode they are not there yet.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Reports what would be set; instances that don't answer are left out.
    support: full
"""

EXAMPLES = r"""
- name: Main | Apply settings and users to the running instances
  graphic_school.scaling.redis_instances:
    instances: "{{ layout.local }}"
    user: admin
    passwords: ["{{ vault_redis_admin_password }}"]
"""

RETURN = r"""
settings:
  description: What was set (in check mode, would be set), as sentences for each instance.
  returned: always
  type: dict
  sample: {durable-6379: ["maxmemory: 100 -> 200"]}
acl_loaded:
  description: Instances whose users were (would be) loaded again.
  returned: always
  type: list
  elements: str
restart_needed:
  description: Settings that wait for a restart, as sentences for each instance.
  returned: always
  type: dict
restarted:
  description: Instances that were (in check mode, would be) restarted.
  returned: always
  type: list
  elements: str
silent:
  description: Instances that didn't answer; outside of check mode that is an error.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.redis_client import RedisReplyError
from ..module_utils.redis_cluster import RedisClusterError
from ..module_utils.redis_driver import (
    Applied,
    Connection,
    Difference,
    Tools,
    apply_settings,
    restart_instance,
    tools_for,
)
from ..module_utils.redis_layout import acl_revision
from ..module_utils.redis_options import LOGIN_SPEC


def load_acl(connection: Connection, path: str, check: bool, changing: list[str]) -> bool:
    """Load the ACL file unless its revision is loaded; return whether it was (would be) loaded."""
    if check and path in changing:
        return True
    file = Path(path)
    if not file.exists():
        return False
    revision = acl_revision(file.read_text(encoding="utf-8"))
    if revision in connection.command("ACL", "USERS"):
        return False
    if not check:
        connection.command("ACL", "LOAD")
    return True


def open_when_up(row: dict[str, Any], tools: Tools, check: bool) -> Connection | None:
    """Return a connection to an instance that may be loading its data; None in check mode when it doesn't answer."""
    found: list[Connection] = []
    trouble = ""

    def attempt() -> bool:
        nonlocal trouble
        try:
            connection = tools.connect(row["address"], row["port"])
            connection.command("PING")
        except (OSError, RedisReplyError) as error:
            trouble = str(error)
            return False
        found.append(connection)
        return True

    if tools.wait(attempt, seconds=0 if check else None):
        return found[0]
    if check:
        return None
    raise RedisClusterError(
        f"{row['name']} ({row['address']}:{row['port']}) doesn't answer: {trouble}; look at the journal of its unit"
    )


def sentences(differences: tuple[Difference, ...], secrets: dict[str, Any]) -> list[str]:
    return [d.name if d.name in secrets else f"{d.name}: {d.before or '-'} -> {d.after or '-'}" for d in differences]


def main() -> None:
    instance_spec = {
        "name": {"type": "str", "required": True},
        "pool": {"type": "str"},
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "settings": {"type": "dict", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict", "required": True, "options": instance_spec},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "restart": {"type": "bool", "default": False},
            "restart_units": {"type": "list", "elements": "str", "default": []},
            "changed_paths": {"type": "list", "elements": "str", "default": []},
            **LOGIN_SPEC,
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    tools = tools_for(given["user"], given["passwords"], given["timeout"])
    result: dict[str, Any] = {"settings": {}, "acl_loaded": [], "restart_needed": {}, "restarted": [], "silent": []}
    name = ""
    try:
        for row in given["instances"]:
            name = row["name"]
            connection = open_when_up(row, tools, check)
            if connection is None:
                result["silent"].append(name)
                continue
            wanted = {key: str(value) for key, value in {**row["settings"], **given["secrets"]}.items()}
            applied: Applied = apply_settings(connection, wanted, check)
            if applied.changed:
                result["settings"][name] = sentences(applied.changed, given["secrets"])
            if load_acl(connection, str(row["settings"].get("aclfile", "")), check, given["changed_paths"]):
                result["acl_loaded"].append(name)
            connection.close()
            units = [unit for unit in given["restart_units"] if unit.split("@")[-1].removesuffix(".service") == name]
            if not applied.restart and not units:
                continue
            if given["restart"] and check:
                result["restarted"].append(name)
                continue
            if not given["restart"]:
                result["restart_needed"][name] = sentences(applied.restart, given["secrets"]) or units
                continue
            restart_instance(row["address"], row["port"], name, tools)
            again = tools.connect(row["address"], row["port"])
            left = apply_settings(again, wanted, check=False).restart
            again.close()
            if left:
                raise RedisClusterError(
                    f"{left[0].name} is still {left[0].before!r} after a restart; is its file right?"
                )
            result["restarted"].append(name)
    except (RedisClusterError, RedisReplyError, OSError) as error:
        module.fail_json(msg=f"{name}: {error}", **result)
    changed = bool(result["settings"] or result["acl_loaded"] or result["restarted"])
    module.exit_json(changed=changed, **result)


if __name__ == "__main__":
    main()
