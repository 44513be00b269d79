# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs run on the worker, urgent ones first, and a restart of the workers ends none of them early."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.support.lab import Lab
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor, new_key


def submit(visitor: Visitor, queue: str, seconds: float) -> int:
    answer = visitor.post("/api/jobs", {"queue": queue, "seconds": seconds, "key": new_key(queue)})
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


def state(visitor: Visitor, job: int) -> dict[str, Any]:
    answer = visitor.get(f"/api/jobs/{job}", params={"consistent": 1})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for(visitor: Visitor, job: int, wanted: str, *, seconds: float) -> dict[str, Any]:
    def reached() -> dict[str, Any]:
        now = state(visitor, job)
        assert now["state"] == wanted, now
        return now

    return until(f"job {job} is {wanted}", reached, seconds=seconds)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def queues_are_empty(visitor: Visitor) -> bool:
    queues = visitor.get("/api/queues").json()["queues"]
    return all(queue["length"] == 0 and not queue["reserved"] for queue in queues.values())


@pytest.fixture(autouse=True)
def idle(visitor: Visitor) -> None:
    until("the queues are empty", lambda: queues_are_empty(visitor), seconds=60)


@pytest.mark.parametrize("queue", ["payments", "default", "emails", "notifications"])
def test_a_job_of_each_queue_runs_on_a_worker(lab: Lab, visitor: Visitor, queue: str) -> None:
    done = wait_for(visitor, submit(visitor, queue, 0), "done", seconds=20)
    assert done["worker"] in lab.tier("queue_workers")
    assert done["attempts"] == 1


def worker_processes(lab: Lab) -> int:
    return sum(lab.ssh(host, "supervisorctl status").count("RUNNING") for host in lab.tier("queue_workers"))


def test_payments_overtake_a_backlog(lab: Lab, visitor: Visitor) -> None:
    processes = worker_processes(lab)
    backlog = [submit(visitor, "default", 1) for _turn in range(5 * processes)]
    until("the first job was taken", lambda: state(visitor, backlog[0])["state"] in {"running", "done"}, seconds=20)
    payments = [submit(visitor, "payments", 0) for _turn in range(4)]
    urgent = [wait_for(visitor, job, "done", seconds=30) for job in payments]
    rest = [wait_for(visitor, job, "done", seconds=60) for job in backlog]
    all_queued = max(moment(job["queued_at"]) for job in urgent)
    last_urgent = max(moment(job["started_at"]) for job in urgent)
    # A job notes its start some time after it was taken from the queue, so each process may hold one that it took
    # before the last payment was there. It takes no second one.
    overtaking = [job for job in rest if all_queued < moment(job["started_at"]) < last_urgent]
    assert len(overtaking) <= processes, f"default jobs were started while payments waited: {overtaking}"
    assert sum(moment(job["started_at"]) > last_urgent for job in rest) >= processes, "there was no backlog to overtake"


@pytest.mark.parametrize("restart", ["supervisorctl restart all", "systemctl restart supervisor"])
def test_a_restart_lets_the_running_job_end(lab: Lab, visitor: Visitor, restart: str) -> None:
    job = submit(visitor, "default", 8)
    before = wait_for(visitor, job, "running", seconds=20)
    lab.ssh(before["worker"], restart)
    done = wait_for(visitor, job, "done", seconds=30)
    assert done["attempts"] == 1
    assert done["started_at"] == before["started_at"], "the job was started again"
    wait_for(visitor, submit(visitor, "default", 0), "done", seconds=30)


def test_the_scheduler_runs_once_a_minute_for_the_whole_fleet(visitor: Visitor) -> None:
    runs = visitor.get("/api/schedule").json()["runs"]
    minutes = Counter(run["minute"] for run in runs)
    assert runs, "the scheduler never ran"
    assert [minute for minute, count in minutes.items() if count > 1] == []
