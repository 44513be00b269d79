# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Say what a playbook of the collection would change
version_added: "0.2.0"
description:
  - Runs the playbook in check mode with the arguments of the run that it is part of - inventories, C(--limit), C(--tags), C(-e) -
    and says host by host which setting is what now and would be what, what follows from it, in which order, and why.
  - Fails where the playbook would refuse, with its own words.
  - Changes nothing anywhere but O(file). Values of variables that begin with C(vault_) are never shown.
author: graphic_school.scaling contributors (@graphic_school)
options:
  playbook:
    description: Name of the playbook, without its suffix.
    type: str
    default: site
  format:
    description: Form of O(file), or without one of what is printed. By default told by the suffix of O(file), else text.
    type: str
    choices: [text, json, markdown]
  file:
    description: File on the control node that gets the plan; the text is printed beside.
    type: path
  seconds:
    description: How long the run in check mode may take.
    type: int
    default: 1800
attributes:
  check_mode:
    description: Does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Plan
  graphic_school.scaling.fleet_plan:
    file: plan.md
"""

RETURN = r"""
headline:
  description: The plan in one sentence.
  returned: always
  type: str
plan:
  description:
    - C(changes), each with C(host), C(component), C(thing), C(setting), C(now), C(then), C(effect) and C(why); C(actions), each with
      C(host), C(verb) and C(what); C(stages) in their order; C(refusals), C(notes), C(sizes), C(budget), C(hosts), C(changing).
  returned: success
  type: dict
"""
