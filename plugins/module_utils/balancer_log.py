# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter balancer_log: from nginx' access log to how fast each application server answers, as the balancers see it.

nginx open source tells of its upstreams in its log only. The role exporter ships this file with its neighbours to each load balancer,
where it runs as `python3 -m graphic_school_exporter.balancer_log --config=…`.

The log itself says what a server is called (C(served_by), its header X-Served-By), so nothing here has to be told who belongs to the
fleet. The configuration: C(log), its path.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .exposition import Counters, Family, Histograms, gauge, options, server, text
from .follow import Follower

POLL_SECONDS = 0.5
# Requests that no application server answered: redirects to HTTPS, pages from the micro-cache, and 502 when nobody was there.
NOBODY = "none"
CLASSES = ("2xx", "3xx", "4xx", "5xx")
# nginx parts attempts with commas, and groups of attempts after an internal redirect with colons.
_SEPARATOR = re.compile(r", | : ")
_ADDRESS = re.compile(r"\[?([0-9A-Fa-f:.]+?)\]?:\d+\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
NOT_MODIFIED = 304


@dataclass(frozen=True)
class Attempt:
    """What one server was asked: its address without the port, the status that it gave (0 for none), in how many seconds."""

    address: str
    status: int
    seconds: float


@dataclass(frozen=True)
class Request:
    """What a client was answered, the attempts that it took, and what the answer says of who gave it ("" when nothing)."""

    status: int
    attempts: tuple[Attempt, ...]
    served_by: str = ""

    @property
    def told(self) -> tuple[str, str] | None:
        """Address and name of the server that answered, as far as this answer shows them.

        An answer that nginx took from its cache, because the server failed or had nothing newer, bears the name of whoever gave it
        then; the status of the attempt gives it away.
        """
        if not self.attempts or not _NAME.match(self.served_by):
            return None
        last = self.attempts[-1]
        return (last.address, self.served_by) if last.status == self.status != NOT_MODIFIED else None


def request_from(line: str) -> Request | None:
    """What a line of the log tells; None when it is no such line.

    https://nginx.org/en/docs/http/ngx_http_upstream_module.html#variables says how several attempts are written.
    """
    try:
        row = json.loads(line)
        status = int(row["status"])
        told = [_SEPARATOR.split(row.get(key) or "") for key in ("upstream_addr", "upstream_status", "upstream_seconds")]
        served_by = str(row.get("served_by") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    attempts = []
    for place, address in enumerate(told[0]):
        # The name of the upstream stands where nobody was asked.
        found = _ADDRESS.match(address)
        seconds = _number(told[2], place)
        if found and seconds is not None:
            attempts.append(Attempt(found[1], int(_number(told[1], place) or 0), seconds))
    return Request(status, tuple(attempts), served_by)


def _number(values: list[str], place: int) -> float | None:
    try:
        return float(values[place])
    except (IndexError, ValueError):
        return None


def status_class(status: int) -> str:
    """2xx for 204. No answer at all counts as 5xx: nginx treats it as 502 or 504."""
    return f"{status // 100}xx" if 100 <= status < 600 else "5xx"


class Meter:
    """Counts requests, by the names that the log gives to servers; one that has not said its name yet goes by its address."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.requests = Counters(
            "balancer_requests_total", "Requests, by the application server that answered and the class of the status."
        )
        self.upstream = Histograms(
            "balancer_upstream_seconds", "Seconds until an application server had answered, each attempt of a request for itself."
        )
        self.responses = Histograms(
            "balancer_response_seconds", "Seconds that application servers took for a request, all attempts together."
        )
        self.strange = 0
        self._lock = threading.Lock()
        self._start(NOBODY)
        self.responses.start({})

    def _start(self, name: str) -> None:
        """Say 0 of every class before anything is counted."""
        for kind in CLASSES:
            self.requests.start({"upstream": name, "class": kind})
        if name != NOBODY:
            self.upstream.start({"upstream": name, "class": "2xx"})

    def _called(self, address: str) -> str:
        if address not in self.names:
            self.names[address] = address
            self._start(address)
        return self.names[address]

    def count(self, lines: Iterable[str]) -> None:
        for line in lines:
            request = request_from(line)
            with self._lock:
                if request is None:
                    self.strange += 1
                else:
                    self._count(request)

    def _count(self, request: Request) -> None:
        if request.told:
            address, told = request.told
            if self.names.get(address) != told:
                self.names[address] = told
                self._start(told)
        name = NOBODY
        for attempt in request.attempts:
            name = self._called(attempt.address)
            self.upstream.observe({"upstream": name, "class": status_class(attempt.status)}, attempt.seconds)
        if request.attempts:
            self.responses.observe({}, sum(attempt.seconds for attempt in request.attempts))
        self.requests.add({"upstream": name, "class": status_class(request.status)})

    def families(self) -> list[Family]:
        with self._lock:
            return [
                self.requests.family(),
                self.upstream.family(),
                self.responses.family(),
                gauge("balancer_log_strange_lines", "Lines of the log that could not be read.", [({}, self.strange)]),
            ]


def main() -> None:
    started = options(str(__doc__))
    config = json.loads(Path(started.config).read_text(encoding="utf-8"))
    meter = Meter()
    follower = Follower(Path(config["log"]))
    web = server(started.address, started.port, lambda: text(meter.families()), started.user, started.password)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    while True:
        meter.count(follower.lines())
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
