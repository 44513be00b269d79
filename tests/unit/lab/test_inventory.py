# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provisioner reads what Ansible reads; this machine check knows what the inventory needs."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Any

import pytest

from lab import inventory, settings
from lab.shell import LabError

VENV = Path(sys.prefix)


def listing(**hosts: dict[str, Any]) -> dict[str, Any]:
    """As `ansible-inventory --list` answers, every host in app_servers."""
    return {
        "_meta": {"hostvars": hosts},
        "all": {"children": ["ungrouped", "app_servers"]},
        "app_servers": {"hosts": list(hosts)},
    }


GOOD = {"ansible_host": "198.18.10.21", "fleet_memory_mb": 512, "fleet_vcpus": 1}


@pytest.fixture(scope="module")
def lab_hosts() -> list[inventory.Host]:
    return inventory.hosts(inventory.read(VENV))


def test_the_lab_has_the_thirteen_hosts_of_the_demo(lab_hosts: list[inventory.Host]) -> None:
    tiers = {host.name: host.tier for host in lab_hosts}
    assert tiers == {
        "lb1": "lb", "lb2": "lb", "app1": "app", "app2": "app", "db1": "mysql", "db2": "mysql", "db3": "mysql",
        "redis1": "redis", "redis2": "redis", "redis3": "redis", "worker1": "app", "store1": "store", "mon1": "mon",
    }  # fmt: skip


def test_every_address_and_the_vip_are_inside_the_labs_network(lab_hosts: list[inventory.Host]) -> None:
    network = ipaddress.ip_network(settings.SUBNET)
    vip = str(inventory.vip(inventory.read(VENV)))
    assert all(ipaddress.ip_address(address) in network for address in [vip, *(host.address for host in lab_hosts)])
    assert vip not in {host.address for host in lab_hosts}


def test_the_machine_check_asks_for_memory_that_fits_the_fleet(lab_hosts: list[inventory.Host]) -> None:
    together = sum(host.memory_mb for host in lab_hosts)
    # limits are ceilings, measured use stays below 70 % of them
    assert 0.7 * together <= settings.MEMORY_NEEDED_MB <= together + 2048


def test_a_host_in_groups_of_two_tiers_gets_the_base_image() -> None:
    both = listing(small=GOOD)
    both["all"]["children"].append("mysql")
    both["mysql"] = {"hosts": ["small"]}
    (host,) = inventory.hosts(both)
    assert (host.tier, host.groups) == ("base", ("app_servers", "mysql"))


def test_a_named_size_gives_memory_and_cpus() -> None:
    sizes = {"fleet_size": "medium", "fleet_sizes": {"medium": {"vcpus": 4, "memory_mb": 8192}}}
    (host,) = inventory.hosts(listing(app1={"ansible_host": "198.18.10.21", **sizes}))
    assert (host.vcpus, host.memory_mb) == (4, 8192)


@pytest.mark.parametrize(
    ("hosts", "sentence"),
    [
        pytest.param({"a": {**GOOD, "ansible_host": "192.0.2.1"}}, "ansible_host of a is '192.0.2.1': the lab needs", id="foreign"),
        pytest.param({"a": {"fleet_memory_mb": 512}}, "ansible_host of a is '': the lab needs an address in", id="no address"),
        pytest.param({"a": {"ansible_host": "198.18.10.21"}}, "a has no size: set fleet_memory_mb", id="no size"),
        pytest.param({"a": GOOD, "b": GOOD}, "a and b both have address 198.18.10.21: give one", id="two with one address"),
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_a_container_is_refused_by_name(hosts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        inventory.hosts(listing(**hosts))
