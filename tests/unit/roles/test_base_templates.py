# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What base writes on a host, rendered by Ansible from the role's own defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.support.render import Fleet

KEY = "ssh-ed25519 AAAA admin@example.com"
ADMIN: dict[str, Any] = {"base_admin_user": "admin", "base_admin_authorized_keys": [KEY]}
ROOT_WITH_KEY = {"user": "root", "user_keys": 1, "root_keys": 1, "keys_files": [".ssh/authorized_keys"]}
CONTAINER = {"virtualization_tech_guest": ["container", "podman"]}
SSHD = "/etc/ssh/sshd_config.d/10-graphic_school.conf"
SYSCTL = "/etc/sysctl.d/60-graphic_school.conf"


def fleet(facts: Mapping[str, Any] | None = None, **variables: Any) -> Fleet:
    return Fleet(vars={"base_tiers": []} | variables, facts={"ssh_access": ROOT_WITH_KEY} | dict(facts or {}))


def render(facts: Mapping[str, Any] | None = None, **variables: Any) -> dict[str, str]:
    return fleet(facts, **variables).render_role("base")


def arguments(facts: Mapping[str, Any] | None = None, **variables: Any) -> dict[str, Any]:
    (found,) = fleet(facts, **variables).converge_arguments("base")
    return found


def services(facts: Mapping[str, Any] | None = None, **variables: Any) -> list[str]:
    return [row["name"] for row in arguments(facts, **variables)["services"]]


def test_passwords_are_refused_to_those_who_come_with_a_key() -> None:
    lines = render()[SSHD].splitlines()
    assert {"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password"} <= set(
        lines
    )


@pytest.mark.parametrize(
    ("access", "variables"),
    [
        pytest.param({"user": "root", "user_keys": 0, "root_keys": 0}, {}, id="root without a key"),
        pytest.param(ROOT_WITH_KEY, {"ansible_password": "secret"}, id="Ansible connects with a password"),
        pytest.param({}, {}, id="nothing is known of the connection"),
    ],
)
def test_the_way_in_is_left_alone_when_it_may_be_a_password(access: dict[str, Any], variables: dict[str, Any]) -> None:
    text = render({"ssh_access": access}, **variables)[SSHD]
    assert "\nPasswordAuthentication" not in text
    assert "\n# passwords are still accepted: " in text


def test_the_admin_users_keys_stand_beside_those_at_home() -> None:
    files = render(**ADMIN)
    assert KEY in files["/etc/ssh/authorized_keys.d/admin"]
    match = files[SSHD].split("Match User admin\n")[1]
    assert match.split() == [
        "AuthorizedKeysFile",
        ".ssh/authorized_keys",
        ".ssh/authorized_keys2",
        "/etc/ssh/authorized_keys.d/%u",
    ]


def test_there_is_no_admin_user_without_a_key() -> None:
    wanted = arguments(base_admin_user="admin", base_admin_authorized_keys=[])
    assert (wanted["users"], wanted["files"]) == ([], [])


def test_a_machine_gets_its_tiers_settings_and_ones_own_win() -> None:
    lines = render(base_tiers=["mysql", "app_servers"], base_sysctl={"vm.swappiness": 5})[SYSCTL].splitlines()
    assert "vm.swappiness = 5" in lines
    assert "net.core.somaxconn = 16384" in lines
    assert "fs.aio-max-nr = 1048576" in lines


def test_a_container_touches_the_network_settings_only_and_tolerates_refusal() -> None:
    lines = [line for line in render(CONTAINER, base_tiers=["mysql"])[SYSCTL].splitlines() if "=" in line]
    assert lines
    assert all(line.startswith("-net.") for line in lines)


def test_a_container_leaves_the_clock_to_the_machine_below() -> None:
    assert "systemd-timesyncd" in services()
    assert "systemd-timesyncd" not in services(CONTAINER)


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("systemd-timesyncd", "/etc/systemd/timesyncd.conf.d/50-graphic_school.conf"),
        ("chrony", "/etc/chrony/sources.d/50-graphic_school.sources"),
    ],
)
def test_time_servers_go_to_the_service_that_is_used(service: str, path: str) -> None:
    files = render(base_time_service=service, base_time_servers=["192.0.2.123"])
    assert [name for name, text in files.items() if "192.0.2.123" in text] == [path]


def test_time_can_be_somebody_elses() -> None:
    wanted = arguments(base_time_service="none")
    assert not {"systemd-timesyncd", "chrony", "none"} & {
        *wanted["packages"],
        *(row["name"] for row in wanted["services"]),
    }


def test_security_updates_leave_the_databases_to_planned_work() -> None:
    text = render()["/etc/apt/apt.conf.d/52graphic_school"]
    assert '"^mysql-";' in text
    assert '"^redis";' in text


def test_security_updates_can_be_turned_off() -> None:
    assert "/etc/apt/apt.conf.d/52graphic_school" not in render(base_security_updates_enabled=False)
    assert "unattended-upgrades" not in arguments(base_security_updates_enabled=False)["packages"]


def test_ubuntu_keeps_its_socket() -> None:
    wanted = arguments({"distribution": "Ubuntu", "distribution_version": "24.04"})
    (ssh,) = [row for row in wanted["services"] if row["name"] == "ssh"]
    assert ssh["enabled"] is False
