# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger is held to its own promise: a run in which something was lost on purpose turns red, and says what.

`make e2e-self-test`; each run takes about half a minute, so `make proof` leaves them out.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ledger.rows import VERBS, Row
from tests.e2e.ledger.run import Options, run, write
from tests.e2e.ledger.schedule import MIX
from tests.e2e.ledger.steps import Stage, Step, an_app_server, the_mysql_primary, wait, wait_until_whole
from tests.e2e.support.lab import Lab
from tests.e2e.support.redis_pools import cluster
from tests.e2e.support.waiting import until
from tests.e2e.support.web import visiting

pytestmark = pytest.mark.self_test

# Half a dozen long POSTs are under way on each server at any moment: one of them meets what is done to it.
HEAVY = {**MIX, "slow": 0.5, "slow_post": 5}


def one_run(lab: Lab, folder: Path, *steps: Callable[[Stage], object], mix: Mapping[str, float] | None = None) -> dict[str, Any]:
    name = folder.name
    row = Row(f"seeded: {name}", tuple(Step(step.__name__, step) for step in steps) or VERBS["none"].steps, mix=mix or MIX)
    options = Options(
        name, row, folder, rate=25, before_seconds=6, after_seconds=4, hold_seconds=8, jobs_seconds=20
    )
    folder.mkdir(parents=True, exist_ok=True)
    told = asyncio.run(run(lab, options))
    print(write(lab, options, told))
    return told


@pytest.fixture
def folder(lab: Lab, request: pytest.FixtureRequest) -> Path:
    name: str = request.node.name
    return lab.folder / "e2e" / "self-test" / name.removeprefix("test_")


@pytest.fixture(autouse=True)
def whole(lab: Lab) -> Iterator[None]:
    """Each run begins and ends on a fleet that lacks nothing."""
    stage: Any = type("Fleet", (), {"lab": lab})()
    wait_until_whole(stage)
    yield
    wait_until_whole(stage)


def lines(told: Mapping[str, Any], beginning: str) -> list[str]:
    return [line for line in told["missing"] if line.startswith(beginning)]


def only(told: Mapping[str, Any], sentence: str) -> None:
    """One rule was broken, and it was this one: a run that is red for another reason proves nothing.

    A machine that is too busy says so in every run; that is not the fault that was seeded.
    """
    breaches = [breach for breach in told["breaches"] if not breach.startswith("the client itself was late")]
    assert len(breaches) == 1, breaches
    assert sentence in breaches[0]


def test_a_run_in_which_nothing_happens_is_green(lab: Lab, folder: Path) -> None:
    told = one_run(lab, folder)
    assert told["breaches"] == []
    assert told["ledger"]["enrolments"]["acknowledged"] > 20
    assert told["ledger"]["jobs"]["done"] == told["ledger"]["jobs"]["acknowledged"] > 5
    assert set(told["phases"]["all"]["by_server"]) == set(lab.tier("app_servers"))
    assert told["client"]["cpu_percent_of_a_core"] < 25


def test_a_deleted_row_is_missing(lab: Lab, folder: Path) -> None:
    deleted = []

    def delete_a_row(stage: Stage) -> None:
        number = until("an enrolment", lambda: min(stage.book.enrolments, default=0), seconds=30)
        lab.sql(the_mysql_primary(lab), f"DELETE FROM school.enrolments WHERE id = {number}")
        deleted.append(number)

    told = one_run(lab, folder, delete_a_row)
    found = lines(told, f"enrolment {deleted[0]} ")
    assert any("not in" in line for line in found), "SQL has to notice"
    assert any("404" in line for line in found), "the API has to notice"
    assert {line.split()[1] for line in told["missing"]} == {str(deleted[0])}


def test_a_job_that_was_taken_from_its_queue_is_lost(lab: Lab, folder: Path) -> None:
    taken = []

    def take_a_job(_stage: Stage) -> None:
        redis = cluster(lab, "durable")
        for host in lab.tier("queue_workers"):
            lab.ssh(host, "supervisorctl stop all")
        try:
            # Only DoWork goes to this queue.
            job = until("a job waits", lambda: redis.lpop("school:queues:{payments}"), seconds=30)
        finally:
            for host in lab.tier("queue_workers"):
                lab.ssh(host, "supervisorctl start all")
        taken.append(job)

    told = one_run(lab, folder, take_a_job)
    assert len(taken) == 1
    assert len(lines(told, "job ")) == 1
    assert "is queued" in told["missing"][0]
    only(told, "1 acknowledged things are missing")


