# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on one host: what is there, and each step from there to the release that is wanted."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol

from . import release_ledger
from .fastcgi import Answer, FastcgiError, ask
from .release import Actual, ReleaseError, check_id, expired, explain, opcache_needs_room, opcache_state, signature

# What `php artisan migrate --isolated=75` ends with when another host holds the lock (EX_TEMPFAIL of sysexits.h).
LOCKED = 75
# Seconds that a migration waits for another host's.
MIGRATION_PATIENCE = 300
STORAGE = ("app/public", "framework/cache/data", "framework/sessions", "framework/testing", "framework/views", "logs")
MARKER, RELOAD_MARKER = ".verified", ".reload-before-use"
# What the host remembers of releases, also of those that it removed.
LEDGER = "releases.json"
REMEMBERED = 50


class Run(Protocol):
    """Run a command; returns its exit code, output and errors."""

    def __call__(self, command: Sequence[str], *, user: str = "", directory: str = "/") -> tuple[int, str, str]: ...


class Clock(Protocol):
    """Time, as far as waiting needs it."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class Layout:
    """Where things are below C(root), and who runs the application."""

    root: Path
    user: str
    php: str

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    @property
    def current(self) -> Path:
        return self.root / "current"

    def release(self, name: str) -> Path:
        return self.releases / check_id(name)


@dataclass(frozen=True)
class Check:
    """A page of the application and the status that it has to answer."""

    path: str
    status: int = 200


def read_text(path: Path) -> str:
    """Return what is in C(path), "" when there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def look(layout: Layout) -> Actual:
    """Return what the host has, releases in the order in which they arrived."""
    found = layout.releases.iterdir() if layout.releases.is_dir() else ()
    folders = [path for path in found if path.is_dir() and not path.name.startswith(".")]
    folders.sort(key=lambda path: (path.stat().st_mtime, path.name))
    current = os.path.basename(os.readlink(layout.current)) if layout.current.is_symlink() else ""
    if current not in {path.name for path in folders}:
        current = ""
    return Actual(
        releases=tuple(path.name for path in folders),
        current=current,
        signature=read_text(layout.release(current) / MARKER).strip() if current else "",
    )


def stamp(seconds: float) -> str:
    """Return a moment in ISO 8601, UTC; such texts sort by time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def verdicts(layout: Layout) -> dict[str, release_ledger.Verdict]:
    """Return what the host remembers of releases. One that was in service before it kept a ledger counts as verified then."""
    found = {}
    for name in look(layout).releases:
        marker = layout.release(name) / MARKER
        if marker.exists():
            found[name] = release_ledger.Verdict("verified", stamp(marker.stat().st_mtime))
    return found | release_ledger.parse(read_text(layout.shared / LEDGER))


def seen(layout: Layout) -> release_ledger.Seen:
    """Return what a decision about the next release needs to know of this host."""
    actual = look(layout)
    return release_ledger.Seen(actual.current, actual.releases, verdicts(layout))


def remember(layout: Layout, release: str, state: str, why: str, now: float) -> bool:
    """Keep a verdict on a release. Returns whether it is news."""
    known = verdicts(layout)
    before = known.get(check_id(release))
    if before and state != "verified" and (before.state, before.why) == (state, why):
        return False
    known[release] = release_ledger.Verdict(state, stamp(now), why)
    newest = sorted(known.items(), key=lambda item: item[1].at)[-REMEMBERED:]
    fresh = layout.shared / f".{LEDGER}.new"
    fresh.write_text(release_ledger.text(dict(newest)), encoding="utf-8")
    fresh.rename(layout.shared / LEDGER)
    return True


def _replace_by_link(path: Path, target: str) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def unpack(layout: Layout, release: str, archive: Path) -> None:
    """Unpack C(archive) as a release. The folder appears complete or not at all."""
    target = layout.release(release)
    partial = layout.releases / f".{release}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o755)
    with tarfile.open(archive) as packed:
        packed.extractall(partial, filter="tar")
    _replace_by_link(partial / "storage", "../../shared/storage")
    _replace_by_link(partial / ".env", "../../shared/.env")
    _replace_by_link(partial / "public" / "storage", "../../../shared/storage/app/public")
    cache = partial / "bootstrap" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "views").mkdir(exist_ok=True)
    account = pwd.getpwnam(layout.user)
    for path in (cache, *cache.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    partial.chmod(0o755)
    os.utime(partial)
    partial.rename(target)


def make_storage(layout: Layout) -> bool:
    """Make the folders that Laravel expects in its storage. Returns whether any was missing."""
    account = pwd.getpwnam(layout.user)
    made = False
    for name in STORAGE:
        path = layout.shared / "storage"
        for part in Path(name).parts:
            path = path / part
            if not path.is_dir():
                path.mkdir(mode=0o750)
                os.chown(path, account.pw_uid, account.pw_gid)
                # The web server reads what the application publishes; nobody else reads the rest.
                path.chmod(0o751 if part in {"app"} else 0o755 if part == "public" else 0o750)
                made = True
    return made


@dataclass(frozen=True)
class Recipe:
    """What a release's caches are made with: a PHP program, the values it lays over, and further artisan commands."""

    program: Path
    values: Path
    warm: tuple[str, ...] = ()


