# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/control_command.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: control_command
short_description: Run a command on the control node
version_added: "0.2.0"
description:
  - Runs a command within the run's own process, where M(ansible.builtin.command) with C(delegate_to) packs and starts a program of its
    own first. That takes half a second of CPU time, which a failover does not have.
  - Fails unless the command ends with 0 in time.
author: graphic_school.scaling contributors (@graphic_school)
options:
  argv:
    description: The command and its arguments.
    type: list
    elements: str
    required: true
  chdir:
    description: Folder to run it in.
    type: path
  seconds:
    description: How long it may take.
    type: float
    default: 600
attributes:
  check_mode:
    description: Runs nothing, and says what it would run.
    support: full
"""

EXAMPLES = r"""
- name: Switch a machine off
  graphic_school.scaling.control_command:
    argv: [ipmitool, -H, db1-ipmi.example.com, chassis, power, "off"]
    seconds: 30
  run_once: true
"""

RETURN = r"""
argv:
  description: What was run.
  returned: success
  type: list
  elements: str
stdout_lines:
  description: What it said.
  returned: success
  type: list
  elements: str
"""
