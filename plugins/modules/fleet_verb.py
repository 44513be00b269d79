# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/fleet_verb.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_verb
short_description: Run playbooks of the collection within a run
version_added: "0.2.0"
description:
  - Runs them in one command with the arguments of the run that it is part of - inventories, C(-e), vault passwords - for a run that
    finds out only while it runs which verb is needed.
  - Fails when they do, with what they said.
author: graphic_school.scaling contributors (@graphic_school)
options:
  playbooks:
    description: Names of playbooks, without their suffix, in their order.
    type: list
    elements: str
    required: true
  variables:
    description: Further variables, which win.
    type: dict
    default: {}
  tags:
    description: Tags to run, as C(--tags) takes them; empty for all.
    type: str
    default: ""
  log:
    description: File on the control node that gets what the playbooks say, at its end.
    type: path
    required: true
  seconds:
    description: How long the run may take.
    type: int
    default: 3600
attributes:
  check_mode:
    description: Runs nothing.
    support: full
"""

EXAMPLES = r"""
- name: Scale a tier that was chosen a moment ago
  graphic_school.scaling.fleet_verb:
    playbooks: [scale]
    variables: {fleet_tier: app_servers, fleet_count: 4}
    log: "{{ fleet_secrets_dir }}/autoscale/runs.log"
"""

RETURN = r"""
playbooks:
  description: What was run.
  returned: success
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: success
  type: float
"""
