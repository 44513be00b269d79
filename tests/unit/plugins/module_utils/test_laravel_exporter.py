# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long jobs wait and run is known of a stock application: from its queues in Redis and its workers' logs."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.exposition import text
from plugins.module_utils.laravel_exporter import Watch
from plugins.module_utils.laravel_jobs import Ended, Owners, Waiting, ended_from
from plugins.module_utils.redis_client import RedisReplyError
from plugins.module_utils.redis_queues import Node, QueueLook, Queues, key_slot

CONFIG: dict[str, Any] = {"prefix": "school:", "queues": {"emails": "{emails}", "default": "{default}"}}


def payload(number: int, job: str = "App\\Jobs\\Mail", **more: object) -> str:
    return json.dumps({"id": f"id{number}", "displayName": job, "attempts": 0, **more})


class Redis:
    """Lists and sorted sets, as far as queues need them."""

    def __init__(self) -> None:
        self.lists: dict[str, list[str]] = {}
        self.sets: dict[str, list[str]] = {}
        self.dead = False
        self.single = False

    def command(self, *words: object) -> Any:
        if self.dead:
            raise OSError("no route to host")
        name, key = str(words[0]), str(words[1])
        if name == "CLUSTER":
            if self.single:
                raise RedisReplyError("ERR This instance has cluster support disabled")
            return [[0, 8191, ["192.0.2.41", 6379, "a"]], [8192, 16383, ["192.0.2.42", 6379, "b"]]]
        values = self.lists.get(key, [])
        if name == "LLEN":
            return len(values)
        if name == "LINDEX":
            return values[int(str(words[2]))] if values else None
        if name == "LPOS":
            return values.index(str(words[2])) if words[2] in values else None
        members = self.sets.get(key, [])
        return len(members) if name == "ZCARD" else list(members)

    def pipeline(self, commands: Any) -> list[Any]:
        return [self.command(*words) for words in commands]

    def close(self) -> None:
        pass


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def watch(redis: Redis, clock: Clock, **config: object) -> Watch:
    return Watch({**CONFIG, **config}, Queues([("192.0.2.41", 6379)], lambda node: redis), clock)


def age(seen: Watch, queue: str = "emails") -> float:
    return seen.looks[queue][1]


# -- how long they wait -----------------------------------------------------------------------------------------------


def test_the_age_of_the_first_job_is_known_without_the_application_telling_it() -> None:
    redis, clock = Redis(), Clock()
    seen = watch(redis, clock)
    jobs = redis.lists.setdefault("school:queues:{emails}", [])
    for number in range(60):
        jobs.append(payload(number))
        seen.look()
        clock.now += 1
    # 60 jobs, one a second; the first 20 leave.
    del jobs[:20]
    seen.look()
    assert 39 <= age(seen) <= 41
    assert seen.looks["emails"][0].waiting == 60 - 20
    jobs.clear()
    seen.look()
    assert age(seen) == 0


@pytest.mark.parametrize(
    ("more", "waited"),
    [
        pytest.param({"pushedAt": 990.0}, 30, id="what was queued 10 s before the start counts from then"),
        pytest.param({"createdAt": 990}, 30, id="so does Laravel 12's own time"),
        pytest.param({}, 20, id="a stock job of Laravel 10 counts from the start"),
        pytest.param({"pushedAt": "soon"}, 20, id="a time that is none is not believed"),
        pytest.param({"pushedAt": 99999.0}, 20, id="neither is one in the future"),
    ],
)
def test_a_job_that_was_there_before_the_exporter_counts_by_what_it_tells(more: dict[str, object], waited: float) -> None:
    redis, clock = Redis(), Clock()
    redis.lists["school:queues:{emails}"] = [payload(1, **more)]
    seen = watch(redis, clock)
    seen.look()
    clock.now += 20
    seen.look()
    assert age(seen) == waited


def test_a_job_that_was_delayed_or_is_tried_again_has_not_waited_since_it_was_dispatched() -> None:
    redis, clock = Redis(), Clock()
    seen = watch(redis, clock)
    seen.look()
    clock.now += 3600
    seen.look()
    redis.lists["school:queues:{emails}"] = [payload(1, pushedAt=1000.5)]
    clock.now += 1
    seen.look()
    assert age(seen) <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_the_age_is_never_too_large_and_at_most_one_look_too_small(steps: list[tuple[int, int]]) -> None:
    """Each second some jobs come and some leave; the look follows half a second later."""
    waiting, truth = Waiting(), deque[tuple[float, str]]()
    number = 0
    for second, (come, leave) in enumerate(steps):
        now = 100.0 + second
        for _job in range(come):
            number += 1
            truth.append((now, payload(number)))
        for _job in range(min(leave, len(truth))):
            truth.popleft()
        looked = now + 0.5
        payloads = [job for _time, job in truth]

        def look(marker: str | None, payloads: list[str] = payloads) -> QueueLook:
            first, last = (payloads[0], payloads[-1]) if payloads else (None, None)
            return QueueLook(len(payloads), 0, 0, first, last, (), None if marker is None else marker in payloads)

        found = look(waiting.marker)
        while waiting.add(found, looked):
            found = look(waiting.marker)
        real = looked - truth[0][0] if truth else 0.0
        assert real - 1.0 <= waiting.age(found, looked) <= real


def test_a_redis_that_does_not_answer_leaves_no_old_numbers() -> None:
    redis, clock = Redis(), Clock()
    seen = watch(redis, clock)
    redis.lists["school:queues:{emails}"] = [payload(1)]
    seen.look()
    assert 'laravel_queue_jobs{queue="emails",state="waiting"} 1' in text(seen.families())
    redis.dead = True
    seen.look()
    told = text(seen.families())
    assert "laravel_queue_jobs" not in told
    assert "laravel_redis_up 0" in told


