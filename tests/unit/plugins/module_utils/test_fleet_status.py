# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what hosts say to a verdict: each fault is named with host, thing, value and cure; a whole fleet has no fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from plugins.module_utils.fleet import build_fleet
from plugins.module_utils.fleet_status import COMPONENTS, Limits, as_text, assess

Answers = dict[str, dict[str, Any]]

ADDRESSES = {
    "lb1": "192.0.2.11", "lb2": "192.0.2.12", "app1": "192.0.2.21", "app2": "192.0.2.22", "db1": "192.0.2.31",
    "db2": "192.0.2.32", "redis1": "192.0.2.41", "redis2": "192.0.2.42", "redis3": "192.0.2.43", "worker1": "192.0.2.51",
}  # fmt: skip
GROUPS = {
    "load_balancers": ["lb1", "lb2"],
    "app_servers": ["app1", "app2"],
    "mysql": ["db1", "db2"],
    "redis_cluster": ["redis1", "redis2", "redis3"],
    "queue_workers": ["worker1"],
}
RELEASE = "d9f1e58e13bb"
REDIS = [ADDRESSES[name] for name in ("redis1", "redis2", "redis3")]


def fleet(**states: str) -> dict[str, Any]:
    hostvars: dict[str, dict[str, Any]] = {name: {"ansible_host": address} for name, address in ADDRESSES.items()}
    hostvars["db1"]["mysql_primary"] = True
    for balancer in ("lb1", "lb2"):
        hostvars[balancer]["fleet_vip"] = "192.0.2.10"
    for name, state in states.items():
        hostvars[name]["fleet_state"] = state
    return build_fleet(GROUPS, hostvars).as_dict()


def base(name: str, tier: str) -> dict[str, Any]:
    return {
        "components": {part: {"owed": [], "held": []} for part in COMPONENTS[tier]},
        "services": {"ssh.service": {"state": "active", "result": "success", "restarts": "0"}},
        "failed_units": [],
        "out_of_traffic": {},
        "release": None,
        "addresses": [ADDRESSES[name], "127.0.0.1"],
        "disks": [{"path": "/", "free_percent": 50, "free_mb": 50000, "free_inodes_percent": 80}],
        "memory": {"total_mb": 1024, "available_mb": 500},
        "load": 0.4,
        "cores": 2,
        "versions": {"nginx": "1.26.3-3"},
        "certificates": [{"path": "/etc/x.pem", "days_left": 800}],
    }


def database(*, primary: bool) -> dict[str, Any]:
    source = {"source_host": ADDRESSES["db1"], "receiver": "ON", "applier": "ON", "error": ""}
    return {
        "version": "9.7.0", "writable": primary, "semi_sync": primary, "needed": 1, "replicas": 1 if primary else 0,
        "connections": 12, "max_connections": 100, "source": None if primary else source, "health": 200,
        "lag": None if primary else 0.0,
    }  # fmt: skip


def pool(own: str) -> dict[str, Any]:
    """Each host has a primary on 6379 and, on 6380, the replica of the host before it."""
    shares = dict(zip(REDIS, (5461, 5462, 5461), strict=True))
    before = dict(zip(REDIS, [REDIS[-1], *REDIS[:-1]], strict=True))
    view = {
        "epoch": 3,
        "slots": {f"{address}:6379": share for address, share in shares.items()},
        "replicas": {f"{address}:6380": f"{before[address]}:6379" for address in REDIS},
    }
    instance = {
        **view, "state": "ok", "link": "up", "link_down_seconds": 0, "moving": False,
        "used_mb": 5, "limit_mb": 90, "failed": [],
    }  # fmt: skip
    return {
        "replicas": 1,
        "instances": {f"{own}:{port}": dict(instance) for port in (6379, 6380)},
        "expected": {f"{address}:{port}": "redis" for address in REDIS for port in (6379, 6380)},
    }


