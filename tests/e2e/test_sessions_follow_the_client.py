# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session made on one app server continues on the other, and survives the death of a Redis primary."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from tests.e2e.support.lab import Lab
from tests.e2e.support.redis_pools import durable_primaries, pools_are_whole, replicas_have_everything
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor, served_by

# With 30 sessions over three primaries, one of them holds none in 1 of 60,000 runs.
SESSIONS = 30


def a_course(visitor: Visitor) -> int:
    return int(visitor.get("/api/courses").json()["data"][0]["id"])


def courses_in(basket: httpx.Response) -> list[int]:
    return [int(course["id"]) for course in basket.json()["courses"]]


def test_a_basket_made_on_one_server_is_seen_by_the_other(visitor: Visitor, app_servers: list[str]) -> None:
    course = a_course(visitor)
    assert visitor.post("/api/login", {"name": "Ada"}).status_code == 200
    filled = visitor.send_to(app_servers[0], "POST", "/api/basket", json={"course_id": course})
    assert served_by(filled) == app_servers[0]
    for server in app_servers:
        assert courses_in(visitor.get_from(server, "/api/basket")) == [course]


def test_a_session_counts_on_whichever_server_answers(visitor: Visitor, app_servers: list[str]) -> None:
    first = visitor.get("/api/whoami").json()
    answers = [visitor.get("/api/whoami") for _turn in range(10)]
    assert {served_by(answer) for answer in answers} == set(app_servers)
    assert {answer.json()["session_id_hash"] for answer in answers} == {first["session_id_hash"]}
    assert [answer.json()["session_hits"] for answer in answers] == [first["session_hits"] + n for n in range(1, 11)]


def test_sessions_survive_the_death_of_a_redis_primary(lab: Lab, visit: Callable[..., Visitor]) -> None:
    visitors = [visit() for _turn in range(SESSIONS)]
    before = [visitor.get("/api/whoami").json() for visitor in visitors]
    until("every replica has what its primary has", lambda: replicas_have_everything(lab), seconds=20)
    host = sorted(durable_primaries(lab).values())[0]

    with lab.dead(host):

        def goes_on(visitor: Visitor) -> httpx.Response | None:
            answer = visitor.get("/api/whoami")
            return answer if answer.status_code == 200 else None

        after = [
            until(f"sessions go on without {host}", lambda v=visitor: goes_on(v), seconds=30).json()  # type: ignore[misc]
            for visitor in visitors
        ]
    until("both pools are whole again", lambda: pools_are_whole(lab), seconds=60)
    lost = [old for old, new in zip(before, after, strict=True) if new["session_id_hash"] != old["session_id_hash"]]
    assert lost == []
    assert all(new["session_hits"] > old["session_hits"] for old, new in zip(before, after, strict=True))
