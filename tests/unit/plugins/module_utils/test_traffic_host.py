# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host leaves and joins: marks, order, bounded waits, repeated and interrupted calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.traffic import Mark, TrafficError, parse_mark
from plugins.module_utils.traffic_host import GATES, Gate, Host, World

MARK = Mark("2026-01-01T00:00:00Z", "deploy", "release r2")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


class Fake(Gate):
    """A gate that notes what is asked of it; C(given) says how often it is busy, and what ails it."""

    def refuse(self) -> None:
        if self.given.get("refuse"):
            raise TrafficError(self.given["refuse"])

    def close(self) -> None:
        self.given["log"].append("close")

    def busy(self) -> str:
        self.given["busy"] = self.given.get("busy", 0) - 1
        return "1 open connection" if self.given["busy"] >= 0 else ""

    def open(self) -> None:
        self.given["log"].append("open")
        if self.given.get("interrupted"):
            raise KeyboardInterrupt

    def ill(self) -> str:
        return str(self.given.get("ill", ""))


def run(command: Sequence[str], text: str = "") -> tuple[int, str, str]:
    return 0, "", ""


@pytest.fixture
def given() -> dict[str, Any]:
    return {"log": []}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> Host:
    for tier in ("app_servers", "mysql"):
        monkeypatch.setitem(GATES, tier, Fake)  # type: ignore[arg-type]
    return Host(World("app1", run, Clock(), marks=tmp_path / "out-of-traffic"), {"app_servers": given, "mysql": given})


def test_a_host_is_marked_before_its_gate_closes_and_waits_until_it_is_idle(host: Host, given: dict[str, Any]) -> None:
    given["busy"] = 5
    host.leave(["app_servers"], MARK, 60)
    assert host.mark("app_servers") == MARK
    assert given["log"] == ["close"]
    assert host.world.clock.monotonic() >= 1.0, "five busy looks, 0.2 s apart"


def test_the_first_mark_stays(host: Host) -> None:
    host.leave(["app_servers"], MARK, 60)
    host.leave(["app_servers"], Mark("2026-02-02T00:00:00Z", "resize", ""), 60)
    assert host.mark("app_servers") == MARK


def test_a_wait_ends_and_says_what_it_saw(host: Host, given: dict[str, Any]) -> None:
    given["busy"] = 10**6
    with pytest.raises(TrafficError, match="app1 takes no new work in app_servers, but was not idle within 30 s: 1 open connection"):
        host.leave(["app_servers"], MARK, 30)
    assert host.mark("app_servers") == MARK, "it stays out: running again goes on"


def test_one_refusal_leaves_everything_as_it_was(host: Host, given: dict[str, Any]) -> None:
    given["refuse"] = "db1 takes the writes"
    with pytest.raises(TrafficError, match="takes the writes"):
        host.leave(["app_servers", "mysql"], MARK, 30)
    assert (host.marked(), given["log"]) == ([], [])


def test_the_folder_is_there_as_long_as_any_tier_is_out(host: Host) -> None:
    host.leave(["app_servers", "mysql"], MARK, 30)
    host.join(["mysql"], 30)
    assert host.marked() == ["app_servers"]
    host.join(["app_servers"], 30)
    assert not host.world.marks.exists()


def test_an_ill_application_server_stays_out(host: Host, given: dict[str, Any]) -> None:
    host.leave(["app_servers"], MARK, 30)
    given["ill"] = "answers 500 for /up"
    with pytest.raises(TrafficError, match="app1 can't do the work of app_servers: it answers 500 for /up, for 30 s"):
        host.join(["app_servers"], 30)
    assert host.marked() == ["app_servers"]
    assert "open" not in given["log"]


def test_an_interrupted_slow_start_leaves_the_host_out(host: Host, given: dict[str, Any]) -> None:
    host.leave(["app_servers"], MARK, 30)
    given["interrupted"] = True
    with pytest.raises(KeyboardInterrupt):
        host.join(["app_servers"], 30)
    assert host.marked() == ["app_servers"]


def test_a_verb_brings_back_only_what_it_took_out(host: Host) -> None:
    host.leave(["app_servers"], MARK, 30)
    host.join(["app_servers"], 30, by="resize")
    assert host.marked() == ["app_servers"]
    host.join(["app_servers"], 30, by="deploy")
    assert host.marked() == []


def test_joining_twice_does_nothing_twice(host: Host, given: dict[str, Any]) -> None:
    host.join(["app_servers"], 30)
    assert (host.done, given["log"]) == ([], [])


def test_a_mark_made_by_hand_counts(host: Host) -> None:
    host.world.marks.mkdir()
    (host.world.marks / "app_servers").touch()
    assert host.tell(["app_servers"])["app_servers"] == {"out": True, "ill": "", **vars(parse_mark(""))}