def configuration_signature(layout: Layout, recipe: Recipe) -> str:
    """Return the signature of all that a release's configuration cache is made from."""
    return signature(read_text(layout.shared / ".env"), read_text(recipe.values), read_text(recipe.program), *recipe.warm)


def configure(layout: Layout, release: str, recipe: Recipe, run: Run) -> None:
    """Build the release's configuration cache and the caches that the recipe's artisan commands make.

    Raises ReleaseError with what PHP said; the cache in use then stays as it was.
    """
    folder = layout.release(release)
    cached = folder / "bootstrap" / "cache" / "config.php"
    used = cached.exists()
    command = [layout.php, "-d", "opcache.enable_cli=0", str(recipe.program), str(folder), str(recipe.values), str(cached)]
    code, output, errors = run(command, user=layout.user, directory=str(folder))
    if code:
        raise ReleaseError(f"the configuration of release {release} could not be built: {(errors or output).strip()[-1500:]}")
    if used:
        (folder / RELOAD_MARKER).touch()
    for warm in recipe.warm:
        artisan(layout, release, warm, run)


def artisan(layout: Layout, release: str, command: str, run: Run) -> tuple[int, str]:
    """Run an artisan command of a release as the application's user. Returns its exit code (0 or LOCKED) and output."""
    folder = layout.release(release)
    arguments = [layout.php, "artisan", *shlex.split(command), "--no-interaction", "--no-ansi"]
    code, output, errors = run(arguments, user=layout.user, directory=str(folder))
    if code not in (0, LOCKED):
        raise ReleaseError(f"php artisan {command} of release {release} ended with {code}: {(output + errors).strip()[-1500:]}")
    return code, output


def migrate(layout: Layout, release: str, commands: Sequence[str], run: Run, clock: Clock) -> bool:
    """Run the migrations of a release; waits while another host does. Returns whether any of them changed the database."""
    changed = False
    deadline = clock.monotonic() + MIGRATION_PATIENCE
    for command in commands:
        code, output = artisan(layout, release, command, run)
        while code == LOCKED:
            if clock.monotonic() > deadline:
                raise ReleaseError(
                    f"php artisan {command}: another host has been migrating for {MIGRATION_PATIENCE} s; if none is, an interrupted"
                    " run left its lock behind in the cache: it expires after an hour, or run cache:clear"
                )
            clock.sleep(2)
            code, output = artisan(layout, release, command, run)
        changed = changed or "Nothing to migrate" not in output
    return changed


def point_current(layout: Layout, release: str) -> None:
    """Make C(current) name C(release) ("" removes it), in one atomic step."""
    if not release:
        layout.current.unlink(missing_ok=True)
        return
    fresh = layout.root / ".current.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(f"releases/{release}")
    fresh.rename(layout.current)


