# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role autoscaler writes, rendered by Ansible from its own defaults, and what the lab's own loop is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from lab import autoscale
from tests.unit.support.render import ROOT, Fleet

CONFIG = "/etc/graphic_school/autoscaler"
UNIT = "/etc/systemd/system/fleet-autoscaler.service"
RULEBOOK = ROOT / "extensions/eda/rulebooks/autoscale.yml"


def render(**variables: Any) -> dict[str, str]:
    return Fleet(vars={"autoscaler_token": "word", **variables}).render_role("autoscaler")


def wanted_by_the_rulebook() -> set[str]:
    return set(re.findall(r"{{ (autoscaler_\w+) }}", RULEBOOK.read_text(encoding="utf-8")))


def test_the_rulebook_gets_every_variable_that_it_reads_from_the_role_and_from_the_lab() -> None:
    wanted = wanted_by_the_rulebook()
    assert wanted == {*json.loads(render()[f"{CONFIG}/variables.json"])}
    assert wanted == {*autoscale.variables(Path("venv"), 20, "127.0.0.1", 9095, dry_run=False)}


def test_every_file_that_the_loop_is_told_of_exists() -> None:
    (ruleset,) = yaml.safe_load(RULEBOOK.read_text(encoding="utf-8"))
    names = {rule["action"]["run_playbook"]["name"] for rule in ruleset["rules"]}
    assert names == {"{{ autoscaler_playbooks }}/look.yml"}
    assert (ROOT / "extensions/eda/playbooks/look.yml").is_file()
    assert (ROOT / "extensions/eda/inventory.yml").is_file()


def test_a_dry_run_is_told_to_the_playbook() -> None:
    command = json.loads(render(autoscaler_dry_run=True)[f"{CONFIG}/variables.json"])["autoscaler_command"]
    assert command[-2:] == ["-e", '{"autoscale_dry_run": true}']
    assert "-e" not in json.loads(render()[f"{CONFIG}/variables.json"])["autoscaler_command"]


def test_the_token_is_in_no_command_and_in_no_file_but_its_own() -> None:
    files = render(autoscaler_token="the-secret-word")
    assert [path for path, text in files.items() if "the-secret-word" in text] == [f"{CONFIG}/secrets.env"]


def test_what_is_not_given_is_not_named() -> None:
    files = render()
    assert not any(word in files[UNIT] for word in ("ANSIBLE_PRIVATE_KEY_FILE", "ANSIBLE_VAULT_PASSWORD_FILE", "UserKnownHostsFile"))
    assert not [path for path in files if path.endswith(("ssh_key", "inventory_password", "known_hosts")) and files[path].strip()]
    given = render(autoscaler_ssh_key="KEY", autoscaler_vault_password="PASSWORD", autoscaler_known_hosts="app1 ssh-ed25519 AAAA")
    assert f"ANSIBLE_PRIVATE_KEY_FILE={CONFIG}/ssh_key" in given[UNIT]
    assert given[f"{CONFIG}/ssh_key"] == "KEY\n"
    assert f"UserKnownHostsFile={CONFIG}/known_hosts" in given[UNIT]


def test_it_writes_only_where_scaling_has_to() -> None:
    unit = render(autoscaler_directory="/srv/school")[UNIT]
    assert "\nReadWritePaths=/var/lib/graphic_school/autoscaler /srv/school\n" in unit
    assert "\nProtectSystem=strict\n" in unit


def test_it_sees_whether_somebody_elses_verb_still_lives() -> None:
    # Whoever holds the fleet's lock is looked for in /proc; hidden there, every other user's verb would seem to have ended.
    assert "\nProtectProc=" not in render()[UNIT]


def test_a_service_that_is_turned_off_is_stopped() -> None:
    (arguments,) = Fleet(vars={"autoscaler_token": "word", "autoscaler_enabled": False}).converge_arguments("autoscaler")
    (service,) = arguments["services"]
    assert (service["enabled"], service["state"]) == (False, "stopped")
