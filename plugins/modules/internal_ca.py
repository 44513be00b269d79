# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Documentation of the action plug-in plugins/action/internal_ca.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: internal_ca
short_description: Keep a small certificate authority on the control node
version_added: "0.1.0"
description:
  - Makes a certificate authority in a folder of the control node, and a certificate for each name that is asked for.
  - A certificate is issued again when its names change or its end is near; nothing else ever changes.
author: graphic_school.scaling contributors (@graphic_school)
requirements:
  - cryptography (on the control node)
options:
  directory:
    description: Folder of the authority. Keys in it have mode 0600; keep it out of version control.
    type: path
    required: true
  ca_common_name:
    description: Name of the authority, used when it is made.
    type: str
    default: graphic_school.scaling internal CA
  certificates:
    description: The certificates that must exist.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the host; names the files., type: str, required: true}
      dns: {description: Names under which it is reached., type: list, elements: str, default: []}
      ip: {description: Addresses under which it is reached., type: list, elements: str, default: []}
  valid_days:
    description: Lifetime of a certificate in days.
    type: int
    default: 825
  renew_days:
    description: How many days before its end a certificate is issued again.
    type: int
    default: 30
attributes:
  check_mode:
    description: Can run in check mode and say what it would issue.
    support: full
"""

EXAMPLES = r"""
- name: Issue what is missing
  graphic_school.scaling.internal_ca:
    directory: "{{ fleet_secrets_dir }}/pki"
    certificates:
      - {name: db1, dns: [db1], ip: [192.0.2.31]}
  delegate_to: localhost
  run_once: true
  become: false
"""

RETURN = r"""
issued:
  description: Names of the certificates that were (in check mode, would be) made; C(ca) stands for the authority.
  returned: success
  type: list
  elements: str
"""
