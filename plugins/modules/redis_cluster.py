#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster
short_description: Make running Redis instances one cluster per pool
version_added: "0.1.0"
description:
  - Plans the way from what the instances say to what the pools want, and goes it. Run it once, from a host that reaches them all.
  - Starts from anything. Fresh instances meet, share the 16,384 slots and get replicas on other hosts; a half-made
    cluster is finished; a right one is left alone, also after failovers.
  - Refuses by name what could lose keys.
author: graphic_school.scaling contributors (@graphic-school)
options:
  pools:
    description: The clusters, as the filter P(graphic_school.scaling.redis_layout#filter) lays them out.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the pool in messages., type: str, required: true}
      replicas: {description: How many replicas each primary has at least., type: int, default: 1}
      leaving:
        description:
          - Hosts that are on their way out, or wait to come in. What they have in the cluster stays as it is; they get nothing new
            and are never joined. M(graphic_school.scaling.redis_scale) empties them.
        type: list
        elements: str
        default: []
      instances:
        description: All instances of the pool.
        type: list
        elements: dict
        required: true
        suboptions:
          host: {description: The host it runs on; replicas avoid their primary's host., type: str, required: true}
          address: {description: Where it listens., type: str, required: true}
          port: {description: Its port., type: int, required: true}
  user:
    description: ACL user that may manage the cluster.
    type: str
    default: default
  passwords:
    description: Its password; while passwords change, also the one before. The first that works is used.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that each wait (for answers, for agreement, for data on replicas) may take.
    type: float
    default: 60
attributes:
  check_mode:
    description: Returns the steps without taking them; an instance that doesn't answer counts as a fresh one.
    support: full
"""

EXAMPLES = r"""
- name: Build | Make the instances one cluster
  graphic_school.scaling.redis_cluster:
    pools:
      - name: durable
        replicas: 1
        instances:
          - {host: redis1, address: 192.0.2.41, port: 6379}
          - {host: redis1, address: 192.0.2.41, port: 6380}
          - {host: redis2, address: 192.0.2.42, port: 6379}
          - {host: redis2, address: 192.0.2.42, port: 6380}
          - {host: redis3, address: 192.0.2.43, port: 6379}
          - {host: redis3, address: 192.0.2.43, port: 6380}
    user: admin
    passwords: ["{{ vault_redis_admin_password }}"]
  run_once: true
"""

RETURN = r"""
steps:
  description: What was done (in check mode, would be done), as sentences for each pool.
  returned: always
  type: dict
  sample: {durable: ["redis2:6379 meets redis1:6379", "redis1:6379 takes slots 0-5460"]}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.redis_cluster import Instance, Pool, RedisClusterError
from ..module_utils.redis_driver import PoolDriver, tools_for

PATIENCE_OF_A_CHECK = 3.0


def main() -> None:
    instance_spec = {
        "host": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
    }
    pool_spec = {
        "name": {"type": "str", "required": True},
        "replicas": {"type": "int", "default": 1},
        "leaving": {"type": "list", "elements": "str", "default": []},
        "instances": {"type": "list", "elements": "dict", "required": True, "options": instance_spec},
    }
    module = AnsibleModule(
        argument_spec={
            "pools": {"type": "list", "elements": "dict", "required": True, "options": pool_spec},
            "user": {"type": "str", "default": "default"},
            "passwords": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    tools = tools_for(given["user"], given["passwords"], given["timeout"])
    steps: dict[str, list[str]] = {}
    try:
        for row in given["pools"]:
            instances = tuple(Instance(**instance) for instance in row["instances"])
            pool = Pool(row["name"], row["replicas"], instances, frozenset(row["leaving"]))
            driver = PoolDriver(pool, tools)
            taken = driver.first_plan(PATIENCE_OF_A_CHECK) if module.check_mode else driver.build()
            steps[pool.name] = [str(step) for step in taken]
    except RedisClusterError as error:
        module.fail_json(msg=str(error), steps=steps)
    module.exit_json(changed=any(steps.values()), steps=steps)


if __name__ == "__main__":
    main()
