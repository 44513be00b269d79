# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A durable primary that is restarted before anybody takes over has all that it acknowledged, transactions too.

Laravel puts a job into its queue in a script, and Redis writes what a script does to its append-only file as a transaction.
"""

from __future__ import annotations

import redis

from tests.e2e.support.lab import Lab
from tests.e2e.support.redis_pools import connect, host_of, nodes, pools_are_whole
from tests.e2e.support.waiting import until
from tests.e2e.support.web import new_key

TRANSACTIONS = 50


def test_a_restarted_primary_replays_its_transactions(lab: Lab) -> None:
    primary = next(node for node in nodes(lab, "durable") if node.is_primary)
    host, port = host_of(lab, primary), primary.port
    with connect(lab, host, port) as client:
        tag = _tag_of_this_server(client)
        jobs = [f"school:{{{tag}}}:{number}" for number in range(TRANSACTIONS)]
        for job in jobs:
            client.pipeline(transaction=True).set(job, "1").rpush(f"school:{{{tag}}}:queue", job).execute()
    lab.inside(host, f"systemctl restart redis-cluster@durable-{port}")
    until("the restarted instance answers", lambda: _answers(lab, host, port), seconds=20)
    until("both pools are whole", lambda: pools_are_whole(lab), seconds=20)
    same = next(node for node in nodes(lab, "durable") if node.id == primary.id)
    assert same.is_primary, "a replica took over meanwhile, so this run shows nothing of what a restart keeps"
    with connect(lab, host, port) as client:
        kept = [job for job in jobs if client.get(job) == "1"]
        queue = client.lrange(f"school:{{{tag}}}:queue", 0, -1)
        client.delete(*jobs, f"school:{{{tag}}}:queue")
    assert (kept, queue) == (jobs, jobs)


def _tag_of_this_server(client: redis.Redis) -> str:
    """A hash tag whose slot this server has."""
    for _attempt in range(100):
        tag = new_key("transactions")
        try:
            client.get(f"{{{tag}}}")
        except redis.ResponseError:
            continue
        return tag
    raise AssertionError("none of 100 keys belongs to this primary")


def _answers(lab: Lab, host: str, port: int) -> bool:
    try:
        with connect(lab, host, port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
