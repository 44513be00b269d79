# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter balancer_log: from nginx' access log to how fast each application server answers, as the balancers see it.

nginx open source tells of its upstreams in its log only. The role exporter ships this file with its neighbours to each load balancer,
where it runs as `python3 -m graphic_school_exporter.balancer_log --config=…`.

The configuration: C(log) (path), C(servers) (address to name of each application server). It is read again when it changes.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exposition import Counters, Family, Histograms, gauge, options, server, text
from .follow import Follower

POLL_SECONDS = 0.5
# Requests that no application server answered: redirects to HTTPS, pages from the micro-cache, and 502 when nobody was there.
NOBODY = "none"
CLASSES = ("2xx", "3xx", "4xx", "5xx")
# nginx parts attempts with commas, and groups of attempts after an internal redirect with colons.
_SEPARATOR = re.compile(r", | : ")
_ADDRESS = re.compile(r"\[?([0-9A-Fa-f:.]+?)\]?:\d+\Z")


@dataclass(frozen=True)
class Attempt:
    """What one server was asked: its address without the port, the status that it gave (0 for none), in how many seconds."""

    address: str
    status: int
    seconds: float


@dataclass(frozen=True)
class Request:
    """What a client was answered, and the attempts that it took."""

    status: int
    attempts: tuple[Attempt, ...]


def request_from(line: str) -> Request | None:
    """What a line of the log tells; None when it is no such line.

    https://nginx.org/en/docs/http/ngx_http_upstream_module.html#variables says how several attempts are written.
    """
    try:
        row = json.loads(line)
        status = int(row["status"])
        told = [_SEPARATOR.split(row.get(key) or "") for key in ("upstream_addr", "upstream_status", "upstream_seconds")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    attempts = []
    for place, address in enumerate(told[0]):
        # The name of the upstream stands where nobody was asked.
        found = _ADDRESS.match(address)
        seconds = _number(told[2], place)
        if found and seconds is not None:
            attempts.append(Attempt(found[1], int(_number(told[1], place) or 0), seconds))
    return Request(status, tuple(attempts))


def _number(values: list[str], place: int) -> float | None:
    try:
        return float(values[place])
    except (IndexError, ValueError):
        return None


def status_class(status: int) -> str:
    """2xx for 204. No answer at all counts as 5xx: nginx treats it as 502 or 504."""
    return f"{status // 100}xx" if 100 <= status < 600 else "5xx"


class Meter:
    """Counts requests. ``servers``: address to name."""

    def __init__(self, servers: Mapping[str, str] | None = None) -> None:
        self.servers: Mapping[str, str] = {}
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
        self.know(servers or {})

    def know(self, servers: Mapping[str, str]) -> None:
        """Learn the servers' names, and start their counts at 0."""
        self.servers = dict(servers)
        with self._lock:
            for name in sorted({*servers.values(), NOBODY}):
                for kind in CLASSES:
                    self.requests.start({"upstream": name, "class": kind})
            for name in sorted(set(servers.values())):
                self.upstream.start({"upstream": name, "class": "2xx"})
            self.responses.start({})

    def count(self, lines: Iterable[str]) -> None:
        for line in lines:
            request = request_from(line)
            with self._lock:
                if request is None:
                    self.strange += 1
                else:
                    self._count(request)

    def _count(self, request: Request) -> None:
        name = NOBODY
        for attempt in request.attempts:
            name = self.servers.get(attempt.address, attempt.address)
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


def servers_from(config: Mapping[str, Any]) -> dict[str, str]:
    """Address to name, of the configuration."""
    return {str(address): str(name) for address, name in (config.get("servers") or {}).items()}


def main() -> None:
    started = options(str(__doc__))
    path = Path(started.config)
    config, read = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
    meter = Meter(servers_from(config))
    follower = Follower(Path(config["log"]))
    web = server(started.address, started.port, lambda: text(meter.families()), started.user, started.password)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    while True:
        # A server that scaling added is known without a restart, which would begin all counts anew.
        if path.stat().st_mtime != read:
            config, read = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
            meter.know(servers_from(config))
        meter.count(follower.lines())
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
