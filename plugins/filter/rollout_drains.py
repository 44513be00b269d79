# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: rollout_drains
short_description: Whether hosts leave the traffic while their release changes
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns true when others serve meanwhile, false when there is only one application server, which then changes in place.
  - Refuses batches that would take out all that serve.
positional: hostvars, serial
options:
  _input:
    description: The topology, as P(graphic_school.scaling.fleet#filter) returns it.
    type: dict
    required: true
  hostvars:
    description: Variables of all hosts; C(traffic_seen) is what the module traffic told.
    type: dict
    required: true
  serial:
    description: Size of a batch, a number of hosts or a percentage.
    type: raw
    required: true
"""

EXAMPLES = """
drains: "{{ fleet | graphic_school.scaling.rollout_drains(hostvars, 1) }}"
"""

RETURN = """
_value:
  description: Whether hosts leave the traffic.
  type: bool
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.release import ReleaseError
from ..module_utils.release_ledger import check_serial


def rollout_drains(fleet: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], serial: Any) -> bool:
    serving = []
    for server in fleet["app_servers"]:
        seen = hostvars[server["name"]].get("traffic_seen") or {}
        mark = (seen.get("tiers") or {}).get("app_servers") or {"out": True}
        # One that an interrupted run left out comes back before the next one leaves.
        if server["state"] == "active" and (not mark["out"] or mark.get("by") == "rollout"):
            serving.append(server["name"])
    try:
        return check_serial(str(serial), serving)
    except ReleaseError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rollout_drains": rollout_drains}
