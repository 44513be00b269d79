#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at a host, in place of several fact subsets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Look at a host once, and refuse one that is not supported
version_added: "0.1.0"
description:
  - Sets the few facts that the collection's roles read, under the names that M(ansible.builtin.setup) gives them
    (C(distribution), C(distribution_version), C(memtotal_mb), C(processor_vcpus), C(virtualization_tech_guest) and
    their neighbours), and C(ssh_access), which says who is logged in and by which keys.
  - Memory and processors are what the host may use, a container's limits included.
  - It costs one short task, where the subset C(hardware) of M(ansible.builtin.setup) looks at every disk.
author: graphic_school.scaling contributors (@graphic_school)
options:
  host:
    description: Name of the host in messages.
    type: str
    default: this host
  supported:
    description:
      - Systems that are accepted, as a dictionary of distributions and lists of their versions.
      - Any other is refused with a sentence that names it. Without this option none is refused.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Only looks, so check mode is no different.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Look at the host
  graphic_school.scaling.host_facts:
    host: "{{ inventory_hostname }}"
    supported: {Debian: ["13"]}
"""

RETURN = r"""
ansible_facts:
  description: What the roles need to know of the host.
  returned: success
  type: dict
  contains:
    distribution:
      description: Debian, Ubuntu, or the first word of the system's name.
      type: str
      returned: always
    distribution_version:
      description: Its version.
      type: str
      returned: always
    memtotal_mb:
      description: Memory that the host may use, in MiB.
      type: int
      returned: always
    processor_vcpus:
      description: Processors that the host may use.
      type: int
      returned: always
    virtualization_tech_guest:
      description: Holds C(container) and the kind of container when the host is one.
      type: list
      elements: str
      returned: always
    ssh_access:
      description:
        - C(user) is who the SSH connection in use logged in as (empty when it isn't SSH), C(user_keys) and C(root_keys) how
          many keys open that account and root's, C(keys_files) what sshd's C(AuthorizedKeysFile) is for the user.
      type: dict
      returned: always
"""

import contextlib
import os
import platform
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_facts import (
    DEFAULT_KEYS_FILES,
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

MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CPU_QUOTA = "/sys/fs/cgroup/cpu.max"


def read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def process(pid: int) -> Process | None:
    values = dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
    if not values:
        return None
    return Process(command=values["Name"], parent=int(values["PPid"]), uid=int(values["Uid"].split()[0]))


def count_keys_of(module: AnsibleModule, user: str) -> tuple[int, list[str]]:
    """Keys that open the account C(user) now, and the setting that says where they are."""
    setting = " ".join(DEFAULT_KEYS_FILES)
    command = ["/usr/sbin/sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1"]
    if Path(command[0]).exists():
        status, output, _errors = module.run_command(command)
        if status == 0:
            setting = effective_settings(output).get("authorizedkeysfile", setting)
    with contextlib.suppress(KeyError):
        paths = keys_files(setting, user, pwd.getpwnam(user).pw_dir)
        return sum(count_keys(read(path)) for path in paths), setting.split()
    return 0, setting.split()


def ssh_access(module: AnsibleModule) -> dict[str, object]:
    uid = ssh_login_uid(os.getpid(), process)
    user = ""
    if uid is not None:
        with contextlib.suppress(KeyError):
            user = pwd.getpwuid(uid).pw_name
    keys, files = count_keys_of(module, user or "root")
    root_keys = keys if user in ("", "root") else count_keys_of(module, "root")[0]
    return {"user": user, "user_keys": keys if user else 0, "root_keys": root_keys, "keys_files": files}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "default": "this host"},
            "supported": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    system = system_from(read("/etc/os-release"))
    try:
        refuse_unsupported(system, module.params["supported"], module.params["host"])
    except HostFactsError as error:
        module.fail_json(msg=str(error))
    machine = {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "architecture": platform.machine(),
        "nodename": platform.node(),
        "hostname": platform.node().split(".")[0],
        "python_version": platform.python_version(),
        "user_id": pwd.getpwuid(os.getuid()).pw_name,
    }
    facts = ansible_facts(
        system,
        memory=memory_mb(read("/proc/meminfo"), [read(path) for path in MEMORY_LIMITS]),
        processors=cpu_count(read("/proc/cpuinfo"), len(os.sched_getaffinity(0)), read(CPU_QUOTA)),
        container=read("/run/systemd/container").strip(),
        machine=machine,
        ssh_access=ssh_access(module),
    )
    module.exit_json(changed=False, ansible_facts=facts)


if __name__ == "__main__":
    main()