def healthy() -> Answers:
    reports = {name: base(name, tier) for tier, names in GROUPS.items() for name in names}
    reports["lb1"]["addresses"].append("192.0.2.10")
    for name in ("lb1", "lb2"):
        reports[name]["balancer"] = {"url": "https://127.0.0.1:443/up", "status": 200, "body": "", "days_left": 800}
    for name in ("app1", "app2", "worker1"):
        reports[name]["release"] = {"current": RELEASE, "named": RELEASE, "releases": [RELEASE]}
        reports[name]["router"] = {"primary": ["db1"], "replicas": ["db2"], "alive": ["db1", "db2"]}
        reports[name]["services"]["nginx.service"] = {"state": "active", "result": "success", "restarts": "0"}
    for name in ("app1", "app2"):
        reports[name]["app"] = {"url": "http://127.0.0.1:80/api/health", "status": 200, "body": "{}"}
    reports["worker1"]["workers"] = {"RUNNING": 8}
    reports["worker1"]["services"]["supervisor.service"] = {"state": "active", "result": "success", "restarts": "0"}
    reports["db1"]["mysql"], reports["db2"]["mysql"] = database(primary=True), database(primary=False)
    for name in GROUPS["redis_cluster"]:
        reports[name]["redis"] = {"durable": pool(ADDRESSES[name])}
    reports["redis1"]["queues"] = {"default": {"waiting": 3, "delayed": 1, "reserved": 2}}
    return {name: {"report": report, "changed": False} for name, report in reports.items()}


def change(*path: str, to: Any) -> Callable[[Answers], None]:
    def apply(answers: Answers) -> None:
        place: Any = answers
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return apply


