# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A balancer gives the shared address away: how long it goes on, and what it leaves behind."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from plugins.module_utils.handover import Giver, Look, Shared, holds, shared_from, unaware, why_it_ends

SHARED = Shared("192.0.2.10", "192.0.2.11", "eth0", ("192.0.2.12",), (80, 443), 8112, 600)
SHARED6 = Shared("2001:db8::10", "2001:db8::11", "eth0", ("2001:db8::12", "2001:db8::13"), (443,), 8112, 600)


def test_settings_are_read() -> None:
    data = {"address": "192.0.2.10", "own": "192.0.2.11", "interface": "eth0", "ports": [443, "80", 80], "port": "8112", "seconds": 600}
    assert shared_from(data | {"peers": ["192.0.2.12", "2001:db8::12"]}) == SHARED
    with pytest.raises(ValueError, match="lb"):
        shared_from(data | {"address": "lb", "peers": []})


@pytest.mark.parametrize(
    ("left", "look", "why"),
    [
        pytest.param(None, Look(29, True, 5), "", id="it is about to leave"),
        pytest.param(None, Look(30, True, 5), "the address did not move", id="it was interrupted before it left"),
        pytest.param(1, Look(2, False, 0), "", id="neighbours may still send"),
        pytest.param(1, Look(5.9, False, 0), "", id="and may a moment later"),
        pytest.param(1, Look(6, False, 0), "nothing is left of it", id="all answers have ended"),
        pytest.param(1, Look(599, False, 1), "", id="one answer takes long"),
        pytest.param(1, Look(601, False, 2), "2 connections are cut after 600 s", id="but not for ever"),
        pytest.param(1, Look(3, True, 2), "the address came back", id="the other balancer died"),
    ],
)
def test_a_giver_stays_for_its_connections_and_not_longer(left: float | None, look: Look, why: str) -> None:
    assert why_it_ends(0, left, look, 600) == why


@pytest.mark.parametrize(
    ("printed", "held"),
    [
        ("2: eth0    inet 192.0.2.10/32 scope global eth0\n", True),
        ("2: eth0    inet 192.0.2.100/24 scope global eth0\n", False),
        ("2: eth0    inet 192.0.2.11/24 brd 192.0.2.10 scope global eth0\n", False),
    ],
)
def test_who_holds_the_address(printed: str, held: bool) -> None:
    assert holds(printed, "192.0.2.10") is held


def test_an_address_may_be_written_in_full() -> None:
    assert holds("2: eth0    inet6 2001:db8::10/128 scope global\n", "2001:DB8:0::10")


def test_a_peer_without_rules_is_known_by_its_refusal() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        shared = Shared("192.0.2.10", "127.0.0.1", "lo", ("127.0.0.1",), (443,), port, 600)
        assert unaware(shared, 0.01) == ()
    assert unaware(shared, 0.01) == ("127.0.0.1",)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "sys/net/ipv4/conf/eth0"
    folder.mkdir(parents=True)
    for name in ("arp_ignore", "arp_announce"):
        (folder / name).write_text("0\n")
    (tmp_path / "net").mkdir()
    return tmp_path


def arp(proc: Path) -> list[str]:
    return [(proc / "sys/net/ipv4/conf/eth0" / name).read_text().strip() for name in ("arp_ignore", "arp_announce")]


@pytest.mark.parametrize(("shared", "quiet"), [(SHARED, ["1", "2"]), (SHARED6, ["0", "0"])], ids=["IPv4", "IPv6 needs no silence"])
def test_a_giver_takes_what_is_sent_to_the_address_and_leaves_no_trace(proc: Path, shared: Shared, quiet: list[str]) -> None:
    told: list[str] = []

    def run(command: Sequence[str]) -> str:
        # Nobody may be told that the address is here.
        told.append(f"{' '.join(command[1:])} | {' '.join(arp(proc))}")
        return ""

    with pytest.raises(SystemExit), Giver(shared, run, proc).accepting():
        assert arp(proc) == quiet
        raise SystemExit
    flush = f"-{shared.version} route flush table local proto 201 | {' '.join(quiet)}"
    add = f"-{shared.version} route append local {shared.prefix} dev lo table local proto 201 | {' '.join(quiet)}"
    assert told == [flush, add, flush]
    assert arp(proc) == ["0", "0"]


def test_only_connections_to_the_shared_address_count(proc: Path) -> None:
    # 192.0.2.10:443 and 192.0.2.11:443 (its own) talk to 192.0.2.99.
    rows = [f"  {n}: {near}0200C0:01BB 630200C0:C35{n} 01 00000000:00000000 0 0 0 1\n" for n, near in enumerate(("0A", "0B", "0A"))]
    (proc / "net/tcp").write_text("  sl  local_address\n" + "".join(rows))
    giver = Giver(SHARED, lambda _command: "2: eth0    inet 192.0.2.11/24 scope global eth0\n", proc)
    assert giver.look(7) == Look(7, False, 2)
