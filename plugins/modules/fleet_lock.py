# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/fleet_lock.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_lock
short_description: Let one run at a time change a fleet
version_added: "0.2.0"
description:
  - Holds a lock on the control node for as long as the process of C(ansible-playbook) lives. Nothing has to be given back, and
    a run that was killed holds nothing.
  - Taking it again within a run changes nothing. Another run is refused, with the name of the one that holds it.
  - It is stale when its process is gone, also when another one got its number.
  - Control nodes that don't share a disk don't see each other's locks.
author: graphic_school.scaling contributors (@graphic_school)
options:
  path:
    description: File of the lock on the control node.
    type: path
    required: true
  verb:
    description: What the run does, for whoever is refused; the names of its playbooks when left out.
    type: str
    default: ""
  patience:
    description: Seconds to wait for another run to end.
    type: float
    default: 0
  beside:
    description: Verbs beside which this run goes on; V(any) for all. Whoever comes later meets both.
    type: list
    elements: str
    default: []
  otherwise:
    description: What else can be done, said to who is refused.
    type: str
    default: ""
  inventory:
    description: Folder of the inventory, for RV(inventory_changed).
    type: path
    default: ""
attributes:
  check_mode:
    description: Takes no lock, and waits for none.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Hold the fleet
  graphic_school.scaling.fleet_lock:
    path: "{{ fleet_secrets_dir }}/fleet.lock"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: File of the lock.
  returned: success
  type: str
beside:
  description: Verbs of other runs that hold the fleet too.
  returned: success
  type: list
  elements: str
inventory_changed:
  description:
    - Whether the folder of the inventory was written to after this run had begun, so perhaps after it had read it. Only told when the lock
      is taken first, because later it may have been this run itself.
  returned: success
  type: bool
"""
