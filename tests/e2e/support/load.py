# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A light load for tests beside which other things run; what needs a ledger and a clock of its own is tests/e2e/ledger."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from tests.e2e.support.web import Visitor, new_key, served_by
from tests.e2e.support.witness import Witness

# A client's request, and its answer: number of the client, when it asked, what it was told.
Note = Callable[[int, float, httpx.Response], None]


@dataclass(frozen=True)
class Failure:
    """A request that failed, from when to when in seconds since 1970."""

    begin: float
    end: float
    request: str
    why: str

    def __str__(self) -> str:
        asked = time.strftime("%H:%M:%S", time.localtime(self.begin))
        return f"{self.request} asked {asked}: {self.why} after {self.end - self.begin:.1f} s"


@dataclass(frozen=True)
class Answer:
    """When it was asked for, and who answered from which release."""

    asked: float
    server: str
    release: str


class LightLoad:
    """Clients that read C(path) without end, and write every C(write_every)th time (0: never).

    C(failed) has the requests that failed; those that were under way when the machine itself stood still are in C(void).
    """

    def __init__(
        self, visitors: Sequence[Visitor], witness: Witness, *,
        pause: float = 0.35, path: str = "/api/whoami", write_every: int = 5, note: Note | None = None,
    ) -> None:  # fmt: skip
        self.witness, self.pause, self.path, self.write_every, self.note = witness, pause, path, write_every, note
        self.failures: list[Failure] = []
        self.answers: list[Answer] = []
        self.course = visitors[0].get("/api/courses").json()["data"][0]["id"]
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._client, args=(number, visitor), daemon=True) for number, visitor in enumerate(visitors)
        ]

    def _client(self, client: int, visitor: Visitor) -> None:
        number = 0
        while not self.stop.wait(self.pause):
            number += 1
            writes = self.write_every and number % self.write_every == 0
            begin = time.time()
            request = "POST /api/enrolments" if writes else f"GET {self.path}"
            try:
                answer = (
                    visitor.post("/api/enrolments", {"course_id": self.course, "student": "Ada", "key": new_key("load")})
                    if writes else visitor.get(self.path)
                )  # fmt: skip
            except httpx.TransportError as error:
                self.failures.append(Failure(begin, time.time(), request, repr(error)))
                continue
            if answer.status_code not in {200, 201}:
                self.failures.append(Failure(begin, time.time(), request, f"{answer.status_code} {answer.text[:200]}"))
                continue
            self.answers.append(Answer(begin, served_by(answer), answer.headers.get("X-Release", "")))
            if self.note:
                self.note(client, begin, answer)

    @property
    def void(self) -> list[Failure]:
        return [failure for failure in self.failures if self.witness.disturbed(failure.begin, failure.end)]

    @property
    def failed(self) -> list[str]:
        void = self.void
        return [str(failure) for failure in self.failures if failure not in void]

    def servers(self, since: float) -> set[str]:
        """Who answered what was asked since a moment."""
        return {answer.server for answer in self.answers if answer.asked >= since}

    def __enter__(self) -> LightLoad:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(40)
        if self.void:
            stalls = ", ".join(map(str, self.witness.stalls))
            told = "; ".join(map(str, self.void))
            warnings.warn(f"the machine stood still ({stalls}), which says nothing about: {told}", stacklevel=2)
