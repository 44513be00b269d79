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
extends_documentation_fragment: [graphic_school.scaling.redis_pools, graphic_school.scaling.redis_login]
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

from ..module_utils.redis_cluster import RedisClusterError
from ..module_utils.redis_driver import PoolDriver, tools_for
from ..module_utils.redis_options import POOLS_SPEC, pools_from

PATIENCE_OF_A_CHECK = 3.0


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(POOLS_SPEC),
        supports_check_mode=True,
    )
    given = module.params
    tools = tools_for(given["user"], given["passwords"], given["timeout"])
    steps: dict[str, list[str]] = {}
    try:
        for pool in pools_from(given["pools"]):
            driver = PoolDriver(pool, tools)
            taken = driver.first_plan(PATIENCE_OF_A_CHECK) if module.check_mode else driver.build()
            steps[pool.name] = [str(step) for step in taken]
    except RedisClusterError as error:
        module.fail_json(msg=str(error), steps=steps)
    module.exit_json(changed=any(steps.values()), steps=steps)


if __name__ == "__main__":
    main()
