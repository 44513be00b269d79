# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is repeated on a closed connection and what never is, against a server that closes when it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest

from tests.e2e.ledger.http1 import Client, Failed, parse_chunks, parse_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# What a server does with each request it receives, in order: bytes to send, and whether it closes then.
Script = list[tuple[bytes, bool]]


def play(script: Script, use: Callable[[Client], Awaitable[object]]) -> tuple[object, list[bytes]]:
    """What `use` returned, and the requests that the server read. Without TLS: that is the same for both."""
    seen: list[bytes] = []
    steps = iter(script)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
                answer, closes = next(steps)
                writer.write(answer)
                await writer.drain()
                if closes:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, StopIteration):
            pass
        finally:
            writer.close()

    async def scene() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client("127.0.0.1", "school.example.com", None, port=port)
        try:
            return await use(client)
        except Failed as failure:
            return failure
        finally:
            client.close()
            server.close()

    return asyncio.run(scene()), seen


async def get_twice(client: Client) -> object:
    await client.request("GET", "/first", kept=True)
    return await client.request("GET", "/second", kept=True)


async def get_then_post(client: Client) -> object:
    await client.request("GET", "/first", kept=True)
    return await client.request("POST", "/second", kept=True)


def test_a_kept_connection_is_used_again() -> None:
    response, seen = play([(OK, False), (OK, False)], get_twice)
    assert (response.reused, response.repeated, response.body) == (True, False, b"ok")  # type: ignore[attr-defined]
    assert seen == [b"GET /first HTTP/1.1", b"GET /second HTTP/1.1"]


def test_a_get_is_repeated_once_when_its_kept_connection_closed_without_a_byte() -> None:
    response, seen = play([(OK, False), (b"", True), (OK, False)], get_twice)
    assert (response.status, response.repeated) == (200, True)  # type: ignore[attr-defined]
    assert len(seen) == 3


def test_a_get_is_not_repeated_twice() -> None:
    failure, seen = play([(OK, False), (b"", True), (b"", True), (OK, False)], get_twice)
    assert isinstance(failure, Failed)
    assert failure.kind == "closed before the answer"
    assert len(seen) == 3


def test_a_post_is_never_repeated() -> None:
    failure, seen = play([(OK, False), (b"", True), (OK, False)], get_then_post)
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.sent) == ("closed before the answer", True)
    assert len(seen) == 2


def test_a_get_on_a_new_connection_is_not_repeated() -> None:
    failure, seen = play([(b"", True), (OK, False)], lambda client: client.request("GET", "/", kept=True))
    assert isinstance(failure, Failed)
    assert len(seen) == 1


@pytest.mark.parametrize("part", [OK[:10], OK[:-1]])
def test_an_answer_that_breaks_off_is_not_repeated(part: bytes) -> None:
    failure, seen = play([(OK, False), (part, True), (OK, False)], get_twice)
    assert isinstance(failure, Failed)
    assert failure.kind == "closed within the answer"
    assert len(seen) == 2


def test_a_connection_that_the_server_wants_closed_is_not_used_again() -> None:
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    response, _seen = play([(closing, True), (OK, False)], get_twice)
    assert response.reused is False  # type: ignore[attr-defined]


def test_silence_is_bounded() -> None:
    async def use(client: Client) -> object:
        return await client.request("GET", "/", kept=False, seconds=0.05)

    failure, _seen = play([(b"HTTP/1.1 200", False)], use)
    assert isinstance(failure, Failed)
    assert (failure.kind, failure.sent) == ("timed out", True)


def test_a_refused_connection_was_never_sent() -> None:
    async def scene() -> Failed:
        client = Client("127.0.0.1", "school.example.com", ssl.create_default_context(), port=1)
        with pytest.raises(Failed) as caught:
            await client.request("POST", "/", kept=False)
        return caught.value

    failure = asyncio.run(scene())
    assert (failure.kind, failure.sent) == ("no connection: refused", False)


@pytest.mark.parametrize(
    ("data", "parsed"),
    [
        pytest.param(b"2\r\nok\r\n0\r\n\r\n", (b"ok", 12), id="one chunk"),
        pytest.param(b"1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\nrest", (b"ok", 21), id="two chunks, an extension, and a rest"),
        pytest.param(b"2\r\nok\r\n0\r\n", None, id="the last empty line is missing"),
        pytest.param(b"2\r\no", None, id="half a chunk"),
        pytest.param(b"2", None, id="half a size"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_chunks(data: bytes, parsed: tuple[bytes, int] | None) -> None:
    assert parse_chunks(data, 0) == parsed


def test_a_head_gives_status_fields_and_cookies() -> None:
    head = b"HTTP/1.1 201 Created\r\nX-Served-By: app1\r\nSet-Cookie: a=b%3D; path=/\r\nSet-Cookie: c=d"
    assert parse_head(head) == (201, {"x-served-by": "app1"}, {"a": "b%3D", "c": "d"})
