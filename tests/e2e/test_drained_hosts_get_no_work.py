# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drained host of any tier gets no work, also after a reboot and a run of site.yml, until it is brought back.

Application servers: tests/e2e/test_deploys_lose_nothing.py.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import site
from tests.e2e.support.lab import ROOT, Lab, good
from tests.e2e.support.load import LightLoad
from tests.e2e.support.redis_pools import POOLS, nodes, pools_are_whole
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor
from tests.e2e.support.witness import Witness
from tests.e2e.test_jobs_finish import state, submit, wait_for

FAST = site.environment(Path(sys.prefix), accelerate=True)
# The role alone: the verb drain.yml refuses to take out the fleet's only worker.
ROLE = f"""\
- hosts: all
  gather_facts: false
  become: true
  vars_files: ["{ROOT}/playbooks/group_vars/all/fleet.yml"]
  tasks:
    - ansible.builtin.import_role: {{name: graphic_school.scaling.traffic, tasks_from: out}}
"""


@contextmanager
def drained(lab: Lab, host: str) -> Iterator[None]:
    """The host is out of traffic, and comes back whatever happens."""
    good(lab.play("playbooks/drain.yml", "-e", f"fleet_host={host}", env=FAST))
    try:
        yield
    finally:
        good(lab.play("playbooks/undrain.yml", "-e", f"fleet_host={host}", env=FAST))


def reboot(lab: Lab, host: str) -> None:
    lab.podman("restart", host)
    lab.wait_for_boot(host)


def site_leaves_it(lab: Lab, host: str, tags: str) -> None:
    assert good(lab.play("playbooks/site.yml", "--limit", host, "--tags", tags, env=FAST)).changed == {}


@pytest.fixture
def light_load(visit: Callable[..., Visitor], witness: Witness) -> Iterator[LightLoad]:
    with LightLoad([visit(timeout=30, http2=False, keepalive=bool(turn)) for turn in range(2)], witness) as load:
        yield load


def readers(visitor: Visitor, count: int = 40) -> Counter[str]:
    """Which database servers answered reads, by their uuid."""
    return Counter(visitor.get("/api/whoami").json()["read_server"] for _turn in range(count))


def test_a_drained_replica_reads_for_nobody(lab: Lab, visitor: Visitor, databases: dict[str, Any], light_load: LightLoad) -> None:
    host = databases["replicas"][-1]
    uuid = databases["uuid"][host]
    until(f"{host} reads", lambda: uuid in readers(visitor), seconds=30)
    with drained(lab, host):
        assert readers(visitor)[uuid] == 0
        site_leaves_it(lab, host, "mysql")
        reboot(lab, host)
        until(f"{host} replicates", lambda: lab.sql(host, "SELECT service_state FROM performance_schema.replication_applier_status")
              == [["ON"]], seconds=60)  # fmt: skip
        time.sleep(3)
        assert readers(visitor)[uuid] == 0, "also after a reboot"
    until(f"{host} reads again", lambda: uuid in readers(visitor), seconds=60)
    assert light_load.failed == []


def test_a_drained_worker_ends_its_job_and_takes_no_other(lab: Lab, visitor: Visitor, tmp_path: Path) -> None:
    host = lab.tier("queue_workers")[0]
    refused = lab.play("playbooks/drain.yml", "-e", f"fleet_host={host}", env=FAST)
    assert refused.code != 0
    assert f"{host} is all that serves in queue_workers (it is the only one)" in refused.messages + refused.output
    (tmp_path / "out.yml").write_text(ROLE)
    running = submit(visitor, "default", 8)
    before = wait_for(visitor, running, "running", seconds=20)
    wanted = json.dumps({"traffic_tiers": ["queue_workers", "scheduler"]})
    good(lab.play(str(tmp_path / "out.yml"), "--limit", host, "-e", wanted, env=FAST))
    try:
        ended = state(visitor, running)
        assert (ended["state"], ended["attempts"], ended["started_at"]) == ("done", 1, before["started_at"])
        queued = submit(visitor, "payments", 0)
        # Without the release that is current the workers would be told of none.
        site_leaves_it(lab, host, "app_release,queue_workers,scheduler")
        reboot(lab, host)
        time.sleep(5)
        assert state(visitor, queued)["state"] == "queued", "also after a reboot"
    finally:
        good(lab.play("playbooks/undrain.yml", "-e", f"fleet_host={host}", env=FAST))
    assert wait_for(visitor, queued, "done", seconds=30)["worker"] == host


def held(lab: Lab, host: str) -> list[str]:
    """The pools of which an instance on this host is a primary, with slots."""
    return [pool for pool in POOLS for node in nodes(lab, pool) if node.is_primary and node.slots and node.address == lab.address(host)]


def refused(lab: Lab, host: str) -> list[int]:
    """The ports of Redis at which a stranger is sent away at once."""
    ports = []
    for port in (port for ports in POOLS.values() for port in ports):
        try:
            socket.create_connection((lab.address(host), port), 2).close()
        except ConnectionRefusedError:
            ports.append(port)
    return ports


