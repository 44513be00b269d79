# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: vrrp
short_description: One balancer's part in holding the virtual address
version_added: "0.1.0"
description:
  - From all load balancers, the priority of one and the addresses of its peers. Only states count, so every balancer
    comes to the same answer, under C(--limit) too.
author: graphic_school.scaling contributors (@graphic_school)
positional: _input, name
options:
  _input:
    description: The load balancers as dictionaries with C(name), C(address) and C(state).
    type: list
    elements: dict
    required: true
  name:
    description: The balancer in question.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show who would hold the address
  ansible.builtin.debug:
    msg: "{{ fleet.load_balancers | graphic_school.scaling.vrrp(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: C(priority), C(address), C(peers) and C(failed_check), what a failed check takes off the priority.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.vrrp import Balancer, VrrpError, member


def vrrp(servers: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    try:
        balancers = [Balancer(row["name"], row["address"], row.get("state", "active")) for row in servers]
        return asdict(member(balancers, name))
    except KeyError as error:
        raise AnsibleFilterError(f"a load balancer lacks its {error.args[0]}; give name and address") from error
    except VrrpError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vrrp": vrrp}
