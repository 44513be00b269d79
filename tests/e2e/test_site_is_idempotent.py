# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same run changes nothing, check mode works everywhere, and one line more in the inventory is one line more there."""

from __future__ import annotations

import pytest

from tests.e2e.support.lab import ROOT, Lab, Run

LAB_INVENTORY = ROOT / "inventories/lab"
UPSTREAM = "/etc/nginx"


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
        assert added[0].startswith("server 198.18.10.23:80"), added
