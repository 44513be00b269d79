#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_scale
short_description: Spread Redis Clusters over their hosts while clients work
version_added: "0.2.0"
description:
  - Gives each host that stays one primary with its share of the 16,384 slots and replicas on other hosts, and empties hosts that leave.
  - Slots move whole, with all keys at once, so that no command meets half of its keys. As few slots as possible move.
  - State is read from the instances. A run that was interrupted anywhere is finished by the next one.
  - Run it once, on a host that reaches all instances and stays. Two runs on one host wait for each other.
author: graphic_school.scaling contributors (@graphic-school)
extends_documentation_fragment: [graphic_school.scaling.redis_pools, graphic_school.scaling.redis_login]
options:
  batch_slots:
    description: How many slots move at once. An instance serves nobody while a batch moves.
    type: int
    default: 16
  batch_keys:
    description: How many keys move at once, unless one slot has more.
    type: int
    default: 1000
  slot_limit_mb:
    description: A slot that holds more MiB moves in pieces; commands with several of its keys may get C(TRYAGAIN) meanwhile.
    type: int
    default: 32
  release:
    description: Whether emptied instances leave the cluster. Until then they send clients on that still know them.
    type: bool
    default: true
  node_timeout_ms:
    description:
      - The instances' C(cluster-node-timeout), which is 5,000 at least while slots move, so that one that is short of processors isn't
        called dead, and this again afterwards.
      - V(0) leaves it alone.
    type: int
    default: 0
  key_limit_mb:
    description: A larger key is refused by name, because both instances would stand still while it moves.
    type: int
    default: 128
attributes:
  check_mode:
    description: Returns the steps without taking them.
    support: full
"""

EXAMPLES = r"""
- name: Empty redis4
  graphic_school.scaling.redis_scale:
    pools:
      - name: durable
        leaving: [redis4]
        instances:
          - {host: redis1, address: 192.0.2.41, port: 6379}
          - {host: redis1, address: 192.0.2.41, port: 6380}
          - {host: redis2, address: 192.0.2.42, port: 6379}
          - {host: redis2, address: 192.0.2.42, port: 6380}
          - {host: redis3, address: 192.0.2.43, port: 6379}
          - {host: redis3, address: 192.0.2.43, port: 6380}
          - {host: redis4, address: 192.0.2.44, port: 6379}
          - {host: redis4, address: 192.0.2.44, port: 6380}
    user: admin
    passwords: ["{{ vault_redis_admin_password }}"]
  run_once: true
"""

RETURN = r"""
steps:
  description: What was done (in check mode, would be done), as sentences for each pool.
  returned: always
  type: dict
  sample: {durable: ["redis1:6379 gives 1365 slots to redis4:6379: 4096-5460"]}
moved:
  description: Slots and keys that moved in each pool, and the longest moment in milliseconds that a batch held its source and was claimed.
  returned: always
  type: dict
  sample: {durable: {slots: 4096, keys: 12000, longest_ms: 21}}
"""

import fcntl
import os
import time
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.redis_client import RedisReplyError
from ..module_utils.redis_cluster import RedisClusterError
from ..module_utils.redis_driver import tools_for
from ..module_utils.redis_mover import Limits, PoolMover
from ..module_utils.redis_options import POOLS_SPEC, pools_from

LOCK = "/run/lock/graphic_school_redis_scale"
# A batch of keys may take its time; far above what the limits allow.
PATIENCE_OF_A_MOVE = 20.0


def hold_lock(seconds: float) -> object:
    """Return the lock's open file; raise RedisClusterError when another run keeps it longer than that."""
    file = open(LOCK, "w")  # noqa: SIM115 - it is held until the process ends
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= end:
                raise RedisClusterError(
                    f"another redis_scale has been at work on this host for {seconds:.0f} s ({LOCK}): wait for it"
                ) from None
            time.sleep(0.5)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **POOLS_SPEC,
            "batch_slots": {"type": "int", "default": 16},
            "batch_keys": {"type": "int", "default": 1000, "no_log": False},
            "release": {"type": "bool", "default": True},
            "slot_limit_mb": {"type": "int", "default": 32},
            "node_timeout_ms": {"type": "int", "default": 0},
            "key_limit_mb": {"type": "int", "default": 128, "no_log": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    tools = tools_for(given["user"], given["passwords"], given["timeout"], PATIENCE_OF_A_MOVE)
    limits = Limits(
        slots=given["batch_slots"],
        keys=given["batch_keys"],
        slot_bytes=given["slot_limit_mb"] << 20,
        key_bytes=given["key_limit_mb"] << 20,
    )
    steps: dict[str, list[str]] = {}
    moved: dict[str, dict[str, int]] = {}
    # Between giving slots and claiming them clients wait for this process: it comes before what else the host does.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    try:
        lock = None if module.check_mode else hold_lock(600)
        for pool in pools_from(given["pools"]):
            mover = PoolMover(pool, tools, given["user"], limits, given["release"], node_timeout_ms=given["node_timeout_ms"])
            taken = mover.preview() if module.check_mode else mover.run()
            steps[pool.name] = [str(step) for step in taken]
            moved[pool.name] = {"slots": mover.slots, "keys": mover.keys, "longest_ms": round(mover.longest * 1000)}
        del lock
    except (RedisClusterError, RedisReplyError, OSError) as error:
        module.fail_json(msg=str(error), steps=steps, moved=moved)
    module.exit_json(changed=any(steps.values()), steps=steps, moved=moved)


if __name__ == "__main__":
    main()
