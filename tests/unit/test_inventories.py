# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory on disk through the wiring of playbooks/group_vars to the topology, with Ansible's own variables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleError

from tests.unit.support.render import ROOT, Fleet

EXAMPLE = ROOT / "inventories" / "example"
INVENTORIES = ["inventories/lab", "inventories/example"]
UPSTREAM = "fleet.app_servers | graphic_school.scaling.nginx_upstream('app')"


def extra(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "extra.yml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def ansible_playbook(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ansible-playbook"), *map(str, arguments)]
    settings = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")} | environment
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120, check=False)


# --- every inventory we ship --------------------------------------------------------------------------------------


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_an_inventory_we_ship_describes_a_fleet_that_can_work(inventory: str) -> None:
    fleet = Fleet(inventory)
    assert fleet.value("fleet.mysql.primary.name") == "db1"
    assert fleet.value("fleet.vip")
    assert fleet.value("object_storage_known")
    assert fleet.value(UPSTREAM).startswith("upstream app {")
    budget = fleet.value("connection_budget")
    assert budget["headroom"] > 0
    assert budget["unknown"] == []


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_host_has_sizes_without_asking_it(inventory: str) -> None:
    fleet = Fleet(inventory, facts={"memtotal_mb": 0, "processor_vcpus": 0, "processor_nproc": 0})
    assert all(fleet.value("capacity.php_fpm_children.value", host) >= 2 for host in fleet.hosts)


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_facts_change_nothing_in_the_topology(inventory: str) -> None:
    other = {"default_ipv4": {"address": "203.0.113.1"}, "memtotal_mb": 1}
    assert Fleet(inventory).value("fleet") == Fleet(inventory, facts=other).value("fleet")


def test_the_example_needs_nothing_but_its_own_files() -> None:
    listed = ansible_playbook("-i", EXAMPLE, "playbooks/site.yml", "--check", "--list-tasks")
    assert listed.returncode == 0, listed.stdout + listed.stderr
    warnings = re.findall(r"\[WARNING\]: (.*)", listed.stderr)
    assert warnings == ["Could not match supplied host pattern, ignoring: object_storage"]  # files are at a provider
    for tier in ("load balancers", "databases", "Redis", "application servers", "queue workers"):
        assert re.search(rf"play #\d+ .*: .*{tier}", listed.stdout)


def test_the_example_keeps_files_at_a_provider() -> None:
    fleet = Fleet("inventories/example")
    assert fleet.value("fleet.object_storage") == []
    assert fleet.value("s3_endpoint").startswith("https://")


