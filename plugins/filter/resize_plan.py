# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: resize_plan
short_description: In which order hosts get the size that the inventory wants
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Compares the sizes of the inventory with what the provider tells (and facts, where it doesn't) and plans each host's turn.
  - Refuses by name an order in which all clients together could open more connections than MySQL allows, at any moment.
positional: hosts, told, hostvars, primaries
options:
  _input:
    description: The topology, as P(graphic_school.scaling.fleet#filter) returns it.
    type: dict
    required: true
  hosts:
    description: Names of the hosts that are meant.
    type: list
    elements: str
    required: true
  told:
    description: What the provider answered to C(list); rows of C(name), C(memory_mb), C(vcpus) and C(online).
    type: list
    elements: dict
    default: []
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    default: {}
  primaries:
    description: MySQL servers that are primary now.
    type: list
    elements: str
    default: []
"""

EXAMPLES = """
steps: "{{ fleet | graphic_school.scaling.resize_plan(['app1', 'app2'], provider_found, hostvars) }}"
"""

RETURN = """
_value:
  description:
    - C(steps), rows of C(host), C(phase) (C(servers_grow), C(clients_shrink), C(servers_shrink) or C(clients_grow)), C(direction),
      C(drain), C(provider_first) and C(why).
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.capacity import CapacityError
from ..module_utils.resize_plan import ResizeError, chosen, machines_from, plan, refuse_crossing


def resize_plan(
    fleet: Mapping[str, Any],
    hosts: Iterable[str],
    told: Iterable[Mapping[str, Any]] = (),
    hostvars: Mapping[str, Mapping[str, Any]] | None = None,
    primaries: Iterable[str] = (),
) -> dict[str, Any]:
    """The plan as plain data; see ``module_utils/resize_plan.py``."""
    try:
        everybody = [name for name in fleet["hosts"] if fleet["hosts"][name]["tiers"]]
        facts = {name: hostvars[name].get("ansible_facts") or {} for name in everybody} if hostvars else {}
        machines = machines_from(everybody, fleet, told, facts)
        meant = {*hosts}
        steps = plan([machine for machine in machines if machine.name in meant], primaries)
        refuse_crossing(steps, machines, fleet, hostvars)
    except (ResizeError, CapacityError) as error:
        raise AnsibleFilterError(str(error)) from error
    return {"steps": [step.as_dict() for step in steps]}


def resize_hosts(fleet: Mapping[str, Any], tier: Any = "", hosts: Any = "") -> list[str]:
    """The hosts that are meant; see ``chosen``."""
    try:
        return list(chosen(fleet, tier, hosts))
    except ResizeError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters ``graphic_school.scaling.resize_plan`` and ``graphic_school.scaling.resize_hosts``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"resize_plan": resize_plan, "resize_hosts": resize_hosts}
