# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: fleet
short_description: Turn the inventory into the topology of the fleet
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Turns groups and inventory variables into one dictionary that role defaults read.
  - Uses inventory data only, never facts, so the result is the same under C(--limit), in check mode and before facts
    are gathered.
  - Refuses by name an inventory that can't work, with every problem it found.
positional: hostvars, group_names
options:
  _input:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description:
      - The magic variable C(hostvars).
      - Of each host in a tier only C(ansible_host), C(mysql_primary) and what begins with C(fleet_) is read.
    type: dict
    required: true
  group_names:
    description:
      - The inventory's names for the tiers, where they differ from C(load_balancers), C(app_servers),
        C(queue_workers), C(mysql), C(redis_cluster), C(object_storage) and C(monitoring).
      - A tier set to V(null) is one that this fleet does without.
      - For C(mysql) also a list of groups, one for each cluster.
    type: dict
    default: {}
"""

EXAMPLES = """
# playbooks/group_vars/all/fleet.yml
fleet: "{{ groups | graphic_school.scaling.fleet(hostvars) }}"

# an inventory with names of its own, and without Redis
small_fleet: "{{ groups | graphic_school.scaling.fleet(hostvars, {'app_servers': 'web', 'redis_cluster': none}) }}"
"""

RETURN = """
_value:
  description:
    - One list of servers for each of C(load_balancers), C(app_servers), C(queue_workers), C(redis_cluster),
      C(object_storage) and C(monitoring), sorted by name, in all states.
    - C(mysql) with C(cluster), C(primary), C(replicas) and C(hosts), and the same by name in C(mysql_clusters).
    - C(vip), the address that the load balancers share, or V(null).
    - C(hosts), every host of the inventory by name, also those of no tier.
    - A server has C(name), C(address), C(state), C(weight), C(size), C(vcpus), C(memory_mb), C(storage) and C(tiers).
  type: dict
  sample:
    app_servers:
      - {name: app1, address: 192.0.2.21, state: active, weight: 1, size: medium, vcpus: 2, memory_mb: 4096,
         storage: ssd, tiers: [app_servers]}
    vip: 192.0.2.10
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.fleet import FleetError, build_fleet


def fleet(
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    group_names: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The topology as plain data; see ``build_fleet``."""
    try:
        return build_fleet(groups, hostvars, group_names).as_dict()
    except FleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter ``graphic_school.scaling.fleet``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet": fleet}