def linked(lab: Lab, host: str) -> bool:
    """Whether the others see every instance of the host, and each copies its primary."""
    other = next(name for name in lab.tier("redis_cluster") if name != host)
    found = [node for pool in POOLS for node in nodes(lab, pool, other) if node.address == lab.address(host)]
    links = lab.ssh(host, "ss -Htn state established '( dport = :6379 or dport = :6380 or dport = :6389 or dport = :6390 )' | wc -l")
    assert len(found) == 4 and not any({"fail", "fail?", "handshake"} & node.flags for node in found), f"{other} sees {found}"
    return int(links) >= 4


def test_a_drained_redis_host_holds_no_primary_and_is_asked_by_nobody(lab: Lab, visitor: Visitor, light_load: LightLoad) -> None:
    host = next(name for name in lab.tier("redis_cluster") if held(lab, name))
    before = sorted(held(lab, host))
    session = visitor.get("/api/whoami").json()
    with drained(lab, host):
        assert held(lab, host) == []
        ports = [port for ports in POOLS.values() for port in ports]
        assert refused(lab, host) == ports
        site_leaves_it(lab, host, "redis_cluster")
        reboot(lab, host)
        until(f"{host} copies its primaries again", lambda: linked(lab, host), seconds=60)
        time.sleep(10)
        assert held(lab, host) == [], "also after a reboot"
        until("they are refused also after a reboot", lambda: refused(lab, host) == ports, seconds=30)
    assert refused(lab, host) == []
    until("both pools are whole", lambda: pools_are_whole(lab), seconds=60)
    until(f"{host} is a primary again", lambda: sorted(held(lab, host)) == before, seconds=90)
    now = visitor.get("/api/whoami").json()
    assert now["session_id_hash"] == session["session_id_hash"]
    assert now["session_hits"] > session["session_hits"]
    assert light_load.failed == []


def holder(lab: Lab) -> str:
    holders = [host for host in lab.tier("load_balancers") if f" {lab.vip}/" in lab.ssh(host, "ip -4 -o address show")]
    assert len(holders) == 1, f"one balancer holds {lab.vip}, not: {holders}"
    return holders[0]


def asked_since(lab: Lab, host: str, moment: float) -> list[Any]:
    """What clients asked of the balancer after a moment; itself and those who watch the fleet ask it under its own address."""
    watching = {"127.0.0.1", *map(lab.address, lab.tier("monitoring"))}
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    rows = map(json.loads, lab.ssh(host, "tail -n 500 /var/log/nginx/access.log").splitlines())
    return [row for row in rows if row["time"] > since and row["client"] not in watching]


def test_what_is_being_answered_ends_when_the_address_moves(lab: Lab, visit: Callable[..., Visitor]) -> None:
    """POSTs of five seconds, one begun each second on a connection of its own, from before the drain until after the undrain.

    The first half of that time their body is on the way, so that what the client sends has to arrive too.
    """
    host = holder(lab)
    stop, answers = threading.Event(), []

    def slowly() -> Iterator[bytes]:
        for _turn in range(10):
            yield bytes(4096)
            time.sleep(0.25)

    def ask(visitor: Visitor) -> tuple[int, str]:
        try:
            answer = visitor.http.post("/api/slow?seconds=2.5", content=slowly(), headers={"Content-Type": "application/octet-stream"})
        except httpx.TransportError as error:
            return 0, repr(error)
        return answer.status_code, answer.text[:200]

    def keep_asking(pool: ThreadPoolExecutor) -> None:
        visitor = visit(timeout=30, http2=False, keepalive=False)
        while not stop.is_set():
            answers.append(pool.submit(ask, visitor))
            stop.wait(1)

    with ThreadPoolExecutor(12) as pool:
        asking = threading.Thread(target=keep_asking, args=(pool,), daemon=True)
        asking.start()
        try:
            until("some are under way", lambda: len(answers) > 5, seconds=30)
            with drained(lab, host):
                assert holder(lab) != host
                time.sleep(2)
        finally:
            stop.set()
            asking.join()
    moved = float(lab.ssh(host, "date +%s --date=\"$(systemctl show --property InactiveExitTimestamp --value graphic_school-handover)\""))
    spanning = [row for row in asked_since(lab, host, moved + 2) if row["uri"].startswith("/api/slow")]
    assert spanning, "the one that gave the address away went on answering"
    assert [answer.result() for answer in answers if answer.result()[0] != 200] == []
    until("nothing of it stays", lambda: not lab.ssh(host, "ip route show table local proto 201"), seconds=30)


def test_a_drained_balancer_gives_the_address_away(lab: Lab, light_load: LightLoad) -> None:
    host = holder(lab)
    other = next(name for name in lab.tier("load_balancers") if name != host)
    with drained(lab, host):
        out = time.time() + 1
        assert holder(lab) == other
        site_leaves_it(lab, host, "nginx_lb,keepalived")
        reboot(lab, host)
        time.sleep(5)
        assert holder(lab) == other, "also after a reboot"
        assert asked_since(lab, host, out) == []
    assert holder(lab) == other, "an address moves once"
    with drained(lab, other):
        assert holder(lab) == host, "brought back, it takes the address when it is needed"
    assert light_load.failed == []
