# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host leaves and joins: marks, order, bounded waits, repeated and interrupted calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.module_utils.redis_driver import Tools
from plugins.module_utils.traffic import Mark, TrafficError, parse_mark
from plugins.module_utils.traffic_host import GATES, Gate, Host, World
from tests.unit.support.clock import Clock

MARK = Mark("2026-01-01T00:00:00Z", "deploy", "release r2")


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


# --- a balancer ------------------------------------------------------------------------------------------------------


class Balancer:
    """A host with the shared address, on which C(answers) more looks see somebody; notes what it is told to do."""

    def __init__(self, tmp_path: Path, *, answers: int = 0, holds: bool = True, knows: bool = True, state: str = "01") -> None:
        self.answers, self.holds, self.knows, self.state = answers, holds, knows, state
        self.told: list[str] = []
        self.clock = Clock()
        self.proc = tmp_path / "net"
        self.proc.mkdir()
        self._look()
        shared = {"address": "192.0.2.10", "own": "192.0.2.11", "peers": [], "interface": "eth0"}
        settings = shared | {"ports": [443], "port": 8112, "seconds": 9}
        (tmp_path / "handover.json").write_text(json.dumps(settings))
        self.world = World("lb1", self.run, self, tmp_path / "marks", self.proc, handover=tmp_path / "handover.json")
        given = {"address": "192.0.2.10", "ports": [80, 443], "check_port": 8081, "check_path": "/alive"}
        self.host = Host(self.world, {"load_balancers": given})

    def _look(self) -> None:
        # 192.0.2.10:443 talks to 192.0.2.99:50000.
        row = f"   0: 0A0200C0:01BB 630200C0:C350 {self.state} 00000100:00000000 00:00000000 00000000     0        0 1 1\n"
        (self.proc / "tcp").write_text("  sl  local_address\n" + (row if self.answers > 0 else ""))

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def sleep(self, seconds: float, /) -> None:
        self.clock.sleep(seconds)
        self.answers -= 1
        self._look()

    def run(self, command: Sequence[str], text: str = "") -> tuple[int, str, str]:
        words = " ".join(part.rpartition("/")[2] for part in command)
        if words.startswith("ip "):
            return 0, "2: eth0    inet 192.0.2.10/32 scope global eth0\n" if self.holds else "", ""
        if words.startswith("systemctl cat "):
            return 0 if self.knows else 1, "", ""
        self.told.append(f"{words}{', marked' if self.host.marked() else ''}")
        if "restart keepalived" in words:
            self.holds = False
        return 0, "", ""


def test_a_balancer_moves_the_address_at_once_and_waits_for_its_answers(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, answers=40)
    balancer.host.leave(["load_balancers"], MARK, 30)
    assert balancer.told == [
        "systemctl start graphic_school-handover.service",
        "systemctl start graphic_school-handover.service, marked",
        "systemctl restart keepalived.service, marked",
        "systemctl reload nginx.service, marked",
    ], "whose connections they are is said before the mark lets keepalived's check fail"
    assert balancer.answers == -2, "it waited for the answers, and looked three times at the end"


def test_an_address_that_comes_back_while_it_is_given_away_is_given_away_again(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, answers=100)
    seconds_with_it = range(3, 6)

    def sleep(seconds: float, /) -> None:
        Balancer.sleep(balancer, seconds)
        balancer.holds = int(balancer.monotonic()) in seconds_with_it

    object.__setattr__(balancer.world, "clock", SimpleNamespace(monotonic=balancer.monotonic, sleep=sleep))
    balancer.host.leave(["load_balancers"], MARK, 30)
    assert balancer.told[-2:] == ["systemctl start graphic_school-handover.service, marked", "systemctl reload nginx.service, marked"]
    assert balancer.told.count("systemctl restart keepalived.service, marked") == 1
    assert balancer.clock.monotonic() > 20


def test_an_answer_that_does_not_end_is_told(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, answers=10**6)
    with pytest.raises(TrafficError, match=r"was not idle within 30 s: 1 open connection \(1 from 192.0.2.99\)"):
        balancer.host.leave(["load_balancers"], MARK, 30)
    assert not balancer.holds


def test_a_client_that_vanished_before_its_last_bytes_keeps_nobody_waiting(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, answers=10**6, state="04")
    balancer.host.leave(["load_balancers"], MARK, 30)
    assert 15 <= balancer.clock.monotonic() < 17


def test_a_drain_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, answers=3)
    balancer.host._write_mark("load_balancers", MARK)
    balancer.holds = False
    balancer.host.leave(["load_balancers"], MARK, 30)
    assert balancer.told == ["systemctl reload nginx.service, marked"], "its idle connections are closed, should they be open still"


def test_a_balancer_that_cannot_keep_its_connections_is_left_alone(tmp_path: Path) -> None:
    balancer = Balancer(tmp_path, knows=False)
    with pytest.raises(TrafficError, match=r"lb1 does not know yet how to give its address away; run site.yml"):
        balancer.host.leave(["load_balancers"], MARK, 30)
    assert (balancer.told, balancer.host.marked()) == ([], [])


