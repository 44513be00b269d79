# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/autoscale_record.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: autoscale_record
short_description: Keep autoscaling's decisions
version_added: "0.2.0"
description:
  - Keeps the last 200 decisions in C(decisions.json) and appends each that says something new to C(decisions.log), both on the
    control node.
  - One that holds for the same reason as the tier's last one takes its place, and is not appended.
author: graphic_school.scaling contributors (@graphic_school)
options:
  directory:
    description: Folder on the control node.
    type: path
    required: true
  decisions:
    description: Rows as M(graphic_school.scaling.autoscale) returns them. One of the same tier and moment as an earlier one replaces it.
    type: list
    elements: dict
    required: true
  earlier:
    description: Decisions to begin with when the folder has none.
    type: list
    elements: dict
    default: []
  finished:
    description: Note that what the decisions set in motion has ended now.
    type: bool
    default: false
  error:
    description: Note that it failed, and why.
    type: str
    default: ""
attributes:
  check_mode:
    description: Writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Keep what was decided
  graphic_school.scaling.autoscale_record:
    directory: "{{ fleet_secrets_dir }}/autoscale"
    decisions: "{{ decided.decisions }}"
"""

RETURN = r"""
publish:
  description: Whether those who look at the decisions should be shown them now.
  returned: success
  type: bool
text:
  description: The content of C(decisions.json).
  returned: success
  type: str
"""
