# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service redis-cluster-spread: every few seconds, keep one host's loss from stopping a pool.

The role ships this file with its neighbours to each Redis host, where it runs as `python3 -m graphic_school_redis.redis_spread
/etc/redis/spread.json`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .redis_cluster import Instance, Pool
from .redis_driver import Tools, spread, tools_for

# The mark that the module traffic leaves on a host whose primaries were handed over.
OUT_OF_TRAFFIC = "/etc/graphic_school/out-of-traffic/redis_cluster"


def pools_from(config: Mapping[str, Any]) -> list[Pool]:
    """Return the pools of the configuration file."""
    return [
        Pool(
            row["name"],
            int(row["replicas"]),
            tuple(Instance(**instance) for instance in row["instances"]),
            frozenset(row.get("leaving", ())),
        )
        for row in config["pools"]
    ]


def one_round(config: Mapping[str, Any], tools: Tools) -> list[str]:
    """Look at each pool once; return what was done as sentences. A host that is out of traffic takes nothing over."""
    if Path(str(config.get("out_of_traffic", OUT_OF_TRAFFIC))).exists():
        return []
    done = (spread(pool, str(config["host"]), tools) for pool in pools_from(config))
    return [sentence for sentence in done if sentence]


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tools = tools_for(config["user"], config["passwords"], 10)
    while True:
        time.sleep(float(config["seconds"]))
        for sentence in one_round(config, tools):
            sys.stdout.write(f"{sentence}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
