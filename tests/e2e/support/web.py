# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application from outside: HTTPS to the VIP under the real name, checked against the fleet's own CA."""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


class Pinned(httpx.BaseTransport):
    """Connects to one address, whatever name the request asks for; the name stays in TLS and in the Host header."""

    def __init__(self, address: str, ca_file: Path, limits: httpx.Limits, *, http2: bool) -> None:
        self.address = address
        self.inner = httpx.HTTPTransport(
            verify=ssl.create_default_context(cafile=str(ca_file)), http2=http2, limits=limits
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        pinned = httpx.Request(
            request.method,
            request.url.copy_with(host=self.address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return self.inner.handle_request(pinned)

    def close(self) -> None:
        self.inner.close()


class Visitor:
    """One client of the application, with its own cookies."""

    def __init__(
        self, url: str, vip: str, ca_file: Path, *, timeout: float = 20.0, keepalive: bool = True, http2: bool = True
    ) -> None:
        limits = httpx.Limits(max_connections=20, max_keepalive_connections=20 if keepalive else 0)
        self.http = httpx.Client(
            base_url=url,
            transport=Pinned(vip, ca_file, limits, http2=http2),
            timeout=timeout,
            headers={"Accept": "application/json"},
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, data: dict[str, Any]) -> httpx.Response:
        return self.http.post(path, json=data)

    def get_from(self, server: str, path: str, *, seconds: float = 20.0) -> httpx.Response:
        """A GET that this server answered: asked again until the balancer chose it."""
        deadline = time.monotonic() + seconds
        answered = set()
        while time.monotonic() < deadline:
            answer = self.http.get(path)
            answer.raise_for_status()
            if served_by(answer) == server:
                return answer
            answered.add(served_by(answer))
        raise AssertionError(f"{server} answered no GET {path} within {seconds:g} s, only: {sorted(answered)}")

    def send_to(self, server: str, method: str, path: str, *, tries: int = 12, **options: Any) -> httpx.Response:
        """A request that this server answered: sent again until the balancer chose it. Only for what may be repeated."""
        for _turn in range(tries):
            answer = self.http.request(method, path, **options)
            answer.raise_for_status()
            if served_by(answer) == server:
                return answer
        raise AssertionError(f"{server} answered none of {tries} times {method} {path}")

    def close(self) -> None:
        self.http.close()


def served_by(answer: httpx.Response) -> str:
    return answer.headers["X-Served-By"]


def new_key(kind: str) -> str:
    """A key that no earlier run of the proof has used."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


@contextmanager
def visiting(url: str, vip: str, ca_file: Path, **options: Any) -> Iterator[Visitor]:
    visitor = Visitor(url, vip, ca_file, **options)
    try:
        yield visitor
    finally:
        visitor.close()