def test_the_examples_readme_names_every_file() -> None:
    files = {
        str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file() and ".secrets" not in path.parts
    }
    named = set(re.findall(r"^\| `([^`]+)` \|", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == files - {"README.md", ".gitignore"}


def test_the_page_on_ec2_holds_a_configuration_that_the_plugin_takes() -> None:
    plugin, variables = re.findall(
        r"```yaml\n(.*?)```", (EXAMPLE / "aws_ec2.md").read_text(encoding="utf-8"), re.DOTALL
    )
    config = yaml.safe_load(plugin)
    fleet = Fleet(
        "inventories/example",
        vars={
            "tags": {"Name": "app1", "tier": "app_servers,queue_workers", "weight": "2"},
            "instance_type": "m7g.large",
            "private_ip_address": "192.0.2.21",
        },
    )
    assert config["plugin"] == "amazon.aws.aws_ec2"
    assert [name for name, rule in config["groups"].items() if fleet.value(rule)] == ["app_servers", "queue_workers"]
    composed = {name: fleet.value(rule) for name, rule in config["compose"].items()}
    assert composed == {
        "ansible_host": "192.0.2.21",
        "fleet_state": "active",
        "fleet_weight": "2",
        "fleet_size": "m7g.large",
        "mysql_primary": False,
    }
    assert composed["fleet_size"] in yaml.safe_load(variables)["fleet_sizes"]


# --- the wiring ---------------------------------------------------------------------------------------------------


def test_a_new_server_is_one_new_line_in_the_upstream(tmp_path: Path) -> None:
    more = extra(tmp_path, {"app_servers": {"hosts": {"app9": {"ansible_host": "198.18.10.29"}}}})
    before = Fleet("inventories/lab").value(UPSTREAM).splitlines()
    after = Fleet("inventories/lab", extra_inventories=[more]).value(UPSTREAM).splitlines()
    assert [line for line in after if line not in before] == [
        "    server 198.18.10.29:80 max_fails=3 fail_timeout=10s;  # app9"
    ]
    assert [line for line in before if line not in after] == []


def test_what_a_host_cannot_render_does_not_stop_the_fleet(tmp_path: Path) -> None:
    more = extra(
        tmp_path,
        {"app_servers": {"hosts": {"app1": {"app_secret": "{{ nowhere }}", "app_other": "{{ fleet.vip }}"}}}},
    )
    assert Fleet("inventories/lab", extra_inventories=[more]).value("fleet.vip") == "198.18.10.10"


def test_values_may_be_expressions(tmp_path: Path) -> None:
    more = extra(
        tmp_path,
        {
            "app_servers": {
                "hosts": {"app1": {"fleet_weight": "{{ 1 + 2 }}", "fleet_address": "{{ inventory_hostname }}.internal"}}
            }
        },
    )
    server = Fleet("inventories/lab", extra_inventories=[more]).value("fleet.hosts.app1")
    assert (server["weight"], server["address"]) == (3, "app1.internal")


def test_an_inventory_may_name_its_own_groups(tmp_path: Path) -> None:
    more = extra(
        tmp_path,
        {
            "web": {"hosts": {"web1": {"ansible_host": "198.18.10.79"}}},
            "all": {
                "vars": {
                    "fleet_groups": {"app_servers": "web", "object_storage": None},
                    "s3_endpoint": "https://s3.example.com",
                }
            },
        },
    )
    fleet = Fleet("inventories/lab", extra_inventories=[more])
    assert [server["name"] for server in fleet.value("fleet.app_servers")] == ["web1"]
    assert fleet.value("fleet.object_storage") == []
    assert fleet.value("object_storage_known")


def test_without_a_place_for_files_the_storage_is_not_known(tmp_path: Path) -> None:
    more = extra(tmp_path, {"all": {"vars": {"fleet_groups": {"object_storage": None}}}})
    assert not Fleet("inventories/lab", extra_inventories=[more]).value("object_storage_known")


def test_costs_may_be_set_for_a_group(tmp_path: Path) -> None:
    more = extra(tmp_path, {"app_servers": {"vars": {"capacity_settings": {"php_child_mb": 96}}}})
    fleet = Fleet("inventories/lab", extra_inventories=[more])
    assert fleet.value("capacity.php_fpm_children.value", "app1") == 6
    assert fleet.value("connection_budget.rows[0].connections") == 24


def test_a_refusal_is_the_sentence_of_the_filter(tmp_path: Path) -> None:
    more = extra(tmp_path, {"mysql": {"hosts": {"db2": {"mysql_primary": True}}}})
    with pytest.raises(AnsibleError, match="exactly one host with mysql_primary: true, not: db1, db2"):
        Fleet("inventories/lab", extra_inventories=[more]).value("fleet.vip")


# --- the preflight play -------------------------------------------------------------------------------------------


def test_a_bad_inventory_ends_the_run_in_its_first_play_and_makes_nothing(tmp_path: Path) -> None:
    bad = extra(tmp_path, {"app_servers": {"hosts": {"app1": {"fleet_stat": "draining"}}}})
    secrets = f"fleet_secrets_dir={tmp_path / 'secrets'}"
    run = ansible_playbook("-i", EXAMPLE, "-i", bad, "playbooks/site.yml", "--limit", "lb1", "-e", secrets)
    assert run.returncode != 0
    assert "host app1: unknown variable fleet_stat (did you mean fleet_state?)" in run.stdout + run.stderr
    assert run.stdout.count("PLAY [") == 1
    assert not (tmp_path / "secrets").exists()


def test_a_good_inventory_gets_its_certificates_once(tmp_path: Path) -> None:
    secrets = f"fleet_secrets_dir={tmp_path / 'secrets'}"
    arguments = ("-i", EXAMPLE, "playbooks/preflight.yml", "--limit", "lb1", "-e", secrets)
    first, second = ansible_playbook(*arguments), ansible_playbook(*arguments)
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + first.stderr
    assert "changed=1" in first.stdout
    assert "changed=0" in second.stdout
    issued = {path.stem for path in (tmp_path / "secrets" / "pki" / "hosts").glob("*.pem")}
    assert issued == set(Fleet("inventories/example").hosts)
