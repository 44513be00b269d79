# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: capacity
short_description: Size a host's services by its memory, cores and storage
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Computes from one server of C(fleet.hosts) what its configuration needs, each number with the arithmetic that made
    it.
  - A host in several tiers shares its memory among them.
positional: facts, settings
options:
  _input:
    description: One server, as in C(fleet.hosts).
    type: dict
    required: true
  facts:
    description: The host's C(ansible_facts), for memory and cores that the inventory leaves out.
    type: dict
    default: {}
  settings:
    description:
      - What one of something costs on these hosts, such as C(php_child_mb), C(queue_worker_mb), C(mysql_base_mb),
        C(mysql_connection_mb) or C(redis_data_percent). C(docs/sizing.md) lists them with their defaults.
    type: dict
    default: {}
"""

EXAMPLES = """
# playbooks/group_vars/all/fleet.yml
capacity: "{{ fleet.hosts[inventory_hostname] | graphic_school.scaling.capacity(ansible_facts) }}"

# roles/php_fpm/defaults/main.yml
php_fpm_max_children: "{{ capacity.php_fpm_children.value }}"
"""

RETURN = """
_value:
  description:
    - A dictionary with C(value), C(unit) and C(why) for each of C(php_fpm_children), C(innodb_buffer_pool_mb),
      C(innodb_redo_log_mb), C(innodb_io_capacity), C(innodb_io_capacity_max), C(mysql_max_connections),
      C(redis_maxmemory_mb) (all pools of the host together), C(queue_worker_processes), C(nginx_worker_processes) and
      C(nginx_worker_connections).
  type: dict
  sample:
    php_fpm_children:
      value: 12
      unit: children
      why: "(1024 MB - 256 MB for the system - 192 MB OPcache) / 48 MB per child = 12"
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.capacity import CapacityError, host_from, settings_from, size_host


def capacity(
    server: Mapping[str, Any], facts: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Every figure as plain data; see ``size_host``."""
    try:
        figures = size_host(host_from(server, facts), settings_from(settings))
    except CapacityError as error:
        raise AnsibleFilterError(str(error)) from error
    return {name: figure.as_dict() for name, figure in figures.items()}


class FilterModule:
    """The filter ``graphic_school.scaling.capacity``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"capacity": capacity}
