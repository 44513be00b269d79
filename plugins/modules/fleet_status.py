# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status
short_description: Say how the fleet is, from what its hosts said
version_added: "0.2.0"
description:
  - Judges what M(graphic_school.scaling.host_status) returned for every host, prints a table, and fails when the fleet is not
    healthy, with one line for each illness that names the host, the thing, what was seen and the cure.
  - Runs on the control node and changes nothing there but O(file).
author: graphic_school.scaling contributors (@graphic_school)
options:
  fleet:
    description: The topology, as the filter P(graphic_school.scaling.fleet#filter) makes it.
    type: dict
    required: true
  answers:
    description: What M(graphic_school.scaling.host_status) returned, by host; also for hosts that could not be reached.
    type: dict
    required: true
  file:
    description: File on the control node that gets the same as JSON.
    type: path
  lag_seconds:
    description: A replica that is further behind is ill.
    type: float
    default: 5
  queue_jobs:
    description: A queue with more waiting jobs is ill.
    type: int
    default: 1000
  certificate_days:
    description: A certificate with fewer days left is ill; one with fewer than 21 is noted.
    type: int
    default: 7
  disk_free_percent:
    description: A file system with less space or fewer inodes left is ill, and one with less than 500 MB.
    type: int
    default: 5
attributes:
  check_mode:
    description: Does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Say how the fleet is
  graphic_school.scaling.fleet_status:
    fleet: "{{ fleet }}"
    answers: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'status_host'))) }}"
    file: /tmp/status.json
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
healthy:
  description: Whether no host, cluster, pool, queue or certificate is ill.
  returned: always
  type: bool
status:
  description: C(rows), C(findings), C(queues), C(pools), C(primaries), C(releases), C(vip), C(vip_holder), C(certificate_days).
  returned: always
  type: dict
"""
