# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fourth replica needs one line in the inventory: it arrives by CLONE and serves reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.support.lab import ROOT, Lab
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor

LAB_INVENTORY = ROOT / "inventories/lab"
# The database's tier and those who route to it; the rest of the fleet doesn't know how many replicas there are.
CONCERNED = ("--limit", "mysql:app_servers:queue_workers", "--tags", "base,mysql,db_router")
NAME, ADDRESS = "db4", "198.18.10.34"


@pytest.fixture
def db4(lab: Lab) -> Iterator[Any]:
    extra = lab.inventory_with("db4", {"mysql": {"hosts": {NAME: {"ansible_host": ADDRESS}}}})
    lab.lab("up", "--inventory", str(extra))
    try:
        yield extra
    finally:
        lab.lab("prune")
        back = lab.play("playbooks/site.yml", *CONCERNED)
        assert back.code == 0, back.output[-4000:]


def test_a_fourth_replica_arrives_by_clone(lab: Lab, db4: Any, databases: dict[str, Any], visitor: Visitor) -> None:
    lab.sql(databases["primary"], "CREATE TABLE IF NOT EXISTS school.proof (id INT PRIMARY KEY)")
    lab.sql(databases["primary"], "REPLACE INTO school.proof VALUES (4)")

    run = lab.play("playbooks/site.yml", *CONCERNED, inventories=[LAB_INVENTORY, db4])
    assert run.code == 0, run.output[-4000:]

    clone = lab.sql(NAME, "SELECT STATE, ERROR_NO FROM performance_schema.clone_status", address=ADDRESS)
    assert clone == [["Completed", "0"]]
    assert lab.sql(NAME, "SELECT id FROM school.proof", address=ADDRESS) == [["4"]]
    assert lab.sql(NAME, "SELECT @@super_read_only", address=ADDRESS) == [["1"]]
    uuid = lab.sql(NAME, "SELECT @@server_uuid", address=ADDRESS)[0][0]
    assert uuid not in databases["uuid"].values()

    def reads_from_it() -> bool:
        return bool(visitor.get("/api/whoami").json()["read_server"] == uuid)

    until("the application reads from the fourth replica", reads_from_it, seconds=20, every=0.05)
    lab.sql(databases["primary"], "DROP TABLE school.proof")
