# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""status.yml agrees with the fleet: it is content with a whole one, and names each of several faults at once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.e2e.support.lab import Lab, Run
from tests.e2e.support.redis_pools import durable_primaries
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor

# Everything is back some seconds after the last fault was mended: a replica attaches, a Redis host joins, checks pass.
RECOVERY_SECONDS = 90


def status(lab: Lab) -> tuple[Run, dict[str, Any]]:
    """A run of status.yml and the JSON that it wrote."""
    file = lab.folder / "e2e" / "status.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    run = lab.play("playbooks/status.yml", "-e", f"status_file={file}")
    assert file.is_file(), run.output[-4000:]
    return run, json.loads(file.read_text(encoding="utf-8"))


def illnesses(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(row["host"], row["thing"], row["value"]) for row in told["findings"] if row["level"] == "ill"]


def healthy(lab: Lab) -> tuple[Run, dict[str, Any]]:
    """The first run that is content, within the time that a fleet needs to be whole again."""
    last: list[tuple[Run, dict[str, Any]]] = []

    def well() -> bool:
        last[:] = [status(lab)]
        assert last[0][0].code == 0, illnesses(last[0][1])
        return True

    until("status.yml calls the fleet healthy", well, seconds=RECOVERY_SECONDS, every=1)
    return last[0]


def test_a_whole_fleet_is_healthy_and_the_table_is_true(
    lab: Lab, databases: dict[str, Any], visitor: Visitor
) -> None:
    start = time.monotonic()
    run, told = healthy(lab)
    seconds = time.monotonic() - start
    assert run.changed == {}
    assert told["healthy"] and illnesses(told) == []
    assert [row["host"] for row in told["rows"]] == lab.hosts
    assert told["primaries"] == {"mysql": databases["primary"]}
    assert {pool: row["slots"] for pool, row in told["pools"].items()} == {"durable": 16384, "cache": 16384}
    assert told["releases"] == [visitor.get("/up").headers["X-Release"]]
    holders = [h for h in lab.tier("load_balancers") if f" {lab.vip}/" in lab.ssh(h, "ip -4 -o address show")]
    assert holders == [told["vip_holder"]]
    assert set(told["queues"]) >= {"default"}
    assert seconds < 30, f"status.yml took {seconds:.0f} s"


@contextmanager
def paused(lab: Lab, host: str) -> Iterator[None]:
    lab.podman("pause", host)
    try:
        yield
    finally:
        lab.podman("unpause", host)


@contextmanager
def replication_stopped(lab: Lab, host: str) -> Iterator[None]:
    lab.sql(host, "STOP REPLICA")
    try:
        yield
    finally:
        lab.sql(host, "START REPLICA")


def test_several_faults_at_once_are_each_named_and_then_gone(
    lab: Lab, databases: dict[str, Any], app_servers: list[str]
) -> None:
    app, replica, store = app_servers[0], databases["replicas"][0], lab.tier("object_storage")[0]
    redis = sorted(durable_primaries(lab).values())[0]
    with ExitStack() as faults:
        faults.enter_context(paused(lab, store))
        faults.enter_context(replication_stopped(lab, replica))
        faults.enter_context(lab.stopped(app, "nginx"))
        faults.enter_context(lab.dead(redis))
        run, told = status(lab)
    assert run.code != 0
    found = illnesses(told)
    lines = "\n".join(map(str, found))

    def named(host: str, thing: str, value: str) -> bool:
        return any(
            host == row[0] and re.search(thing, row[1]) and re.search(value, row[2]) for row in found
        )

    assert named(redis, "^host$", "does not answer"), lines
    assert named("pool durable", "^slots$", " of 16384 slots") or any(
        "replicas on other hosts" in value for _host, _thing, value in found
    ), lines
    assert named(app, r"^nginx\.service$", "is (inactive|failed)"), lines
    assert named(replica, "^replication$", "receiver OFF, applier OFF"), lines
    assert named(store, "^host$", "does not answer"), lines
    assert {row["host"]: row["health"] for row in told["rows"] if row["host"] in (redis, store)} == {
        redis: "no answer",
        store: "no answer",
    }
    # What the run ended with is what a person reads: each illness on a line of its own, with its cure.
    assert all(f"{host}: {thing}: {value}" in run.messages for host, thing, value in found)
    assert {host for host, _thing, _value in found} & set(lab.tier("load_balancers")) == set(), lines
    healthy(lab)


def test_a_host_kept_out_of_traffic_is_noted_not_ill(lab: Lab, app_servers: list[str]) -> None:
    name = app_servers[0]
    drained = lab.play("playbooks/drain.yml", "-e", f"fleet_host={name}")
    try:
        assert drained.code == 0, drained.output[-4000:]
        run, told = status(lab)
    finally:
        back = lab.play("playbooks/undrain.yml", "-e", f"fleet_host={name}")
    assert back.code == 0, back.output[-4000:]
    assert run.code == 0, illnesses(told)
    assert next(row for row in told["rows"] if row["host"] == name)["state"] == "active, out"
    notes = [row["value"] for row in told["findings"] if (row["host"], row["thing"]) == (name, "traffic")]
    assert notes and notes[0].startswith("app_servers kept out (since "), told["findings"]
