# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A made fleet of any size for the real page: its files, and answers as Prometheus and the two data files would give them."""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from plugins.module_utils.series import SERIES, Series

# Hosts of a thousand, by tier.
TIERS = {
    "load_balancers": ("lb", 4),
    "app_servers": ("app", 900),
    "mysql": ("db", 12),
    "redis_cluster": ("redis", 18),
    "queue_workers": ("worker", 60),
    "object_storage": ("store", 4),
    "monitoring": ("mon", 2),
}
QUEUES = ("default", "emails", "notifications", "payments")
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}
HOUR = 3600


@dataclass
class MadeFleet:
    """What is so: hosts by tier, and which of them are not well."""

    tiers: Mapping[str, tuple[str, int]] = field(default_factory=lambda: TIERS)
    down: tuple[str, ...] = ("app137",)
    busy: tuple[str, ...] = ("app20", "app21", "worker7")
    ill: tuple[str, ...] = ("app300",)
    drained: tuple[str, ...] = ("app411", "app412")
    alerts: tuple[tuple[str, str, str], ...] = ()  # name, severity, host
    decisions: tuple[dict[str, Any], ...] = ()

    @property
    def hosts(self) -> list[dict[str, Any]]:
        """Rows of fleet.json."""
        return [
            {
                "name": f"{word}{number}", "address": f"192.0.2.{number % 250 + 1}", "tiers": [tier], "state": "active",
                "memory_mb": 4096, "vcpus": 2,
            }
            for tier, (word, count) in self.tiers.items()
            for number in range(1, count + 1)
        ]  # fmt: skip

    def of(self, *tiers: str) -> list[str]:
        return [host["name"] for host in self.hosts if host["tiers"][0] in tiers]

    # --- series -------------------------------------------------------------------------------------------------------

    def labels(self, series: Series) -> list[dict[str, str]]:
        """The labels of every line of a series, as the exporters of the tiers would give them."""
        if not series.labels:
            return [{}]
        first = series.labels[0]
        if first == "queue":
            return [{"queue": queue} for queue in QUEUES]
        if first == "pool":
            return [{"pool": pool} for pool in ("durable", "cache")]
        if first == "upstream":
            return [{"upstream": host} for host in self.of("app_servers") if host not in self.down]
        tier = {host["name"]: host["tiers"][0] for host in self.hosts}
        mysql = ("mysql",)
        only = {
            "release": ("app_servers", "queue_workers"), "health": ("app_servers", "load_balancers"), "fpm_busy": ("app_servers",),
            "opcache_used": ("app_servers",), "queue_workers": ("queue_workers",), "certificate_left": ("load_balancers", "mysql"),
            "database_connections": mysql, "database_connections_used": mysql, "slow_queries": mysql, "mysql_primary": mysql,
            "replication_lag": mysql, "gtid_gap": mysql, "semi_sync_replicas": mysql,
        }.get(series.name.split(":")[1], tuple(self.tiers))  # fmt: skip
        values = {"release": "20261125T104210-3f2a91c"}
        return [
            {label: host if label == "host" else tier[host] if label == "tier" else values[label] for label in series.labels}
            for host in self.of(*only)
            if host not in self.down or series.name == "fleet:up:bool"
        ]

    def value(self, series: Series, labels: Mapping[str, str], when: float) -> float:
        """What a line was at a time: the same for the same question."""
        host = labels.get("host") or labels.get("upstream") or labels.get("queue") or ""
        subject = series.name.split(":")[1]
        if series.unit == "bool":
            return float(
                {
                    "up": host not in self.down, "health": host not in self.ill, "out_of_traffic": host in self.drained,
                    "mysql_primary": host == "db1",
                }[subject]
            )  # fmt: skip
        own = random.Random(f"{series.name}{host}").random()
        wave = 0.5 + 0.5 * math.sin(when / 500 + 6 * own)
        if subject == "cpu_used" and host in self.busy:
            return 0.93 + 0.05 * wave
        top = {
            "ratio": 0.001 if subject == "request_errors" else 0.7, "seconds": 0.4, "count": 60, "per_second": 20, "per_minute": 4,
            "days": 80, "info": 1,
        }[series.unit]  # fmt: skip
        if subject == "redis_slots_covered":
            return 16384.0
        return top if series.unit in ("days", "info") else top * (0.2 + 0.5 * own + 0.3 * wave)

    # --- answers ------------------------------------------------------------------------------------------------------

    def query(self, query: str, when: float) -> list[dict[str, Any]]:
        if query.startswith("max(timestamp"):
            return [{"metric": {}, "value": [when, str(when - 2)]}]
        up = [{"metric": {"__name__": "up", "job": "node", "host": host["name"]}, "value": [when, str(int(host["name"] not in self.down))]}
              for host in self.hosts]  # fmt: skip
        return up + [
            {"metric": {"__name__": series.name, **labels}, "value": [when, f"{self.value(series, labels, when):.6g}"]}
            for series in SERIES
            for labels in self.labels(series)
        ]

    def query_range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """One series; with topk only the lines that end highest, or of yes and no those that are unlike the others."""
        series = next(one for one in SERIES if one.name == query.partition(" ")[0])
        lines = self.labels(series)
        if most := re.search(r"topk\((\d+),", query):
            values = [self.value(series, labels, end) for labels in lines]
            usual = sum(values) / len(values) if series.unit == "bool" else 0.0
            order = sorted(range(len(lines)), key=lambda place: -abs(values[place] - usual))
            lines = [lines[place] for place in order[: int(most[1])]]
        times = [start + step * place for place in range(int((end - start) / step) + 1)]
        return [
            {"metric": {"__name__": series.name, **labels}, "values": [[t, f"{self.value(series, labels, t):.6g}"] for t in times]}
            for labels in lines
        ]

    def alert_rows(self) -> list[dict[str, Any]]:
        since = datetime.fromtimestamp(time.time() - 240, UTC).isoformat()
        return [
            {
                "labels": {"alertname": name, "severity": severity, "host": host}, "state": "firing", "activeAt": since, "value": "1",
                "annotations": {"summary": f"{host}: {name}", "runbook_url": f"https://example.com/runbooks/{name}"},
            }
            for name, severity, host in self.alerts
        ]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    fleet: ClassVar[MadeFleet]
    files: ClassVar[Mapping[str, str]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path, given = asked.path.removeprefix("/fleet/") or "index.html", {k: v[0] for k, v in parse_qs(asked.query).items()}
        when = time.time()
        answers = {
            "api/v1/query": lambda: {"result": self.fleet.query(given["query"], when)},
            "api/v1/query_range": lambda: {
                "result": self.fleet.query_range(given["query"], *(float(given[name]) for name in ("start", "end", "step")))
            },
            "api/v1/alerts": lambda: {"alerts": self.fleet.alert_rows()},
        }
        if path in answers:
            self.send(json.dumps({"status": "success", "data": answers[path]()}), ".json")
        elif path == "data/fleet.json":
            self.send(json.dumps({"vip": "192.0.2.10", "hosts": self.fleet.hosts}), ".json")
        elif path == "data/decisions.json":
            self.send(json.dumps(self.fleet.decisions), ".json")
        elif path in self.files:
            self.send(self.files[path], Path(path).suffix)
        else:
            self.send_error(404)

    def send(self, text: str, suffix: str) -> None:
        body = gzip.compress(text.encode(), 1)
        self.send_response(200)
        self.send_header("Content-Type", TYPES.get(suffix, "text/plain"))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # A page that is loaded again waits for no answer.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(fleet: MadeFleet, files: Mapping[str, str]) -> Iterator[str]:
    """The page's address on loopback."""
    handler = type("Answers", (Handler,), {"fleet": fleet, "files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fleet/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
