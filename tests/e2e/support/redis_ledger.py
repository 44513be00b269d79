# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a Redis pool that keep a ledger: what was acknowledged while something happened, and what is there afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

# What Laravel's queue does: two keys of one slot in one script, of which the second is mostly missing.
PUSH = "redis.call('rpush', KEYS[1], ARGV[1]) redis.call('rpush', KEYS[2], 1) return redis.call('llen', KEYS[1])"
POP = """
local job = redis.call('lpop', KEYS[1])
if job ~= false then redis.call('zadd', KEYS[2], ARGV[1], job) redis.call('lpop', KEYS[3]) end
return job
"""


@dataclass
class Ledger:
    """What clients saw."""

    acknowledged: int = 0
    errors: list[str] = field(default_factory=list)
    slowest: float = 0.0
    sessions: dict[str, int] = field(default_factory=dict)
    pushed: dict[str, list[str]] = field(default_factory=dict)


class Clients:
    """Threads that write, read and count through the pool until they are stopped.

    `sessions` are counters of their own key, read before each step: one that went back is an error. `queues` are pushed to
    and popped from with scripts of several keys, as Laravel's are; nothing pushed may be missing from queue and reserved set.
    """

    def __init__(self, connect: Callable[[], redis.RedisCluster], prefix: str, sessions: int = 300, queues: int = 40):
        self.connect, self.prefix = connect, prefix
        self.names = [f"{prefix}session:{number}" for number in range(sessions)]
        self.queues = [f"{prefix}queues:{{q{number}}}" for number in range(queues)]
        self.ledger = Ledger()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._count, args=(self.names[part::2],)) for part in (0, 1)]
        self._threads += [threading.Thread(target=self._work, args=(self.queues[part::2],)) for part in (0, 1)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_trouble: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _try(self, what: str, ask: Callable[[], object]) -> object:
        began = time.monotonic()
        try:
            answer = ask()
        except Exception as error:
            with self._lock:
                self.ledger.errors.append(f"{what}: {type(error).__name__}: {error}")
            return None
        with self._lock:
            self.ledger.acknowledged += 1
            self.ledger.slowest = max(self.ledger.slowest, time.monotonic() - began)
        return answer

    def _count(self, names: list[str]) -> None:
        client = self.connect()
        mine = dict.fromkeys(names, 0)
        while not self._stop.is_set():
            for name in names:
                if self._stop.is_set():
                    break
                there = self._try(f"GET {name}", lambda name=name: client.get(name) or 0)
                if there is not None and int(str(there)) < mine[name]:
                    self.ledger.errors.append(f"{name} went back from {mine[name]} to {there}")
                if self._try(f"SET {name}", lambda name=name: client.set(name, mine[name] + 1, ex=3600)):
                    mine[name] += 1
        with self._lock:
            self.ledger.sessions.update(mine)

    def _work(self, queues: list[str]) -> None:
        client = self.connect()
        pushed: dict[str, list[str]] = {queue: [] for queue in queues}
        number = 0
        while not self._stop.is_set():
            for queue in queues:
                number += 1
                job = f"job {number}"
                if self._try(f"push {queue}", lambda q=queue, j=job: client.eval(PUSH, 2, q, f"{q}:notify", j)):
                    pushed[queue].append(job)
                if number % 3 == 0:
                    keys = (queue, f"{queue}:reserved", f"{queue}:notify")
                    self._try(f"pop {queue}", lambda k=keys, n=number: client.eval(POP, 3, *k, n) or "none")
        with self._lock:
            self.ledger.pushed.update(pushed)

    def missing(self) -> list[str]:
        """What was acknowledged and isn't there; ask after the clients have stopped."""
        client = self.connect()
        found = [
            f"{name} is {there}, acknowledged was {count}"
            for name, count in self.ledger.sessions.items()
            if int(str((there := client.get(name)) or 0)) < count
        ]
        for queue, jobs in self.ledger.pushed.items():
            kept = {*client.lrange(queue, 0, -1), *client.zrange(f"{queue}:reserved", 0, -1)}
            found += [f"{queue} lost {job}" for job in jobs if job not in kept]
        return found

    def clean_up(self) -> None:
        client = self.connect()
        for queue in self.queues:
            client.delete(queue, f"{queue}:reserved", f"{queue}:notify")
        for name in self.names:
            client.delete(name)
