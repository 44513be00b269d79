# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: connection_budget
short_description: Add up the connections that all clients may open to MySQL
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Adds up what PHP-FPM, queue workers, the scheduler, replicas, health checks and administrators may open at once.
  - Refuses when that is more than the C(max_connections) of the smallest MySQL host, naming both numbers.
  - Hosts whose size isn't in the inventory are named and not counted.
positional: hostvars, settings
options:
  _input:
    description: The dictionary C(fleet).
    type: dict
    required: true
  hostvars:
    description:
      - The magic variable C(hostvars). A host's own C(php_fpm_max_children), C(queue_workers_programs),
        C(queue_workers_processes), C(mysql_max_connections), C(mysql_settings.max_connections) and C(capacity_settings)
        win over what is computed.
    type: dict
    default: {}
  settings:
    description: What one of something costs; see P(graphic_school.scaling.capacity#filter).
    type: dict
    default: {}
"""

EXAMPLES = """
# playbooks/group_vars/all/fleet.yml
connection_budget: "{{ fleet | graphic_school.scaling.connection_budget(hostvars) }}"
"""

RETURN = """
_value:
  description:
    - C(rows), each with C(client), C(hosts), C(per_host), C(connections) and C(why).
    - C(total), C(max_connections) and C(headroom); the last two are V(null) when no MySQL host's size is known.
    - C(unknown), the names of the hosts that aren't counted.
    - C(why), all of it as one line of arithmetic.
  type: dict
  sample:
    total: 84
    max_connections: 154
    headroom: 70
    why: "48 PHP-FPM + 16 queue workers + 4 scheduler + 4 replicas + 2 health service + 10 administrators = 84 of 154 that db1 allows"
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.capacity import CapacityError
from ..module_utils.connection_budget import connection_budget as budget_of


def connection_budget(
    fleet: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The budget as plain data; see ``module_utils/connection_budget.py``."""
    try:
        return budget_of(fleet, hostvars, settings).as_dict()
    except CapacityError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter ``graphic_school.scaling.connection_budget``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"connection_budget": connection_budget}
