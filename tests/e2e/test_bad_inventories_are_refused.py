# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory that cannot work is refused by a sentence that names the fault, before any host is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.support.lab import ROOT, Lab, fresh_folder

LAB_INVENTORY = ROOT / "inventories/lab"
Inventory = dict[str, Any]


def two_primaries(inventory: Inventory) -> None:
    inventory["mysql"]["hosts"]["db2"]["mysql_primary"] = True


def no_primary(inventory: Inventory) -> None:
    del inventory["mysql"]["hosts"]["db1"]["mysql_primary"]


def an_empty_pool(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"] = {}


def a_missing_pool(inventory: Inventory) -> None:
    del inventory["redis_cluster"]


def an_unknown_state(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"]["app2"]["fleet_state"] = "drainning"


def an_unknown_key(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"]["app2"]["fleet_stat"] = "draining"


def two_hosts_with_one_address(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"]["app2"] = dict(inventory["app_servers"]["hosts"]["app1"])


def two_redis_hosts(inventory: Inventory) -> None:
    del inventory["redis_cluster"]["hosts"]["redis3"]


def a_replica_whose_primary_is_elsewhere(inventory: Inventory) -> None:
    hosts = inventory["mysql"].pop("hosts")
    inventory["mysql"]["children"] = {
        "shard_a": {"hosts": {"db1": hosts["db1"]}},
        "shard_b": {"hosts": {"db2": hosts["db2"], "db3": hosts["db3"]}},
    }


def nobody_active(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"]["app1"]["fleet_state"] = "draining"
    inventory["app_servers"]["hosts"]["app2"]["fleet_state"] = "down"


def an_address_that_breaks_out(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"]["app2"]["fleet_address"] = "198.18.12.22; include /etc/passwd"


def a_weight_that_is_no_number(inventory: Inventory) -> None:
    inventory["app_servers"]["hosts"]["app2"]["fleet_weight"] = "heavy"


def more_connections_than_mysql_has(inventory: Inventory) -> None:
    inventory["app_servers"]["vars"]["php_fpm_max_children"] = 5000


def a_job_that_outlives_its_reservation(inventory: Inventory) -> None:
    inventory["queue_workers"]["vars"]["queue_workers_programs"] = [
        {"name": "slow", "queues": ["emails"], "timeout": 120}
    ]


REFUSALS = {
    a_job_that_outlives_its_reservation: ["worker program slow lets a job run 120 s", "lower its timeout below 90"],
    two_primaries: ["group mysql must hold exactly one host with mysql_primary: true, not: db1, db2"],
    no_primary: ["group mysql has no primary", "mysql_primary: true", "db1, db2, db3"],
    an_empty_pool: ["group app_servers is", "at least one host"],
    a_missing_pool: ["group redis_cluster is", "at least one host"],
    an_unknown_state: ["host app2: fleet_state must be one of", "not: drainning", "did you mean draining?"],
    an_unknown_key: ["host app2: unknown variable fleet_stat", "did you mean fleet_state?"],
    two_hosts_with_one_address: ["hosts app1, app2 have one address, 198.18.12.21"],
    two_redis_hosts: ["group redis_cluster has 2 active hosts (redis1, redis2)", "different hosts"],
    a_replica_whose_primary_is_elsewhere: ["group shard_b", "db2, db3", "db1 of group shard_a"],
    nobody_active: ["group app_servers has no active host", "app1 is draining, app2 is down"],
    an_address_that_breaks_out: ["host app2: fleet_address is not an address"],
    a_weight_that_is_no_number: ["host app2: fleet_weight must be a whole number", "not: heavy"],
    more_connections_than_mysql_has: ["connections to MySQL", "db1 allows", "max_connections", "PHP-FPM"],
}


@pytest.fixture
def bad_inventory() -> Iterator[Callable[[Callable[[Inventory], None]], Path]]:
    """Writes the lab's inventory with one fault, on addresses where nobody lives: no run can do harm."""

    def write(fault: Callable[[Inventory], None]) -> Path:
        text = (LAB_INVENTORY / "hosts.yml").read_text(encoding="utf-8").replace("198.18.10.", "198.18.12.")
        inventory = yaml.safe_load(text)
        fault(inventory)
        folder = fresh_folder(ROOT / ".lab" / "bad-inventory")
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
        (folder / "group_vars").symlink_to(LAB_INVENTORY / "group_vars")
        return folder

    return write


@pytest.mark.parametrize("fault", REFUSALS, ids=lambda fault: fault.__name__)
def test_is_refused_by_name_before_anything_changes(
    fault: Callable[[Inventory], None],
    lab: Lab,
    bad_inventory: Callable[[Callable[[Inventory], None]], Path],
) -> None:
    run = lab.play("playbooks/site.yml", inventories=[bad_inventory(fault)])
    assert run.code != 0
    said = run.messages or run.output
    assert [part for part in REFUSALS[fault] if part not in " ".join(said.split())] == [], said
    assert run.changed == {}
    assert {host for host, counted in run.stats.items() if counted["unreachable"]} == set(), "hosts were approached"
    assert run.plays == ["Refuse what cannot work, before anything is changed"]
