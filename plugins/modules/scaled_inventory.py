#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scaled_inventory
short_description: Note beside the inventory which hosts scaling brought in or took out
version_added: "0.2.0"
description:
  - Lays rows over the hosts of a group in a YAML inventory on the control node, atomically.
  - An action plugin does all of it; nothing is sent to a host.
author: graphic_school.scaling contributors (@graphic_school)
options:
  path:
    description: The file; it is made when there is something to note, and removed when there is nothing.
    type: path
    required: true
  group:
    description: The group whose hosts are noted.
    type: str
    required: true
  hosts:
    description: From host to its variables, which are laid over what the file says; V(null) takes a host, or a variable, out.
    type: dict
    default: {}
  found:
    description: Rows of C(name) and C(address), as a provider tells them; a host of the group that has no address yet gets it.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Shows what the file would say.
    support: full
  diff_mode:
    description: Shows the file before and after.
    support: full
"""

EXAMPLES = r"""
- name: Note that a host joins
  graphic_school.scaling.scaled_inventory:
    path: "{{ inventory_dir }}/scaled.yml"
    group: app_servers
    hosts:
      app3: {ansible_host: 192.0.2.23, fleet_scaled: true, fleet_scaling: joining}
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
"""
