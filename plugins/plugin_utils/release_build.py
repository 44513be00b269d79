# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a source into one packed release, on the control node: look, name, and only when the name is new: build and pack.

Everything here works on files of the control node. C(run) is passed in, so that tests see what would be started.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..module_utils.release import (
    BuildStep,
    Entry,
    ReleaseError,
    Source,
    check_id,
    choose_commit,
    commit_id,
    content_id,
    excluded,
    missing_parts,
    packed_time,
    rebased,
    recipe,
)

# What comes out of an archive that is damaged, encrypted, in another format, or leads out of its folder.
UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Wish:
    """All that decides what a release holds."""

    source: Source
    steps: tuple[BuildStep, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        return recipe(self.source, self.steps, self.exclude)


@dataclass(frozen=True)
class Found:
    """A named release before it is built; C(commit) is set for git sources."""

    release: str
    commit: str = ""


def execute(command: Sequence[str], directory: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return what C(command) prints. Raises ReleaseError with the last lines of its output when it fails."""
    merged = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
    try:
        done = subprocess.run(
            list(command), cwd=directory, env=merged, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", check=False,
        )
    except FileNotFoundError as error:
        raise ReleaseError(f"{command[0]} is not installed on the control node; install it, or use another app_source.type") from error
    if done.returncode:
        output = "\n".join((done.stdout + "\n" + done.stderr).strip().splitlines()[-20:])
        raise ReleaseError(f"{' '.join(command)} ended with {done.returncode}:\n{output}")
    return done.stdout


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def entries_of(root: Path, exclude: Sequence[str]) -> Iterator[Entry]:
    """Yield what below C(root) belongs to a release. Raises ReleaseError for a link that leads out of it."""
    base = os.fspath(root)
    for folder, names, files in os.walk(base):
        inside = os.path.relpath(folder, base)
        prefix = "" if inside == "." else f"{inside}/"
        linked = [name for name in names if (Path(folder) / name).is_symlink()]
        names[:] = sorted(name for name in names if name not in linked and not excluded(prefix + name, exclude))
        for name in sorted([*files, *linked]):
            relative = prefix + name
            if excluded(relative, exclude):
                continue
            path = Path(folder) / name
            state = path.lstat()
            if stat.S_ISLNK(state.st_mode):
                target = os.readlink(path)
                _refuse_escape(relative, target)
                yield Entry(relative, "link", target)
            elif stat.S_ISREG(state.st_mode):
                yield Entry(relative, "file", digest_of(path), bool(state.st_mode & 0o111))


def _refuse_escape(path: str, target: str) -> None:
    depth = len(PurePosixPath(path).parts) - 1
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if part == "/" or depth < 0:
            raise ReleaseError(f"the link {path} leads out of the release, to {target}; make it relative and inside, or exclude it")


def unpack_zip(location: Path, target: Path) -> None:
    """Unpack a zip with its links and executable files, which zipfile alone would lose. Raises ReleaseError for what leads out of it."""
    links: list[tuple[str, str]] = []
    with zipfile.ZipFile(location) as packed:
        for member in packed.infolist():
            inside = PurePosixPath(member.filename)
            if inside.is_absolute() or ".." in inside.parts:
                raise ReleaseError(f"app_source.location: {location} holds the path {member.filename}, which leads out of it")
            mode = member.external_attr >> 16
            if stat.S_ISLNK(mode):
                links.append((inside.as_posix(), packed.read(member).decode()))
                continue
            path = Path(packed.extract(member, target))
            if path.is_file() and mode & 0o111:
                path.chmod(0o755)
    # Last, so that nothing is written through one of them.
    for name, leads_to in links:
        _refuse_escape(name, leads_to)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(leads_to)


def pack(root: Path, exclude: Sequence[str], target: Path) -> int:
    """Write what belongs to the release below C(root) to C(target), a tar.gz that depends on nothing but the content.

    Returns the number of entries. C(target) appears complete or not at all.
    """
    entries = sorted(entries_of(root, exclude), key=lambda item: item.path)
    missing = missing_parts(entry.path for entry in entries)
    if missing:
        cure = "; add a build step such as: composer install --no-dev" if missing == ["vendor/autoload.php"] else (
            "; check app_source.location and app_source.subdirectory"
        )
        raise ReleaseError(f"the built source has no {', '.join(missing)}{cure}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
            _write_tar(root, entries, zipped)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return len(entries)


def _write_tar(root: Path, entries: Sequence[Entry], stream: gzip.GzipFile) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.path)
            member.uname = member.gname = "root"
            member.mtime = packed_time(entry.digest)
            if entry.kind == "link":
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.digest, 0o777
                archive.addfile(member)
                continue
            path = root / entry.path
            member.mode, member.size = (0o755 if entry.executable else 0o644), path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(member, content)
            if digest_of(path) != entry.digest:
                raise ReleaseError(f"{path} changed while it was packed; run again")


class Builder:
    """Names and builds releases, keeping packed ones (and mirrors of git repositories) in one folder."""

    def __init__(self, cache: Path, keep: int = 10) -> None:
        self.cache, self.keep = cache, keep

    def archive(self, release: str) -> Path:
        """Return where the packed release is, or would be."""
        return self.cache / f"{check_id(release)}.tar.gz"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one build at a time use the cache."""
        self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.cache / ".lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    # -- naming ---------------------------------------------------------------------------------------------------------

    def find(self, wish: Wish) -> Found:
        """Return the name of the release that C(wish) describes. Reads the source, builds nothing."""
        source = wish.source
        if source.kind == "git":
            commit = self._commit(source)
            return Found(commit_id(commit, wish.recipe), commit)
        location = Path(source.location).expanduser()
        if source.kind == "archive":
            if not location.is_file():
                raise ReleaseError(f"app_source.location: there is no file {location}")
            return Found(content_id([Entry("", "archive", digest_of(location))], wish.recipe))
        if not location.is_dir():
            raise ReleaseError(f"app_source.location: there is no folder {location}")
        # Build steps may read what lies beside the application, so then everything counts.
        if wish.steps:
            return Found(content_id(entries_of(location, rebased(wish.exclude, source.subdirectory)), wish.recipe))
        return Found(content_id(entries_of(self._application(location, source.subdirectory), wish.exclude), wish.recipe))

    @staticmethod
    def _application(root: Path, subdirectory: str) -> Path:
        folder = root / subdirectory
        if not folder.is_dir():
            raise ReleaseError(f"app_source.subdirectory: the source has no folder {subdirectory}")
        return folder

    # -- building -------------------------------------------------------------------------------------------------------

    def build(self, wish: Wish, found: Found) -> tuple[Path, bool]:
        """Return the packed release and whether it had to be built now."""
        target = self.archive(found.release)
        with self.lock():
            if target.is_file():
                os.utime(target)
                return target, False
            if wish.source.kind == "folder" and not wish.steps:
                pack(self._application(Path(wish.source.location).expanduser(), wish.source.subdirectory), wish.exclude, target)
            else:
                with tempfile.TemporaryDirectory(prefix=".build-", dir=self.cache) as scratch:
                    root = self._copy(wish, found, Path(scratch, "source"))
                    application = self._application(root, wish.source.subdirectory)
                    for step in wish.steps:
                        self._run_step(step, application)
                    pack(application, wish.exclude, target)
            self._forget_old(target)
        return target, True

    @staticmethod
    def _run_step(step: BuildStep, application: Path) -> None:
        directory = application / step.directory
        if not directory.is_dir():
            raise ReleaseError(f"build step {step.command!r}: the source has no folder {step.directory}")
        try:
            execute(["/bin/sh", "-ec", step.command], directory, dict(step.environment))
        except ReleaseError as error:
            raise ReleaseError(f"build step failed: {error}") from error

    def _forget_old(self, current: Path) -> None:
        archives = sorted(self.cache.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in archives[self.keep:]:
            if path != current:
                path.unlink()

    def _copy(self, wish: Wish, found: Found, scratch: Path) -> Path:
        """Return the root of a private copy of the source."""
        source = wish.source
        if source.kind == "git":
            scratch.mkdir()
            packed = scratch.with_name("source.tar")
            git_dir = os.fspath(self._mirror(source))
            execute(["git", "--git-dir", git_dir, "archive", "--format=tar", f"--output={packed}", found.commit])
            try:
                with tarfile.open(packed) as archive:
                    archive.extractall(scratch, filter="data")
            except tarfile.FilterError as error:
                raise ReleaseError(f"app_source: commit {found.commit} can't be unpacked: {error}") from error
            packed.unlink()
            return scratch
        location = Path(source.location).expanduser()
        if source.kind == "folder":
            shutil.copytree(location, scratch, symlinks=True, ignore=self._ignore(location, rebased(wish.exclude, source.subdirectory)))
            return scratch
        scratch.mkdir()
        try:
            if zipfile.is_zipfile(location):
                unpack_zip(location, scratch)
            else:
                with tarfile.open(location) as archive:
                    archive.extractall(scratch, filter="data")
        except UNREADABLE as error:
            # What the libraries say may be a list of all that they tried, and Ansible would show it as the cause.
            why = "it is damaged, or no archive" if isinstance(error, tarfile.ReadError) else str(error).partition("\n")[0]
            raise ReleaseError(f"app_source.location: {location} can't be unpacked: {why}") from None
        return self._root_of(scratch, source.subdirectory)

    @staticmethod
    def _ignore(root: Path, exclude: Sequence[str]) -> Callable[[str, list[str]], set[str]]:
        def ignore(folder: str, names: list[str]) -> set[str]:
            inside = Path(folder).relative_to(root)
            return {name for name in names if excluded((inside / name).as_posix(), exclude)}

        return ignore

    @staticmethod
    def _root_of(scratch: Path, subdirectory: str) -> Path:
        """Return C(scratch), or the one folder that everything in it lies in (as in a repository's own archives)."""
        names = list(scratch.iterdir())
        if len(names) == 1 and names[0].is_dir() and not (scratch / subdirectory / "artisan").exists():
            return names[0]
        return scratch

    # -- git ------------------------------------------------------------------------------------------------------------

    def _mirror(self, source: Source) -> Path:
        return self.cache / "git" / f"{hashlib.sha256(source.location.encode()).hexdigest()[:16]}.git"

    def _commit(self, source: Source) -> str:
        mirror = self._mirror(source)
        rows = [] if len(source.ref) == 40 and self._holds(mirror, source.ref) else self._advertised(source)
        advertised = {name: commit for commit, name in (row.split("\t", 1) for row in rows)}
        commit = choose_commit(source.ref, advertised)
        if commit and self._holds(mirror, commit):
            return commit
        self._fetch(source, mirror)
        try:
            wanted = f"{commit or source.ref}^{{commit}}"
            return execute(["git", "--git-dir", os.fspath(mirror), "rev-parse", "--verify", "--quiet", wanted]).strip()
        except ReleaseError:
            raise ReleaseError(f"app_source.ref: {source.location} has no branch, tag or commit {source.ref}") from None

    @staticmethod
    def _advertised(source: Source) -> list[str]:
        try:
            wanted = [source.ref, f"{source.ref}^{{}}"]
            return execute(["git", "ls-remote", "--", source.location, *wanted], environment={"LC_ALL": "C.UTF-8"}).splitlines()
        except ReleaseError as error:
            said = [line for line in str(error).splitlines() if line.startswith(("fatal:", "error:", "ERROR:"))]
            if not said:
                raise
            raise ReleaseError(f"app_source.location: git can't read {source.location}: {said[0]}") from None

    @staticmethod
    def _holds(mirror: Path, commit: str) -> bool:
        if not mirror.is_dir():
            return False
        done = subprocess.run(
            ["git", "--git-dir", os.fspath(mirror), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False
        )
        return done.returncode == 0

    def _fetch(self, source: Source, mirror: Path) -> None:
        with self.lock():
            if not mirror.is_dir():
                mirror.parent.mkdir(parents=True, exist_ok=True)
                execute(["git", "init", "--quiet", "--bare", os.fspath(mirror)])
            execute([
                "git", "--git-dir", os.fspath(mirror), "fetch", "--quiet", "--force", "--prune", "--", source.location,
                "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*",
            ])
