# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on a host's disk: each step on its own, interrupted or repeated."""

from __future__ import annotations

import getpass
import os
import socket
import struct
import tarfile
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plugins.module_utils.release import Actual, ReleaseError
from plugins.module_utils.release_host import (
    LOCKED,
    RELOAD_MARKER,
    Check,
    Layout,
    Probe,
    Recipe,
    children_of,
    configuration_signature,
    configure,
    look,
    make_storage,
    mark,
    migrate,
    point_current,
    prune,
    reload_unit,
    unpack,
)
from tests.unit.support.clock import Clock


class Runner:
    """Notes commands, and answers each with the next of C(answers), then with success."""

    def __init__(self, *answers: tuple[int, str, str], then: Callable[[Sequence[str]], None] = lambda _: None) -> None:
        self.answers, self.then, self.commands = list(answers), then, list[list[str]]()

    def __call__(self, command: Sequence[str], *, user: str = "", directory: str = "/") -> tuple[int, str, str]:
        self.commands.append(list(command))
        self.then(command)
        return self.answers.pop(0) if self.answers else (0, "", "")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "srv"
    for name in ("releases", "shared/storage"):
        (root / name).mkdir(parents=True)
    return Layout(root, getpass.getuser(), "php")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    source = tmp_path / "app"
    for name in ("artisan", "public/index.php", "bootstrap/app.php", "storage/logs/x.log"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    with tarfile.open(tmp_path / "app.tar.gz", "w:gz") as packed:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                packed.add(path, path.relative_to(source))
    return tmp_path / "app.tar.gz"


def test_an_empty_host_has_nothing(tmp_path: Path) -> None:
    assert look(Layout(tmp_path / "nowhere", "app", "php")) == Actual()


def test_a_release_unpacks_with_what_outlives_it_linked(layout: Layout, archive: Path) -> None:
    unpack(layout, "r1", archive)
    make_storage(layout)
    (layout.shared / ".env").write_text("A=1")
    release = layout.release("r1")
    assert (release / ".env").read_text() == "A=1"
    assert (release / "storage" / "framework" / "views").is_dir()
    assert (release / "public" / "storage").resolve() == (layout.shared / "storage/app/public").resolve()
    assert not (release / "storage" / "logs" / "x.log").exists(), "storage is shared, not the release's own"
    assert (release / "bootstrap" / "cache" / "views").is_dir()


def test_storage_is_made_once(layout: Layout) -> None:
    assert make_storage(layout)
    assert not make_storage(layout)


def test_a_broken_archive_leaves_no_release(layout: Layout, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises((EOFError, tarfile.TarError)):
        unpack(layout, "r1", archive)
    assert look(layout).releases == ()


def test_what_an_interrupted_run_left_is_unpacked_over(layout: Layout, archive: Path) -> None:
    (layout.releases / ".r1.partial" / "junk").mkdir(parents=True)
    unpack(layout, "r1", archive)
    assert not (layout.release("r1") / "junk").exists()


def test_current_is_switched_in_one_step(layout: Layout, archive: Path) -> None:
    for name in ("r1", "r2"):
        unpack(layout, name, archive)
        point_current(layout, name)
        mark(layout, name, f"signature of {name}")
    assert look(layout).current == "r2"
    assert look(layout).signature == "signature of r2"
    assert os.readlink(layout.current) == "releases/r2"
    point_current(layout, "")
    assert look(layout).current == ""


def test_a_current_that_leads_nowhere_counts_as_none(layout: Layout) -> None:
    layout.current.symlink_to("releases/gone")
    assert look(layout).current == ""


def test_old_releases_go_but_never_the_current_one(layout: Layout, archive: Path) -> None:
    for number in range(1, 6):
        unpack(layout, f"r{number}", archive)
        os.utime(layout.release(f"r{number}"), (number, number))
    (layout.releases / ".r9.partial").mkdir()
    assert prune(layout, 2, ["r1"]) == ["r2", "r3", "r4"]
    assert sorted(path.name for path in layout.releases.iterdir()) == ["r1", "r5"]


def test_a_configuration_that_cannot_be_built_says_why(layout: Layout, archive: Path) -> None:
    unpack(layout, "r1", archive)
    with pytest.raises(ReleaseError, match="the configuration of release r1 could not be built: no such class"):
        configure(layout, "r1", Recipe(Path("/b.php"), Path("/v.json")), Runner((1, "", "no such class\n")))


def test_a_replaced_configuration_asks_for_a_reload_and_a_new_one_does_not(layout: Layout, archive: Path) -> None:
    unpack(layout, "r1", archive)
    cached = layout.release("r1") / "bootstrap/cache/config.php"
    run = Runner(then=lambda command: cached.touch() if "/b.php" in command else None)
    recipe = Recipe(Path("/b.php"), Path("/v.json"), ("route:cache",))
    configure(layout, "r1", recipe, run)
    assert not (layout.release("r1") / RELOAD_MARKER).exists()
    configure(layout, "r1", recipe, run)
    assert (layout.release("r1") / RELOAD_MARKER).exists()
    assert run.commands[1][:3] == ["php", "artisan", "route:cache"]


def test_whatever_makes_the_configuration_changes_its_signature(layout: Layout, tmp_path: Path) -> None:
    program, values = tmp_path / "b.php", tmp_path / "v.json"
    seen = [configuration_signature(layout, Recipe(program, values))]
    for path in (program, values, layout.shared / ".env"):
        path.write_text("x")
        seen.append(configuration_signature(layout, Recipe(program, values)))
    seen.append(configuration_signature(layout, Recipe(program, values, ("route:cache",))))
    assert len(set(seen)) == 5


def test_a_migration_with_nothing_to_do_changes_nothing(layout: Layout) -> None:
    assert not migrate(layout, "r1", ["migrate"], Runner((0, "INFO  Nothing to migrate.", "")), Clock())
    assert migrate(layout, "r1", ["migrate"], Runner((0, "2026_01_01 .... DONE", "")), Clock())


def test_a_migration_waits_for_another_hosts(layout: Layout) -> None:
    run = Runner((LOCKED, "", ""), (LOCKED, "", ""), (0, "Nothing to migrate", ""))
    assert not migrate(layout, "r1", ["migrate --force"], run, Clock())
    assert len(run.commands) == 3


def test_a_migration_does_not_wait_for_ever(layout: Layout) -> None:
    class Busy(Runner):
        def __call__(self, command: Sequence[str], *, user: str = "", directory: str = "/") -> tuple[int, str, str]:
            return LOCKED, "", ""

    with pytest.raises(ReleaseError, match="another host has been migrating for 300 s"):
        migrate(layout, "r1", ["migrate"], Busy(), Clock())


def test_a_failed_migration_shows_its_output(layout: Layout) -> None:
    with pytest.raises(ReleaseError, match="php artisan migrate of release r1 ended with 1: SQLSTATE"):
        migrate(layout, "r1", ["migrate"], Runner((1, "SQLSTATE[HY000]", "")), Clock())


def proc_with(folder: Path, rows: dict[int, int]) -> Path:
    for child, parent in rows.items():
        (folder / str(child)).mkdir(parents=True)
        (folder / str(child) / "stat").write_text(f"{child} (php-fpm: (pool) x) S {parent} 1 1")
    return folder


def test_children_are_found_whatever_their_names_hold(tmp_path: Path) -> None:
    assert children_of(10, proc_with(tmp_path, {11: 10, 12: 10, 13: 11})) == {11, 12}


def test_a_reload_is_over_when_the_old_children_are_gone(tmp_path: Path) -> None:
    proc, clock = proc_with(tmp_path, {11: 10, 12: 10}), Clock()
    sleep = clock.sleep

    def end(seconds: float, /) -> None:
        sleep(seconds)
        if clock.now > 1:
            for path in proc.iterdir():
                path.rename(proc.parent / f"gone-{path.name}")

    clock.sleep = end  # type: ignore[method-assign]
    proc_only = proc
    reload_unit("php.service", Runner((0, "10\n", ""), (0, "", "")), clock, proc=proc_only)
    assert 1 < clock.now < 2


def test_a_reload_that_never_ends_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"php\.service still has processes from before its reload after 5 s"):
        reload_unit("php.service", Runner((0, "10\n", "")), Clock(), 5, proc_with(tmp_path, {11: 10}))


def test_a_unit_that_cannot_reload_is_named() -> None:
    with pytest.raises(ReleaseError, match=r"php.service could not be reloaded: inactive"):
        reload_unit("php.service", Runner((0, "0\n", ""), (1, "", "inactive")), Clock())


class Pages(BaseHTTPRequestHandler):
    answers: list[tuple[int, str, str]]

    def do_GET(self) -> None:
        status, release, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(status)
        self.send_header("X-Release", release)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def port() -> object:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_may_need_a_moment(port: int) -> None:
    Pages.answers = [(502, "r1", ""), (200, "r0", "the old one"), (200, "r1", "fine")]
    clock = Clock()
    Probe("school.example.com", "app1", clock).through_web_server(port, "r1", [Check("/up")], 30)
    assert clock.now == 1.0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(
            (503, "r1", '{"cache": {"state": "down", "message": "refused"}}'),
            "answered 503 instead of 200 for 5 s; failing: cache: refused",
            id="ill",
        ),
        pytest.param((200, "r0", ""), "the answer came from release r0, not r1", id="another release"),
    ],
)
def test_a_page_that_stays_ill_is_named(port: int, answer: tuple[int, str, str], sentence: str) -> None:
    Pages.answers = [answer]
    with pytest.raises(ReleaseError) as failure:
        Probe("school.example.com", "app1", Clock()).through_web_server(port, "r1", [Check("/api/health")], 5)
    assert f"http://127.0.0.1:{port}/api/health on app1" in str(failure.value)
    assert sentence in str(failure.value)


def test_a_release_is_asked_for_its_health_before_it_is_current(layout: Layout, tmp_path: Path) -> None:
    address, seen = str(tmp_path / "fpm.sock"), []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                body = b"Status: 200 OK\r\n\r\nfine"
                connection.sendall(struct.pack("!BBHHBx", 1, 6, 1, len(body), 0) + body + struct.pack("!BBHHBx", 1, 3, 1, 8, 0) + b"\0" * 8)

        thread = threading.Thread(target=serve)
        thread.start()
        Probe("school.example.com", "app1", Clock()).through_fpm(layout, "r1", address, [Check("/up")], 5)
        thread.join()
    assert str(layout.release("r1") / "public/index.php").encode() in seen[0]
    assert b"school.example.com" in seen[0]


def test_php_that_does_not_answer_is_named(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"release r1 on app1, asked for /up through .*, did not answer for 5 s"):
        Probe("school.example.com", "app1", Clock()).through_fpm(layout, "r1", str(tmp_path / "none.sock"), [Check("/up")], 5)


def test_opcache_that_cannot_be_asked_counts_as_full(tmp_path: Path) -> None:
    assert Probe("d", "s", Clock()).opcache_is_full(str(tmp_path / "none.sock"), Path("/x.php"))
