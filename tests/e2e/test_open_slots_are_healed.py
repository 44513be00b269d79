# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an interrupted move of slots leaves open is healed by the next run, and clients see no error."""

from __future__ import annotations

from tests.e2e.support.lab import Lab
from tests.e2e.support.redis_ledger import Clients
from tests.e2e.support.redis_pools import POOLS, cluster, connect, host_of, nodes, pools_are_whole
from tests.e2e.support.waiting import until
from tests.e2e.support.web import new_key


def owned_slot(lab: Lab, identity: str) -> int:
    with connect(lab, lab.tier("redis_cluster")[0], POOLS["durable"][0], "admin") as client:
        client.set_response_callback("CLUSTER NODES", lambda answer, **_options: answer)
        lines = [line.split() for line in str(client.execute_command("CLUSTER NODES")).splitlines()]
    return next(int(words[8].partition("-")[0]) for words in lines if words[0] == identity)


def test_a_slot_that_was_left_open_is_healed_under_load(lab: Lab) -> None:
    source, target = [node for node in nodes(lab, "durable") if node.is_primary][:2]
    slot = owned_slot(lab, source.id)
    with Clients(lambda: cluster(lab, "durable"), f"school:{new_key('scale')}:") as clients:
        with connect(lab, host_of(lab, target), target.port, "admin") as client:
            client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        run = lab.play("playbooks/redis_scale.yml", "-e", "redis_scale_tell=false")
        assert run.code == 0, run.output[-4000:]
    assert clients.ledger.errors == []
    assert clients.ledger.acknowledged > 500
    assert clients.missing() == []
    clients.clean_up()
    assert run.changed, "the open slot was closed"
    until("both pools are whole", lambda: pools_are_whole(lab), seconds=20)
