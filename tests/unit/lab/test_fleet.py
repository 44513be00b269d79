# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the provisioner would do: from nothing, half-made, resized, grown, shrunk, and with strangers in its way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab import settings
from lab.fleet import Plan, plan
from lab.inventory import Host
from lab.podman import Container

APP1 = Host("app1", "198.18.10.21", ("app_servers",), "app", 1024, 2)
DB1 = Host("db1", "198.18.10.31", ("mysql",), "mysql", 1024, 2)
IMAGES = {"app": "localhost/lab/app:new", "mysql": "localhost/lab/mysql:new", "base": "localhost/lab/base:new"}
LABELS = {settings.LABEL: settings.NAME, settings.CHECKOUT_LABEL: "/here"}
RUNNING = Container("app1", "running", LABELS, IMAGES["app"], APP1.address, 1024, 2.0)


def planned(hosts: list[Host], containers: list[Container], cpus: int = 4) -> Plan:
    return plan(hosts, containers, IMAGES, checkout="/here", cpus_here=cpus)


def test_from_nothing_every_host_is_created() -> None:
    todo = planned([APP1, DB1], [])
    assert todo == Plan(create=(APP1, DB1))
    assert todo.changes == 2


def test_a_fleet_that_matches_is_left_alone() -> None:
    assert planned([APP1], [RUNNING]) == Plan()


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        pytest.param(replace(RUNNING, state="exited"), Plan(start=("app1",)), id="a stopped host is started"),
        pytest.param(replace(RUNNING, state="paused"), Plan(unpause=("app1",)), id="a paused host is woken"),
        pytest.param(replace(RUNNING, memory_mb=512), Plan(resize=(APP1,)), id="other memory is an update, not a new host"),
        pytest.param(replace(RUNNING, vcpus=1.0), Plan(resize=(APP1,)), id="other CPUs are an update"),
        pytest.param(replace(RUNNING, image="localhost/lab/app:old"), Plan(outdated=("app1",)), id="an older image is only told"),
    ],
)  # fmt: skip
def test_one_difference_is_one_step(container: Container, expected: Plan) -> None:
    assert planned([APP1], [container]) == expected


def test_a_machine_with_fewer_cpus_than_a_host_wants_gives_what_it_has() -> None:
    assert planned([replace(APP1, vcpus=8)], [replace(RUNNING, vcpus=2.0)], cpus=2) == Plan()


def test_a_host_that_left_the_inventory_stays_until_it_is_pruned() -> None:
    todo = planned([], [RUNNING])
    assert todo == Plan(orphans=("app1",))
    assert todo.changes == 0


def test_strangers_are_neither_touched_nor_pruned() -> None:
    stranger = replace(RUNNING, name="postgres", labels={}, address="198.51.100.7")
    assert planned([APP1], [RUNNING, stranger]) == Plan()


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        pytest.param(
            replace(RUNNING, labels={}),
            "A container called app1 exists that the lab did not make: rename it with `podman rename app1 another-name`",
            id="a stranger has the name",
        ),
        pytest.param(
            replace(RUNNING, labels={**LABELS, settings.CHECKOUT_LABEL: "/there"}),
            "app1 belongs to the lab of checkout /there: run `make demo-down` there",
            id="another checkout has the host",
        ),
        pytest.param(
            replace(RUNNING, address="198.18.10.99"),
            "app1 has address 198.18.10.99, the inventory says 198.18.10.21: remove the old one",
            id="its address changed",
        ),
    ],
)
def test_what_stands_in_the_way_is_refused_by_name(container: Container, sentence: str) -> None:
    todo = planned([APP1], [container])
    assert len(todo.refusals) == 1
    assert todo.refusals[0].startswith(sentence)
    assert todo.changes == 0


def test_an_address_that_a_removed_host_still_has_is_refused() -> None:
    todo = planned([replace(APP1, name="web1")], [RUNNING])
    assert todo.refusals == (
        "web1 wants address 198.18.10.21, which container app1 has: "
        "give it another, or remove the old host with `make demo-prune`",
    )
