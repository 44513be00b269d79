# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same run changes nothing, check mode works everywhere, and one line more in the inventory is one line more there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.support.lab import ROOT, Lab, Run, fresh_folder

LAB_INVENTORY = ROOT / "inventories/lab"


@pytest.fixture(scope="module")
def second_run(lab: Lab) -> Run:
    return lab.play("playbooks/site.yml")


def test_the_second_run_changes_nothing(lab: Lab, second_run: Run) -> None:
    assert second_run.code == 0, second_run.output[-6000:]
    assert second_run.changed == {}
    assert set(lab.hosts) <= set(second_run.stats), "every host has to be met"
    assert second_run.trouble == {}


def test_check_mode_on_the_running_fleet_finds_nothing_to_do(lab: Lab) -> None:
    run = lab.play("playbooks/site.yml", "--check", "--diff")
    assert run.code == 0, run.output[-6000:]
    assert run.changed == {}


def upstream_files(lab: Lab, host: str) -> str:
    return lab.ssh(host, "cd /etc/nginx && find . -type f -name '*.conf' | sort | xargs sha256sum")


def test_a_run_limited_to_one_host_writes_the_same_upstream(lab: Lab, second_run: Run) -> None:
    before = upstream_files(lab, "lb1")
    run = lab.play("playbooks/site.yml", "--limit", "lb1")
    assert run.code == 0, run.output[-6000:]
    assert run.changed == {}
    assert upstream_files(lab, "lb1") == before
    everyone = lab.ssh("lb1", "nginx -T 2>/dev/null")
    for server in lab.tier("app_servers"):
        assert f"server {lab.address(server)}:80" in everyone, "the upstream has to hold every app server"


def test_one_more_app_server_is_one_more_line_on_each_load_balancer(lab: Lab) -> None:
    extra = lab.inventory_with("app3", {"app_servers": {"hosts": {"app3": {"ansible_host": "198.18.10.23"}}}})
    run = lab.play(
        "playbooks/site.yml", "--check", "--diff", "--limit", "load_balancers", inventories=[LAB_INVENTORY, extra]
    )
    assert run.code == 0, run.output[-6000:]
    for host in lab.tier("load_balancers"):
        added, removed = [], []
        for diff in run.diffs(host):
            before, after = (str(diff.get(part, "")).splitlines() for part in ("before", "after"))
            added += [line.strip() for line in after if line not in before]
            removed += [line.strip() for line in before if line not in after]
        assert removed == [], host
        assert len(added) == 1, f"{host}: {added}"
        assert added[0].startswith("server 198.18.10.23:80 "), added


FRESH = {
    "load_balancers": {"lb9": "198.18.10.101"},
    "app_servers": {"app9": "198.18.10.102"},
    "mysql": {"db8": "198.18.10.103", "db9": "198.18.10.104"},
    "redis_cluster": {"redis7": "198.18.10.105", "redis8": "198.18.10.106", "redis9": "198.18.10.107"},
    "queue_workers": {"worker9": "198.18.10.108"},
    "object_storage": {"store9": "198.18.10.109"},
    "monitoring": {"mon9": "198.18.10.110"},
}


@pytest.fixture
def fresh(lab: Lab) -> Iterator[Path]:
    """An inventory of ten hosts that have nothing but Debian, Python and SSH."""
    hosts = {name: {"ansible_host": address} for tier in FRESH.values() for name, address in tier.items()}
    # In no tier's group, so that the lab starts them from its bare image.
    bare = {"bare": {"hosts": hosts, "vars": {"fleet_memory_mb": 256, "fleet_vcpus": 1}}}
    lab.lab("up", "--inventory", str(lab.inventory_with("fresh", bare)))
    folder = fresh_folder(ROOT / ".lab" / "fresh-inventory")
    groups: dict[str, Any] = {group: {"hosts": {name: hosts[name] for name in tier}} for group, tier in FRESH.items()}
    groups["mysql"]["hosts"]["db8"] = {**hosts["db8"], "mysql_primary": True}
    groups["all"] = {"vars": {"fleet_vip": "198.18.10.100", "fleet_memory_mb": 1024, "fleet_vcpus": 2}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    (folder / "group_vars").symlink_to(LAB_INVENTORY / "group_vars")
    try:
        yield folder
    finally:
        lab.lab("prune")


def test_check_mode_on_fresh_hosts_works_and_touches_nothing(lab: Lab, fresh: Path) -> None:
    addresses = {name: address for tier in FRESH.values() for name, address in tier.items()}
    look = "dpkg-query -W; getent passwd; find /etc /usr /srv /var/lib -xdev -type f | sort"

    def hosts_now() -> dict[str, set[str]]:
        return {name: set(lab.ssh(name, look, address=address).splitlines()) for name, address in addresses.items()}

    before = hosts_now()
    run = lab.play("playbooks/site.yml", "--check", "--diff", inventories=[fresh])
    assert run.code == 0, run.output[-6000:]
    assert run.trouble == {}
    assert set(run.changed) == set(addresses), "check mode has to say that every fresh host would change"
    after = hosts_now()
    assert {name: after[name] ^ before[name] for name in addresses if after[name] != before[name]} == {}