def test_a_balancer_whose_peer_would_cut_them_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.module_utils.traffic_host.unaware", lambda _shared: ("192.0.2.12",))
    balancer = Balancer(tmp_path)
    with pytest.raises(TrafficError, match=r"lb1 can't give 192.0.2.10 away: 192.0.2.12 would cut what is being answered"):
        balancer.host.leave(["load_balancers"], MARK, 30)
    assert (balancer.told, balancer.host.marked()) == ([], [])


@pytest.mark.parametrize("again", [False, True], ids=["it stands by", "it is out already"])
def test_a_balancer_without_the_address_moves_nothing(tmp_path: Path, again: bool) -> None:
    balancer = Balancer(tmp_path, holds=False)
    if again:
        balancer.host.leave(["load_balancers"], MARK, 30)
    balancer.host.leave(["load_balancers"], MARK, 30)
    assert balancer.told == []


# --- a host of Redis -------------------------------------------------------------------------------------------------


class RedisHost:
    """redis1 of three hosts, without slots: C(refuses) new clients. A client is connected that says something until C(talks)."""

    def __init__(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        refuses: bool = True,
        spreads: bool = True,
        knows: bool = True,
        talks: float = 0,
        idle: int = 0,
    ) -> None:
        self.refuses, self.spreads, self.knows, self.talks, self.idle = refuses, spreads, knows, talks, idle
        self.clock = Clock()
        rows = [{"host": f"redis{n}", "address": f"192.0.2.{n}", "port": 6379} for n in (1, 2, 3)]
        pools = [{"name": "durable", "replicas": 0, "instances": rows}]
        settings = tmp_path / "spread.json"
        settings.write_text(json.dumps({"host": "redis1", "pools": pools, "user": "", "passwords": []}))
        tools = Tools(self.connect, self.clock.monotonic, self.clock.sleep, 5)
        monkeypatch.setattr("plugins.module_utils.traffic_host.tools_for", lambda *_given: tools)
        self.host = Host(World("redis1", self.run, self.clock, tmp_path / "marks"), {"redis_cluster": {"settings": str(settings)}})

    def connect(self, address: str, port: int) -> Any:
        return self

    def close(self) -> None:
        pass

    def command(self, *words: object) -> str:
        if words[:2] == ("CLUSTER", "NODES"):
            return "1" * 40 + " 192.0.2.1:6379@16379 myself,slave " + "2" * 40 + " 0 0 1 connected"
        assert words == ("CLIENT", "LIST")
        quiet = self.idle + max(0, int(self.clock.now - self.talks))
        own = ["id=6 addr=127.0.0.1:1 idle=0 cmd=client|list", "id=7 addr=192.0.2.2:40000 idle=0 cmd=psync"]
        return "\n".join([*own, f"id=9 addr=192.0.2.99:50000 name= idle={quiet} cmd=get"])

    def run(self, command: Sequence[str], text: str = "") -> tuple[int, str, str]:
        if "AmbientCapabilities" in command:
            return 0, "cap_net_admin\n" if self.knows else "\n", ""
        if command[1] == "show":
            return 0, "active\n" if self.spreads else "inactive\n", ""
        return 0 if self.refuses else 1, "", ""


@pytest.mark.parametrize(
    ("talks", "idle", "seconds"),
    [
        pytest.param(0, 900, 0, id="it has said nothing for long"),
        pytest.param(0, 0, 15, id="it says nothing any more"),
        pytest.param(8, 0, 23, id="it is asked something meanwhile"),
        pytest.param(1000, 0, 30, id="it never stops"),
    ],
)
def test_a_client_of_redis_that_may_be_in_a_request_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, talks: float, idle: int, seconds: float
) -> None:
    redis = RedisHost(tmp_path, monkeypatch, talks=talks, idle=idle)
    redis.host.leave(["redis_cluster"], MARK, 60)
    assert seconds <= redis.clock.now <= seconds + 1


def test_a_wait_for_a_client_of_redis_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrafficError, match=r"not idle within 9 s: 1 open connection \(1 from 192.0.2.99\)"):
        RedisHost(tmp_path, monkeypatch).host.leave(["redis_cluster"], MARK, 9)


def test_redis_is_not_out_before_new_clients_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrafficError, match=r"not idle within 30 s: it does not refuse new clients yet \(see the journal"):
        RedisHost(tmp_path, monkeypatch, refuses=False).host.leave(["redis_cluster"], MARK, 30)


def test_without_the_service_that_refuses_them_nobody_waits_for_clients_of_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = RedisHost(tmp_path, monkeypatch, spreads=False, refuses=False)
    redis.host.leave(["redis_cluster"], MARK, 30)
    assert redis.clock.now <= 1


def test_a_host_of_redis_that_an_earlier_version_set_up_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = RedisHost(tmp_path, monkeypatch, knows=False)
    with pytest.raises(TrafficError, match=r"redis1 does not know yet how to send clients away; run site.yml"):
        redis.host.leave(["redis_cluster"], MARK, 30)
    assert redis.host.marked() == []
