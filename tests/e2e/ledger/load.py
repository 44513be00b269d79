# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each arrival does, and what of its answer goes into the book."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.ledger.book import Book, Missing, Session
from tests.e2e.ledger.figures import Answer
from tests.e2e.ledger.http1 import Client, Failed, Response
from tests.e2e.ledger.schedule import Arrival

# An answer that the balancer gave in the name of a server that it had handed a POST to.
UNSAFE_STATUS = frozenset({502, 504})
SECONDS = 20.0
LONG_SECONDS = 5
# More at once means that the fleet has stopped; each further one fails at once instead of filling this machine.
AT_ONCE = 3000
SESSIONS = 24
JSON = {"Content-Type": "application/json"}
QUEUES = ("payments", "default", "emails", "notifications")


class Wrong(Exception):
    """The status was right and the content was not."""


@dataclass
class Load:
    """Sends what the schedule says and remembers every answer."""

    client: Client
    book: Book
    clock: Callable[[], float]
    courses: list[int]
    seed: int = 0
    answers: list[Answer] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.idle: deque[Session] = deque()
        for _turn in range(SESSIONS):
            self.idle.append(self._new_session())
        self.ids: list[int] = []
        self.names: list[str] = []
        self.kinds: dict[str, Callable[[Arrival], Coroutine[Any, Any, Response]]] = {
            "static": lambda a: self._get(a, "/school.css"),
            "courses": self._courses,
            "session": self._session,
            "basket": self._basket,
            "basket_read": self._basket_read,
            "enrol": self._enrol,
            "enrolment_read": self._enrolment_read,
            "job": self._job,
            "upload": self._upload,
            "download": self._download,
            "slow": lambda a: self._get(a, f"/api/slow?seconds={LONG_SECONDS}", SECONDS + LONG_SECONDS),
            "slow_post": self._slow_post,
        }

    def _new_session(self) -> Session:
        session = Session(len(self.book.sessions))
        self.book.sessions.append(session)
        return session

    # --- the clock ------------------------------------------------------------------------------------------------

    async def follow(self, schedule: Any, until: Callable[[], bool]) -> None:
        """Begin each arrival when it is due, until told to stop."""
        for arrival in schedule:
            wait = arrival.at - self.clock()
            if wait > 0:
                await asyncio.sleep(wait)
            if until():
                return
            self.late.append(self.clock() - arrival.at)
            task = asyncio.create_task(self._one(arrival))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def finish(self) -> None:
        """Let everything that was begun end; each request is bounded by itself."""
        while self.under_way:
            await asyncio.wait(self.under_way)

    async def _one(self, arrival: Arrival) -> None:
        started = self.clock()
        response: Response | None = None
        failure, sent = "", True
        method = METHODS.get(arrival.kind, "GET")
        try:
            if len(self.under_way) > AT_ONCE:
                raise Failed(f"not sent: {AT_ONCE} requests are waiting", sent=False)
            response = await self.kinds[arrival.kind](arrival)
        except Failed as error:
            failure, sent = error.kind, error.sent
            response = getattr(error, "response", None)
        except Wrong as error:
            failure, sent = str(error), False
        status = response.status if response else 0
        self.answers.append(
            Answer(
                arrival.kind,
                method,
                arrival.at,
                started,
                self.clock(),
                status=status,
                failure=failure,
                server=response.headers.get("x-served-by", "") if response else "",
                release=response.headers.get("x-release", "") if response else "",
                reused=response.reused if response else False,
                repeated=response.repeated if response else False,
                unsafe=bool(failure) and method == "POST" and sent and status in {0, *UNSAFE_STATUS},
            )
        )

    async def _ask(self, arrival: Arrival, method: str, path: str, expected: int, **options: Any) -> Response:
        response = await self.client.request(method, path, kept=arrival.kept, **{"seconds": SECONDS, **options})
        if response.status != expected:
            error = Failed(f"HTTP {response.status}", sent=True)
            error.response = response  # type: ignore[attr-defined]
            raise error
        return response

    async def _get(self, arrival: Arrival, path: str, seconds: float = SECONDS) -> Response:
        return await self._ask(arrival, "GET", path, 200, seconds=seconds)

    # --- reads ----------------------------------------------------------------------------------------------------

    async def _courses(self, arrival: Arrival) -> Response:
        response = await self._get(arrival, f"/api/courses?page={1 + arrival.number % 3}")
        if not response.body.startswith(b'{"data":[{'):
            raise Wrong("200, and no courses in it")
        return response

    async def _enrolment_read(self, arrival: Arrival) -> Response:
        if not self.ids:
            return await self._courses(arrival)
        number = self.chance.choice(self.ids)
        path = f"/api/enrolments/{number}?consistent=1"
        response = await self.client.request("GET", path, kept=arrival.kept, seconds=SECONDS)
        if response.status == 404:
            self.book.note(Missing("enrolment", f"{number} ({self.book.enrolments[number]})", "404 from the primary"))
        if response.status != 200:
            raise Wrong(f"HTTP {response.status}")
        if json.loads(response.body)["key"] != self.book.enrolments[number]:
            raise Wrong("200, and another enrolment")
        return response

    async def _download(self, arrival: Arrival) -> Response:
        if not self.names:
            return await self._courses(arrival)
        name = self.chance.choice(self.names)
        response = await self._get(arrival, f"/api/pictures/{name}")
        if hashlib.sha256(response.body).hexdigest() != self.book.uploads[name]:
            self.book.note(Missing("upload", name, "other bytes than those that were acknowledged"))
            raise Wrong("200, and other bytes")
        return response

    # --- sessions: one request at a time each, as a person's browser does ------------------------------------------

    async def _with_session(self, arrival: Arrival, method: str, path: str, body: bytes = b"") -> tuple[Session, Response]:
        session = self.idle.popleft() if self.idle else self._new_session()
        headers = dict(JSON) if body else {}
        if session.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
        # Without an answer nobody knows whether the request still runs: the session rests until the last check.
        response = await self._ask(arrival, method, path, 200, headers=headers, body=body)
        session.cookies.update(response.cookies)
        return session, response

    async def _session(self, arrival: Arrival) -> Response:
        session, response = await self._with_session(arrival, "GET", "/api/whoami")
        told = json.loads(response.body)
        self.book.note(session.counted(told["session_id_hash"], int(told["session_hits"])))
        self.idle.append(session)
        return response

    async def _basket(self, arrival: Arrival) -> Response:
        course = self.chance.choice(self.courses)
        body = json.dumps({"course_id": course}).encode()
        session, response = await self._with_session(arrival, "POST", "/api/basket", body)
        session.basket.add(course)
        self.book.note(session.shown(json.loads(response.body)["course_ids"]))
        self.idle.append(session)
        return response

    async def _basket_read(self, arrival: Arrival) -> Response:
        session, response = await self._with_session(arrival, "GET", "/api/basket")
        self.book.note(session.shown(json.loads(response.body)["course_ids"]))
        self.idle.append(session)
        return response

    # --- writes ---------------------------------------------------------------------------------------------------

    async def _create(self, arrival: Arrival, path: str, expected: int, fields: dict[str, Any]) -> tuple[int, Response]:
        key = fields["key"]
        try:
            response = await self._ask(
                arrival, "POST", path, expected, headers=JSON, body=json.dumps(fields).encode()
            )
        except Failed as error:
            if error.sent:
                self.book.unsure.setdefault(arrival.kind, []).append(key)
            raise
        return int(json.loads(response.body)["id"]), response

    async def _enrol(self, arrival: Arrival) -> Response:
        key = f"{self.book.prefix}-{arrival.number}"
        fields = {"course_id": self.chance.choice(self.courses), "student": "Ada Ledger", "key": key}
        number, response = await self._create(arrival, "/api/enrolments", 201, fields)
        self.book.enrolments[number] = key
        self.ids.append(number)
        return response

    async def _job(self, arrival: Arrival) -> Response:
        key = f"{self.book.prefix}-{arrival.number}"
        # Some take longer, so that at any moment one is under way.
        seconds = self.chance.choice((0.1, 0.1, 3))
        fields = {"queue": self.chance.choice(QUEUES), "seconds": seconds, "key": key}
        number, response = await self._create(arrival, "/api/jobs", 202, fields)
        self.book.jobs[number] = key
        return response

    async def _upload(self, arrival: Arrival) -> Response:
        name = f"{self.book.prefix}-{arrival.number}.bin"
        content = self.chance.randbytes(self.chance.choice((2_000, 20_000, 60_000)))
        headers = {"Content-Type": "application/octet-stream"}
        response = await self._ask(arrival, "PUT", f"/api/pictures/{name}", 201, headers=headers, body=content)
        self.book.uploads[name] = hashlib.sha256(content).hexdigest()
        self.names.append(name)
        return response

    async def _slow_post(self, arrival: Arrival) -> Response:
        path = f"/api/slow?seconds={LONG_SECONDS}"
        return await self._ask(arrival, "POST", path, 200, seconds=SECONDS + LONG_SECONDS)


METHODS = {"basket": "POST", "enrol": "POST", "job": "POST", "slow_post": "POST", "upload": "PUT"}
