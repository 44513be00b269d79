# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to PHP-FPM, and its answers, as records."""

from __future__ import annotations

import struct

import pytest

from plugins.module_utils.fastcgi import FastcgiError, ask, decode, encode


class Fake:
    """A connection that hands out what it was given, a few bytes at a time."""

    def __init__(self, answer: bytes, piece: int = 3) -> None:
        self.answer, self.piece, self.sent = answer, piece, b""

    def sendall(self, data: bytes, /) -> None:
        self.sent += data

    def recv(self, size: int, /) -> bytes:
        chunk, self.answer = self.answer[: min(size, self.piece)], self.answer[min(size, self.piece):]
        return chunk


def record(kind: int, content: bytes, padding: int = 0) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), padding) + content + b"\0" * padding


END = record(3, b"\0" * 8)


def test_a_request_is_what_the_specification_says() -> None:
    assert encode({"A": "b"}) == (
        b"\x01\x01\x00\x01\x00\x08\x00\x00" b"\x00\x01\x00\x00\x00\x00\x00\x00"  # begin, responder
        b"\x01\x04\x00\x01\x00\x04\x00\x00" b"\x01\x01Ab"  # one pair
        b"\x01\x04\x00\x01\x00\x00\x00\x00"  # end of the parameters
        b"\x01\x05\x00\x01\x00\x00\x00\x00"  # no body
    )


def test_long_values_carry_a_long_length() -> None:
    assert b"\x01\x80\x00\x01\x2cA" + b"x" * 300 in encode({"A": "x" * 300})


@pytest.mark.parametrize("piece", [1, 7, 65536])
def test_an_answer_comes_together_from_its_records(piece: int) -> None:
    connection = Fake(
        record(6, b"Status: 503 Service Unavailable\r\nX-Re", 2) + record(7, b"a warning") + record(6, b"lease: r1\r\n\r\nill") + END, piece
    )
    answer = ask(connection, {"REQUEST_METHOD": "GET"})
    assert (answer.status, answer.headers["x-release"], answer.body, answer.errors) == (503, "r1", "ill", "a warning")
    assert connection.sent == encode({"REQUEST_METHOD": "GET"})


@pytest.mark.parametrize(
    ("output", "status", "body"),
    [
        pytest.param(b"Content-Type: text/html\r\n\r\nhello", 200, "hello", id="no status means 200"),
        pytest.param(b"Status: 404 Not Found\n\ngone", 404, "gone", id="plain line ends"),
        pytest.param(b"Status: broken\r\n\r\n", 500, "", id="a status that is none"),
    ],
)
def test_status_and_body_of_an_answer(output: bytes, status: int, body: str) -> None:
    answer = decode(output)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(b"", "closed the connection", id="nothing"),
        pytest.param(record(6, b"Status: 200"), "closed the connection", id="half an answer"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "not FastCGI", id="another protocol"),
    ],
)
def test_a_broken_answer_is_an_error(answer: bytes, sentence: str) -> None:
    with pytest.raises(FastcgiError, match=sentence):
        ask(Fake(answer), {})
