"""The check from outside: what a client sees through the VIP, with the lab's own authority as the only trust."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .shell import LabError


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)


def get(address: str, path: str, ca_file: Path, *, timeout: float = 10.0) -> Answer:
    """GET https://<address><path>, trusting this authority only. OSError when there is no answer."""
    connection = http.client.HTTPSConnection(
        address, timeout=timeout, context=ssl.create_default_context(cafile=str(ca_file))
    )
    try:
        connection.request("GET", path, headers={"Accept": "application/json", "User-Agent": "lab"})
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def check(
    address: str,
    ca_file: Path,
    app_servers: set[str],
    *,
    fetch: Callable[[str, str, Path], Answer] = get,
    seconds: float = 60.0,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """What works, one line each; LabError naming the first thing that does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _look(lambda path: fetch(address, path, ca_file), address, app_servers)
        except (LabError, OSError) as error:
            if time.monotonic() > deadline:
                raise LabError(f"The fleet does not serve as it should: {error}") from error
            pause(1.0)


def _look(fetch: Callable[[str], Answer], address: str, app_servers: set[str]) -> list[str]:
    lines = []
    up = fetch("/up")
    if up.status != 200:
        raise LabError(f"GET https://{address}/up answers {up.status}, not 200")
    lines.append("GET /up answers 200 over TLS that the lab's authority signed")
    health = fetch("/api/health")
    if health.status != 200:
        raise LabError(f"GET https://{address}/api/health answers {health.status}: {health.body[:400]!r}")
    lines.append("GET /api/health answers 200: database, cache, queue and storage work")
    served: set[str] = set()
    for _request in range(40):
        served.add(fetch("/up").headers.get("x-served-by", ""))
        if app_servers <= served:
            break
    if not app_servers <= served:
        raise LabError(
            f"{', '.join(sorted(app_servers - served))} answered none of 40 requests through {address}, "
            f"only {', '.join(sorted(served))} did"
        )
    lines.append(f"{', '.join(sorted(app_servers))} answer through {address}")
    who = fetch("/api/whoami").json()
    if not who.get("write_server"):
        raise LabError(f"GET https://{address}/api/whoami names no database server: {who}")
    if who["read_server"] != who["write_server"]:
        lines.append("reads come from a replica, writes go to the primary")
    else:
        lines.append("the primary answers reads and writes")
    return lines
