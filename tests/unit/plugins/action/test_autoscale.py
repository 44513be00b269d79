# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look: Prometheus over HTTP, the inventory, the lock and earlier decisions in; decisions and what follows out."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from plugins.action.autoscale import lock_holders, look
from plugins.module_utils.autoscale_policy import AutoscaleError
from plugins.module_utils.fleet_lock import Holder, lock_text, process_began
from plugins.module_utils.prometheus_client import fetcher

NOW = 1_800_000_000.0
LOGIN = "Basic " + base64.b64encode(b"fleet:secret").decode()


class Fake(ThreadingHTTPServer):
    """Prometheus' API over constant series, each with a value every five seconds for ten minutes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.values: dict[str, list[tuple[dict[str, str], float]]] = {}
        self.age = 0.0
        self.decisions: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/fleet"


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != LOGIN:
            self.send_error(401, "Unauthorized")
            return
        path = urlsplit(self.path)
        if path.path == "/fleet/data/decisions.json":
            self.answer(self.server.decisions)
            return
        question = parse_qs(path.query)["query"][0]
        if question == "time()":
            self.data("scalar", [NOW, str(NOW)])
            return
        name, _brace, rest = question.partition("{")
        by_tier = "tier=~" in rest
        rows = [
            {"metric": labels, "values": [[NOW - self.server.age - back, str(value)] for back in range(600, -1, -5)]}
            for labels, value in self.server.values.get(name, [])
            if not by_tier or "tier" in labels
        ]
        self.data("matrix", rows)

    def data(self, kind: str, result: Any) -> None:
        self.answer({"status": "success", "data": {"resultType": kind, "result": result}})

    def answer(self, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def prometheus() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.values = load(cpu=0.5, seconds=0.4, jobs=500)
    yield server
    server.shutdown()
    server.server_close()


def load(cpu: float, seconds: float, jobs: float) -> dict[str, list[tuple[dict[str, str], float]]]:
    hosts = [{"host": name, "tier": "app_servers"} for name in ("app1", "app2")]
    return {
        "fleet:cpu_used:ratio": [(labels, cpu) for labels in hosts],
        "fleet:memory_used:ratio": [(labels, 0.7) for labels in hosts],
        "fleet:response_time_overall:p95_seconds": [({}, seconds)],
        "fleet:queue_length:jobs": [({"queue": "default"}, jobs)],
        "fleet:queue_oldest_job_age:seconds": [({"queue": "default"}, 20)],
        "fleet:up:bool": [(labels, 1) for labels in hosts],
    }


def server(name: str, tier: str, state: str = "active") -> dict[str, Any]:
    return {"name": name, "address": name, "state": state, "memory_mb": 768, "vcpus": 2, "tiers": [tier]}


FLEET: dict[str, Any] = {
    "app_servers": [server("app1", "app_servers"), server("app2", "app_servers"), server("app3", "app_servers", "standby")],
    "queue_workers": [server("worker1", "queue_workers")],
}


def ask(prometheus: Fake, folder: Path, hostvars: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    arguments = {
        "url": prometheus.url, "user": "fleet", "password": "secret", "ca_file": None, "seconds": 5.0, "fleet": FLEET, "group_names": {},
        "policies": [{"tier": "app_servers"}, {"tier": "queue_workers", "minimum": 1}],
        "lock": folder / "fleet.lock", "history": folder / "decisions.json", "dry_run": False, **more,
    }  # fmt: skip
    known: dict[str, Any] = {name: {} for name in ("app1", "app2", "app3", "worker1")}
    fetch = fetcher(arguments["user"], arguments["password"], None, 5.0, "autoscale")
    return look(arguments, known | (hostvars or {}), fetch)


def test_a_fleet_that_does_well_is_left_alone(prometheus: Fake, tmp_path: Path) -> None:
    found = ask(prometheus, tmp_path)
    assert [decision["action"] for decision in found["decisions"]] == ["hold", "hold"]
    assert found["changes"] == []


def test_too_much_to_do_is_a_change_within_what_there_is(prometheus: Fake, tmp_path: Path) -> None:
    prometheus.values = load(cpu=0.95, seconds=3, jobs=500)
    (change,) = ask(prometheus, tmp_path)["changes"]
    assert (change["decision"]["current"], change["decision"]["desired"], change["group"]) == (2, 3, "app_servers")
    assert change["runs"][0]["variables"]["fleet_count"] == 3


def test_workers_come_before_hosts(prometheus: Fake, tmp_path: Path) -> None:
    prometheus.values = load(cpu=0.5, seconds=0.4, jobs=3000)
    (change,) = ask(prometheus, tmp_path, {"worker1": {"queue_workers_processes": 2}})["changes"]
    assert change["workers"] == {"worker1": {"queue_workers_processes": 6}}
    assert [run["playbooks"] for run in change["runs"]] == [["preflight", "queue_workers"]]


@pytest.mark.parametrize("how", ["dry run", "lock"])
def test_nothing_follows(prometheus: Fake, tmp_path: Path, how: str) -> None:
    prometheus.values = load(cpu=0.95, seconds=3, jobs=500)
    if how == "lock":
        hold(tmp_path / "fleet.lock", "deploy")
    found = ask(prometheus, tmp_path, dry_run=how == "dry run")
    assert found["changes"] == []
    first = found["decisions"][0]
    assert first["action"] == ("out" if how == "dry run" else "hold")
    assert how != "lock" or "deploy holds the fleet's lock" in first["reason"]


def test_beside_another_look_that_scales_nothing_is_decided(prometheus: Fake, tmp_path: Path) -> None:
    hold(tmp_path / "fleet.lock", "autoscale")
    assert ask(prometheus, tmp_path)["decisions"] == []


def hold(file: Path, verb: str) -> None:
    pid = os.getpid()
    file.write_text(lock_text([Holder(pid, process_began(pid), socket.gethostname(), verb, "2026-01-01T00:00:00Z")]))


def test_a_lock_of_a_process_that_is_gone_holds_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(lock_text([Holder(1, "0", socket.gethostname(), "deploy", "2026-01-01T00:00:00Z")]))
    assert lock_holders(tmp_path / "lock") == []
    assert lock_holders(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param("gone", "Prometheus at http://127.0.0.1:9/fleet/api/v1/query can't be asked: ", id="nobody answers"),
        pytest.param(
            "login",
            "answers 401 Unauthorized: check autoscale_user and autoscale_password, and nothing is changed blindly",
            id="the login is refused",
        ),
        pytest.param("old", "has no value younger than 60 s", id="it stopped measuring"),
        pytest.param("empty", "cpu has no value younger than 60 s", id="it never measured"),
    ],
)
def test_without_numbers_it_holds(prometheus: Fake, tmp_path: Path, fault: str, said: str) -> None:
    prometheus.values = {} if fault == "empty" else load(cpu=0.95, seconds=3, jobs=5000)
    prometheus.age = 120.0 if fault == "old" else 0.0
    more = {"gone": {"url": "http://127.0.0.1:9/fleet"}, "login": {"password": "another"}}.get(fault, {})
    found = ask(prometheus, tmp_path, **more)
    assert [decision["action"] for decision in found["decisions"]] == ["hold", "hold"]
    assert said in found["decisions"][0]["reason"]


def test_a_new_control_host_knows_what_was_done_from_the_page(prometheus: Fake, tmp_path: Path) -> None:
    prometheus.values = load(cpu=0.95, seconds=3, jobs=500)
    prometheus.decisions = [
        {"time": "2027-01-15T07:59:40Z", "tier": "app_servers", "current": 1, "desired": 2, "action": "out", "reason": "", "dry_run": False}
    ]
    found = ask(prometheus, tmp_path)
    assert "something was added 20 s ago" in found["decisions"][0]["reason"]
    (tmp_path / "decisions.json").write_text("[]")
    assert ask(prometheus, tmp_path)["decisions"][0]["action"] == "out", "its own decisions win"


def test_what_an_interrupted_run_left_is_finished_also_without_numbers(prometheus: Fake, tmp_path: Path) -> None:
    prometheus.values = {}
    (change,) = ask(prometheus, tmp_path, {"app2": {"fleet_scaling": "joining"}})["changes"]
    assert change["runs"][0]["variables"] == {"fleet_tier": "app_servers", "fleet_count": 2, "preflight_lock_beside": ["autoscale"]}


def test_a_host_that_does_not_answer_is_not_counted_and_not_told_to_leave(prometheus: Fake, tmp_path: Path) -> None:
    prometheus.values["fleet:up:bool"] = [({"host": "app1"}, 1), ({"host": "app2"}, 0)]
    decision = ask(prometheus, tmp_path)["decisions"][0]
    assert (decision["current"], decision["desired"], decision["count"]) == (1, 2, 3)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        pytest.param({"policies": [{"tier": "mysql"}]}, "tier must be one of app_servers, queue_workers, not: mysql", id="another tier"),
        pytest.param(
            {"fleet": FLEET | {"queue_workers": []}}, "a row for queue_workers, of which the fleet has none", id="a tier without hosts"
        ),
        pytest.param(
            {"policies": [{"tier": "app_servers", "minimum": 4}]}, "minimum 4 is above 3, the most that fleet_maximum", id="too few hosts"
        ),
    ],
)
def test_policies_that_cannot_be_are_refused(prometheus: Fake, tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(AutoscaleError, match=said):
        ask(prometheus, tmp_path, **more)


def test_without_policies_every_tier_that_is_there_has_the_default(prometheus: Fake, tmp_path: Path) -> None:
    tiers = [decision["tier"] for decision in ask(prometheus, tmp_path, policies=None, fleet=FLEET | {"queue_workers": []})["decisions"]]
    assert tiers == ["app_servers"]
