# Written by Ansible (role graphic_school.scaling.mysql).
"""Before mysqld starts: a server that was primary asks the others whether it still is.

A primary remembers (SET PERSIST) that it takes writes, over its own death too. When another was promoted meanwhile, two servers would
take writes from the moment this one starts. So it takes writes again only if a majority of the cluster, itself included, still
replicates from it, and nobody says otherwise; else it forgets that it was primary and starts read-only.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/graphic_school/mysql-guard.json")
PERSISTED = Path("/var/lib/mysql/mysqld-auto.cnf")
NAMES = ("read_only", "super_read_only")


def was_primary(persisted: Any) -> bool:
    """Return whether this server remembers that it takes writes. ``persisted`` is mysqld-auto.cnf as data."""
    if not isinstance(persisted, dict):
        return False
    return any(
        (name in NAMES and isinstance(value, dict) and str(value.get("Value")).upper() in ("OFF", "0"))
        or was_primary(value)
        for name, value in persisted.items()
    )


def forgotten(persisted: Any) -> Any:
    """Return ``persisted`` without whether this server takes writes."""
    if not isinstance(persisted, dict):
        return persisted
    return {name: forgotten(value) for name, value in persisted.items() if name not in NAMES}


def verdict(own: str, peers: Mapping[str, Mapping[str, Any] | None]) -> tuple[bool | None, str]:
    """Return whether the server at ``own`` is still primary (None: nobody can tell yet), and why.

    ``peers``: address → what its health service says, None without an answer.
    """
    told = {address: body for address, body in peers.items() if body}
    for address, body in told.items():
        if body.get("writable"):
            return False, f"{address} takes writes"
        if body.get("source") not in (None, own):
            return False, f"{address} replicates from {body['source']}"
    following = [address for address, body in told.items() if body.get("source") == own]
    needed = (len(peers) + 1) // 2 + 1
    if len(following) + 1 >= needed:
        return True, f"{len(following)} of {len(peers)} others replicate from it"
    return None, f"{len(following)} of {len(peers)} others say that they replicate from it, {needed - 1} are needed"


def ask(address: str, port: int) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/alive", timeout=1) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def main() -> None:
    try:
        persisted = json.loads(PERSISTED.read_text(encoding="utf-8"))
        configuration = json.loads(CONFIGURATION.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if not was_primary(persisted):
        return
    own, peers, port = configuration["address"], configuration["peers"], configuration["health_port"]
    end = time.monotonic() + configuration["seconds"]
    while True:
        with ThreadPoolExecutor(max(len(peers), 1)) as pool:
            answers = dict(zip(peers, pool.map(lambda address: ask(address, port), peers), strict=True))
        primary, why = verdict(own, answers)
        if primary is not None or time.monotonic() > end:
            break
        time.sleep(0.3)
    if primary:
        print(f"starts as primary: {why}")
        return
    print(f"starts read-only, though it was primary: {why}", file=sys.stderr)
    status = PERSISTED.stat()
    new = PERSISTED.with_suffix(".new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(forgotten(persisted), file)
        file.flush()
        os.fsync(file.fileno())
    os.chown(new, status.st_uid, status.st_gid)
    new.chmod(status.st_mode & 0o777)
    new.replace(PERSISTED)


if __name__ == "__main__":
    main()
