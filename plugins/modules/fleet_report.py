# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Say what the fleet uses of what it has, and which sizes would do
version_added: "0.2.0"
description:
  - Reads Prometheus' history and says for each host and tier the 95th percentile of CPU, memory, disk and connections against what
    there is; which size would do, why and what that saves; how many hosts of a tier are always needed; and when a disk is full.
  - Suggests nothing for a host with less history than O(history_hours), and fails when that is every host.
  - Runs on the control node and changes nothing anywhere but O(file).
author: graphic_school.scaling contributors (@graphic_school)
options:
  fleet:
    description: The topology, as the filter P(graphic_school.scaling.fleet#filter) makes it.
    type: dict
    required: true
  url:
    description: What stands before C(/api/v1) of Prometheus. By default C(https://<first host of group monitoring>/fleet).
    type: str
  user:
    description: Name for the HTTP basic login; without one there is no login.
    type: str
    default: ""
  password:
    description: Password for it.
    type: str
    default: ""
  ca_file:
    description: File with the authority that signed the server's certificate; the system's authorities by default.
    type: path
  seconds:
    description: How long one question may take.
    type: int
    default: 60
  prices:
    description:
      - Price per hour of each size that can be had, or a dictionary of C(on_demand) and C(reserved). Only these sizes are suggested.
      - Without it all known sizes are, and nothing is said about money.
    type: dict
    default: {}
  currency:
    description: Name of the currency of O(prices).
    type: str
    default: USD
  history_hours:
    description: Hours of history that a host must have before something is suggested for it; 168 by default.
    type: raw
  window_hours:
    description: How far the report looks back; twice O(history_hours) by default.
    type: raw
  cpu_percent:
    description: The 95th percentile of CPU may be this much of a size's cores; 60 by default.
    type: raw
  memory_percent:
    description: The same for memory, and for what Redis' instances use of their C(maxmemory); 75 by default.
    type: raw
  connections_percent:
    description: The same for open connections to MySQL against what a size allows; 80 by default.
    type: raw
  children_percent:
    description: The same for busy PHP children; 80 by default.
    type: raw
  pool_percent:
    description: A buffer pool with more data than this is full; 90 by default.
    type: raw
  pool_hits_percent:
    description: A full buffer pool that answers fewer page requests than this is too small; 99 by default.
    type: raw
  queue_seconds:
    description: Workers keep their processes when jobs wait longer than this; 60 by default.
    type: raw
  disk_days:
    description: File systems that are full within so many days are named; 30 by default.
    type: raw
  format:
    description: Form of O(file), or without one of what is printed. By default told by the suffix of O(file), else text.
    type: str
    choices: [text, json, markdown, html]
  file:
    description: File on the control node that gets the report; the text is printed beside.
    type: path
attributes:
  check_mode:
    description: Does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Report
  graphic_school.scaling.fleet_report:
    fleet: "{{ fleet }}"
    user: fleet
    password: "{{ monitoring_web_password }}"
    ca_file: "{{ fleet_secrets_dir }}/pki/ca.pem"
    prices:
      small: 0.0208
      medium: {on_demand: 0.0416, reserved: 0.0261}
    file: report.html
"""

RETURN = r"""
headline:
  description: The report in a sentence or two.
  returned: always
  type: str
report:
  description:
    - C(hosts) and C(tiers) with what they use; C(verdicts), each with C(host), C(outcome), C(now), C(then), C(reason), C(arithmetic),
      C(price_now), C(price_then) and C(saving) per hour; C(splits), C(growth), C(notes), and the sums C(price_now), C(price_then),
      C(saving), C(reserving_saves).
  returned: always
  type: dict
"""
