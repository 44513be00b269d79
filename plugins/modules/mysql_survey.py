# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/mysql_survey.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_survey
short_description: Whether a MySQL host answers, and what its server is
version_added: "0.1.0"
description:
  - Asks the SSH port and the health service of this host from the control node, and M(graphic_school.scaling.mysql_state) on the host if
    SSH answers. A host that does not is an answer too, after O(seconds), and keeps no other waiting - a failover has no second to lose.
  - A host that accepts connections and says nothing (frozen, or behind a firewall) counts as silent.
  - Changes nothing.
author: graphic_school.scaling contributors (@graphic_school)
options:
  address:
    description: Where the control node reaches this host.
    type: str
    required: true
  ssh_port:
    description: Port of its SSH server.
    type: int
    default: 22
  health_port:
    description: Port of its health service.
    type: int
    default: 9200
  seconds:
    description: How long it may take to say something.
    type: float
    default: 1.0
  state:
    description: The options of M(graphic_school.scaling.mysql_state).
    type: dict
    default: {}
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: See who answers
  graphic_school.scaling.mysql_survey:
    address: 192.0.2.31
    state: {reach: [192.0.2.32]}
  register: mysql_state
"""

RETURN = r"""
seen:
  description: C(address), C(ssh) (whether SSH answers) and C(health), what the health service says, or null.
  returned: always
  type: dict
server:
  description: What M(graphic_school.scaling.mysql_state) said, or C(answers) and C(why) when there was nobody to ask.
  returned: always
  type: dict
"""
