# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_probe
short_description: Which MySQL hosts answer, seen from here
version_added: "0.1.0"
description:
  - Asks the SSH port and the health service of each host, all at once, and comes back after O(seconds) at the latest.
  - A host that accepts connections and says nothing (frozen, or behind a firewall) counts as silent.
  - Changes nothing.
author: graphic_school.scaling contributors (@graphic_school)
options:
  servers:
    description: The hosts, as C(fleet.mysql.hosts) holds them - C(name), C(address) and, if not 22, C(ssh_port).
    type: list
    elements: dict
    required: true
  health_port:
    description: Port of the health service.
    type: int
    default: 9200
  seconds:
    description: How long a host may take to say something.
    type: float
    default: 1.0
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: See who answers
  graphic_school.scaling.mysql_probe:
    servers: [{name: db1, address: 192.0.2.31}]
  delegate_to: localhost
"""

RETURN = r"""
servers:
  description: From name to C(address), C(ssh) (whether SSH answers) and C(health), what the health service says, or null.
  returned: always
  type: dict
"""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def ssh_answers(address: str, port: int, seconds: float) -> bool:
    """Return whether an SSH server says its name."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            connection.settimeout(seconds)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def health(address: str, port: int, seconds: float) -> dict[str, Any] | None:
    """Return what the health service says, or None when it says nothing."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            connection.settimeout(seconds)
            connection.sendall(b"GET /alive HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        found = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "servers": {"type": "list", "elements": "dict", "required": True},
            "health_port": {"type": "int", "default": 9200},
            "seconds": {"type": "float", "default": 1.0},
        },
        supports_check_mode=True,
    )
    options = module.params
    servers, seconds = options["servers"], options["seconds"]
    with ThreadPoolExecutor(max(2 * len(servers), 1)) as pool:
        logins = [pool.submit(ssh_answers, row["address"], int(row.get("ssh_port") or 22), seconds) for row in servers]
        healths = [pool.submit(health, row["address"], options["health_port"], seconds) for row in servers]
        found = {
            row["name"]: {"address": row["address"], "ssh": login.result(), "health": said.result()}
            for row, login, said in zip(servers, logins, healths, strict=True)
        }
    module.exit_json(changed=False, servers=found)


if __name__ == "__main__":
    main()
