# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read-only look at Laravel's queues in Redis, a cluster or a single instance: each key is asked of the node that has it."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .redis_client import RedisReplyError

SLOTS = 16384
# Jobs that are looked at of those that run. A worker runs one at a time, so there are about as many as workers.
RUNNING_LOOKED_AT = 500

Node = tuple[str, int]


class Connection(Protocol):
    """The part of C(RedisConnection) that is needed here."""

    def command(self, *words: object) -> Any: ...
    def pipeline(self, commands: Sequence[Sequence[object]]) -> list[Any]: ...
    def close(self) -> None: ...


def key_slot(key: str) -> int:
    """The slot of a key: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags."""
    begin = key.find("{")
    end = key.find("}", begin + 1)
    if begin >= 0 and end > begin + 1:
        key = key[begin + 1 : end]
    # CRC16 of XMODEM, which crc_hqx is.
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


@dataclass(frozen=True)
class QueueLook:
    """A queue at a moment: jobs by state, payloads of its first and last waiting job, payloads of those that run.

    ``holds``: whether the payload that was asked about still waits; None when none was.
    """

    waiting: int
    delayed: int
    reserved: int
    first: str | None = None
    last: str | None = None
    running: tuple[str, ...] = ()
    holds: bool | None = None


@dataclass
class Queues:
    """Connections to the nodes that hold queues. ``connect`` opens one that is logged in."""

    nodes: Sequence[Node]
    connect: Callable[[Node], Connection]
    _connections: dict[Node, Connection] = field(default_factory=dict)
    _slots: list[tuple[int, int, Node]] = field(default_factory=list)
    _single: bool = False

    def look(self, key: str, marker: str | None = None) -> QueueLook:
        """How the queue that is kept in C(key) is. C(marker): a payload to look for among the waiting ones.

        Raises OSError when no node answers, RedisReplyError for a refusal. Asks once more where the slot has moved.
        """
        try:
            return self._look(key, marker)
        except (OSError, RedisReplyError):
            self.close()
            return self._look(key, marker)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._slots.clear()

    def _look(self, key: str, marker: str | None) -> QueueLook:
        commands: list[tuple[object, ...]] = [
            ("LLEN", key),
            ("ZCARD", f"{key}:delayed"),
            ("ZCARD", f"{key}:reserved"),
            ("LINDEX", key, 0),
            ("LINDEX", key, -1),
            ("ZRANGE", f"{key}:reserved", 0, RUNNING_LOOKED_AT - 1),
        ]
        if marker is not None:
            commands.append(("LPOS", key, marker))
        # Each key has a slot of its own unless it carries a hash tag.
        replies = [self._at(str(words[1])).command(*words) for words in commands] if self._scattered(key) else (
            self._at(key).pipeline(commands)
        )  # fmt: skip
        return QueueLook(
            waiting=int(replies[0]),
            delayed=int(replies[1]),
            reserved=int(replies[2]),
            first=replies[3],
            last=replies[4],
            running=tuple(replies[5]),
            holds=replies[6] is not None if marker is not None else None,
        )

    def _scattered(self, key: str) -> bool:
        self._learn()
        return not self._single and len({key_slot(name) for name in (key, f"{key}:delayed", f"{key}:reserved")}) > 1

    def _at(self, key: str) -> Connection:
        self._learn()
        if self._single:
            return next(iter(self._connections.values()))
        slot = key_slot(key)
        node = next((node for first, last, node in self._slots if first <= slot <= last), None)
        if node is None:
            raise RedisReplyError(f"no node of Redis serves slot {slot}, where {key} is")
        return self._connection(node)

    def _connection(self, node: Node) -> Connection:
        if node not in self._connections:
            self._connections[node] = self.connect(node)
        return self._connections[node]

    def _learn(self) -> None:
        """Ask the first node that answers who serves which slots."""
        if self._slots or (self._single and self._connections):
            return
        error: OSError | RedisReplyError = OSError("no node of Redis is configured")
        for node in self.nodes:
            try:
                told = self._connection(node).command("CLUSTER", "SLOTS")
                self._single = False
                self._slots = [(int(row[0]), int(row[1]), (str(row[2][0]) or node[0], int(row[2][1]))) for row in told]
                if self._slots:
                    return
            except RedisReplyError as refused:
                if "cluster support disabled" in str(refused):
                    self._single = True
                    return
                error = refused
            except OSError as silent:
                error = silent
                self._connections.pop(node, None)
        raise error
