# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plan.yml says is what site.yml or resize.yml then does: the same settings, reloads and restarts; afterwards nothing is left."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.fleet_plan import plan_from, read_record
from tests.e2e.support.lab import ROOT, Lab, Run, fresh_folder
from tests.e2e.support.redis_pools import POOLS, connect

LAB_INVENTORY = ROOT / "inventories/lab"
# One host of a tier is as good as all for what is proven here, but a replica is only one beside its primary.
OVERLAY: dict[str, Any] = {
    "app_servers": {"vars": {"fleet_memory_mb": 896, "php_fpm_ini": {"max_input_vars": 4000}}},
    "mysql": {"vars": {"mysql_settings": {"long_query_time": 2}}},
    "redis_cluster": {"vars": {"redis_cluster_maxmemory_mb": 200}},
}
TAGS = "php_fpm,app_server,mysql,redis_cluster"
# What stops or starts when an application server leaves the traffic.
GATES = ("fleet-scheduler.service", "graphic_school-traffic.service")
RECORDER = {"ANSIBLE_CALLBACKS_ENABLED": "graphic_school.scaling.run_record"}


@dataclass(frozen=True)
class Units:
    """Of every unit that the collection looks after: which start it lives in, and when it was last told to reload."""

    started: dict[str, str]
    reloaded: dict[str, str]


def everywhere[T](hosts: list[str], ask: Callable[[str], T]) -> dict[str, T]:
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(hosts, pool.map(ask, hosts), strict=True))


def units(lab: Lab, host: str) -> Units:
    """What systemd says, asked over SSH."""
    kept = lab.ssh(host, "cat /var/lib/graphic_school/*.json").replace("}{", "}\n{")
    names = sorted(set(re.findall(r'"([\w@:.-]+\.service)"', kept)))
    printed = lab.ssh(host, f"systemctl show --property=Id,InvocationID,ExecReload -- {' '.join(names)}")
    started, reloaded = {}, {}
    for block in printed.strip().split("\n\n"):
        name = re.findall(r"^Id=(.*)$", block, re.MULTILINE)[0]
        started[name] = "".join(re.findall(r"^InvocationID=(.*)$", block, re.MULTILINE))
        reloaded[name] = "".join(re.findall(r"start_time=\[([^\]]*)\]", block))
    return Units(started, reloaded)


def files(lab: Lab, host: str) -> str:
    """A fingerprint of all that a run of site.yml could write, with owners and modes."""
    look = "find /etc /usr/local /var/lib/graphic_school -xdev -type f -printf '%p %m %u %g ' -exec sha256sum {} + | sort"
    return lab.ssh(host, f"({look}) 2>/dev/null | grep -v '/resolv.conf\\|/adjtime' | sha256sum")


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> list[str]:
    return [lab.tier("app_servers")[0], *lab.tier("mysql"), *lab.tier("redis_cluster")]


@pytest.fixture(scope="module")
def play(lab: Lab, hosts: list[str]) -> Callable[..., Run]:
    """Runs a playbook on the hosts and parts that this proof is about."""

    def run(playbook: str, *options: str, inventories: list[Path], env: dict[str, str] | None = None) -> Run:
        narrowed = ("--limit", ",".join(hosts), "--tags", TAGS)
        return lab.play(playbook, *narrowed, *options, inventories=inventories, env=env)

    return run


@pytest.fixture(scope="module")
def wished(lab: Lab, play: Callable[..., Run]) -> Iterator[list[Path]]:
    """The lab's inventory with something else in each tier; afterwards the fleet is what it was.

    But for one thing: a setting that is gone from MySQL's file is still the running server's, so it gets a value that no server has.
    """
    threads = 1 + max(int(lab.sql(host, "SELECT @@innodb_read_io_threads")[0][0]) for host in lab.tier("mysql"))
    settings = OVERLAY["mysql"]["vars"]["mysql_settings"] | {"innodb_read_io_threads": threads}
    yield [LAB_INVENTORY, lab.inventory_with("plan", OVERLAY | {"mysql": {"vars": {"mysql_settings": settings}}})]
    back = play("playbooks/site.yml", inventories=[LAB_INVENTORY])
    assert back.code == 0, back.output[-4000:]


def planned(lab: Lab, play: Callable[..., Run], inventories: list[Path], *options: str) -> tuple[dict[str, Any], str]:
    """The plan as data, and all that was printed."""
    file = lab.folder / "e2e" / "plan.json"
    file.unlink(missing_ok=True)
    run = play("playbooks/plan.yml", "-e", f"plan_file={file}", *options, inventories=inventories)
    assert run.code == 0, run.output[-4000:]
    return json.loads(file.read_text(encoding="utf-8")), run.output + file.read_text(encoding="utf-8")


def rows(plan: dict[str, Any], part: str, *keys: str, hosts: Collection[str] = ()) -> set[tuple[str, ...]]:
    """The rows of a plan, or those of some hosts: of these without the steps that are no setting."""
    found = [row for row in plan[part] if not hosts or (row["host"] in hosts and row.get("thing") != "task")]
    return {tuple(str(row[key]) for key in keys) for row in found}


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


def run_does(
    lab: Lab,
    play: Callable[..., Run],
    playbook: str,
    inventories: list[Path],
    plan: dict[str, Any],
    *options: str,
    hosts: Collection[str] = (),
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run the playbook, and hold what it says that it did against the plan; with C(hosts), the settings and services of these."""
    record = lab.folder / "e2e" / "record"
    env = {**(env or {}), **RECORDER, "GRAPHIC_SCHOOL_RUN_RECORD": str(record)}
    run = play(f"playbooks/{playbook}.yml", *options, inventories=inventories, env=env)
    assert run.code == 0, run.output[-4000:]
    did = plan_from(read_record(record.read_text(encoding="utf-8")), playbook).as_dict()
    columns = ("host", "component", "thing", "setting", "now", "then", "effect")
    assert rows(plan, "changes", *columns, hosts=hosts) == rows(did, "changes", *columns, hosts=hosts)
    assert rows(plan, "actions", "host", "verb", "what", hosts=hosts) == rows(did, "actions", "host", "verb", "what", hosts=hosts)
    return run


def services_did(plan: dict[str, Any], before: dict[str, Units], after: dict[str, Units], gates: Collection[str] = ()) -> None:
    """What systemd says happened to the services is what the plan said would; units that are gates of the traffic come and go with it."""
    for verb, part in (("restart", "started"), ("reload", "reloaded")):
        seen = {
            (host, unit)
            for host in before
            for unit, mark in getattr(after[host], part).items()
            if unit not in gates and mark != getattr(before[host], part).get(unit)
        }
        if verb == "reload":  # a restart may leave the mark of the last reload out
            seen -= {(row["host"], row["what"]) for row in plan["actions"] if row["verb"] == "restart"}
        said = {(row["host"], row["what"]) for row in plan["actions"] if row["verb"] == verb}
        assert said == seen, verb


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
