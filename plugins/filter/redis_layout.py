# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: redis_layout
short_description: Lay out pools of Redis instances over servers
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - From servers and rows of pools to instances with names, ports, memory and the lines of their C(redis.conf).
  - Each host runs C(1 + replicas) instances of each pool, on the pool's port and the ones after it.
positional: pools, host, maxmemory_mb, node_timeout_ms
options:
  _input:
    description: The servers, with C(name), C(address) and C(state).
    type: list
    elements: dict
    required: true
  pools:
    description: Rows with C(name), C(port), C(replicas), C(memory_percent), C(settings) and C(app_commands).
    type: list
    elements: dict
    required: true
  host:
    description: The server whose instances are returned with their settings.
    type: str
    required: true
  maxmemory_mb:
    description: Memory for data on that server, over all pools, in MiB.
    type: int
    required: true
  node_timeout_ms:
    description: After how many milliseconds of silence the others call an instance dead.
    type: int
    default: 1000
"""

EXAMPLES = """
layout: "{{ servers | graphic_school.scaling.redis_layout(pools, inventory_hostname, 300) }}"
"""

RETURN = """
_value:
  description:
    - C(pools) with C(name), C(replicas), C(leaving) and C(instances) of the whole fleet, without servers that are C(down).
    - C(conductor), the first server that stays.
    - C(local), the instances of C(host) with C(name), C(pool), C(port), C(address) and C(settings).
    - C(ports), all ports that a firewall has to let through between clients and servers.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.redis_layout import RedisLayoutError, layout


def redis_layout(
    servers: Sequence[Mapping[str, Any]],
    pools: Sequence[Mapping[str, Any]],
    host: str,
    maxmemory_mb: int,
    node_timeout_ms: int = 1000,
) -> dict[str, Any]:
    """Pools, local instances and ports as plain data; see ``layout``."""
    try:
        return layout(servers, pools, str(host), int(maxmemory_mb), int(node_timeout_ms))
    except RedisLayoutError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Edge between Jinja and module_utils/redis_layout.py."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"redis_layout": redis_layout}
