# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a MySQL host answers, seen from where this runs."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any


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


def probe(address: str, ssh_port: int, health_port: int, seconds: float) -> dict[str, Any]:
    """Ask the SSH port and the health service of a host, both at once; within ``seconds``."""
    with ThreadPoolExecutor(2) as pool:
        login = pool.submit(ssh_answers, address, ssh_port, seconds)
        said = pool.submit(health, address, health_port, seconds)
        return {"address": address, "ssh": login.result(), "health": said.result()}
