# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: traffic_leaving
short_description: The hosts that are to leave traffic, when somebody stays
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns the hosts that a verb was given, or refuses by name an unknown one, and one that is the last to serve in its tier.
positional: fleet, hostvars
options:
  _input:
    description: A host, or several with commas.
    type: str
    required: true
  fleet:
    description: The topology, as P(graphic_school.scaling.fleet#filter) returns it.
    type: dict
    required: true
  hostvars:
    description:
      - Variables of all hosts; C(traffic_seen) is what the module traffic told. Left out, only the names are checked.
    type: dict
"""

EXAMPLES = """
hosts: "{{ fleet_host | graphic_school.scaling.traffic_leaving(fleet, hostvars) }}"
"""

RETURN = """
_value:
  description: Names of hosts.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.traffic import TrafficError, leaving, named


def traffic_leaving(value: Any, fleet: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]] | None = None) -> list[str]:
    try:
        if hostvars is None:
            return list(named(str(value), fleet["hosts"]))
        seen = {name: (hostvars[name].get("traffic_seen") or {}).get("tiers") or {} for name in fleet["hosts"] if name in hostvars}
        return list(leaving(str(value), fleet["hosts"], seen))
    except TrafficError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"traffic_leaving": traffic_leaving}
