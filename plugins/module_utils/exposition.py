# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an exporter says, in Prometheus' text format 0.0.4, and the little web server that says it. Standard library only."""

from __future__ import annotations

import argparse
import base64
import bisect
import hmac
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
# In seconds. The limits of the alerts and of the autoscaler (2 s and 5 s) are bounds, so that a quantile is exact there.
SECONDS: tuple[float, ...] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Sample:
    """One line: what follows the metric's name (_bucket, _sum …, or nothing), its labels, its value."""

    labels: Labels
    value: float
    suffix: str = ""


@dataclass(frozen=True)
class Family:
    """One metric with all its samples."""

    name: str
    kind: str
    about: str
    samples: Sequence[Sample] = ()


def gauge(name: str, about: str, values: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    """A metric that goes up and down."""
    return Family(name, GAUGE, about, [Sample(labels_of(labels), value) for labels, value in values])


def labels_of(labels: Mapping[str, str]) -> Labels:
    """Labels as they are kept, in their order."""
    return tuple((name, str(value)) for name, value in labels.items())


def text(families: Iterable[Family]) -> str:
    """The answer to a scrape. A metric without samples is left out."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    if not family.samples:
        return
    yield f"# HELP {family.name} {_escaped(family.about)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in sample.labels)
        yield f"{family.name}{sample.suffix}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _escaped(value: str, *, quotes: bool = False) -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace('"', '\\"') if quotes else value


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


@dataclass
class Counters:
    """Numbers that only grow, by their labels."""

    name: str
    about: str
    values: dict[Labels, float] = field(default_factory=dict)

    def start(self, labels: Mapping[str, str]) -> None:
        """Say 0 before anything happened: what begins at 1 has no rate."""
        self.values.setdefault(labels_of(labels), 0.0)

    def add(self, labels: Mapping[str, str], amount: float = 1.0) -> None:
        key = labels_of(labels)
        self.values[key] = self.values.get(key, 0.0) + amount

    def family(self) -> Family:
        return Family(self.name, COUNTER, self.about, [Sample(key, value) for key, value in sorted(self.values.items())])


@dataclass
class Histograms:
    """How values are spread, by labels. ``counts`` holds one number more than there are bounds."""

    name: str
    about: str
    bounds: tuple[float, ...] = SECONDS
    counts: dict[Labels, list[int]] = field(default_factory=dict)
    sums: dict[Labels, float] = field(default_factory=dict)

    def start(self, labels: Mapping[str, str]) -> None:
        """Say 0 before anything happened."""
        key = labels_of(labels)
        self.counts.setdefault(key, [0] * (len(self.bounds) + 1))
        self.sums.setdefault(key, 0.0)

    def observe(self, labels: Mapping[str, str], value: float) -> None:
        self.start(labels)
        key = labels_of(labels)
        self.counts[key][bisect.bisect_left(self.bounds, value)] += 1
        self.sums[key] += value

    def family(self) -> Family:
        samples: list[Sample] = []
        for key in sorted(self.counts):
            below = list(itertools.accumulate(self.counts[key]))
            bounds = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
            samples += [Sample((*key, ("le", bound)), count, "_bucket") for bound, count in zip(bounds, below, strict=True)]
            samples += [Sample(key, self.sums[key], "_sum"), Sample(key, below[-1], "_count")]
        return Family(self.name, HISTOGRAM, self.about, samples)


class Handler(BaseHTTPRequestHandler):
    """Answers /metrics to those who log in, and nothing else."""

    timeout = 10
    say: Callable[[], str]
    login: bytes = b""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"Only /metrics is here.\n")
        elif self.login and not hmac.compare_digest(self.headers.get("Authorization", "").encode(), self.login):
            self._answer(401, b"Log in.\n", ("WWW-Authenticate", 'Basic realm="metrics"'))
        else:
            self._answer(200, type(self).say().encode(), ("Content-Type", CONTENT_TYPE))

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "graphic_school"

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is nothing for a log."""


def server(address: str, port: int, say: Callable[[], str], user: str = "", password: str = "") -> ThreadingHTTPServer:
    """The web server, listening; ``say`` gives the text of each answer, in a thread of its own. With a password it wants a login."""
    login = b"Basic " + base64.b64encode(f"{user}:{password}".encode()) if password else b""
    handler = type("Metrics", (Handler,), {"say": staticmethod(say), "login": login})
    made = ThreadingHTTPServer((address, port), handler)
    made.daemon_threads = True
    return made


@dataclass(frozen=True)
class Options:
    """How an exporter is started: where it listens, its configuration, and the login that it wants (none without a password)."""

    address: str
    port: int
    config: str
    user: str = ""
    password: str = ""


def options_from(words: Sequence[str], environment: Mapping[str, str], about: str) -> Options:
    """What stands on the command line, in the form of other exporters, and in EXPORTER_USER and EXPORTER_PASSWORD."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--web.listen-address", dest="listen", required=True, help="address:port")
    parser.add_argument("--config", required=True, help="the configuration, JSON")
    told = parser.parse_args(words)
    address, port = listen_from(told.listen)
    return Options(address, port, told.config, environment.get("EXPORTER_USER", ""), environment.get("EXPORTER_PASSWORD", ""))


def options(about: str) -> Options:
    """The same, of this process."""
    return options_from(sys.argv[1:], os.environ, about)


def listen_from(listen: str) -> tuple[str, int]:
    """Address and port of "address:port"; brackets around an IPv6 address fall off. Raises ValueError."""
    found = re.fullmatch(r"\[?([^\]]*?)\]?:(\d{1,5})", listen)
    if not found:
        raise ValueError(f"listen must be address:port, such as 192.0.2.51:9250, not: {listen!r}")
    return found[1] or "0.0.0.0", int(found[2])
