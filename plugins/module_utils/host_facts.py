# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what the roles need to know of a host: its system, its size, and how it is being logged in to.

Everything takes the text of the files it reads, so that a test needs no host.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DISTRIBUTIONS = {"debian": "Debian", "ubuntu": "Ubuntu"}
DEFAULT_KEYS_FILES = (".ssh/authorized_keys", ".ssh/authorized_keys2")
# cgroup v1 says "no limit" as the largest multiple of a page below 2^63.
CGROUP_V1_UNLIMITED = 1 << 60


class HostFactsError(ValueError):
    """The host can't be used; the message says why and what to do."""


@dataclass(frozen=True)
class System:
    """An operating system as os-release(5) names it."""

    id: str
    name: str
    version: str
    codename: str

    @property
    def distribution(self) -> str:
        return DISTRIBUTIONS.get(self.id, self.name.split(" ")[0] or self.id)

    @property
    def major_version(self) -> str:
        return self.version.split(".")[0]


def system_from(os_release: str) -> System:
    """Parse the text of /etc/os-release."""
    values: dict[str, str] = {}
    for line in os_release.splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            values[name.strip()] = "".join(shlex.split(value))
    return System(
        id=values.get("ID", "unknown"),
        name=values.get("NAME", values.get("ID", "an unknown system")),
        version=values.get("VERSION_ID", ""),
        codename=values.get("VERSION_CODENAME", ""),
    )


def refuse_unsupported(system: System, supported: Mapping[str, Sequence[str]], host: str) -> None:
    """Raise HostFactsError unless C(supported) (distribution to its versions) holds C(system).

    An empty C(supported) accepts everything.
    """
    versions = [str(version) for version in supported.get(system.distribution, ())]
    if not supported or system.version in versions or system.major_version in versions:
        return
    wanted = " or ".join(f"{name} {version}" for name, known in supported.items() for version in known)
    found = " ".join(part for part in (system.distribution, system.version or system.codename) if part)
    raise HostFactsError(
        f"{host} runs {found}, which graphic_school.scaling does not support; "
        f"it needs {wanted}: install that on {host}, or take {host} out of the inventory"
    )


def memory_mb(meminfo: str, cgroup_limits: Iterable[str]) -> int:
    """Memory of the host in MiB: the smallest of /proc/meminfo's total and the cgroup's limits (bytes, or C(max))."""
    total = next(int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemTotal:"))
    limits = [int(text) for text in (limit.strip() for limit in cgroup_limits) if text.isdigit()]
    return min([total, *(limit for limit in limits if 0 < limit < CGROUP_V1_UNLIMITED)]) >> 20


def cpu_count(cpuinfo: str, usable: int, quota: str) -> int:
    """Processors the host may use: at most /proc/cpuinfo's, the scheduler's C(usable) and the cgroup's C(quota).

    C(quota) is the text of cpu.max, C(<quota> <period>) in microseconds, or empty; a part of a processor counts as one.
    """
    listed = sum(line.startswith("processor") for line in cpuinfo.splitlines()) or usable
    granted, _space, period = quota.strip().partition(" ")
    if granted.isdigit() and period.isdigit() and int(period):
        listed = min(listed, -(-int(granted) // int(period)))
    return max(1, min(listed, usable))


@dataclass(frozen=True)
class Process:
    command: str
    parent: int
    uid: int


def ssh_login_uid(pid: int, process: Callable[[int], Process | None]) -> int | None:
    """Uid that the SSH connection above process C(pid) logged in as, or None when it isn't run over SSH.

    The shell that sshd starts runs as the login user; sudo and su stand below it.
    """
    below: Process | None = None
    while pid > 0 and (found := process(pid)) is not None:
        if found.command.startswith("sshd"):
            return below.uid if below else None
        below, pid = found, found.parent
    return None


def effective_settings(sshd_dump: str) -> dict[str, str]:
    """Parse what C(sshd -T) prints: one setting for each line."""
    return {name: value for name, _space, value in (line.partition(" ") for line in sshd_dump.splitlines()) if name}


def keys_files(setting: str, user: str, home: str) -> list[str]:
    """Absolute paths of sshd's AuthorizedKeysFile for a user (the tokens %h, %u and %% are replaced)."""
    paths = []
    for pattern in setting.split():
        if pattern == "none":
            continue
        path = pattern.replace("%%", "\0").replace("%h", home).replace("%u", user).replace("\0", "%")
        paths.append(path if path.startswith("/") else f"{home}/{path}")
    return paths


def count_keys(text: str) -> int:
    """Number of keys in the text of an authorized_keys file."""
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())


def ansible_facts(
    system: System,
    *,
    memory: int,
    processors: int,
    container: str,
    machine: Mapping[str, str],
    ssh_access: Mapping[str, Any],
) -> dict[str, Any]:
    """Facts under the names that M(ansible.builtin.setup) gives them, as far as roles read them, and C(ssh_access)."""
    return {
        "distribution": system.distribution,
        "distribution_version": system.version,
        "distribution_major_version": system.major_version,
        "distribution_release": system.codename,
        "os_family": "Debian" if system.id in DISTRIBUTIONS else system.distribution,
        "pkg_mgr": "apt",
        "service_mgr": "systemd",
        "memtotal_mb": memory,
        "processor_vcpus": processors,
        "processor_nproc": processors,
        "virtualization_type": container or "NA",
        "virtualization_role": "guest" if container else "NA",
        "virtualization_tech_guest": ["container", container] if container else [],
        "ssh_access": dict(ssh_access),
        **machine,
    }