# -- where queues are -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "slot"),
    [("123456789", 12739), ("school:queues:{emails}", key_slot("emails")), ("{}a", key_slot("{}a")), ("foo", 12182)],
)
def test_a_key_has_the_slot_that_redis_gives_it(key: str, slot: int) -> None:
    assert key_slot(key) == slot


def test_each_queue_is_asked_of_the_node_that_has_its_slot() -> None:
    asked: list[Node] = []

    def connect(node: Node) -> Redis:
        asked.append(node)
        return Redis()

    queues = Queues([("192.0.2.49", 6379)], connect)
    low, high = (next(name for name in map(str, range(100)) if (key_slot(name) < 8192) is wanted) for wanted in (True, False))
    queues.look(f"queues:{{{low}}}")
    queues.look(f"queues:{{{high}}}")
    assert asked == [("192.0.2.49", 6379), ("192.0.2.41", 6379), ("192.0.2.42", 6379)]


def test_a_single_instance_is_asked_everything() -> None:
    redis = Redis()
    redis.single = True
    redis.lists["queues:default"] = [payload(1)]
    assert Queues([("192.0.2.41", 6379)], lambda node: redis).look("queues:default").waiting == 1


# -- how long they run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "ended"),
    [
        pytest.param(
            "  2026-11-25 11:26:48 App\\Jobs\\ConfirmEnrolment .................. 6.31ms DONE",
            Ended(("App\\Jobs\\ConfirmEnrolment",), 0.00631, "done"), id="milliseconds",
        ),
        pytest.param(
            "  2026-11-25 11:26:48 App\\Jobs\\DoWork .................. 1s 33ms DONE",
            Ended(("App\\Jobs\\DoWork",), 1.033, "done"), id="seconds and milliseconds",
        ),
        pytest.param(
            "  2026-11-25 11:26:48 App\\Jobs\\DoWork .................. 1m 5s FAIL",
            Ended(("App\\Jobs\\DoWork",), 65.0, "failed"), id="a minute, and failed",
        ),
        pytest.param(
            "  2026-11-25 11:26:48 App\\Jobs\\DoWork id7 redis {emails} ........ 1,000.00ms DONE",
            Ended(("App\\Jobs\\DoWork", "id7", "redis", "{emails}"), 1.0, "done"), id="with -v",
        ),
        pytest.param(
            "  2026-11-25 11:26:48 App\\Jobs\\WithAVeryLongName  12.00ms DONE",
            Ended(("App\\Jobs\\WithAVeryLongName",), 0.012, "done"), id="a name that leaves no room for dots",
        ),
        pytest.param(
            "  \x1b[90m2026-11-25 11:26:48\x1b[39m App\\Jobs\\DoWork \x1b[90m...\x1b[39m \x1b[90m2s\x1b[39m \x1b[32;1mDONE\x1b[39;22m",
            Ended(("App\\Jobs\\DoWork",), 2.0, "done"), id="in colour",
        ),
        pytest.param("  2026-11-25 11:26:48 App\\Jobs\\DoWork ............ RUNNING", None, id="one that begins"),
        pytest.param("   INFO  Processing jobs from the [{emails}] queue.", None, id="another line"),
    ],
)  # fmt: skip
def test_a_workers_line_is_read_as_laravel_writes_it(written: str, ended: Ended | None) -> None:
    found = ended_from(written)
    assert (found and (found.words, found.result)) == (ended and (ended.words, ended.result))
    assert found is None or ended is None or found.seconds == pytest.approx(ended.seconds)


@pytest.mark.parametrize(
    ("words", "only", "queue"),
    [
        pytest.param(("App\\Jobs\\Mail",), "", "emails", id="the queue in which its class was seen"),
        pytest.param(("App\\Jobs\\Mail", "id9"), "", "default", id="with -v the job itself"),
        pytest.param(("App\\Jobs\\Mail", "x", "redis", "{default}"), "", "default", id="with -v of a later Laravel the queue"),
        pytest.param(("App\\Jobs\\New",), "emails", "emails", id="never seen, but its worker serves one queue"),
        pytest.param(("App\\Jobs\\New",), "", "unknown", id="never seen"),
    ],
)
def test_a_job_that_ended_is_counted_for_its_queue(words: tuple[str, ...], only: str, queue: str) -> None:
    owners = Owners()
    owners.see("default", (payload(9),))
    owners.see("emails", (payload(1), "no JSON", "[]", "{}"))
    assert owners.queue_of(Ended(words, 1.0, "done"), {"{emails}": "emails", "{default}": "default"}, only) == queue


def test_jobs_of_all_workers_of_the_host_are_counted_also_of_those_that_start_later(tmp_path: Path) -> None:
    redis, clock = Redis(), Clock()
    redis.sets["school:queues:{emails}:reserved"] = [payload(1)]
    (tmp_path / "main_00.log").write_text("  2026-11-25 11:26:40 App\\Jobs\\Mail ... 9s DONE\n")
    seen = watch(redis, clock, logs=str(tmp_path / "*.log"), programs={"main": ["emails", "default"]})
    seen.look()
    seen.read()
    with (tmp_path / "main_00.log").open("a") as log:
        log.write("  2026-11-25 11:26:48 App\\Jobs\\Mail ... 2s DONE\n")
    (tmp_path / "main_01.log").write_text("  2026-11-25 11:26:49 App\\Jobs\\Mail ... 40s FAIL\n")
    seen.read()
    told = text(seen.families())
    assert 'laravel_job_duration_seconds_sum{queue="emails",result="done"} 2\n' in told
    assert 'laravel_job_duration_seconds_sum{queue="emails",result="failed"} 40\n' in told
