#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way out of traffic, and in again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic
short_description: Take a host out of traffic, wait until it is idle, and bring it back
version_added: "0.2.0"
description:
  - A host says itself that it takes no new work, in C(/etc/graphic_school/out-of-traffic/<tier>). That survives reboots and
    C(site.yml), and every tier's gate honours it.
  - O(state=out) closes the gates of O(tiers), and waits until nothing runs behind them. Nothing is reloaded on any other host.
  - C(app_servers) refuse new connections, which the balancers answer by asking the next server; C(queue_workers) and
    C(scheduler) end what they have begun; C(redis_cluster) hands its primaries over; C(mysql) leaves the pool of replicas, and
    refuses while it is the primary; C(load_balancers) give the shared address away.
  - O(state=in) opens them again when the host can do the work, application servers with a slow start.
  - O(state=seen) only tells.
author: graphic_school.scaling contributors (@graphic_school)
options:
  state:
    description: Where the host should be.
    type: str
    choices: [out, in, seen]
    required: true
  tiers:
    description: Tiers of this host that are meant.
    type: list
    elements: str
    choices: [load_balancers, app_servers, queue_workers, scheduler, redis_cluster, mysql]
    required: true
  host:
    description: Name of the host in messages.
    type: str
    default: this host
  by:
    description:
      - Who takes it out, such as the name of a verb; kept on the host.
      - With O(state=in), only what was taken out by this one comes back; empty brings everything back.
    type: str
    default: ""
  reason:
    description: Why; kept on the host.
    type: str
    default: not given
  patience:
    description: Seconds within which the host must become idle, or well.
    type: float
    default: 120
  slow_start:
    description: Seconds over which the share of new connections that an application server accepts rises.
    type: float
    default: 0
  settings:
    description:
      - What each gate has to know, by tier. The role C(traffic) hands it over.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Take the host out
  ansible.builtin.import_role:
    name: graphic_school.scaling.traffic
    tasks_from: out
  vars:
    traffic_by: upgrade
    traffic_reason: a new kernel

- name: The same without the role
  graphic_school.scaling.traffic:
    state: out
    tiers: [app_servers]
    settings: {app_servers: {ports: [80], live_path: /up, domain: school.example.com}}
"""

RETURN = r"""
tiers:
  description: For each tier whether it is RV(ignore:out), since when, by whom and why, and what ails it otherwise.
  returned: success
  type: dict
  sample: {app_servers: {out: true, since: "2026-01-01T00:00:00Z", by: drain, reason: not given, ill: ""}}
steps:
  description: What was done, or would be in check mode.
  returned: success
  type: list
  elements: str
seconds:
  description: How long that took.
  returned: success
  type: float
"""

import time
from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.traffic import TIERS, Mark, TrafficError
from ..module_utils.traffic_host import Host, World


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["out", "in", "seen"], "required": True},
            "tiers": {"type": "list", "elements": "str", "choices": list(TIERS), "required": True},
            "host": {"type": "str", "default": "this host"},
            "by": {"type": "str", "default": ""},
            "reason": {"type": "str", "default": "not given"},
            "patience": {"type": "float", "default": 120},
            "slow_start": {"type": "float", "default": 0},
            "settings": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given = module.params

    def run(command: Sequence[str], text: str = "") -> tuple[int, str, str]:
        code, output, errors = module.run_command(list(command), data=text or None)
        return code, output, errors

    host = Host(World(given["host"], run, time, slow_start=given["slow_start"]), given["settings"])
    start = time.monotonic()
    try:
        marked = set(host.marked())
        if given["state"] == "seen":
            steps: list[str] = []
        elif module.check_mode:
            leaving = given["state"] == "out"
            steps = [f"{'close' if leaving else 'open'} {tier}" for tier in given["tiers"] if (tier in marked) != leaving]
        else:
            if given["state"] == "out":
                since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                host.leave(given["tiers"], Mark(since, given["by"] or "traffic", given["reason"]), given["patience"])
            else:
                host.join(given["tiers"], given["patience"], given["by"])
            steps = host.done
        told = host.tell(given["tiers"])
    except TrafficError as error:
        module.fail_json(msg=str(error), steps=host.done)
    module.exit_json(changed=bool(steps), steps=steps, tiers=told, seconds=round(time.monotonic() - start, 3))


if __name__ == "__main__":
    main()
