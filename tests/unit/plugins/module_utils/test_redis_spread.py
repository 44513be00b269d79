# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis host that is out of traffic refuses new clients, unless it has to serve them after all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.redis_driver import PoolDriver
from plugins.module_utils.redis_spread import Refusal
from tests.unit.plugins.module_utils.test_redis_driver import POOL, Network


class World:
    """redis1 of a whole cluster, its mark, and what nft was told; C(refusing): whether the rule is loaded."""

    def __init__(self, tmp_path: Path) -> None:
        self.network = Network()
        PoolDriver(POOL, self.network.tools()).build()
        self.mark = tmp_path / "redis_cluster"
        pool = {"name": "durable", "replicas": 1, "instances": [asdict(instance) for instance in POOL.instances]}
        self.config: dict[str, Any] = {"host": "redis1", "pools": [pool], "out_of_traffic": str(self.mark)}
        self.refusing, self.broken, self.rules = False, False, ""
        self.asked: list[str] = []
        self.refusal = Refusal(self.nft)

    def nft(self, arguments: Sequence[str], text: str) -> tuple[int, str]:
        self.asked.append(arguments[0])
        if arguments[0] == "list":
            return (0, "") if self.refusing else (1, "No such file or directory")
        if self.broken:
            return 1, "Operation not permitted\n"
        self.refusing, self.rules = arguments[0] == "-f", text
        return 0, ""

    def leave(self) -> None:
        self.mark.touch()
        self.hand_over()
        self.look()
        self.look(after=10)
        assert self.refusing

    def hand_over(self) -> None:
        self.network.take_over(self.network.servers["192.0.2.2", 6380])

    def look(self, after: float = 0) -> str:
        self.network.now += after
        return self.refusal.look(self.config, self.network.tools())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_host_in_traffic_asks_nft_once(world: World) -> None:
    assert [world.look(), world.look()] == ["", ""]
    assert world.asked == ["list"]


def test_a_rule_that_an_earlier_start_left_is_removed(world: World) -> None:
    world.refusing = True
    assert world.look() == "let clients in"
    assert not world.refusing


def test_clients_are_refused_once_the_primaries_are_handed_over(world: World) -> None:
    world.mark.touch()
    assert world.look() == "", "it is a primary still"
    assert not world.refusing
    world.hand_over()
    assert [world.look(), world.look(after=9)] == ["", ""], "who knows the old primaries is sent on for a while"
    assert world.look(after=1) == "refuse new clients: this host is out of traffic"
    assert "tcp dport { 6379, 6380 }" in world.rules
    assert "ip saddr { 192.0.2.1, 192.0.2.2, 192.0.2.3 } accept" in world.rules, "the tier goes on among itself"
    assert world.look() == ""


def test_a_host_that_became_primary_because_another_died_lets_its_clients_in(world: World) -> None:
    world.leave()
    world.network.take_over(world.network.servers["192.0.2.1", 6379])
    assert world.look() == "let clients in: redis1:6379 became primary"
    assert not world.refusing
    world.hand_over()
    assert [world.look(), world.look(after=9)] == ["", ""], "handed over again, it sends on anew"
    assert not world.refusing


def test_the_service_starts_anew_and_the_rule_stays(world: World) -> None:
    world.leave()
    world.refusal = Refusal(world.nft)
    assert world.look() == ""
    assert world.refusing


def test_a_rule_that_somebody_flushed_comes_back(world: World) -> None:
    world.leave()
    world.refusing = False
    assert world.look() == "refuse new clients: this host is out of traffic"


def test_clients_are_let_in_when_the_mark_is_gone(world: World) -> None:
    world.leave()
    world.mark.unlink()
    assert world.look() == "let clients in"
    assert world.look() == ""
    assert not world.refusing


def test_what_nft_complains_of_is_said_and_tried_again(world: World) -> None:
    world.mark.touch()
    world.hand_over()
    world.broken = True
    world.look()
    assert world.look(after=10) == "refuse new clients: this host is out of traffic: nft ended with 1: Operation not permitted"
    world.broken = False
    assert world.look() == "refuse new clients: this host is out of traffic"
