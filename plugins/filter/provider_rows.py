# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: provider_rows
short_description: What a provider has, from what EC2 tells of its instances
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Turns the instances of M(amazon.aws.ec2_instance_info) into the rows that every provider answers with.
positional: hosts
options:
  _input:
    description: Instances.
    type: list
    elements: dict
    required: true
  hosts:
    description: The hosts that were asked for, rows with C(name); a host without an instance is V(absent). Empty for all.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = """
provider_found: "{{ answer.instances | graphic_school.scaling.provider_rows(provider_hosts) }}"
"""

RETURN = """
_value:
  description: Rows of C(name), C(state), and where there is an instance C(address) and C(type).
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def provider_rows(instances: Iterable[Mapping[str, Any]], hosts: Iterable[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """One row for each host that was asked for, or for each instance."""
    found = {}
    for instance in instances:
        name = (instance.get("tags") or {}).get("Name", "")
        found[name] = {
            "name": name,
            "state": instance["state"]["name"],
            "address": instance.get("private_ip_address", ""),
            "type": instance.get("instance_type", ""),
        }
    names = [host["name"] for host in hosts] or sorted(found)
    return [found.get(name, {"name": name, "state": "absent"}) for name in names]


class FilterModule:
    """The filter ``graphic_school.scaling.provider_rows``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"provider_rows": provider_rows}
