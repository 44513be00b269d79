# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: scale_plan
short_description: Who comes and who goes when a tier gets another number of hosts
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Plans from inventory data alone how a tier reaches a number of active hosts; nothing is changed.
  - Refuses by name a number outside of C(fleet_minimum) and C(fleet_maximum), an exhausted C(fleet_address_pool), too few hosts
    that stand by, the loss of the primary, and a fleet that could not work afterwards (also its connections to MySQL).
positional: hostvars, tier, count, group_names
options:
  _input:
    description: The magic variable C(groups).
    type: dict
    required: true
  hostvars:
    description: The magic variable C(hostvars).
    type: dict
    required: true
  tier:
    description: One of C(app_servers), C(queue_workers), C(load_balancers), C(mysql) and C(redis_cluster).
    type: str
    required: true
  count:
    description: How many hosts shall be active.
    type: int
    required: true
  group_names:
    description: The inventory's names for the tiers, where they differ.
    type: dict
    default: {}
  primary:
    description: The MySQL server that is primary now, which is never taken out.
    type: str
"""

EXAMPLES = """
- name: See what four application servers would take
  ansible.builtin.debug:
    msg: "{{ groups | graphic_school.scaling.scale_plan(hostvars, 'app_servers', 4) }}"
"""

RETURN = """
_value:
  description:
    - C(before) and C(after), how many hosts are active.
    - C(join) and C(leave), names; C(create) and C(destroy), those of them that a provider makes or ends.
    - C(entries) and C(settled), what C(scaled.yml) has to say meanwhile and at the end.
    - C(group), the inventory's group; C(listeners), the tiers that have to learn of it; C(why), one sentence for each host.
    - C(rehearsed), whether check mode can tell what others would do.
    - C(marks), rows of C(host) and the C(groups) that it is in while the verb runs, and C(marks_after), once hosts have left.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.capacity import CapacityError
from ..module_utils.connection_budget import connection_budget
from ..module_utils.fleet import KNOWN_KEYS, FleetError, build_fleet
from ..module_utils.scale_plan import (
    ASKERS,
    FORGETTERS,
    LISTENERS,
    ScaleError,
    group_marks,
    group_marks_after,
    overlaid,
    plan_for,
)

BUDGET_KEYS = (
    "capacity_settings",
    "mysql_max_connections",
    "mysql_settings",
    "php_fpm_max_children",
    "queue_workers_processes",
    "queue_workers_programs",
)


def scale_plan(
    groups: Mapping[str, list[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    tier: Any,
    count: Any,
    group_names: Mapping[str, Any] | None = None,
    *,
    primary: str | None = None,
) -> dict[str, Any]:
    """The plan as plain data; see ``module_utils/scale_plan.py``."""
    try:
        plan, group = plan_for(groups, hostvars, tier, count, group_names, primary=primary)
        keys = ("ansible_host", "mysql_primary", *KNOWN_KEYS, *BUDGET_KEYS)
        later_groups, later_vars = overlaid(groups, hostvars, plan, group, keys)
        later = build_fleet(later_groups, later_vars, group_names)
        budget = connection_budget(later.as_dict(), later_vars)
    except (ScaleError, FleetError, CapacityError) as error:
        raise AnsibleFilterError(str(error)) from error

    def hosts_of(tiers: tuple[str, ...]) -> list[str]:
        return [host for tier in tiers for host in later_groups.get(str((group_names or {}).get(tier, tier)), [])]

    return {
        **plan.as_dict(),
        "group": group,
        "connections": budget.why,
        "marks": group_marks(plan, groups[group], hosts_of(LISTENERS[plan.tier]), hosts_of(ASKERS.get(plan.tier, ()))),
        "marks_after": group_marks_after(plan, hosts_of(FORGETTERS[plan.tier])),
    }


class FilterModule:
    """The filter ``graphic_school.scaling.scale_plan``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"scale_plan": scale_plan}
