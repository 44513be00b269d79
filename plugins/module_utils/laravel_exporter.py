# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporter laravel: the queues of any Laravel 10 or later application that keeps them in Redis, without booting it.

Once a second it looks at each queue in Redis, and reads what the workers of this host have written since. The role exporter ships this
file with its neighbours to each worker host, where it runs as `python3 -m graphic_school_exporter.laravel_exporter --config=…`.

The configuration: C(redis) (C(nodes), a list of host and port, and C(user)); C(prefix) of the application's keys; C(queues), the plain
name of each queue to its stored one, such as payments to {payments}; C(logs), the workers' log files as a pattern; C(programs), the name
of a worker program (its logs begin with it) to its plain queues. The password for Redis stands in LARAVEL_REDIS_PASSWORD.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .exposition import Family, Histograms, gauge, options, server, text
from .follow import Follower
from .laravel_jobs import DONE, FAILED, Owners, Waiting, ended_from
from .redis_client import RedisConnection, RedisReplyError
from .redis_queues import Node, QueueLook, Queues

POLL_SECONDS = 1.0
REDIS_SECONDS = 3.0
# Markers that may be passed by within one look.
STEPS = 64


class Watch:
    """What is known of the queues now, and of the jobs that ended since the start."""

    def __init__(self, config: Mapping[str, Any], queues: Queues, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.prefix = str(config.get("prefix", ""))
        self.stored = {str(plain): str(stored) for plain, stored in config["queues"].items()}
        self.programs = {str(name): [str(queue) for queue in served] for name, served in (config.get("programs") or {}).items()}
        self.logs = str(config.get("logs", ""))
        self.queues = queues
        self.waiting = {plain: Waiting() for plain in self.stored}
        self.owners = Owners()
        self.looks: dict[str, tuple[QueueLook, float]] = {}
        self.error = ""
        self.durations = Histograms("laravel_job_duration_seconds", "Seconds that a job ran on this host, by its queue and result.")
        self.followers: dict[str, Follower] = {}
        self._first = True
        self._lock = threading.Lock()
        for plain in self.stored:
            for result in (DONE, FAILED):
                self.durations.start({"queue": plain, "result": result})

    def look(self) -> None:
        """Look at every queue. What can't be seen is not told: an old number would be taken for a new one."""
        looks: dict[str, tuple[QueueLook, float]] = {}
        error = ""
        for plain, stored in self.stored.items():
            try:
                looks[plain] = self._look(plain, f"{self.prefix}queues:{stored}")
            except (OSError, RedisReplyError) as failed:
                error = f"queue {plain}: {failed}"
        with self._lock:
            self.looks = looks
            if error and error != self.error:
                sys.stderr.write(f"{error}\n")
            self.error = error

    def _look(self, plain: str, key: str) -> tuple[QueueLook, float]:
        waiting = self.waiting[plain]
        look = self.queues.look(key, waiting.marker)
        now = self.clock()
        for _step in range(STEPS):
            if not waiting.add(look, now):
                break
            look = self.queues.look(key, waiting.marker)
        payloads = (*look.running, *(payload for payload in (look.first, look.last) if payload))
        self.owners.see(plain, payloads)
        return look, waiting.age(look, now)

    def read(self) -> None:
        """Count what the workers' logs tell since the last time."""
        folder = Path(self.logs)
        for path in sorted(folder.parent.glob(folder.name)) if self.logs else ():
            if str(path) not in self.followers:
                self.followers[str(path)] = Follower(path, from_start=not self._first)
        self._first = False
        by_stored = {stored: plain for plain, stored in self.stored.items()}
        for name, follower in self.followers.items():
            served = self.programs.get(Path(name).name.rsplit("_", 1)[0], [])
            for line in follower.lines():
                ended = ended_from(line)
                if ended:
                    queue = self.owners.queue_of(ended, by_stored, served[0] if len(served) == 1 else "")
                    with self._lock:
                        self.durations.observe({"queue": queue, "result": ended.result}, ended.seconds)

    def families(self) -> list[Family]:
        with self._lock:
            looks = dict(self.looks)
            states = [
                ({"queue": plain, "state": state}, float(getattr(look, state)))
                for plain, (look, _age) in looks.items()
                for state in ("waiting", "delayed", "reserved")
            ]
            return [
                gauge("laravel_queue_jobs", "Jobs of a queue: waiting, delayed, or reserved by a worker.", states),
                gauge(
                    "laravel_queue_oldest_job_age_seconds", "How long the first job of a queue has waited.",
                    [({"queue": plain}, age) for plain, (_look, age) in looks.items()],
                ),
                gauge("laravel_redis_up", "1 when all queues could be looked at.", [({}, float(not self.error))]),
                self.durations.family(),
            ]  # fmt: skip


def queues_from(redis: Mapping[str, Any], password: str) -> Queues:
    """The queues of the configuration's Redis."""

    def connect(node: Node) -> RedisConnection:
        connection = RedisConnection(*node, timeout=REDIS_SECONDS)
        try:
            if password:
                connection.authenticate(str(redis.get("user") or "default"), [password])
        except (OSError, RedisReplyError):
            connection.close()
            raise
        return connection

    return Queues([(str(row["host"]), int(row["port"])) for row in redis["nodes"]], connect)


def main() -> None:
    started = options(str(__doc__))
    config = json.loads(Path(started.config).read_text(encoding="utf-8"))
    watch = Watch(config, queues_from(config["redis"], os.environ.get("LARAVEL_REDIS_PASSWORD", "")))
    web = server(started.address, started.port, lambda: text(watch.families()), started.user, started.password)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    while True:
        begun = time.monotonic()
        watch.look()
        watch.read()
        time.sleep(max(0.1, POLL_SECONDS - (time.monotonic() - begun)))


if __name__ == "__main__":
    main()
