# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is: where it comes from, what it is called, which ones a host keeps, and when a host is done."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

KINDS = ("folder", "archive", "git")
SOURCE_KEYS = ("type", "location", "ref", "subdirectory")
STEP_KEYS = ("command", "directory", "environment")
ID_PATTERN = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
# Words that health answers use for a part that does not work.
ILL = frozenset({"fail", "failed", "failing", "down", "error", "unhealthy", "critical", "timeout", "unavailable"})
# A change of what a release holds for the same source has to give it another name: count this up then.
LAYOUT = 1
# Earliest time that a packed file may carry: 2020-01-01, and the span in seconds that follows.
EPOCH, SPAN = 1577836800, 4 * 365 * 86400


class ReleaseError(Exception):
    """A release can't be made or activated; the message names the thing, the value and the cure."""


@dataclass(frozen=True)
class Source:
    """Where a release comes from. C(subdirectory) is "" when the source's own root is the application."""

    kind: str
    location: str
    ref: str = "HEAD"
    subdirectory: str = ""


@dataclass(frozen=True)
class BuildStep:
    """A shell command of the build; C(directory) is relative to the application's own folder."""

    command: str
    directory: str = "."
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Entry:
    """One file or link of a source. C(digest) is the SHA-256 of the content in hex, or the target of a link."""

    path: str
    kind: str
    digest: str
    executable: bool = False


@dataclass(frozen=True)
class Desired:
    """The release a host should serve and the signature of everything its configuration is made from."""

    release: str
    signature: str


@dataclass(frozen=True)
class Actual:
    """What a host has: unpacked releases, the one that C(current) names ("" for none), the signature verified last for it."""

    releases: tuple[str, ...] = ()
    current: str = ""
    signature: str = ""


@dataclass(frozen=True)
class Plan:
    """What a host still has to do, in this order."""

    unpack: bool
    configure: bool
    switch: bool

    @property
    def done(self) -> bool:
        """Return whether the host already serves the release with this configuration."""
        return not (self.unpack or self.configure or self.switch)

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the names of the steps, in order."""
        return tuple(name for name in ("unpack", "configure", "switch") if getattr(self, name))


def _relative(what: str, value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise ReleaseError(f"{what} must be a path below the source's root, not: {value}")
    return "" if str(path) == "." else str(path)


def parse_source(data: Mapping[str, Any]) -> Source:
    """Return the source that C(data) (type, location, ref, subdirectory) describes.

    Raises ReleaseError naming the key when one is unknown, missing or out of range.
    """
    unknown = sorted(set(data) - set(SOURCE_KEYS))
    if unknown:
        raise ReleaseError(f"app_source has the unknown key {unknown[0]}; known are: {', '.join(SOURCE_KEYS)}")
    kind, location = str(data.get("type") or ""), str(data.get("location") or "")
    if kind not in KINDS:
        raise ReleaseError(f"app_source.type must be one of {', '.join(KINDS)}, not: {kind or 'nothing'}")
    if not location:
        raise ReleaseError(f"app_source.location is empty; name the {kind} that holds the application")
    ref = str(data.get("ref") or "HEAD")
    for name, value in (("location", location), ("ref", ref)):
        if value.startswith("-"):
            raise ReleaseError(f"app_source.{name} must not start with a dash: {value}")
    return Source(kind, location, ref, _relative("app_source.subdirectory", str(data.get("subdirectory") or "")))


def parse_steps(data: Iterable[str | Mapping[str, Any]]) -> tuple[BuildStep, ...]:
    """Return the build steps of C(data): commands as text, or rows of command, directory and environment."""
    steps = []
    for number, row in enumerate(data, 1):
        if isinstance(row, str):
            steps.append(BuildStep(row))
            continue
        if not isinstance(row, Mapping) or set(row) - set(STEP_KEYS) or not row.get("command"):
            raise ReleaseError(
                f"app_build_steps, step {number}: expected a command or a row of {', '.join(STEP_KEYS)}, not: {row!r}"
            )
        environment = tuple(sorted((str(key), str(value)) for key, value in (row.get("environment") or {}).items()))
        steps.append(BuildStep(str(row["command"]), str(row.get("directory") or "."), environment))
    return tuple(steps)


def excluded(path: str, patterns: Sequence[str]) -> bool:
    """Return whether C(path) (relative to the application) is left out of a release.

    A pattern with a slash is matched from the application's root, one without matches any name on the way; both
    cover everything below what they match.
    """
    parts = PurePosixPath(path).parts
    ancestors = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    for pattern in patterns:
        rooted = pattern.strip("/")
        if "/" in pattern:
            if any(fnmatchcase(ancestor, rooted) for ancestor in ancestors):
                return True
        elif any(fnmatchcase(part, rooted) for part in parts):
            return True
    return False


def rebased(patterns: Sequence[str], subdirectory: str) -> tuple[str, ...]:
    """Return C(patterns), which are about the application, for a source that holds it in C(subdirectory)."""
    if not subdirectory:
        return tuple(patterns)
    return tuple(f"/{subdirectory}/{pattern.strip('/')}" if "/" in pattern else pattern for pattern in patterns)


def recipe(source: Source, steps: Sequence[BuildStep], exclude: Sequence[str]) -> str:
    """Return a text that differs when the same files would become another release."""
    rows = [[step.command, step.directory, list(step.environment)] for step in steps]
    return json.dumps([LAYOUT, source.subdirectory, rows, list(exclude)])


def content_id(entries: Iterable[Entry], recipe_text: str) -> str:
    """Return the name of the release made of C(entries): 12 hex digits, the same on every machine."""
    digest = hashlib.sha256(recipe_text.encode())
    for entry in sorted(entries, key=lambda item: item.path):
        row = [entry.path, entry.kind, entry.digest, entry.executable]
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()[:12]


def commit_id(commit: str, recipe_text: str) -> str:
    """Return the name of the release made of a git commit: its first 8 digits, then 8 that stand for the recipe."""
    return f"{commit[:8]}-{hashlib.sha256(f'{commit} {recipe_text}'.encode()).hexdigest()[:8]}"


def check_id(release: str) -> str:
    """Return C(release) when it can be the name of a folder, else raise ReleaseError."""
    if not ID_PATTERN.fullmatch(release):
        raise ReleaseError(f"the release's name must be letters, digits, dots, dashes and underscores, not: {release!r}")
    return release


def packed_time(digest: str) -> int:
    """Return the modification time that a packed file gets: a function of its content.

    nginx makes an ETag of time and size; so it stays the same on every host and over releases, and changes with the
    content also where the size doesn't.
    """
    return EPOCH + int(hashlib.sha256(digest.encode()).hexdigest()[:12], 16) % SPAN


def choose_commit(ref: str, advertised: Mapping[str, str]) -> str | None:
    """Return the commit that C(ref) means among C(advertised) (full ref name → object), as git would choose, or None."""
    if re.fullmatch(r"[0-9a-f]{40}", ref):
        return ref
    for name in (ref, f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}"):
        if name in advertised:
            return advertised.get(f"{name}^{{}}", advertised[name])
    return None


def missing_parts(present: Iterable[str]) -> list[str]:
    """Return what C(present) (paths of a release) lacks to be a Laravel application."""
    have = set(present)
    missing = [part for part in ("artisan", "bootstrap/app.php", "public/index.php") if part not in have]
    if not have & {"vendor/autoload.php", "bootstrap/autoload.php"}:
        missing.append("vendor/autoload.php")
    return missing


def signature(*parts: str) -> str:
    """Return one digest for all that a release's configuration is made from."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def plan(desired: Desired, actual: Actual) -> Plan:
    """Return what a host has to do to get from C(actual) to C(desired)."""
    switch = actual.current != desired.release
    return Plan(
        unpack=desired.release not in actual.releases,
        configure=switch or actual.signature != desired.signature,
        switch=switch,
    )


