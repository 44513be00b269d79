# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queue workers as rows: what each of supervisor's programs runs, how many of it, and how long it may take to stop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

# What one row may say about the worker's process, with Laravel's option, its default and the range that makes sense.
# A day is long for a job; whoever needs more splits it.
DAY = 86400
NUMBERS: dict[str, tuple[int, int, int]] = {
    "tries": (3, 0, 1000),
    "timeout": (60, 1, DAY),
    "memory": (128, 16, 65536),
    "sleep": (1, 0, 3600),
    "max_jobs": (1000, 0, 10_000_000),
    "max_time": (3600, 0, 30 * DAY),
}
KEYS = ("name", "queues", "processes", *NUMBERS, "backoff")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}\Z")
QUEUE = re.compile(r"[A-Za-z0-9_.:-]{1,100}\Z")


class WorkerError(ValueError):
    """The rows can't become programs; the message names the row, the value and the cure."""


@dataclass(frozen=True)
class Program:
    """One of supervisor's programs.

    C(queues) are the names under which Redis stores them, most urgent first. C(options) follow C(artisan queue:work
    <connection>). C(stop_seconds) is how long supervisor waits for the running job before it kills the process.
    """

    name: str
    queues: tuple[str, ...]
    processes: int
    options: tuple[str, ...]
    timeout: int
    stop_seconds: int


def programs(
    rows: Sequence[Mapping[str, Any]],
    processes: int,
    retry_after: int,
    stop_margin: int = 15,
    hash_tags: bool = True,
) -> list[Program]:
    """The programs that C(rows) ask for, in their order.

    Rows without C(processes) share C(processes) evenly, the first ones get what is left over, and each at least one.
    With C(hash_tags), a queue C(payments) is stored as C({payments}): Laravel before 13 moves a job between several
    keys of a queue in one script, and Redis Cluster demands that those lie on one shard.

    Raises WorkerError for a row that supervisor or Laravel would misunderstand, and for a timeout that isn't below
    C(retry_after): Redis would hand the job to a second worker while the first still runs it.
    """
    if not rows:
        raise WorkerError("queue_workers_programs is empty; name at least one program, or set queue_workers_enabled: false")
    for row in rows:
        _check_keys(row)
    names = [_name(row) for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise WorkerError(f"two worker programs are called {name}; give each its own name")
    open_rows = [name for name, row in zip(names, rows, strict=True) if row.get("processes") is None]
    shares = _share(open_rows, processes)
    return [
        _program(
            name, row, shares.get(name), retry_after=retry_after, stop_margin=stop_margin, hash_tags=hash_tags
        )
        for name, row in zip(names, rows, strict=True)
    ]


def _check_keys(row: object) -> None:
    if not isinstance(row, Mapping):
        raise WorkerError(f"a worker program must be a dictionary with name and queues, not: {row!r}")
    for key in row:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(KEYS)}"
            raise WorkerError(f"worker program {row.get('name', '?')} has the unknown key {key} ({hint})")


def _name(row: Mapping[str, Any]) -> str:
    name = row.get("name")
    if not isinstance(name, str) or not NAME.match(name):
        raise WorkerError(f"a worker program is called {name!r}; use letters, digits, - and _, starting with a letter or digit")
    return name


def _share(names: Sequence[str], processes: int) -> dict[str, int]:
    if not names:
        return {}
    each, left = divmod(processes, len(names))
    return {name: max(1, each + (place < left)) for place, name in enumerate(names)}


def _program(
    name: str, row: Mapping[str, Any], share: int | None, *, retry_after: int, stop_margin: int, hash_tags: bool
) -> Program:
    queues = tuple(_stored(queue, hash_tags) for queue in _queues(name, row.get("queues")))
    numbers = {key: _whole(name, key, row.get(key), limits) for key, limits in NUMBERS.items()}
    timeout = numbers["timeout"]
    if timeout >= retry_after:
        raise WorkerError(
            f"worker program {name} lets a job run {timeout} s, but Redis hands it to a second worker after {retry_after} s; "
            f"lower its timeout below {retry_after}, or raise app_queue_retry_seconds"
        )
    return Program(
        name=name,
        queues=queues,
        processes=share if share is not None else _whole(name, "processes", row["processes"], (1, 1, 1000)),
        options=(
            f"--queue={','.join(queues)}",
            *(f"--{key.replace('_', '-')}={value}" for key, value in numbers.items()),
            f"--backoff={_backoff(name, row.get('backoff'))}",
        ),
        timeout=timeout,
        stop_seconds=timeout + stop_margin,
    )


def _queues(name: str, queues: object) -> list[str]:
    if isinstance(queues, str) or not isinstance(queues, Sequence) or not queues:
        raise WorkerError(f"worker program {name} needs a list of queues, most urgent first, not: {queues!r}")
    for queue in queues:
        if not isinstance(queue, str) or not QUEUE.match(queue):
            raise WorkerError(f"worker program {name} has the queue {queue!r}; a queue's name has letters, digits and _ . : - only")
        if queues.count(queue) > 1:
            raise WorkerError(f"worker program {name} has the queue {queue} twice; keep one")
    return list(queues)


def _stored(queue: str, hash_tags: bool) -> str:
    return f"{{{queue}}}" if hash_tags else queue


def _whole(name: str, key: str, value: object, limits: tuple[int, int, int]) -> int:
    default, least, most = limits
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise WorkerError(f"worker program {name} has {key}: {value!r}; it must be a whole number from {least} to {most}")
    return value


def _backoff(name: str, value: object) -> str:
    """Laravel takes one number of seconds, or one for each repetition."""
    if value is None:
        return "3"
    steps = value if isinstance(value, list) else [value]
    return ",".join(str(_whole(name, "backoff", step, (3, 0, DAY))) for step in steps)
