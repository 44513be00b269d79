# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""report.yml against a real Prometheus with eight days of history, over TLS and with a login."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .prometheus import PASSWORD, Server, ask, serving, write_history
from .report_fleet import DAYS, PRICES, history, inventory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    write_history(folder, history(time.time()))
    with serving(folder) as found:
        yield found


def run(folder: Path, server: Server, **more: Any) -> subprocess.CompletedProcess[str]:
    """The playbook by its name; C(more) are variables."""
    variables = {
        "report_url": server.url,
        "report_ca_file": str(server.ca_file),
        "report_password": PASSWORD,
        "report_prices": PRICES,
        **more,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory(folder)), "graphic_school.scaling.report"]
    return subprocess.run(
        [*command, "-e", json.dumps(variables)],
        cwd=ROOT, env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"}, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("json")
    done = run(folder, server, report_file=str(folder / "report.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Suggestions" in done.stdout, "the text is printed beside the file"
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def verdicts(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["host"]: row for row in report["verdicts"]}


@pytest.mark.parametrize(
    ("host", "outcome", "then", "words"),
    [
        pytest.param("lb1", "keep", "", "no size costs less than small", id="a balancer of the smallest size"),
        pytest.param("app1", "smaller", "medium", "medium is enough: p95 of", id="an application server that idles"),
        pytest.param("app2", "larger", "large", "medium is too small: CPU: 1.", id="one that is pressed"),
        pytest.param("app4", "refused", "", "of history is less than report_history_hours: 168", id="one that came ten hours ago"),
        pytest.param("db1", "smaller", "large", "p95 of data in the buffer pool: 4,000 of 5,120", id="a database by its buffer pool"),
        pytest.param("db2", "smaller", "large", "p95 of data in the buffer pool", id="its replica gets the same"),
        pytest.param("redis2", "keep", "", "small would be too small: maxmemory", id="a cache that is full by design"),
        pytest.param("worker1", "keep", "", "small would be too small: memory", id="a worker"),
    ],
)
def test_what_is_suggested(report: dict[str, Any], host: str, outcome: str, then: str, words: str) -> None:
    found = verdicts(report)[host]
    assert (found["outcome"], found["then"]) == (outcome, then), found
    assert words in found["reason"]


@pytest.mark.parametrize("thing", ["cpu", "memory"])
@pytest.mark.parametrize("host", ["app1", "app2", "app3", "db1", "worker1"])
def test_percentiles_are_prometheus_own(report: dict[str, Any], server: Server, host: str, thing: str) -> None:
    """Over every sample of the window, not the grid's alone."""
    expr = f'quantile_over_time(0.95, fleet:{thing}_used:ratio{{host="{host}"}}[{DAYS + 1}d])'
    (row,) = json.loads(ask(server, f"/api/v1/query?query={quote(expr)}"))["data"]["result"]
    mine = next(row for row in report["hosts"] if row["host"] == host)[thing]["share"]
    assert mine == pytest.approx(float(row["value"][1]), abs=0.01)


def test_hosts_that_are_there_by_day_only_are_not_reserved(report: dict[str, Any]) -> None:
    split = next(row for row in report["splits"] if row["tier"] == "app_servers")
    assert (split["reserve"], split["most"], split["hosts"]) == (2, 4, ["app1", "app2"])
    assert split["saving"] == pytest.approx(0.0416 - 0.0261 + 0.0832 - 0.0522)


def test_disks_that_grow(report: dict[str, Any]) -> None:
    grows = {row["host"]: row for row in report["growth"]}
    assert grows["db1"]["bytes_per_day"] == pytest.approx(2**30, rel=0.02)
    assert grows["db1"]["days_left"] == pytest.approx(40 - 12 - DAYS, abs=0.5)
    assert grows["lb1"]["days_left"] is None
    assert "app4" not in grows, "ten hours are no trend"


def test_what_it_saves(report: dict[str, Any]) -> None:
    saved = {row["host"]: row["saving"] for row in report["verdicts"] if row["then"]}
    assert saved == pytest.approx({"app1": 0.0416, "app2": -0.0416, "db1": 0.0832, "db2": 0.0832})
    assert report["saving"] == pytest.approx(sum(saved.values()))
    assert report["price_now"] - report["price_then"] == pytest.approx(report["saving"])


@pytest.mark.parametrize(
    ("suffix", "begins"), [("html", "<!DOCTYPE html>"), ("md", "# What the fleet uses"), ("txt", "3 hosts could be smaller, 1 host should")]
)
def test_the_form_follows_the_suffix(server: Server, tmp_path: Path, suffix: str, begins: str) -> None:
    file = tmp_path / f"report.{suffix}"
    done = run(tmp_path, server, report_file=str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_text(encoding="utf-8").startswith(begins)


def test_too_little_history_for_anyone_is_a_failure_with_its_cure(server: Server, tmp_path: Path) -> None:
    done = run(tmp_path, server, report_history_hours=400, report_file=str(tmp_path / "report.txt"))
    assert done.returncode == 2
    assert "app1: 192." in done.stdout and "h of history is less than report_history_hours: 400" in done.stdout
    assert "accept less with -e report_history_hours=192" in done.stdout
    assert "Suggestions" not in (tmp_path / "report.txt").read_text(encoding="utf-8"), "what is used is told all the same"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        pytest.param({"report_password": "wrong"}, "answers 401 Unauthorized: check report_user and report_password", id="password"),
        pytest.param({"report_ca_file": "/etc/ssl/certs/ca-certificates.crt"}, "check report_url and report_ca_file", id="authority"),
        pytest.param({"report_url": "https://localhost:1"}, "can't be asked: ", id="address"),
        pytest.param({"report_prices": {"smal": 1}}, "report_prices: smal is not a size (did you mean small?)", id="price table"),
        pytest.param({"report_cpu_percent": 600}, "report_cpu_percent must be from 1 to 100, not: 600", id="target"),
        pytest.param({"report_file": "/nonexistent/report.md"}, "report_file /nonexistent/report.md can't be written", id="file"),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(server: Server, tmp_path: Path, variables: dict[str, Any], words: str) -> None:
    done = run(tmp_path, server, **variables)
    assert done.returncode == 2
    assert words in " ".join(done.stdout.split())
    assert PASSWORD not in done.stdout + done.stderr
