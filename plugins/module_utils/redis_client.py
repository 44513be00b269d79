# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to one Redis instance: the standard library is enough, so hosts need no package for it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any


class RedisReplyError(Exception):
    """Redis answered with an error; the text is its own."""


class RedisConnection:
    """One authenticated connection. Every call raises OSError when the instance doesn't answer in time."""

    def __init__(self, address: str, port: int, timeout: float = 3.0) -> None:
        self._socket = socket.create_connection((address, port), timeout=timeout)
        self._reader = self._socket.makefile("rb")
        self.password = ""

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def authenticate(self, user: str, passwords: Sequence[str]) -> None:
        """Log in with the first password that Redis takes, and keep it; raise RedisReplyError when it takes none."""
        for index, password in enumerate(passwords):
            try:
                self.command("AUTH", user, password)
                self.password = password
                return
            except RedisReplyError:
                if index == len(passwords) - 1:
                    raise

    def command(self, *words: object) -> Any:
        """Return the reply: text, a whole number, a list of replies, or None."""
        self._socket.sendall(_encoded(words))
        return self._reply()

    def pipeline(self, commands: Sequence[Sequence[object]]) -> list[Any]:
        """Send all commands at once; return their replies. Raises the first RedisReplyError after the last reply is read."""
        self._socket.sendall(b"".join(_encoded(words) for words in commands))
        replies: list[Any] = []
        refused: list[RedisReplyError] = []
        for _command in commands:
            try:
                replies.append(self._reply())
            except RedisReplyError as error:
                refused.append(error)
        if refused:
            raise refused[0]
        return replies

    def _line(self) -> bytes:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("Redis closed the connection")
        return line[:-2]

    def _reply(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RedisReplyError(rest.decode(errors="replace"))
        if kind == b"+":
            return rest.decode(errors="replace")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            body = self._reader.read(size + 2)
            if len(body) < size + 2:
                raise ConnectionResetError("Redis closed the connection")
            return body[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._reply() for _index in range(int(rest))] if rest != b"-1" else None
        raise RedisReplyError(f"not the Redis protocol: {line!r}")


def _encoded(words: Sequence[object]) -> bytes:
    encoded = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def pairs(reply: Sequence[str]) -> dict[str, str]:
    """Return a flat list of names and values (CONFIG GET) as a dictionary."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def info(reply: str) -> dict[str, str]:
    """Return INFO or CLUSTER INFO as a dictionary."""
    return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line and not line.startswith("#"))