def silent(name: str) -> Callable[[Answers], None]:
    def apply(answers: Answers) -> None:
        answers[name] = {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out"}

    return apply


STOPPED = {"state": "inactive", "result": "success", "restarts": "0"}

ILLNESSES: dict[str, tuple[Callable[[Answers], None], list[str]]] = {
    "a host that does not answer": (silent("app2"), ["app2: host: does not answer: Failed to connect", "start it"]),
    "a Redis host that does not answer costs slots and replicas": (
        silent("redis2"),
        ["redis2: host: does not answer", "pool durable: slots: 10922 of 16384", "0 of 1 replicas on other hosts"],
    ),
    "a service that has stopped": (
        change("app1", "report", "services", "nginx.service", to=STOPPED),
        ["app1: nginx.service: is inactive; systemctl start nginx.service"],
    ),
    "a service that failed says how": (
        change("app1", "report", "services", "nginx.service", to={**STOPPED, "state": "failed", "result": "oom-kill"}),
        ["app1: nginx.service: is failed (oom-kill)"],
    ),
    "an application that names its sick part": (
        change(
            "app1", "report", "app",
            to={"url": "http://127.0.0.1:80/api/health", "status": 503, "body": '{"checks": {"cache": "fail"}}'},
        ),
        ["app1: application: http://127.0.0.1:80/api/health answers 503: cache: fail"],
    ),
    "a host that was never brought up": (
        change("app2", "report", "components", to={}),
        ["app2: host: was never brought base, php_fpm, app_server, app_release; run site.yml"],
    ),
    "a run that was interrupted": (
        change("lb1", "report", "components", "nginx_lb", to={"owed": ["reload:nginx.service"], "held": []}),
        ["lb1: nginx_lb: an interrupted run still owes: reload:nginx.service; run site.yml"],
    ),
    "no server that takes writes": (
        change("db1", "report", "mysql", "writable", to=False),
        ["mysql: MySQL primary: no server takes writes; run failover.yml"],
    ),
    "two servers that take writes": (
        change("db2", "report", "mysql", "writable", to=True),
        ["mysql: MySQL primary: db1, db2 all take writes", "super_read_only = ON"],
    ),
    "a replica that has stopped": (
        change("db2", "report", "mysql", "source", "applier", to="OFF"),
        ["db2: replication: from db1: receiver ON, applier OFF; run site.yml"],
    ),
    "a replica that met an error": (
        change("db2", "report", "mysql", "source", "error", to="applier, error 1062: Duplicate entry"),
        ["db2: replication: from db1 has stopped: applier, error 1062: Duplicate entry"],
    ),
    "a replica that lags": (
        change("db2", "report", "mysql", "lag", to=61.4),
        ["db2: replication: 61 s behind db1"],
    ),
    "a replica that follows another than the primary": (
        change("db2", "report", "mysql", "source", "source_host", to="192.0.2.99"),
        ["db2: replication: it follows 192.0.2.99, but db1 is primary"],
    ),
    "a primary without the replicas that it waits for": (
        change("db1", "report", "mysql", "replicas", to=0),
        ["db1: semi-sync: 0 of 1 replicas attached: writes wait"],
    ),
    "a primary that waits for nobody": (
        change("db1", "report", "mysql", "semi_sync", to=False),
        ["db1: semi-sync: is off"],
    ),
    "a database that does not answer": (
        change("db2", "report", "mysql", to={"error": "(2002, no socket)"}),
        ["db2: MySQL: (2002, no socket); systemctl start mysql"],
    ),
    "a health service that hides a good database": (
        change("db2", "report", "mysql", "health", to="Connection refused"),
        ["db2: mysql-health: its health service answers Connection refused"],
    ),
    "an instance of Redis that does not answer": (
        change("redis3", "report", "redis", "durable", "instances", f"{REDIS[2]}:6380", to={"error": "refused"}),
        ["redis3: Redis durable 6380: does not answer: refused; systemctl restart redis-cluster@durable-6380"],
    ),
    "a router that sees no primary": (
        change("worker1", "report", "router", "primary", to=[]),
        ["worker1: db_router: sees none as primary"],
    ),
    "workers that keep failing": (
        change("worker1", "report", "workers", to={"RUNNING": 6, "BACKOFF": 2}),
        ["worker1: queue workers: 2 BACKOFF"],
    ),
    "a queue that grows": (
        change("redis1", "report", "queues", "default", "waiting", to=1001),
        ["queue default: length: 1001 jobs wait (limit 1000)"],
    ),
    "two releases in use": (
        change("app2", "report", "release", "current", to="000000000000"),
        [f"fleet: release: more than one in use: 000000000000 on app2; {RELEASE} on app1, worker1"],
    ),
    "a VIP that nobody holds": (
        change("lb1", "report", "addresses", to=["192.0.2.11"]),
        ["fleet: VIP 192.0.2.10: no host that answers holds it"],
    ),
    "a VIP that two hold": (
        change("lb2", "report", "addresses", to=["192.0.2.10"]),
        ["fleet: VIP 192.0.2.10: lb1 and lb2 both hold it"],
    ),
    "a certificate that ends soon": (
        change("lb2", "report", "certificates", to=[{"path": "/etc/nginx/tls/app.pem", "days_left": 3}]),
        ["lb2: certificate /etc/nginx/tls/app.pem: 3 days left; run site.yml"],
    ),
    "a certificate that is served although a newer one lies there": (
        change("lb2", "report", "balancer", "days_left", to=-1),
        ["lb2: certificate served on https://127.0.0.1:443/up: has ended"],
    ),
    "a full disk": (
        change(
            "db2", "report", "disks",
            to=[{"path": "/", "free_percent": 1, "free_mb": 40, "free_inodes_percent": 80}],
        ),
        ["db2: disk of /: 40 MB (1 %) free"],
    ),
}


def test_a_whole_fleet_is_healthy_and_says_what_it_is() -> None:
    status = assess(fleet(), healthy())
    assert [str(finding) for finding in status.findings] == []
    assert status.healthy
    assert (status.vip_holder, status.primaries, status.releases) == ("lb1", {"mysql": "db1"}, (RELEASE,))
    assert status.pools["durable"]["slots"] == 16384
    assert status.queues["default"]["waiting"] == 3
    assert status.certificate_days == 800
    text = as_text(status)
    assert "The fleet is healthy." in text
    assert all(name in text for name in ADDRESSES)


def test_a_primary_that_hands_over_between_two_answers_costs_no_slot() -> None:
    """redis2 was asked before its primary moved to redis3, redis3 afterwards: of themselves, both would tell of it or none."""
    answers = healthy()
    old, new = f"{REDIS[1]}:6379", f"{REDIS[2]}:6380"
    for instance in answers["redis2"]["report"]["redis"]["durable"]["instances"].values():
        slots, replicas = dict(instance["slots"]), dict(instance["replicas"])
        slots[new], replicas[old] = slots.pop(old), new
        del replicas[new]
        instance.update(epoch=4, slots=slots, replicas=replicas)
    answers["redis2"]["report"]["redis"]["durable"]["instances"][old].update(link="down", link_down_seconds=1)
    status = assess(fleet(), answers)
    assert [str(finding) for finding in status.findings] == []
    assert status.pools["durable"]["slots"] == 16384


def test_a_replica_without_a_link_for_long_is_ill() -> None:
    answers = healthy()
    instance = answers["redis2"]["report"]["redis"]["durable"]["instances"][f"{REDIS[1]}:6380"]
    instance.update(link="down", link_down_seconds=5)
    findings = [str(finding) for finding in assess(fleet(), answers).findings]
    assert any("has no link to its primary" in finding for finding in findings)
    assert any("0 of 1 replicas on other hosts" in finding for finding in findings)


@pytest.mark.parametrize(("fault", "said"), ILLNESSES.values(), ids=ILLNESSES)
def test_an_illness_is_named(fault: Callable[[Answers], None], said: list[str]) -> None:
    answers = copy.deepcopy(healthy())
    fault(answers)
    status = assess(fleet(), answers)
    text = as_text(status)
    assert not status.healthy
    assert [part for part in said if part not in text] == [], text
    assert [str(finding) for finding in status.ill if not finding.cure] == [], "every illness says its cure"


MEANT: dict[str, tuple[dict[str, str], Callable[[Answers], None], str]] = {
    "a host that is down by the inventory": ({"app2": "down"}, silent("app2"), "app2: state: fleet_state: down"),
    "a host that is draining": ({"app2": "draining"}, lambda answers: None, "app2: state: fleet_state: draining"),
    "a host kept out of traffic": (
        {},
        change("app2", "report", "out_of_traffic", to={"app_servers": {"since": "12:00", "by": "drain", "reason": "new disk"}}),
        "app2: traffic: app_servers kept out (since 12:00, by drain, reason new disk); undrain.yml brings it back",
    ),
    "an earlier release on a host kept out of traffic": (
        {},
        lambda answers: answers["app2"]["report"].update(
            out_of_traffic={"app_servers": {}}, release={"current": "000000000000", "named": "000000000000", "releases": ["000000000000"]}
        ),
        "app2: traffic: app_servers kept out (no reason given)",
    ),
    "workers that are stopped on a host kept out of traffic": (
        {},
        lambda answers: (
            answers["worker1"]["report"].update(out_of_traffic={"queue_workers": {}}, workers={}),
            answers["worker1"]["report"]["services"].update({"supervisor.service": STOPPED}),
        )[0],
        "worker1: supervisor.service: is inactive, as it is kept out of traffic",
    ),
    "a certificate with three weeks left": (
        {},
        change("lb2", "report", "certificates", to=[{"path": "/etc/x.pem", "days_left": 20}]),
        "lb2: certificate /etc/x.pem: 20 days left",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("states", "fault", "said"), MEANT.values(), ids=MEANT)
def test_what_somebody_meant_is_noted_and_no_illness(
    states: dict[str, str], fault: Callable[[Answers], None], said: str
) -> None:
    answers = copy.deepcopy(healthy())
    fault(answers)
    status = assess(fleet(**states), answers)
    assert [str(finding) for finding in status.ill] == []
    assert said in as_text(status)


def test_hosts_outside_the_limit_are_not_missed() -> None:
    answers = {name: answer for name, answer in healthy().items() if name in ("app1", "redis1", "db2")}
    status = assess(fleet(), answers)
    assert [str(finding) for finding in status.ill] == []
    assert [row.host for row in status.rows] == ["app1", "db2", "redis1"]


def test_limits_are_settings() -> None:
    answers = healthy()
    answers["db2"]["report"]["mysql"]["lag"] = 8.0
    assert not assess(fleet(), answers).healthy
    assert assess(fleet(), answers, Limits(lag_seconds=10)).healthy