def children_of(parent: int, proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the process ids of the children of C(parent)."""
    found = set()
    for status in proc.glob("[0-9]*/stat"):
        try:
            # The name in parentheses may hold anything; the parent is the second field after it (proc_pid_stat(5)).
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if len(fields) > 1 and int(fields[1]) == parent:
            found.add(int(status.parent.name))
    return frozenset(found)


def reload_unit(unit: str, run: Run, clock: Clock, patience: int = 150, proc: Path = Path("/proc")) -> None:
    """Reload a systemd unit and wait until the processes it had are gone: they would answer with what they loaded before.

    PHP-FPM's old processes end with their last request, at the latest after its process_control_timeout.
    """
    main = run(["/usr/bin/systemctl", "show", "--property", "MainPID", "--value", unit])[1].strip()
    before = children_of(int(main), proc) if main not in ("", "0") else frozenset()
    code, output, errors = run(["/usr/bin/systemctl", "reload", unit])
    if code:
        raise ReleaseError(f"{unit} could not be reloaded: {(output + errors).strip()}")
    deadline = clock.monotonic() + patience
    while any((proc / str(child)).exists() for child in before):
        if clock.monotonic() >= deadline:
            raise ReleaseError(f"{unit} still has processes from before its reload after {patience} s; see its log")
        clock.sleep(0.05)


def prune(layout: Layout, keep: int, needed: Iterable[str]) -> list[str]:
    """Remove releases that are no longer kept, and what an interrupted run left. Returns their names."""
    for leftover in layout.releases.glob(".*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    names = expired(look(layout).releases, keep, needed)
    for name in names:
        shutil.rmtree(layout.release(name))
    return names


def mark(layout: Layout, release: str, text: str) -> None:
    """Note on the host that C(release) serves with the configuration of this signature."""
    fresh = layout.release(release) / f"{MARKER}.new"
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.rename(layout.release(release) / MARKER)


# -- asking the application -------------------------------------------------------------------------------------------


class Probe:
    """Asks the application on this host, over FastCGI or HTTP, and waits a bounded time for the right answer."""

    def __init__(self, domain: str, server: str, clock: Clock, timeout: int = 15) -> None:
        self.domain, self.server, self.clock, self.timeout = domain, server, clock, timeout

    def script(self, address: str, script: Path, path: str = "/", release: str = "") -> Answer:
        """Return what C(script) answers to a request for C(path), asked over the FastCGI socket C(address)."""
        parameters = {
            "SCRIPT_FILENAME": str(script), "DOCUMENT_ROOT": str(script.parent), "SCRIPT_NAME": f"/{script.name}",
            "REQUEST_METHOD": "GET", "REQUEST_URI": path, "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1",
            "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "graphic_school", "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_SCHEME": "https", "HTTPS": "on", "SERVER_NAME": self.domain, "SERVER_PORT": "443",
            "HTTP_HOST": self.domain, "HTTP_ACCEPT": "application/json", "FLEET_SERVER": self.server, "FLEET_RELEASE": release,
        }
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self.timeout)
            connection.connect(address)
            return ask(connection, parameters)

    def page(self, port: int, path: str) -> tuple[int, Mapping[str, str], str]:
        """Return status, headers and body of a page, asked of the web server of this host."""
        connection = HTTPConnection("127.0.0.1", port, timeout=self.timeout)
        try:
            headers = {"Host": self.domain, "X-Forwarded-Proto": "https", "Accept": "application/json", "Connection": "close"}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read(65536).decode(errors="replace")
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body
        finally:
            connection.close()

    def wait(self, what: str, wanted: int, patience: int, question: Callable[[], tuple[int, str]]) -> None:
        """Ask until C(question) returns the status C(wanted). Raises ReleaseError, saying what is ill, after C(patience) seconds."""
        deadline = self.clock.monotonic() + patience
        while True:
            status: int | None = None
            try:
                status, body = question()
            except (OSError, FastcgiError, HTTPException) as error:
                body = str(error)
            if status == wanted:
                return
            if self.clock.monotonic() >= deadline:
                raise ReleaseError(explain(what, patience, status, body, wanted))
            self.clock.sleep(0.5)

    def through_fpm(self, layout: Layout, release: str, address: str, checks: Sequence[Check], patience: int) -> None:
        """Wait until C(release), not yet current, answers each check over FastCGI; that also fills OPcache with it."""
        script = layout.release(release) / "public" / "index.php"
        for check in checks:
            def question(check: Check = check) -> tuple[int, str]:
                answer = self.script(address, script, check.path, release)
                # A page that died has no body; what PHP said about it comes beside it.
                return answer.status, answer.body or answer.errors

            self.wait(f"release {release} on {self.server}, asked for {check.path} through {address},", check.status, patience, question)

    def through_web_server(self, port: int, release: str, checks: Sequence[Check], patience: int) -> None:
        """Wait until the web server of this host answers each check from C(release)."""
        for check in checks:
            def question(check: Check = check) -> tuple[int, str]:
                status, headers, body = self.page(port, check.path)
                served = headers.get("x-release", release)
                return (status, body) if served == release else (0, f"the answer came from release {served}, not {release}")

            self.wait(f"http://127.0.0.1:{port}{check.path} on {self.server}", check.status, patience, question)

    def opcache_is_full(self, address: str, script: Path) -> bool:
        """Return whether OPcache has too little room for another release; True also when it can't be asked."""
        try:
            status = json.loads(self.script(address, script).body)
        except (OSError, FastcgiError, ValueError):
            return True
        return opcache_needs_room(opcache_state(status)) if isinstance(status, dict) else False
