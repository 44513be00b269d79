# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: traffic_gates
short_description: What of a host can be taken out of traffic
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns the gates of a host in these tiers, in the order in which it leaves.
options:
  _input:
    description: Tiers of the host.
    type: list
    elements: str
    required: true
"""

EXAMPLES = """
# ['app_servers', 'scheduler']
gates: "{{ fleet.hosts.app1.tiers | graphic_school.scaling.traffic_gates }}"
"""

RETURN = """
_value:
  description: Names of gates, as the module traffic takes them.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable
from typing import Any

from ..module_utils.traffic import gates


def traffic_gates(tiers: Iterable[str]) -> list[str]:
    return list(gates(tiers))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"traffic_gates": traffic_gates}
