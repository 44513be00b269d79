# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: mysql_move
short_description: Who becomes MySQL's primary, and what each server does for it
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Takes what M(graphic_school.scaling.mysql_state) said on each server and decides who becomes primary, in a planned move or after
    the primary's death.
  - Refuses by name, with the cure, whenever an acknowledged write could be lost or two servers could take writes.
positional: verb, clusters
options:
  _input:
    description: >-
      From server to the result of M(graphic_school.scaling.mysql_state) there, for a failover of M(graphic_school.scaling.mysql_survey).
    type: dict
    required: true
  verb:
    description: The planned move, or the one after a death.
    type: str
    choices: [switchover, failover]
    required: true
  clusters:
    description: The clusters by name, each with C(hosts) and C(primary), as C(fleet.mysql_clusters) holds them.
    type: dict
    required: true
  cluster:
    description: Name of the cluster whose primary moves. Needed when there are several and O(to) is not given.
    type: str
    default: ""
  to:
    description: The server that becomes primary; the best when empty.
    type: str
    default: ""
  port:
    description: Where the servers listen.
    type: int
    default: 3306
  acknowledgements:
    description: Replicas that must hold a transaction before it is acknowledged.
    type: int
    default: 1
  drain_seconds:
    description: How long the former primary waits for running transactions before it ends their connections.
    type: float
    default: 0.4
  quiet_seconds:
    description: How long the former primary waits for a moment without transactions of more than a second, before anything changes.
    type: float
    default: 30
  force:
    description: Permits what may lose acknowledged writes, or moves them away from a primary that lives.
    type: bool
    default: false
  alone:
    description: Permits a primary that waits for no acknowledgement, because too few replicas are left.
    type: bool
    default: false
"""

EXAMPLES = """
move: "{{ states | graphic_school.scaling.mysql_move('switchover', fleet.mysql_clusters, to='db2') }}"
"""

RETURN = """
_value:
  description:
    - C(primary), who is primary afterwards. C(former), who was. C(why), sentences for a person.
    - C(fence), who must be switched off for certain before the steps are performed, or empty.
    - C(steps), from server to a list of steps with C(action), C(text) and C(arguments); none when the primary is right already.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.mysql_move import Options, PlanError, failover, move_data, seen_from, switchover
from ..module_utils.mysql_plan import cluster_from, state_from


def mysql_move(
    states: Mapping[str, Mapping[str, Any]],
    verb: str,
    clusters: Mapping[str, Mapping[str, Any]],
    *,
    cluster: str = "",
    to: str = "",
    port: int = 3306,
    **options: Any,
) -> dict[str, Any]:
    """Return the move as plain data; see ``mysql_move.switchover`` and ``mysql_move.failover``."""
    try:
        name = chosen_cluster(clusters, cluster, to)
        found = cluster_from(name, clusters[name], port)
        actual = {host: state_from(server_data(result)) for host, result in states.items()}
        wanted = Options(to=to, **options)
        if verb == "switchover":
            return move_data(switchover(found, actual, wanted))
        return move_data(failover(found, actual, seen_from(states), wanted))
    except PlanError as error:
        raise AnsibleFilterError(str(error)) from error


def chosen_cluster(clusters: Mapping[str, Mapping[str, Any]], cluster: str, to: str) -> str:
    """Return the name of the cluster that was meant. Raises PlanError when nobody can tell."""
    if cluster:
        if cluster not in clusters:
            raise PlanError(f"mysql_move_cluster: {cluster} is no cluster; there is {', '.join(sorted(clusters))}")
        return cluster
    holding = [name for name, data in clusters.items() if to in {row["name"] for row in data["hosts"]}]
    if to and not holding:
        raise PlanError(f"{to} is no MySQL server of this fleet, so it cannot become primary; name one of the group mysql")
    if not to and len(clusters) != 1:
        raise PlanError(
            f"there are {len(clusters)} clusters ({', '.join(sorted(clusters))}); say which with -e mysql_move_cluster=NAME"
        )
    return (holding or list(clusters))[0]


def server_data(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a server said of itself, or why it said nothing."""
    why = str(result.get("msg") or result.get("why") or "it was not asked; run this without --limit")
    server: Mapping[str, Any] = result.get("server") or {"installed": True, "answers": False, "why": why}
    return server


class FilterModule:
    """The filter ``graphic_school.scaling.mysql_move``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mysql_move": mysql_move}
