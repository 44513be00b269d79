# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: endpoints
short_description: List where a service listens on a tier's servers
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns a row of C(host) and C(port) for each port on each server, in the servers' order.
  - Servers whose state is C(down) are left out.
positional: ports
options:
  _input:
    description: Servers, as P(graphic_school.scaling.fleet#filter) returns them.
    type: list
    elements: dict
    required: true
  ports:
    description: Ports that the service has on each server.
    type: list
    elements: int
    required: true
"""

EXAMPLES = """
# [{'host': '192.0.2.41', 'port': 6379}, {'host': '192.0.2.41', 'port': 6380}, ...]
seeds: "{{ fleet.redis_cluster | graphic_school.scaling.endpoints([6379, 6380]) }}"
"""

RETURN = """
_value:
  description: Rows of C(host) and C(port).
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..module_utils import laravel


def endpoints(servers: Iterable[Mapping[str, Any]], ports: Sequence[int]) -> list[dict[str, Any]]:
    """Return rows of a service's listeners."""
    return laravel.endpoints(servers, ports)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"endpoints": endpoints}
