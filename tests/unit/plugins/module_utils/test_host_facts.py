# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils.host_facts import (
    HostFactsError,
    Process,
    ansible_facts,
    count_keys,
    cpu_count,
    effective_settings,
    keys_files,
    memory_mb,
    refuse_unsupported,
    ssh_login_uid,
    system_from,
)

TRIXIE = 'NAME="Debian GNU/Linux"\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nID=debian\n'
SUPPORTED = {"Debian": ["13"], "Ubuntu": ["24.04"]}
GIB = 1024**3


def test_a_system_is_read_from_os_release() -> None:
    system = system_from(TRIXIE)
    assert (system.distribution, system.version, system.codename) == ("Debian", "13", "trixie")


@pytest.mark.parametrize(
    ("release", "found"),
    [
        pytest.param("ID=debian\nVERSION_ID=12\n", "Debian 12", id="an older Debian"),
        pytest.param("ID=ubuntu\nVERSION_ID=22.04\n", "Ubuntu 22.04", id="an older Ubuntu"),
        pytest.param('ID=fedora\nNAME="Fedora Linux"\nVERSION_ID=44\n', "Fedora 44", id="another family"),
        pytest.param("ID=debian\nVERSION_CODENAME=sid\n", "Debian sid", id="a system without a version"),
        pytest.param("", "an", id="no os-release at all"),
    ],
)
def test_an_unsupported_system_is_refused_by_name(release: str, found: str) -> None:
    with pytest.raises(HostFactsError, match=f"db1 runs {found}.*needs Debian 13 or Ubuntu 24.04: install that on db1"):
        refuse_unsupported(system_from(release), SUPPORTED, "db1")


@pytest.mark.parametrize("release", [TRIXIE, "ID=ubuntu\nVERSION_ID=24.04\n", "ID=debian\nVERSION_ID=13.2\n"])
def test_a_supported_system_is_accepted(release: str) -> None:
    refuse_unsupported(system_from(release), SUPPORTED, "db1")


def test_without_a_list_every_system_is_accepted() -> None:
    refuse_unsupported(system_from("ID=plan9\n"), {}, "db1")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param([], 4096, id="no cgroup"),
        pytest.param(["max\n", ""], 4096, id="cgroup v2 without a limit"),
        pytest.param(["9223372036854771712\n"], 4096, id="cgroup v1 without a limit"),
        pytest.param([f"{GIB}\n"], 1024, id="a limit below the machine's memory"),
        pytest.param([f"{64 * GIB}\n"], 4096, id="a limit above the machine's memory"),
    ],
)
def test_memory_is_what_the_host_may_use(limits: list[str], expected: int) -> None:
    assert memory_mb("MemTotal:        4194304 kB\nMemFree: 1 kB\n", limits) == expected


@pytest.mark.parametrize(
    ("cpuinfo", "usable", "quota", "expected"),
    [
        pytest.param("processor : 0\nprocessor : 1\n", 2, "", 2, id="a plain machine"),
        pytest.param("processor : 0\n", 8, "", 1, id="cpuinfo knows the container's limit"),
        pytest.param("processor : 0\nprocessor : 1\n", 1, "", 1, id="pinned to one processor"),
        pytest.param("processor : 0\n" * 8, 8, "150000 100000\n", 2, id="a quota of one and a half"),
        pytest.param("processor : 0\n" * 8, 8, "max 100000\n", 8, id="no quota"),
        pytest.param("", 4, "", 4, id="an architecture without processor lines"),
    ],
)
def test_processors_are_what_the_host_may_use(cpuinfo: str, usable: int, quota: str, expected: int) -> None:
    assert cpu_count(cpuinfo, usable, quota) == expected


PROCESSES = {
    1: Process("systemd", 0, 0),
    10: Process("sshd", 1, 0),
    11: Process("sshd-session", 10, 0),
    12: Process("sshd-session", 11, 1000),
    13: Process("sh", 12, 1000),
    14: Process("sudo", 13, 0),
    15: Process("python3", 14, 0),
    20: Process("podman", 1, 0),
    21: Process("python3", 20, 0),
}


@pytest.mark.parametrize(
    ("pid", "uid"),
    [
        pytest.param(15, 1000, id="sudo hides nobody"),
        pytest.param(21, None, id="not over SSH"),
        pytest.param(99, None, id="a process that has gone"),
    ],
)
def test_the_login_user_stands_right_below_sshd(pid: int, uid: int | None) -> None:
    assert ssh_login_uid(pid, PROCESSES.get) == uid


def test_sshds_own_words_are_read() -> None:
    assert effective_settings("permitrootlogin no\nauthorizedkeysfile a b\n")["authorizedkeysfile"] == "a b"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (".ssh/authorized_keys /etc/keys/%u", ["/home/ann/.ssh/authorized_keys", "/etc/keys/ann"]),
        ("%h/keys", ["/home/ann/keys"]),
        ("none", []),
    ],
)
def test_the_files_that_hold_a_users_keys(setting: str, expected: list[str]) -> None:
    assert keys_files(setting, "ann", "/home/ann") == expected


def test_comments_are_no_keys() -> None:
    assert count_keys("# one\n\nssh-ed25519 AAAA a\n  # two\nssh-rsa BBBB b\n") == 2


@pytest.mark.parametrize(("container", "guest"), [("podman", ["container", "podman"]), ("", [])])
def test_facts_carry_setups_names(container: str, guest: list[str]) -> None:
    facts = ansible_facts(
        system_from(TRIXIE), memory=512, processors=2, container=container, machine={"hostname": "db1"}, ssh_access={}
    )
    assert facts["virtualization_tech_guest"] == guest
    assert (facts["distribution"], facts["memtotal_mb"], facts["processor_vcpus"]) == ("Debian", 512, 2)
    assert facts["hostname"] == "db1"
