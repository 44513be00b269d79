# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/autoscale.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: autoscale
short_description: Ask Prometheus how busy the fleet is, and decide how many hosts each tier shall have
version_added: "0.2.0"
description:
  - For each policy asks Prometheus for its signals and for who answers, decides with
    P(graphic_school.scaling.autoscale_decide#filter)'s rules, and says what has to be run for it.
  - Runs on the control node and changes nothing. A Prometheus that doesn't answer is a decision to hold.
author: graphic_school.scaling contributors (@graphic_school)
options:
  url:
    description: What stands before C(/api/v1) and C(/data/decisions.json).
    type: str
    required: true
  user:
    description: Name for the login; empty for none.
    type: str
    default: ""
  password:
    description: Password for the login.
    type: str
    default: ""
  ca_file:
    description: File with the authority that signed the certificate. The system's authorities when left out.
    type: path
  seconds:
    description: How long one answer may take.
    type: float
    default: 5
  policies:
    description: The rows of C(autoscale_policies). Left out, every tier that can be scaled so has the default policy.
    type: list
    elements: dict
  fleet:
    description: The topology, as the filter P(graphic_school.scaling.fleet#filter) makes it.
    type: dict
    required: true
  group_names:
    description: The inventory's names for the tiers, where they differ.
    type: dict
    default: {}
  lock:
    description: File of the fleet's lock. While another verb holds it, the decision is to hold.
    type: path
    required: true
  history:
    description: File with earlier decisions. When there is none, those that the monitoring host shows.
    type: path
    required: true
  dry_run:
    description: Decide, and let nothing follow.
    type: bool
    default: false
attributes:
  check_mode:
    description: Decides as a dry run does.
    support: full
"""

EXAMPLES = r"""
- name: Decide
  graphic_school.scaling.autoscale:
    url: https://192.0.2.71/fleet
    fleet: "{{ fleet }}"
    lock: "{{ fleet_secrets_dir }}/fleet.lock"
    history: "{{ fleet_secrets_dir }}/autoscale/decisions.json"
"""

RETURN = r"""
decisions:
  description: For each policy a row as P(graphic_school.scaling.autoscale_decide#filter) returns it.
  returned: success
  type: list
  elements: dict
changes:
  description:
    - For each decision that is not to hold C(decision), C(group), and C(runs), rows of C(playbooks), C(variables) and C(tags).
    - C(workers), what the file that scaling writes has to say of hosts before, and C(workers_before), what it says when a run fails.
  returned: success
  type: list
  elements: dict
lines:
  description: The decisions, a line each.
  returned: success
  type: list
  elements: str
"""
