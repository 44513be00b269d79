# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes go to the primary, reads come from replicas, and the replicas hold the same and take no writes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.support.lab import Lab
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor, new_key, served_by


def enrolment_reads(lab: Lab, host: str) -> int:
    """How many SELECTs on the enrolments this server has run since it started."""
    statement = (
        "SELECT COALESCE(SUM(count_star), 0) FROM performance_schema.events_statements_summary_by_digest "
        "WHERE schema_name = 'school' AND digest_text LIKE 'EXECUTE SELECT %enrolments%'"
    )
    return int(lab.sql(host, statement)[0][0])


def enrol(visitor: Visitor, server: str) -> int:
    course = visitor.get("/api/courses").json()["data"][0]["id"]
    wish = {"course_id": course, "student": "Grace", "key": new_key("enrol")}
    made = visitor.send_to(server, "POST", "/api/enrolments", json=wish)
    assert made.status_code in {200, 201}
    return int(made.json()["id"])


def test_each_server_reads_from_replicas_and_writes_to_the_primary(
    visitor: Visitor, app_servers: list[str], databases: dict[str, Any]
) -> None:
    uuid = databases["uuid"]
    replicas = {uuid[host] for host in databases["replicas"]}
    for server in app_servers:
        seen = [visitor.get_from(server, "/api/whoami").json() for _turn in range(6)]
        assert {answer["write_server"] for answer in seen} == {uuid[databases["primary"]]}
        assert {answer["read_server"] for answer in seen} <= replicas


def test_a_row_written_through_one_server_is_read_by_the_other_from_a_replica(
    lab: Lab, visitor: Visitor, app_servers: list[str], databases: dict[str, Any]
) -> None:
    first, second = app_servers[:2]
    number = enrol(visitor, first)
    before = {host: enrolment_reads(lab, host) for host in databases["uuid"]}

    def read_by_the_other() -> bool:
        answer = visitor.get(f"/api/enrolments/{number}")
        return answer.status_code == 200 and served_by(answer) == second and answer.json()["student"] == "Grace"

    until(f"{second} reads the row that {first} wrote", read_by_the_other, seconds=10)
    more = {host: enrolment_reads(lab, host) - count for host, count in before.items()}
    assert more[databases["primary"]] == 0, f"the primary answered reads: {more}"
    assert sum(more.values()) >= 1, f"no replica answered a read: {more}"


def test_a_consistent_read_comes_from_the_primary_at_once(
    lab: Lab, visitor: Visitor, app_servers: list[str], databases: dict[str, Any]
) -> None:
    before = enrolment_reads(lab, databases["primary"])
    for _turn in range(5):
        number = enrol(visitor, app_servers[0])
        answer = visitor.get(f"/api/enrolments/{number}", params={"consistent": 1})
        assert (answer.status_code, answer.json()["id"]) == (200, number)
    assert enrolment_reads(lab, databases["primary"]) >= before + 5


def test_the_same_key_enrols_once(visitor: Visitor) -> None:
    course = visitor.get("/api/courses").json()["data"][0]["id"]
    wish = {"course_id": course, "student": "Grace", "key": new_key("enrol")}
    first = visitor.post("/api/enrolments", wish)
    assert first.status_code == 201
    assert {visitor.post("/api/enrolments", wish).json()["id"] for _turn in range(4)} == {first.json()["id"]}


def test_replicas_refuse_writes_even_of_root(lab: Lab, databases: dict[str, Any]) -> None:
    for host in databases["replicas"]:
        with pytest.raises(AssertionError, match="super-read-only"):
            lab.sql(host, "CREATE TABLE school.written_on_a_replica (id INT PRIMARY KEY)")


def test_replicas_hold_every_transaction_and_no_other(lab: Lab, databases: dict[str, Any]) -> None:
    executed = lab.sql(databases["primary"], "SELECT REPLACE(@@gtid_executed, '\n', '')")[0][0].replace("\\n", "")
    for host in databases["replicas"]:
        caught_up = f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', 15)"
        assert lab.sql(host, caught_up) == [["0"]], f"{host} did not reach {executed}"
    for host in databases["replicas"]:
        theirs = lab.sql(host, "SELECT REPLACE(@@gtid_executed, '\n', '')")[0][0].replace("\\n", "")
        stray = lab.sql(databases["primary"], f"SELECT GTID_SUBTRACT('{theirs}', @@gtid_executed)")
        assert stray in ([[""]], []), f"{host} holds transactions that the primary never had: {stray}"


def test_the_primary_waits_for_a_replica_before_it_acknowledges(lab: Lab, databases: dict[str, Any]) -> None:
    status = dict(lab.sql(databases["primary"], "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_%'"))
    assert status["Rpl_semi_sync_source_status"] == "ON"
    assert int(status["Rpl_semi_sync_source_clients"]) == len(databases["replicas"])
    assert status["Rpl_semi_sync_source_no_tx"] == "0", "a write was acknowledged that one machine alone held"


def test_servers_talk_to_each_other_over_tls(lab: Lab, databases: dict[str, Any]) -> None:
    for host in databases["replicas"]:
        rows = lab.sql(
            host,
            "SELECT SSL_ALLOWED, SSL_VERIFY_SERVER_CERTIFICATE "
            "FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = ''",
        )
        assert rows == [["YES", "YES"]], host
