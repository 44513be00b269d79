# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service redis-cluster-spread: keep one host's loss from stopping a pool, and clients from a host that is out of traffic.

The role redis_cluster ships this file with its neighbours, and the program that runs it, to each Redis host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .redis_cluster import Instance, Pool
from .redis_driver import Tools, holding, spread
from .traffic import MARKS, REDIS_TABLE, ruleset

# The mark that the module traffic leaves on a host whose primaries were handed over.
OUT_OF_TRAFFIC = str(MARKS / "redis_cluster")
# How often, in seconds, the service looks for the mark.
LOOK_SECONDS = 1
# A request that began before the primaries were handed over may connect here for the first time afterwards: it is sent on (MOVED) for so
# many seconds. Refused, phpredis 6.2 would crash in cluster_send_command.
SENT_ON_SECONDS = 10.0
# Runs nft with arguments and standard input; returns its exit code and what it complained of.
Nft = Callable[[Sequence[str], str], tuple[int, str]]


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


def local_instances(config: Mapping[str, Any]) -> dict[Instance, str]:
    """Return the instances of this host, each with the name of its pool."""
    return {
        instance: pool.name for pool in pools_from(config) for instance in pool.instances if instance.host == config["host"]
    }


def peers(config: Mapping[str, Any]) -> frozenset[str]:
    """Return the addresses of the tier's hosts, who may always connect."""
    return frozenset(instance.address for pool in pools_from(config) for instance in pool.instances)


def is_out(config: Mapping[str, Any]) -> bool:
    """Return whether this host takes no new work."""
    return Path(str(config.get("out_of_traffic", OUT_OF_TRAFFIC))).exists()


def one_round(config: Mapping[str, Any], tools: Tools) -> list[str]:
    """Look at each pool once; return what was done as sentences. A host that is out of traffic takes nothing over."""
    if is_out(config):
        return []
    done = (spread(pool, str(config["host"]), tools) for pool in pools_from(config))
    return [sentence for sentence in done if sentence]


@dataclass
class Refusal:
    """New clients of a host that is out of traffic are refused, so that they ask the next one: it may stop at any moment.

    When another host dies, an instance here becomes primary again. Then its clients are let in, whatever the mark says.
    """

    nft: Nft
    # Somebody may have left the rule: the first look asks.
    there: bool = True
    # Since when this host is out of traffic and holds no slots.
    free_since: float | None = None

    def look(self, config: Mapping[str, Any], tools: Tools) -> str:
        """See to it once; return what was done as a sentence, "" for nothing."""
        if not is_out(config) and not self.there:
            return ""
        self.there = self.nft(["list", "table", "inet", REDIS_TABLE], "")[0] == 0
        held = holding(local_instances(config), tools)
        # Last, because the host may come back meanwhile.
        free = is_out(config) and not held
        self.free_since = None if not free else tools.clock() if self.free_since is None else self.free_since
        wanted = self.free_since is not None and (self.there or tools.clock() - self.free_since >= SENT_ON_SECONDS)
        if wanted == self.there:
            return ""
        if wanted:
            ports = [instance.port for instance in local_instances(config)]
            code, complaint = self.nft(["-f", "-"], ruleset(ports, table=REDIS_TABLE, peers=peers(config)))
            did = "refuse new clients: this host is out of traffic"
        else:
            code, complaint = self.nft(["delete", "table", "inet", REDIS_TABLE], "")
            did = f"let clients in: {', '.join(map(str, held))} became primary" if is_out(config) else "let clients in"
        if code:
            return f"{did}: nft ended with {code}: {complaint.strip()}"
        self.there = wanted
        return did
