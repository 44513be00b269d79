# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask PHP-FPM for one page without a web server in between.

The record format is that of the FastCGI specification 1.0, sections 3.3 (records), 3.4 (name-value pairs) and 5 (roles).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

VERSION, RESPONDER, REQUEST_ID = 1, 1, 1
BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = 1, 3, 4, 5, 6, 7
LARGEST = 0xFFF8


class FastcgiError(Exception):
    """The other side does not speak FastCGI, or went away in the middle."""


class Connection(Protocol):
    """The part of a connected socket that is needed here."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Answer:
    """What a script answered: status, headers (lower-case names; the last one wins), body, and what it logged."""

    status: int
    headers: Mapping[str, str]
    body: str
    errors: str


def _length(value: bytes) -> bytes:
    return struct.pack("!B", len(value)) if len(value) < 128 else struct.pack("!I", len(value) | 0x80000000)


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBx", VERSION, kind, REQUEST_ID, len(content), 0) + content


def _stream(kind: int, content: bytes) -> bytes:
    chunks = [content[start : start + LARGEST] for start in range(0, len(content), LARGEST)]
    return b"".join(_record(kind, chunk) for chunk in chunks) + _record(kind, b"")


def encode(parameters: Mapping[str, str]) -> bytes:
    """Return the request for the script that C(parameters) (SCRIPT_FILENAME, REQUEST_METHOD, …) describe, without a body."""
    pairs = b""
    for name, value in parameters.items():
        key, content = name.encode(), value.encode()
        pairs += _length(key) + _length(content) + key + content
    return _record(BEGIN_REQUEST, struct.pack("!HB5x", RESPONDER, 0)) + _stream(PARAMS, pairs) + _stream(STDIN, b"")


def decode(output: bytes, errors: bytes = b"") -> Answer:
    """Return the answer in a script's output: CGI headers, an empty line, the body."""
    empty_line = b"\r\n\r\n" if b"\r\n\r\n" in output else b"\n\n"
    head, body = output.split(empty_line, 1) if empty_line in output else (output, b"")
    headers = {}
    for line in head.decode(errors="replace").splitlines():
        name, value = line.split(":", 1) if ":" in line else (line, "")
        headers[name.strip().lower()] = value.strip()
    status = headers.get("status", "200").split()[0]
    return Answer(int(status) if status.isdigit() else 500, headers, body.decode(errors="replace"), errors.decode(errors="replace"))


def _read(connection: Connection, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise FastcgiError("PHP-FPM closed the connection before the answer was complete")
        data += chunk
    return data


def ask(connection: Connection, parameters: Mapping[str, str]) -> Answer:
    """Return what the script answers over C(connection). Raises FastcgiError when the answer breaks off."""
    connection.sendall(encode(parameters))
    output, errors = b"", b""
    while True:
        version, kind, length, padding = struct.unpack("!BBxxHBx", _read(connection, 8))
        if version != VERSION:
            raise FastcgiError("the answer is not FastCGI")
        content = _read(connection, length + padding)[:length]
        if kind == STDOUT:
            output += content
        elif kind == STDERR:
            errors += content
        elif kind == END_REQUEST:
            return decode(output, errors)
