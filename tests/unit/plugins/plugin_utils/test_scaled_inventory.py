# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import yaml

from plugins.plugin_utils.scaled_inventory import ScaledInventoryError, merged


def test_a_host_comes_changes_and_goes() -> None:
    one = merged("", "app_servers", {"app3": {"ansible_host": "192.0.2.23", "fleet_scaling": "joining"}}, "scaled.yml")
    assert yaml.safe_load(one) == {
        "app_servers": {"hosts": {"app3": {"ansible_host": "192.0.2.23", "fleet_scaling": "joining"}}}
    }
    two = merged(one, "app_servers", {"app3": {"fleet_scaling": None}}, "scaled.yml")
    assert yaml.safe_load(two)["app_servers"]["hosts"]["app3"] == {"ansible_host": "192.0.2.23"}
    assert merged(two, "app_servers", {"app3": None}, "scaled.yml") == ""


def test_other_groups_and_hosts_stay() -> None:
    text = merged("", "mysql", {"db4": {"ansible_host": "192.0.2.34"}}, "scaled.yml")
    text = merged(text, "app_servers", {"app2": {"fleet_state": "standby"}}, "scaled.yml")
    assert yaml.safe_load(merged(text, "app_servers", {"app2": {"fleet_state": None}}, "scaled.yml")) == {
        "mysql": {"hosts": {"db4": {"ansible_host": "192.0.2.34"}}}
    }


def test_the_same_twice_is_the_same_text() -> None:
    rows = {"app3": {"ansible_host": "192.0.2.23"}}
    text = merged("", "app_servers", rows, "scaled.yml")
    assert merged(text, "app_servers", rows, "scaled.yml") == text


@pytest.mark.parametrize("text", ["- app3", "app_servers: [app3]", "app_servers: {hosts: app3}", "a: b: c"])
def test_a_file_that_somebody_else_wrote_is_refused(text: str) -> None:
    with pytest.raises(ScaledInventoryError, match=r"scaled\.yml is not what scale\.yml wrote"):
        merged(text, "app_servers", {}, "scaled.yml")
