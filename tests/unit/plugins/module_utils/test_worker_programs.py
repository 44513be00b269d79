# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.worker_programs import WorkerError, programs

QUEUES = ["payments", "default"]


def row(**values: Any) -> dict[str, Any]:
    return {"name": "main", "queues": QUEUES, **values}


def test_a_row_of_two_words_becomes_a_whole_program() -> None:
    [program] = programs([row()], processes=4, retry_after=90)
    assert program.queues == ("{payments}", "{default}")
    assert program.processes == 4
    assert program.options == (
        "--queue={payments},{default}",
        "--tries=3",
        "--timeout=60",
        "--memory=128",
        "--sleep=1",
        "--max-jobs=1000",
        "--max-time=3600",
        "--backoff=3",
    )
    assert program.stop_seconds == 75


def test_a_row_decides_all_it_names() -> None:
    given_row = row(processes=2, tries=5, timeout=30, memory=256, sleep=0, max_jobs=0, max_time=60, backoff=[1, 5])
    [program] = programs([given_row], processes=9, retry_after=90, stop_margin=5, hash_tags=False)
    assert program.processes == 2
    assert program.options == (
        "--queue=payments,default",
        "--tries=5",
        "--timeout=30",
        "--memory=256",
        "--sleep=0",
        "--max-jobs=0",
        "--max-time=60",
        "--backoff=1,5",
    )
    assert program.stop_seconds == 35


def test_rows_without_a_number_share_the_processes_and_the_first_gets_the_rest() -> None:
    rows = [row(name="a"), row(name="b"), row(name="c", processes=7)]
    assert [program.processes for program in programs(rows, processes=5, retry_after=90)] == [3, 2, 7]


@given(count=st.integers(1, 12), processes=st.integers(1, 200))
def test_shares_add_up_and_nobody_gets_nothing(count: int, processes: int) -> None:
    shares = [p.processes for p in programs([row(name=f"p{i}") for i in range(count)], processes, retry_after=90)]
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == max(processes, count)


@given(timeout=st.integers(1, 500), margin=st.integers(1, 60))
def test_supervisor_always_waits_longer_than_a_job_may_take(timeout: int, margin: int) -> None:
    [program] = programs([row(timeout=timeout)], processes=1, retry_after=501, stop_margin=margin)
    assert program.stop_seconds > program.timeout


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        pytest.param([], "queue_workers_programs is empty", id="no program"),
        pytest.param(
            [row(timeout=90)],
            "lets a job run 90 s, but Redis hands it to a second worker after 90 s; lower its timeout below 90",
            id="a timeout as long as retry_after",
        ),
        pytest.param([row(timout=30)], "unknown key timout (did you mean timeout?)", id="a misspelt key"),
        pytest.param([row(), row()], "two worker programs are called main", id="two of one name"),
        pytest.param([row(name="x]\ncommand=y")], "a worker program is called", id="a name that leaves its section"),
        pytest.param([row(queues=[])], "main needs a list of queues", id="no queue"),
        pytest.param([row(queues="payments")], "main needs a list of queues", id="a word for a list"),
        pytest.param([row(queues=["a;b"])], "has the queue 'a;b'", id="a queue that breaks out of the command"),
        pytest.param([row(queues=["{payments}"])], "has the queue '{payments}'", id="a queue with the tag already on"),
        pytest.param([row(queues=["a", "a"])], "has the queue a twice", id="one queue twice"),
        pytest.param([row(processes=0)], "processes: 0; it must be a whole number from 1", id="no process"),
        pytest.param([row(memory="128M")], "memory: '128M'; it must be a whole number", id="a unit in a number"),
        pytest.param([row(tries=True)], "tries: True; it must be a whole number", id="yes for a number"),
        pytest.param([row(backoff=[1, -1])], "backoff: -1; it must be a whole number", id="a negative wait"),
        pytest.param(["main"], "must be a dictionary with name and queues, not: 'main'", id="a word for a row"),
    ],
)
def test_what_would_lose_or_double_a_job_is_refused_by_name(rows: list[Any], sentence: str) -> None:
    with pytest.raises(WorkerError) as refused:
        programs(rows, processes=2, retry_after=90)
    assert sentence in str(refused.value)
