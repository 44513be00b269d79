# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: mysql_plan
short_description: The steps that bring MySQL clusters to their state
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Takes what M(graphic_school.scaling.mysql_state) said of each server and returns who is primary and which steps remain.
  - The primary is whoever is writable; the inventory only says where a new cluster starts.
  - Refuses by name when two servers are writable, when none is, or when a server that does not answer could be the primary.
positional: clusters
options:
  _input:
    description: The results of a loop of M(graphic_school.scaling.mysql_state); RV(ignore:item.name) says whose each is.
    type: list
    elements: dict
    required: true
  clusters:
    description: The clusters by name, each with C(hosts) and C(primary), as C(fleet.mysql_clusters) holds them.
    type: dict
    required: true
  port:
    description: Where the servers listen.
    type: int
    default: 3306
  users:
    description: Users that must exist, as rows of C(mysql_users).
    type: list
    elements: dict
    default: []
  databases:
    description: Names of the databases that must exist.
    type: list
    elements: str
    default: []
  acknowledgements:
    description: Replicas that must hold a transaction before it is acknowledged.
    type: int
    default: 1
  restart_primary:
    description: Whether a primary may be restarted for settings that need it.
    type: bool
    default: false
  rejoin_transactions:
    description:
      - A server that holds at most so many transactions of its own is copied over, once they are saved in a file there.
      - With more it is refused by name and left as it is.
    type: int
    default: 0
"""

EXAMPLES = """
steps: >-
  {{ observed.results | graphic_school.scaling.mysql_plan(fleet.mysql_clusters, users=mysql_users, databases=['school']) }}
"""

RETURN = """
_value:
  description:
    - C(primary), from cluster to server.
    - C(steps), from server to phase (C(primary), C(replicas), C(restart), C(finish)) to a list of steps with C(action), C(text)
      and C(arguments).
    - C(refused), from server to the reason why it cannot be brought to its state.
    - C(warnings), sentences.
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.mysql_plan import PlanError, Wanted, cluster_from, plan, plan_data, state_from
from ..module_utils.mysql_users import UserError, wanted_users


def mysql_plan(
    observed: Iterable[Mapping[str, Any]],
    clusters: Mapping[str, Mapping[str, Any]],
    *,
    port: int = 3306,
    users: Iterable[Mapping[str, Any]] = (),
    databases: Iterable[str] = (),
    acknowledgements: int = 1,
    restart_primary: bool = False,
    rejoin_transactions: int = 0,
) -> dict[str, Any]:
    """Plans of all clusters in one dictionary; see ``plan``."""
    try:
        states = {row["item"]["name"]: state_from(_state(row)) for row in observed}
        wanted = Wanted(wanted_users(users), tuple(databases), acknowledgements, restart_primary, rejoin_transactions)
        result: dict[str, Any] = {"primary": {}, "steps": {}, "refused": {}, "warnings": []}
        for name, data in sorted(clusters.items()):
            found = plan_data(plan(cluster_from(name, data, port), states, wanted))
            result["primary"][name] = found["primary"]
            result["steps"].update(found["steps"])
            result["refused"].update(found["refused"])
            result["warnings"].extend(found["warnings"])
    except (PlanError, UserError) as error:
        raise AnsibleFilterError(str(error)) from error
    return result


def _state(row: Mapping[str, Any]) -> Mapping[str, Any]:
    state: Mapping[str, Any] = row.get("server") or {
        "installed": True,
        "answers": False,
        "why": str(row.get("msg") or "it was not asked"),
    }
    return state


class FilterModule:
    """The filter ``graphic_school.scaling.mysql_plan``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mysql_plan": mysql_plan}
