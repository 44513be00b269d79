# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plan.yml says is what site.yml or resize.yml then does: the same settings, reloads and restarts; afterwards nothing is left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.support.lab import ROOT, Lab, Run, fresh_folder
from tests.e2e.support.plans import LAB_INVENTORY, everywhere, files, planned, run_does, services_did, units
from tests.e2e.support.redis_pools import POOLS, connect

TAGS = "php_fpm,app_server,mysql,redis_cluster"
# What stops or starts when an application server leaves the traffic.
GATES = ("fleet-scheduler.service", "graphic_school-traffic.service")


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[str]:
    """One host of a tier is as good as all for what is proven here, but a replica is only one beside its primary."""
    return [lab.tier("app_servers")[0], *lab.tier("mysql"), *lab.tier("redis_cluster")]


@pytest.fixture(scope="module")
def play(lab: Lab, hosts: list[str]) -> Callable[..., Run]:
    """Runs a playbook on the hosts and parts that this proof is about."""

    def run(playbook: str, *options: str, inventories: list[Path], env: dict[str, str] | None = None) -> Run:
        narrowed = ("--limit", ",".join(hosts), "--tags", TAGS)
        return lab.play(playbook, *narrowed, *options, inventories=inventories, env=env)

    return run


def overlay(threads: int) -> dict[str, Any]:
    """Something else in each tier."""
    return {
        "app_servers": {"vars": {"fleet_memory_mb": 896, "php_fpm_ini": {"max_input_vars": 4000}}},
        "mysql": {"vars": {"mysql_settings": {"long_query_time": 2, "innodb_read_io_threads": threads}}},
        "redis_cluster": {"vars": {"redis_cluster_maxmemory_mb": 200}},
    }


@pytest.fixture(scope="module")
def wished(lab: Lab, play: Callable[..., Run]) -> Iterator[list[Path]]:
    """The lab's inventory with something else in each tier; afterwards the fleet is what it was.

    But for one thing: a setting that is gone from MySQL's file is still the running server's, so it gets a value that no server has.
    """
    threads = 1 + max(int(lab.sql(host, "SELECT @@innodb_read_io_threads")[0][0]) for host in lab.tier("mysql"))
    yield [LAB_INVENTORY, lab.inventory_with("plan", overlay(threads))]
    back = play("playbooks/site.yml", inventories=[LAB_INVENTORY])
    assert back.code == 0, back.output[-4000:]


def test_the_plan_touches_nothing_and_the_run_then_does_just_that(
    lab: Lab, databases: dict[str, Any], hosts: list[str], play: Callable[..., Run], wished: list[Path]
) -> None:
    files_before, units_before = everywhere(hosts, lambda h: files(lab, h)), everywhere(hosts, lambda h: units(lab, h))
    plan, printed = planned(lab, play, wished)
    assert everywhere(hosts, lambda h: files(lab, h)) == files_before
    assert everywhere(hosts, lambda h: units(lab, h)) == units_before
    shown = [name for name, secret in lab.credentials.items() if str(secret) in printed]
    assert shown == [], "secrets were shown"
    app = hosts[0]
    children = next(row for row in plan["changes"] if (row["host"], row["setting"]) == (app, "pm.max_children"))
    assert children["why"].endswith(f"= {children['then']}")
    assert plan["sizes"][app]["php_fpm_children"]["value"] == int(children["then"])
    assert plan["budget"]["total"] <= plan["budget"]["max_connections"]

    run_does(lab, play, "site", wished, plan)
    # The same from outside: what systemd, MySQL and Redis say happened to them.
    services_did(plan, units_before, everywhere(hosts, lambda h: units(lab, h)))
    assert {host for host in databases["replicas"] if (host, "mysql.service") not in said_restarts(plan)} == set()
    assert (databases["primary"], "mysql.service") not in said_restarts(plan)
    slow = {host: lab.sql(host, "SELECT @@global.long_query_time")[0][0] for host in lab.tier("mysql")}
    assert {float(value) for value in slow.values()} == {2.0}
    online = {row["what"] for row in plan["actions"] if row["verb"] == "set online" and "maxmemory:" in row["what"]}
    for sentence in online:
        instance, wanted = sentence.split()[0], sentence.rpartition("-> ")[2]
        host = next(r["host"] for r in plan["actions"] if r["what"] == sentence)
        pool, port = instance.rsplit("-", 1)
        assert int(port) in POOLS[pool]
        with connect(lab, host, int(port), "admin") as client:
            assert wanted in (value := str(client.config_get("maxmemory")["maxmemory"])) or megabytes(wanted) == int(value)
    assert online, "each instance of Redis gets another maxmemory"


def said_restarts(plan: dict[str, Any]) -> set[tuple[str, str]]:
    return {(row["host"], row["what"]) for row in plan["actions"] if row["verb"] == "restart"}


def megabytes(text: str) -> int:
    """Bytes of `100mb`."""
    number = re.match(r"(\d+)mb", text.lower())
    return int(number[1]) * 2**20 if number else -1


def test_afterwards_the_plan_says_that_nothing_is_left(lab: Lab, play: Callable[..., Run], wished: list[Path]) -> None:
    plan, _printed = planned(lab, play, wished)
    assert plan["changing"] == [], plan["changes"] + plan["actions"]
    assert [note for note in plan["notes"] if "is primary and is not restarted: innodb_read_io_threads" in note], plan["notes"]


def test_a_fleet_that_the_run_would_refuse_is_refused_in_the_same_words(lab: Lab) -> None:
    text = (LAB_INVENTORY / "hosts.yml").read_text(encoding="utf-8").replace("198.18.10.", "198.18.12.")
    inventory = yaml.safe_load(text)
    inventory["app_servers"]["vars"]["php_fpm_max_children"] = 5000
    folder = fresh_folder(ROOT / ".lab" / "bad-inventory")
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
    (folder / "group_vars").symlink_to(LAB_INVENTORY / "group_vars")
    run = lab.play("playbooks/plan.yml", inventories=[folder])
    refused = lab.play("playbooks/site.yml", inventories=[folder])
    assert run.code != 0 and refused.code != 0
    reason = re.findall(r"the fleet may open \d+ connections to MySQL, but \w+ allows \d+", refused.messages)
    assert reason and reason[0] in " ".join(run.messages.split()), run.messages


def test_a_resize_does_what_its_plan_says(lab: Lab) -> None:
    host = lab.tier("app_servers")[-1]
    asked = [host, *lab.tier("monitoring")]
    bigger = [LAB_INVENTORY, lab.inventory_with("bigger", {"app_servers": {"hosts": {host: {"fleet_memory_mb": 1280}}}})]
    chosen = ("-e", f"fleet_host={host}")
    before = everywhere(asked, lambda h: (files(lab, h), units(lab, h)))
    plan, _printed = planned(lab, lab.play, bigger, "-e", "plan_playbook=resize", *chosen)
    assert everywhere(asked, lambda h: (files(lab, h), units(lab, h))) == before, "a plan touches nothing"
    assert {row["host"] for row in plan["changes"] if row["setting"] == "pm.max_children"} == {host}
    try:
        run_does(lab, lab.play, "resize", bigger, plan, *chosen)
        services = {name: found for name, (_files, found) in before.items()}
        services_did(plan, services, everywhere(asked, lambda h: units(lab, h)), GATES)
    finally:
        back = lab.play("playbooks/resize.yml", *chosen)
        assert back.code == 0, back.output[-4000:]