def test_an_overwritten_picture_is_noticed(lab: Lab, folder: Path) -> None:
    names = []

    def overwrite(stage: Stage) -> None:
        names.append(until("an upload", lambda: next(iter(stage.book.uploads), ""), seconds=30))
        with visiting(lab.url, lab.vip, lab.ca_file) as visitor:
            assert visitor.http.put(f"/api/pictures/{names[0]}", content=b"something else").status_code == 201

    told = one_run(lab, folder, overwrite)
    assert told["missing"] == [f"upload {names[0]}: other bytes than those that were acknowledged"]


def test_a_deleted_session_goes_back(lab: Lab, folder: Path) -> None:
    numbers = []

    def delete_a_session(stage: Stage) -> None:
        session = until(
            "a session that was used twice", lambda: next((s for s in stage.book.sessions if s.hits > 1), None), seconds=30
        )
        assert session is not None
        redis = cluster(lab, "durable")
        for key in redis.scan_iter(match="school:*", count=1000):
            if hashlib.sha256(key.rpartition(":")[2].encode()).hexdigest()[:16] == session.identity:
                redis.delete(key)
                numbers.append(session.number)

    told = one_run(lab, folder, delete_a_session)
    assert len(numbers) == 1, "the session's key is one in Redis"
    assert len(lines(told, f"session {numbers[0]}: its counter went from")) == 1
    only(told, "are missing or went back")


def test_a_server_that_is_stopped_without_a_drain_fails_requests(lab: Lab, folder: Path) -> None:
    def stop_hard(stage: Stage) -> None:
        host = an_app_server(lab)
        try:
            lab.ssh(host, "systemctl kill --signal=KILL nginx.service; systemctl stop nginx.service")
            stage.hold(2)
        finally:
            lab.ssh(host, "systemctl reset-failed nginx.service; systemctl start nginx.service")

    told = one_run(lab, folder, stop_hard, mix=HEAVY)
    assert "POST slow_post" in str(told["phases"]["during"]["unsafe_to_retry"]) + str(
        told["phases"]["before"]["unsafe_to_retry"]
    )
    assert any("POSTs were sent" in sentence for sentence in told["breaches"])
    assert told["missing"] == []


@contextmanager
def impatient_fpm(lab: Lab, host: str) -> Iterator[str]:
    """FPM as Debian ships it: a reload ends running requests at once. Yields its unit."""
    path = lab.ssh(host, "grep -lr ^process_control_timeout /etc/php/*/fpm/").split()[0]
    unit = f"php{path.split('/')[3]}-fpm.service"
    quoted = shlex.quote(path)
    lab.ssh(host, f"cp -a {quoted} /root/fpm.before && sed -i 's/^process_control_timeout.*/process_control_timeout = 0/' {quoted}")
    try:
        lab.ssh(host, f"systemctl reload {unit}")
        time.sleep(1)
        yield unit
    finally:
        lab.ssh(host, f"mv /root/fpm.before {quoted} && systemctl reload {unit}")


def test_an_fpm_that_waits_for_nobody_fails_requests(lab: Lab, folder: Path) -> None:
    def reload_fpm(stage: Stage) -> None:
        with impatient_fpm(lab, an_app_server(lab)) as unit:
            stage.hold(4)
            lab.ssh(an_app_server(lab), f"systemctl reload {unit}")
            stage.hold(1)

    told = one_run(lab, folder, reload_fpm, mix=HEAVY)
    assert told["phases"]["all"]["unsafe_to_retry"].get("POST slow_post: HTTP 502", 0) > 0
    assert any("POSTs were sent" in sentence for sentence in told["breaches"])


def test_an_answer_by_a_release_that_is_gone_is_noticed(lab: Lab, folder: Path) -> None:
    def delete_what_serves(stage: Stage) -> None:
        host = an_app_server(lab)
        release = lab.ssh(host, "readlink -f /srv/school/current").strip()
        try:
            lab.ssh(host, f"mv {release} /srv/school/shared/away")
            stage.hold(4)
        finally:
            lab.ssh(host, f"mv /srv/school/shared/away {release}")

    told = one_run(lab, folder, delete_what_serves, mix=HEAVY)
    assert {answer["kind"] for answer in told["by_deleted_release"]} & {"slow", "slow_post"}
    assert any("release that was deleted" in sentence for sentence in told["breaches"])


def test_a_command_that_fails_is_told(lab: Lab, folder: Path) -> None:
    def fail(stage: Stage) -> None:
        assert stage.shell("echo no; exit 3") == 3

    told = one_run(lab, folder, fail, wait(1).run)
    only(told, "the command ended with 3")
    assert told["notes"][0].startswith("left out after that")
