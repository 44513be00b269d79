# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that can't hold the lab is refused by one sentence that names the thing, the value and the cure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.machine import Machine, Network, pretend, refusals, routes
from lab.shell import LabError

GOOD = Machine(
    distribution="Debian GNU/Linux 12 (bookworm)",
    debian_version=12,
    has_apt=True,
    is_root=True,
    has_sudo=False,
    memory_total_mb=24000,
    memory_available_mb=20000,
    disk_free_mb=80000,
    networks=(Network("192.0.2.0/24", "route eth0"), Network("0.0.0.0/0", "route eth0")),
    lab_exists=False,
)

REFUSED = [
    pytest.param(
        {"has_apt": False, "distribution": "Fedora Linux 44", "debian_version": None},
        ["apt-get is missing", "Fedora Linux 44", "Debian 12 or later"],
        id="a system without apt",
    ),
    pytest.param({"debian_version": 11}, ["Debian 11 is too old", "upgrade"], id="an old Debian"),
    pytest.param({"is_root": False}, ["not root and sudo is missing", "run it as root"], id="neither root nor sudo"),
    pytest.param(
        {"memory_available_mb": 2048},
        ["2048 MB of 24000 MB memory are available", "need 7000 MB", "more memory"],
        id="too little memory",
    ),
    pytest.param(
        {"disk_free_mb": 900},
        ["900 MB are free in /var/lib/containers", "needs 12000 MB", "free some"],
        id="too little disk",
    ),
    pytest.param(
        {"networks": (Network("198.18.0.0/15", "route tun0"),)},
        ["198.18.0.0/15", "route tun0", "overlaps 198.18.10.0/24", "ip route del 198.18.0.0/15"],
        id="a route into the lab's network",
    ),
    pytest.param(
        {"networks": (Network("198.18.10.128/25", "podman network other"),)},
        ["198.18.10.128/25", "podman network rm other"],
        id="somebody else's Podman network inside the lab's",
    ),
]


@pytest.mark.parametrize(("facts", "parts"), REFUSED)
def test_wrong_machine_is_refused_by_one_sentence(facts: dict[str, Any], parts: list[str]) -> None:
    said = refusals(replace(GOOD, **facts), memory_mb=7000, disk_mb=12000, subnet="198.18.10.0/24")
    assert len(said) == 1
    assert "\n" not in said[0]
    assert said[0].endswith(".")
    for part in parts:
        assert part in said[0]


ACCEPTED = [
    pytest.param({}, id="Debian 12 as root"),
    pytest.param({"is_root": False, "has_sudo": True}, id="a user with sudo"),
    pytest.param(
        {"is_root": False, "has_sudo": True, "networks": (Network("198.18.10.0/24", "route podman1"),), "memory_available_mb": 1},
        id="a user with sudo beside a lab that runs: only root sees whose network that is, and is asked next",
    ),
    pytest.param({"debian_version": None}, id="Debian testing, which has no number"),
    pytest.param({"memory_available_mb": 100, "disk_free_mb": 100, "lab_exists": True}, id="a machine whose memory the lab itself uses"),
    pytest.param({"networks": (Network("0.0.0.0/1", "route tun0"),)}, id="a VPN that takes all traffic"),
    pytest.param({"networks": (Network("198.18.11.0/24", "route podman1"),)}, id="a neighbour of the lab's network"),
]  # fmt: skip


@pytest.mark.parametrize("facts", ACCEPTED)
def test_right_machine_is_accepted(facts: dict[str, Any]) -> None:
    assert refusals(replace(GOOD, **facts), memory_mb=7000, disk_mb=12000, subnet="198.18.10.0/24") == []


def test_every_reason_is_said_at_once() -> None:
    bad = replace(GOOD, debian_version=11, is_root=False, disk_free_mb=1)
    assert len(refusals(bad, memory_mb=7000, disk_mb=12000, subnet="198.18.10.0/24")) == 3


def test_routes_are_read_from_the_kernels_table() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "podman1\t000B12C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "tun0\t000A12C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert routes(table, ignore={"podman1"}) == [
        Network("0.0.0.0/0", "route eth0"),
        Network("198.18.10.0/24", "route tun0"),
    ]


def test_single_facts_can_be_pretended() -> None:
    machine = pretend(GOOD, "debian_version=11 has_apt=false networks=198.18.0.0/15 distribution=Other")
    assert (machine.debian_version, machine.has_apt, machine.distribution) == (11, False, "Other")
    assert machine.networks == (Network("198.18.0.0/15", "route eth9"),)


def test_a_fact_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(LabError, match="knows no fact 'memory'"):
        pretend(GOOD, "memory=1")
