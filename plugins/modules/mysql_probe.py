# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/mysql_probe.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_probe
short_description: Which MySQL hosts answer, seen from here
version_added: "0.1.0"
description:
  - Asks the SSH port and the health service of each host, all at once, and comes back after O(seconds) at the latest.
  - A host that accepts connections and says nothing (frozen, or behind a firewall) counts as silent.
  - Asks from the control node, within the run's own process, since a failover has no second to lose. Changes nothing.
author: graphic_school.scaling contributors (@graphic_school)
options:
  servers:
    description: The hosts, as C(fleet.mysql.hosts) holds them - C(name), C(address) and, if not 22, C(ssh_port).
    type: list
    elements: dict
    required: true
  health_port:
    description: Port of the health service.
    type: int
    default: 9200
  seconds:
    description: How long a host may take to say something.
    type: float
    default: 1.0
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: See who answers
  graphic_school.scaling.mysql_probe:
    servers: [{name: db1, address: 192.0.2.31}]
  run_once: true
"""

RETURN = r"""
servers:
  description: From name to C(address), C(ssh) (whether SSH answers) and C(health), what the health service says, or null.
  returned: always
  type: dict
"""
