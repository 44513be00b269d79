# Written by Ansible (role graphic_school.scaling.mysql).
"""Tells load balancers what this MySQL server is good for.

GET /primary            200 when it takes writes; 404 while it is about to hand its writes over, so that HAProxy (http-check
                        disable-on-404) sends it nothing new and lets what runs there end
GET /watch?state=S      the same, but only once it is no longer S (or after 20 s): who waits here learns of a change at once
GET /handover           whom of those that asked in the last second the 404 has reached: the handover begins when it is all
GET /replica?max_lag=N  200 when it replicates and is at most N seconds behind; 404 when it lives but is not fit, or out of traffic, so
                        that HAProxy (http-check disable-on-404) lets running queries end there; 503 when it is dead
GET /alive              200 when it answers
GET /metrics            the same as numbers, for Prometheus

Every other answer is 503. The body is JSON, but for /metrics. One thread asks the server again and again over one connection; requests are
answered from its last look, in no time and at no cost to the server. A look that is too old means that the server hangs, and counts as
dead. Its age is counted in ticks of this process, so that a machine that is short of CPU time does not make its server look dead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

POLL_SECONDS = 0.2
HANDOVER_TICK_SECONDS = 0.02
TICK_SECONDS = 0.1
STALE_TICKS = 10
DEFAULT_MAX_LAG = 5.0
# The mark that the module traffic leaves on a host that is to get no new reads. A primary stays primary: it is moved by a switchover.
OUT_OF_TRAFFIC = Path("/etc/graphic_school/out-of-traffic/mysql")
WATCH_SECONDS = 20.0
# Whoever moves the primary touches this file again and again; when he dies, the primary serves on after this time.
HANDOVER_SECONDS = 5.0

# Ages are computed by the server: how long ago the primary committed the transaction that is being applied, and the one queued last.
# A timestamp of zero means that there is none.
QUERY = """
SELECT @@server_uuid AS uuid, @@read_only AS read_only, @@rpl_semi_sync_source_enabled AS semi_sync,
  (SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Rpl_semi_sync_source_clients') AS clients,
  (SELECT variable_value FROM performance_schema.global_status WHERE variable_name = 'Rpl_semi_sync_source_yes_tx') AS acknowledged,
  @@rpl_semi_sync_source_wait_for_replica_count AS needed,
  c.host AS source, s.source_uuid, s.service_state AS receiver, a.service_state AS applier,
  GTID_SUBSET(s.received_transaction_set, @@global.gtid_executed) AS all_applied,
  (SELECT MAX(TIMESTAMPDIFF(MICROSECOND, applying_transaction_original_commit_timestamp, NOW(6)))
     FROM performance_schema.replication_applier_status_by_worker
    WHERE channel_name = '' AND applying_transaction <> '') AS applying_age,
  IF(s.last_queued_transaction <> '',
     TIMESTAMPDIFF(MICROSECOND, s.last_queued_transaction_original_commit_timestamp, NOW(6)), NULL) AS queued_age,
  @@global.gtid_executed AS executed, GTID_SUBTRACT(s.received_transaction_set, @@global.gtid_executed) AS backlog
FROM (SELECT 1) AS one
LEFT JOIN performance_schema.replication_connection_configuration c ON c.channel_name = '' AND c.host <> ''
LEFT JOIN performance_schema.replication_connection_status s ON s.channel_name = c.channel_name
LEFT JOIN performance_schema.replication_applier_status a ON a.channel_name = c.channel_name
"""


@dataclass(frozen=True)
class Look:
    """What the server was at a moment. ``lag`` is in seconds; None when it replicates nothing or nobody can tell.

    ``executed`` counts the transactions that it holds, ``backlog`` those that it received and has not applied.
    """

    uuid: str
    writable: bool
    confirmed: bool
    source: str | None = None
    source_uuid: str | None = None
    replicating: bool = False
    lag: float | None = None
    executed: int = 0
    backlog: int | None = None


def look_from(row: dict[str, Any], silent_seconds: float | None = 0.0) -> Look:
    """Return what the row of QUERY says. ``silent_seconds``: how long the replica has not heard its source, None if it never did.

    A replica that lost its source was up to date when it last heard it, so it is as far behind as that is ago: a source that restarts does
    not take all its replicas along.
    """
    replicating = row["receiver"] == "ON" and row["applier"] == "ON"
    lag = None
    if row["applier"] == "ON" and row["receiver"] in ("ON", "CONNECTING") and silent_seconds is not None:
        lag = max(lag_seconds(bool(row["all_applied"]), row["applying_age"], row["queued_age"]), silent_seconds)
    return Look(
        uuid=str(row["uuid"]),
        writable=not int(row["read_only"]),
        confirmed=confirmed(
            bool(int(row["semi_sync"])),
            int(row["clients"] or 0),
            int(row["needed"] or 1),
            int(row["acknowledged"] or 0),
        ),
        source=row["source"],
        source_uuid=row["source_uuid"],
        replicating=replicating,
        lag=lag,
        executed=transactions_in(row.get("executed") or ""),
        backlog=None if row.get("backlog") is None else transactions_in(row["backlog"]),
    )


def transactions_in(gtid_set: str) -> int:
    """Return how many transactions a set such as uuid:1-5:7,uuid:tag:1-3 holds."""
    count = 0
    for part in gtid_set.replace(",", ":").replace("\n", "").split(":"):
        first, _dash, last = part.strip().partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            count += int(last or first) - int(first) + 1
    return count


def metrics(look: Look | None) -> str:
    """Return what is known as Prometheus' text. What nobody can tell is left out; of a dead server only that it is."""
    rows = [("mysql_health_up", "1 when the server answers.", "", float(look is not None))]
    if look is not None:
        labels = '{' + f'uuid="{look.uuid}",source_uuid="{look.source_uuid or ""}"' + '}'
        rows += [
            ("mysql_health_writable", "1 when it takes writes.", "", float(look.writable)),
            ("mysql_health_replica", "1 when it has a source.", "", float(look.source is not None)),
            ("mysql_health_replicating", "1 when it receives and applies.", "", float(look.replicating)),
            ("mysql_health_executed_transactions", "Transactions that it holds.", labels, float(look.executed)),
        ]
        if look.source is not None and look.lag is not None:
            rows.append(("mysql_health_lag_seconds", "Seconds behind the commits of its source.", "", look.lag))
        if look.source is not None and look.backlog is not None:
            rows.append(("mysql_health_backlog_transactions", "Received and not applied.", "", float(look.backlog)))
    return "".join(f"# HELP {name} {about}\n# TYPE {name} gauge\n{name}{labels} {value:.17g}\n" for name, about, labels, value in rows)


def confirmed(semi_sync: bool, clients: int, needed: int, acknowledged: int) -> bool:
    """Return whether replicas stand behind a primary: they are attached, or were since it started.

    A former primary that comes back from the dead is writable, and would take connections whose writes then wait for ever: its
    replicas follow another one by now.
    """
    return not semi_sync or clients >= needed or acknowledged > 0


def lag_seconds(all_applied: bool, applying_age: int | None, queued_age: int | None) -> float:
    """Return how far behind its source a connected replica is. Ages in microseconds since the primary's commit.

    With everything received applied it is not behind, however long ago the last write was. Otherwise it is as far behind as the oldest
    transaction being applied, or, between two, at least as the one queued last.
    """
    if all_applied:
        return 0.0
    return max(applying_age or 0, queued_age or 0, 0) / 1e6


def answer(
    path: str, query: dict[str, list[str]], look: Look | None, *, out: bool = False, handing_over: bool = False
) -> tuple[int, dict[str, Any]]:
    """Return the status and the body for a request; ``look`` is None while the server does not answer, ``out`` tells of the mark."""
    if path not in ("/primary", "/replica", "/alive"):
        return 503, {"state": "unknown path", "paths": ["/primary", "/replica?max_lag=N", "/alive"]}
    if look is None:
        return 503, {"state": "dead"}
    body = asdict(look)
    if path == "/alive":
        return 200, {"state": "alive", **body}
    if path == "/primary":
        if handing_over and look.writable:
            return 404, {"state": "handing over", **body}
        if look.writable and look.confirmed:
            return 200, {"state": "primary", **body}
        return 503, {"state": "unconfirmed" if look.writable else "not primary", **body}
    try:
        limit = float(query.get("max_lag", [str(DEFAULT_MAX_LAG)])[0])
    except ValueError:
        return 503, {"state": "max_lag is not a number"}
    if look.writable or look.source is None:
        return 404, {"state": "not a replica", **body}
    if out:
        return 404, {"state": "out of traffic", **body}
    if look.lag is None:
        return 404, {"state": "not replicating", **body}
    return (200, {"state": "replica", **body}) if look.lag <= limit else (404, {"state": "behind", **body})


class Watcher(threading.Thread):
    """Asks the server every POLL_SECONDS and keeps the last answer, with its age in ticks."""

    def __init__(self, socket: str, handover: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket
        self.handover = handover
        self.handing_over = False
        self.changed = threading.Condition()
        # Who asked for the primary: address → (when, what it was told).
        self.askers: dict[str, tuple[float, str]] = {}
        self.last: Look | None = None
        self.heard: float | None = None
        self.age = 0

    def look(self) -> Look | None:
        return self.last if self.age <= STALE_TICKS else None

    def primary(self) -> tuple[int, dict[str, Any]]:
        return answer("/primary", {}, self.look(), handing_over=self.handing_over)

    def wait_for_other_than(self, state: str, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.primary()[1]["state"] != state, seconds)

    def told(self, asker: str, state: str) -> None:
        self.askers[asker] = (time.monotonic(), state)

    def not_told(self) -> list[str]:
        """Who asked within the last second, and does not know yet that this primary hands over."""
        now = time.monotonic()
        return sorted(
            asker
            for asker, (when, state) in list(self.askers.items())
            if now - when < 1.0 and state != "handing over"
        )

    def tick(self) -> None:
        self.age += 1

    def tick_for_ever(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            self.tick()

    def watch_handover(self) -> bool:
        """Note whether the primary is being moved, and return it."""
        try:
            age = time.time() - os.stat(self.handover).st_mtime
        except OSError:
            age = HANDOVER_SECONDS
        handing_over = age < HANDOVER_SECONDS
        if handing_over != self.handing_over:
            with self.changed:
                self.handing_over = handing_over
                self.changed.notify_all()
        return handing_over

    def run(self) -> None:
        import pymysql  # noqa: PLC0415 - the tests of the functions above need no MySQL library
        from pymysql.cursors import DictCursor  # noqa: PLC0415

        connection = None
        while True:
            started = time.monotonic()
            try:
                if connection is None:
                    connection = pymysql.connect(
                        unix_socket=self.socket,
                        user="mysql_health",
                        autocommit=True,
                        cursorclass=DictCursor,
                        connect_timeout=5,
                        read_timeout=5,
                    )
                with connection.cursor() as cursor:
                    cursor.execute(QUERY)
                    row = cursor.fetchone()
                now = time.monotonic()
                self.heard = now if row["receiver"] == "ON" else self.heard
                self.last = look_from(row, None if self.heard is None else now - self.heard)
                self.age = 0
            except (pymysql.Error, OSError):
                self.last = None
                if connection is not None:
                    connection._force_close()
                    connection = None
            with self.changed:
                self.changed.notify_all()
            # While the primary moves it looks as often as it can.
            while not self.watch_handover() and time.monotonic() - started < POLL_SECONDS:
                time.sleep(HANDOVER_TICK_SECONDS)
            time.sleep(HANDOVER_TICK_SECONDS)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    watcher: Watcher

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        watcher = self.watcher
        path = url.path
        if path == "/metrics":
            self.say(200, "text/plain; version=0.0.4; charset=utf-8", metrics(watcher.look()).encode())
            return
        if path == "/watch":
            # Who waits here has the news as soon as there are any.
            watcher.wait_for_other_than(query.get("state", [""])[0], WATCH_SECONDS)
            path = "/primary"
        if path == "/handover":
            status, body = 200, {"handing_over": watcher.handing_over, "not_told": watcher.not_told()}
        else:
            status, body = answer(path, query, watcher.look(), out=OUT_OF_TRAFFIC.exists(), handing_over=watcher.handing_over)
        if path == "/primary":
            watcher.told(self.client_address[0], body["state"])
        self.say(status, "application/json", json.dumps(body).encode() + b"\n")

    def say(self, status: int, kind: str, payload: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    do_HEAD = do_GET
    do_OPTIONS = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Several checks a second are nothing for a log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A load balancer hangs up as soon as it knows enough; that is no error worth a line."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=9200)
    parser.add_argument("--socket", default="/run/mysqld/mysqld.sock")
    parser.add_argument("--handover", default="/run/mysqld/handover")
    options = parser.parse_args()
    Handler.watcher = Watcher(options.socket, options.handover)
    Handler.watcher.start()
    threading.Thread(target=Handler.watcher.tick_for_ever, daemon=True).start()
    Server((options.address, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
