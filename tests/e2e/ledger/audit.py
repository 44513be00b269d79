# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the load: ask the fleet for everything it acknowledged, through its API and in its database."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.e2e.ledger.book import Book, JobRow, Missing, missing_enrolments, missing_jobs
from tests.e2e.ledger.http1 import Client, Failed, Response
from tests.e2e.support.lab import Lab

# The database is asked for everything at once; through the API things are asked for one by one, in random order, all of them
# as long as this many seconds suffice for each kind. The report says how many it were.
SECONDS_PER_KIND = 45.0
LANES = 4
TRIES = 3


@dataclass
class Audit:
    """Adds to the book's list of what is missing."""

    lab: Lab
    client: Client
    book: Book
    primary: str
    jobs_seconds: float
    clock: Callable[[], float] = time.monotonic

    async def run(self) -> dict[str, Any]:
        """Ask for everything; what was asked, by kind."""
        waited = await self._jobs()
        rows = await self._enrolment_rows()
        asked = await self._each(list(self.book.enrolments), self._enrolment)
        pictures = await self._each(list(self.book.uploads), self._upload)
        sessions = [session for session in self.book.sessions if session.cookies]
        continued = await self._each(sessions, self._session)
        return {
            "enrolments": {"acknowledged": len(self.book.enrolments), "in_sql": rows, "asked_through_the_api": asked},
            "jobs": {"acknowledged": len(self.book.jobs), "waited_seconds": round(waited, 1), **self.job_figures},
            "uploads": {"acknowledged": len(self.book.uploads), "compared": pictures},
            "sessions": {"begun": len(sessions), "continued": continued},
            "posts_without_an_answer": {kind: len(keys) for kind, keys in self.book.unsure.items()},
        }

    async def tidy(self) -> None:
        """Remove the uploads; rows stay, they are small."""
        await self._each(list(self.book.uploads), self._remove)

    async def _sql(self, statement: str) -> list[list[str]]:
        return await asyncio.to_thread(self.lab.sql, self.primary, statement)

    # --- jobs: first, because they take their time -----------------------------------------------------------------

    async def _jobs(self) -> float:
        start = self.clock()
        statement = f"SELECT id, state, COALESCE(attempts, 0) FROM school.work_items WHERE `key` LIKE \"{self.book.prefix}-%\""
        while True:
            rows = [JobRow(int(i), state, int(tries)) for i, state, tries in await self._sql(statement)]
            waited = self.clock() - start
            missing = missing_jobs(self.book.jobs, rows, waited)
            if not missing or waited > self.jobs_seconds:
                break
            await asyncio.sleep(2)
        for one in missing:
            self.book.note(one)
        mine = [row for row in rows if row.id in self.book.jobs]
        self.job_figures = {
            "done": sum(row.state == "done" for row in mine),
            "begun_more_than_once": sum(row.attempts > 1 for row in mine),
        }
        return waited

    # --- rows ------------------------------------------------------------------------------------------------------

    async def _enrolment_rows(self) -> int:
        where = f"`key` LIKE \"{self.book.prefix}-%\""
        rows = [(int(i), key) for i, key in await self._sql(f"SELECT id, `key` FROM school.enrolments WHERE {where}")]
        for one in missing_enrolments(self.book.enrolments, rows, f"{self.primary}'s table"):
            self.book.note(one)
        return len(rows)

    async def _enrolment(self, number: int) -> None:
        response = await self._get(f"/api/enrolments/{number}?consistent=1")
        key = self.book.enrolments[number]
        if response.status == 404:
            self.book.note(Missing("enrolment", f"{number} ({key})", "404 from the primary"))
        elif response.status != 200:
            self._unasked(f"enrolment {number} ({key})", response)
        elif (told := json.loads(response.body)["key"]) != key:
            self.book.note(Missing("enrolment", f"{number} ({key})", f"the API shows {told}"))

    # --- the rest ---------------------------------------------------------------------------------------------------

    async def _upload(self, name: str) -> None:
        response = await self._get(f"/api/pictures/{name}")
        if response.status == 404:
            self.book.note(Missing("upload", name, "404"))
        elif response.status != 200:
            self._unasked(f"upload {name}", response)
        elif hashlib.sha256(response.body).hexdigest() != self.book.uploads[name]:
            self.book.note(Missing("upload", name, "other bytes than those that were acknowledged"))

    async def _remove(self, name: str) -> None:
        with suppress(Failed):
            await self.client.request("DELETE", f"/api/pictures/{name}", kept=True)

    async def _session(self, session: Any) -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
        response = await self._get("/api/whoami", Cookie=cookie)
        if response.status != 200:
            self._unasked(f"session {session.number}", response)
            return
        told = json.loads(response.body)
        self.book.note(session.counted(told["session_id_hash"], int(told["session_hits"])))
        if session.basket:
            response = await self._get("/api/basket", Cookie=cookie)
            if response.status == 200:
                self.book.note(session.shown(json.loads(response.body)["course_ids"]))
            else:
                self._unasked(f"basket {session.number}", response)

    def _unasked(self, what: str, response: Response) -> None:
        told = f"HTTP {response.status}" if response.status else response.body.decode()
        self.book.unasked.append(f"{what}: {told}")

    async def _get(self, path: str, **headers: str) -> Response:
        """An answer; the question here is what is there, so a passing failure is asked about again."""
        for turn in range(TRIES):
            try:
                response = await self.client.request("GET", path, kept=True, headers=headers)
            except Failed as failure:
                response = Response(0, {}, {}, str(failure).encode(), False)
            if 0 < response.status < 500 or turn == TRIES - 1:
                break
            await asyncio.sleep(2)
        return response

    async def _each[T](self, things: Sequence[T], ask: Callable[[T], Awaitable[None]]) -> int:
        """Ask for each thing, some at a time, until the time is up; how many it were."""
        turns = iter(random.Random(0).sample(list(things), len(things)))
        end = self.clock() + SECONDS_PER_KIND
        asked = 0

        async def lane() -> None:
            nonlocal asked
            for thing in turns:
                if self.clock() > end:
                    return
                await ask(thing)
                asked += 1

        await asyncio.gather(*(lane() for _lane in range(LANES)))
        return asked
