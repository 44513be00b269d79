# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 over TLS on asyncio's own protocols, no more than the ledger needs.

A ready-made client repeats requests behind its user's back, and not all by the same rules. Here the rules are in sight
(RFC 9110, 9.2.2, and RFC 9112, 9.3.1): an idempotent request that went out on a reused connection which closed before any
byte of an answer came is repeated once, on a new connection. Nothing else is ever repeated.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
# Idle connections that are kept, and for how long: as browsers and libraries do, and below what servers grant.
KEPT_AT_MOST = 16
KEPT_SECONDS = 25.0


class Failed(Exception):
    """No answer. `kind` says why in a few words, `sent` whether the request may have reached the fleet."""

    def __init__(self, kind: str, *, sent: bool, nothing_received: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.sent = sent
        self.nothing_received = nothing_received


@dataclass(slots=True)
class Response:
    status: int
    headers: dict[str, str]
    cookies: dict[str, str]
    body: bytes
    keep: bool
    reused: bool = False
    repeated: bool = False


class Connection(asyncio.Protocol):
    """One connection; `exchange` sends a request and reads its answer."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.closed = False
        self.used = 0
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._wake()

    def eof_received(self) -> bool:
        self.closed = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        if self.closed:
            raise Failed(
                "closed within the answer" if self.received else "closed before the answer",
                sent=True,
                nothing_received=not self.received,
            )
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    async def exchange(self, request: bytes, method: str) -> Response:
        assert self._transport is not None
        self.used += 1
        self._transport.write(request)
        while True:
            while (end := self.received.find(b"\r\n\r\n")) < 0:
                await self._more()
            status, headers, cookies = parse_head(bytes(self.received[:end]))
            if status >= 200:
                break
            del self.received[: end + 4]
        start = end + 4
        keep = headers.get("connection", "").lower() != "close"
        if method == "HEAD" or status in {204, 304}:
            body, used = b"", start
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            while (parsed := parse_chunks(self.received, start)) is None:
                await self._more()
            body, used = parsed
        elif "content-length" in headers:
            used = start + int(headers["content-length"])
            while len(self.received) < used:
                await self._more()
            body = bytes(self.received[start:used])
        else:
            while not self.closed:
                await self._more()
            body, used, keep = bytes(self.received[start:]), len(self.received), False
        del self.received[:used]
        return Response(status, headers, cookies, body, keep and not self.closed)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def parse_head(head: bytes) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, header fields by lower-case name, and cookies."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    for line in lines:
        name, _colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "set-cookie":
            cookie, _equals, content = value.partition(";")[0].partition("=")
            cookies[cookie] = content
        else:
            headers[name] = value
    return int(first.split(" ", 2)[1]), headers, cookies


def parse_chunks(data: bytes | bytearray, start: int) -> tuple[bytes, int] | None:
    """The body of a chunked message that begins at `start` and where it ended; None while some of it is missing."""
    parts: list[bytes] = []
    while True:
        line_end = data.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(bytes(data[start:line_end]).partition(b";")[0], 16)
        if size == 0:
            end = data.find(b"\r\n", line_end + 2)
            # There are no trailers to wait for: the last chunk is followed by an empty line.
            return (b"".join(parts), end + 2) if end >= 0 else None
        start = line_end + 2
        if len(data) < start + size + 2:
            return None
        parts.append(bytes(data[start : start + size]))
        start += size + 2


@dataclass
class Client:
    """Requests to one address under one name, on kept or new connections."""

    address: str
    domain: str
    tls: ssl.SSLContext | None
    port: int = 443
    connect_seconds: float = 10.0
    opened: int = 0
    _idle: deque[Connection] = field(default_factory=deque)

    async def _connect(self) -> Connection:
        self.opened += 1
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.connect_seconds):
                _transport, connection = await loop.create_connection(
                    Connection, self.address, self.port, ssl=self.tls,
                    server_hostname=self.domain if self.tls else None,
                    ssl_handshake_timeout=self.connect_seconds if self.tls else None,
                )  # fmt: skip
        except TimeoutError as error:
            raise Failed("no connection: timed out", sent=False) from error
        except ssl.SSLError as error:
            raise Failed(f"no connection: TLS ({error.reason})", sent=False) from error
        except ConnectionRefusedError as error:
            raise Failed("no connection: refused", sent=False) from error
        except OSError as error:
            raise Failed(f"no connection: {error.strerror or type(error).__name__}", sent=False) from error
        return connection

    def _take_idle(self) -> Connection | None:
        # The one that was idle longest: that is where a server that closes too early shows.
        while self._idle:
            connection = self._idle.popleft()
            if not connection.closed and time.monotonic() - connection.idle_since < KEPT_SECONDS:
                return connection
            connection.close()
        return None

    async def request(
        self,
        method: str,
        path: str,
        *,
        kept: bool,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = 20.0,
    ) -> Response:
        """The answer, or Failed; bounded by `seconds` in all, a repeat included."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.domain}", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body or method in {"POST", "PUT"}:
            lines.append(f"Content-Length: {len(body)}")
        if not kept:
            lines.append("Connection: close")
        message = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        connection = self._take_idle() if kept else None
        reused = connection is not None
        sent = reused
        try:
            async with asyncio.timeout(seconds):
                if connection is None:
                    connection = await self._connect()
                sent = True
                try:
                    response = await connection.exchange(message, method)
                except Failed as failure:
                    if not (reused and failure.nothing_received and method in IDEMPOTENT):
                        raise
                    connection.abort()
                    connection = await self._connect()
                    response = await connection.exchange(message, method)
                    response.repeated = True
        except TimeoutError as error:
            if connection is not None:
                connection.abort()
            raise Failed("timed out", sent=sent) from error
        except Failed:
            if connection is not None:
                connection.abort()
            raise
        response.reused = reused
        if kept and response.keep and len(self._idle) < KEPT_AT_MOST:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def close(self) -> None:
        while self._idle:
            self._idle.popleft().abort()