def expired(releases: Sequence[str], keep: int, needed: Iterable[str]) -> list[str]:
    """Return which of C(releases) (oldest first) go when C(keep) stay; those C(needed) always stay and count."""
    protected = set(needed)
    candidates = [name for name in releases if name not in protected]
    spare = max(0, keep - len(protected & set(releases)))
    return candidates[: max(0, len(candidates) - spare)]


def failing_parts(body: str) -> list[str]:
    """Return what a deep health answer (JSON) calls ill, as "name: reason"; empty when the answer doesn't say.

    Understands the usual shapes: {"checks": {"cache": "fail"}}, {"cache": {"status": "down", "message": "…"}},
    {"cache": {"ok": false, "error": "…"}}.
    """
    try:
        data = json.loads(body)
    except ValueError:
        return []
    if not isinstance(data, dict):
        return []
    for wrapper in ("checks", "components", "services", "details"):
        if isinstance(data.get(wrapper), dict):
            data = data[wrapper]
            break
    found = []
    for name, value in data.items():
        state, reason = value, ""
        if isinstance(value, dict):
            reason = str(value.get("message") or value.get("error") or value.get("reason") or "")
            state = value.get("status", value.get("state", value.get("ok", value.get("healthy", True))))
        if name in {"status", "ok", "healthy"} and len(data) > 1:
            continue
        if state is False or (isinstance(state, str) and state.lower() in ILL):
            found.append(f"{name}: {reason or (state if isinstance(state, str) else 'not ok')}")
    return found


def explain(url: str, seconds: int, status: int | None, body: str, wanted: int) -> str:
    """Return the sentence for a health check that kept failing for C(seconds)."""
    got = "did not answer" if status is None else f"answered {status} instead of {wanted}"
    parts = failing_parts(body)
    reason = f"; failing: {', '.join(parts)}" if parts else (f": {' '.join(body.split())[:400]}" if body.strip() else "")
    return f"{url} {got} for {seconds} s{reason}"


@dataclass(frozen=True)
class OpcacheState:
    """Shares (0 to 1) of what OPcache has left: memory, keys, interned strings."""

    memory: float
    keys: float
    strings: float


def opcache_state(status: Mapping[str, Any]) -> OpcacheState | None:
    """Return the shares free in C(status) (PHP's opcache_get_status(false)), or None when OPcache is off."""
    memory, statistics = status.get("memory_usage"), status.get("opcache_statistics")
    if not isinstance(memory, dict) or not isinstance(statistics, dict):
        return None
    total = memory["used_memory"] + memory["free_memory"] + memory["wasted_memory"]
    strings = status.get("interned_strings_usage") or {}
    return OpcacheState(
        memory=memory["free_memory"] / total if total else 0.0,
        keys=1 - statistics["num_cached_keys"] / statistics["max_cached_keys"] if statistics["max_cached_keys"] else 0.0,
        strings=strings["free_memory"] / strings["buffer_size"] if strings.get("buffer_size") else 1.0,
    )


def opcache_needs_room(state: OpcacheState | None) -> bool:
    """Return whether the next release would find too little room in OPcache: less than 40 % of memory or keys, 10 % of strings.

    OPcache never drops the scripts of an earlier release by itself; a graceful reload does.
    """
    return state is not None and (state.memory < 0.4 or state.keys < 0.4 or state.strings < 0.1)
