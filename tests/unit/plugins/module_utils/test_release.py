# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is called, which ones a host keeps, and when a host is done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.release import (
    Actual,
    BuildStep,
    Desired,
    Entry,
    OpcacheState,
    ReleaseError,
    Source,
    choose_commit,
    commit_id,
    content_id,
    excluded,
    expired,
    explain,
    failing_parts,
    missing_parts,
    opcache_needs_room,
    opcache_state,
    packed_time,
    parse_source,
    parse_steps,
    plan,
    rebased,
    recipe,
)

COMMIT, OTHER = "a" * 40, "b" * 40
ENTRIES = [Entry("artisan", "file", "1", True), Entry("app/User.php", "file", "2"), Entry("public/x", "link", "../x")]


@pytest.mark.parametrize(
    ("given_source", "sentence"),
    [
        pytest.param(
            {"type": "svn", "location": "x"}, "app_source.type must be one of folder, archive, git, not: svn",
            id="an unknown type",
        ),
        pytest.param({"location": "x"}, "app_source.type must be one of folder, archive, git, not: nothing", id="no type"),
        pytest.param({"type": "git"}, "app_source.location is empty; name the git that holds the application", id="no location"),
        pytest.param({"type": "git", "location": "x", "branch": "y"}, "app_source has the unknown key branch;", id="an unknown key"),
        pytest.param(
            {"type": "git", "location": "--upload-pack=sh"}, "app_source.location must not start with a dash",
            id="an option as location",
        ),
        pytest.param({"type": "git", "location": "x", "ref": "-x"}, "app_source.ref must not start with a dash", id="an option as ref"),
        pytest.param(
            {"type": "folder", "location": "x", "subdirectory": "../y"}, "app_source.subdirectory must be a path below",
            id="a way out",
        ),
        pytest.param(
            {"type": "folder", "location": "x", "subdirectory": "/y"}, "app_source.subdirectory must be a path below",
            id="an absolute folder",
        ),
    ],
)
def test_a_bad_source_is_refused_by_name(given_source: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReleaseError) as refusal:
        parse_source(given_source)
    assert sentence in str(refusal.value)


def test_a_source_needs_no_more_than_type_and_location() -> None:
    assert parse_source({"type": "git", "location": "https://example.com/x.git", "ref": None, "subdirectory": "."}) == Source(
        "git", "https://example.com/x.git", "HEAD", ""
    )


def test_build_steps_are_commands_or_rows() -> None:
    rows = ["composer install", {"command": "npm ci", "directory": "../web", "environment": {"B": 1, "A": "x"}}]
    assert parse_steps(rows) == (BuildStep("composer install"), BuildStep("npm ci", "../web", (("A", "x"), ("B", "1"))))


@pytest.mark.parametrize("row", [{"cmd": "x"}, {}, 3, {"command": ""}], ids=str)
def test_a_bad_build_step_is_refused_with_its_number(row: Any) -> None:
    with pytest.raises(ReleaseError, match="app_build_steps, step 2: expected a command"):
        parse_steps(["true", row])


@pytest.mark.parametrize(
    ("path", "patterns", "left_out"),
    [
        pytest.param(".git/HEAD", [".git"], True, id="below a name"),
        pytest.param("a/node_modules/b", ["node_modules"], True, id="a name anywhere"),
        pytest.param("vendor/x/storage/y", ["/storage"], False, id="a rooted name elsewhere"),
        pytest.param("storage/logs/x.log", ["/storage"], True, id="a rooted name"),
        pytest.param("bootstrap/cache/config.php", ["/bootstrap/cache/*"], True, id="a rooted glob"),
        pytest.param("bootstrap/app.php", ["/bootstrap/cache/*"], False, id="beside a rooted glob"),
        pytest.param(".env.example", ["/.env"], False, id="a longer name"),
    ],
)
def test_what_is_left_out_of_a_release(path: str, patterns: list[str], left_out: bool) -> None:
    assert excluded(path, patterns) is left_out


def test_rooted_patterns_follow_the_application_into_its_subdirectory() -> None:
    assert rebased([".git", "/storage", "/bootstrap/cache/*"], "api") == (".git", "/api/storage", "/api/bootstrap/cache/*")


def test_the_order_of_a_folder_does_not_name_a_release() -> None:
    assert content_id(ENTRIES, "r") == content_id(reversed(ENTRIES), "r")


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([*ENTRIES[1:], Entry("artisan", "file", "9", True)], id="content"),
        pytest.param([*ENTRIES[1:], Entry("artisan", "file", "1", False)], id="executable"),
        pytest.param([*ENTRIES[1:], Entry("Artisan", "file", "1", True)], id="name"),
        pytest.param([*ENTRIES[:2], Entry("public/x", "link", "../y")], id="target of a link"),
        pytest.param(ENTRIES[:2], id="one less"),
    ],
)
def test_whatever_a_release_holds_changes_its_name(changed: list[Entry]) -> None:
    assert content_id(changed, "r") != content_id(ENTRIES, "r")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(recipe(Source("git", "x", subdirectory="api"), (), ()), id="subdirectory"),
        pytest.param(recipe(Source("git", "x"), (BuildStep("true"),), ()), id="steps"),
        pytest.param(recipe(Source("git", "x"), (), ("a",)), id="exclude"),
    ],
)
def test_how_a_release_is_made_changes_its_name(other: str) -> None:
    mine = recipe(Source("git", "x"), (), ())
    assert content_id(ENTRIES, mine) != content_id(ENTRIES, other)
    assert commit_id(COMMIT, mine) != commit_id(COMMIT, other)


def test_a_commit_can_be_seen_in_the_name_of_its_release() -> None:
    assert commit_id(COMMIT, "r").startswith("aaaaaaaa-")


@given(st.text(min_size=1), st.text(min_size=1))
def test_packed_times_follow_the_content_alone(one: str, two: str) -> None:
    assert packed_time(one) == packed_time(one)
    assert 1577836800 <= packed_time(two) < 1577836800 + 4 * 365 * 86400


@pytest.mark.parametrize(
    ("ref", "advertised", "commit"),
    [
        pytest.param("main", {"refs/heads/main": COMMIT}, COMMIT, id="a branch"),
        pytest.param("main", {"refs/heads/x/main": OTHER}, None, id="a branch whose name only ends so"),
        pytest.param("v1", {"refs/tags/v1": OTHER, "refs/tags/v1^{}": COMMIT}, COMMIT, id="an annotated tag means its commit"),
        pytest.param("v1", {"refs/tags/v1": COMMIT, "refs/heads/v1": OTHER}, COMMIT, id="a tag before a branch"),
        pytest.param("HEAD", {"HEAD": COMMIT}, COMMIT, id="the default branch"),
        pytest.param("refs/heads/main", {"refs/heads/main": COMMIT}, COMMIT, id="a full name"),
        pytest.param(COMMIT, {}, COMMIT, id="a commit"),
        pytest.param("abc1234", {}, None, id="a short commit is not known from afar"),
    ],
)
def test_which_commit_a_ref_means(ref: str, advertised: dict[str, str], commit: str | None) -> None:
    assert choose_commit(ref, advertised) == commit


def test_what_a_laravel_application_needs() -> None:
    whole = ["artisan", "bootstrap/app.php", "public/index.php", "vendor/autoload.php"]
    assert missing_parts(whole) == []
    assert missing_parts([*whole[:3], "bootstrap/autoload.php"]) == []
    assert missing_parts(whole[1:3]) == ["artisan", "vendor/autoload.php"]


@pytest.mark.parametrize(
    ("actual", "steps"),
    [
        pytest.param(Actual(), ("unpack", "configure", "switch"), id="an empty host does everything"),
        pytest.param(Actual(("old",), "old", "s"), ("unpack", "configure", "switch"), id="a new release"),
        pytest.param(Actual(("old", "new"), "old", "s"), ("configure", "switch"), id="shipped, interrupted before the switch"),
        pytest.param(Actual(("new",), "new", "other"), ("configure",), id="other settings for the same release"),
        pytest.param(Actual(("new",), "new", ""), ("configure",), id="switched, interrupted before it was verified"),
        pytest.param(Actual(("old", "new"), "new", "s"), (), id="done"),
    ],
)
def test_what_a_host_still_has_to_do(actual: Actual, steps: tuple[str, ...]) -> None:
    assert plan(Desired("new", "s"), actual).steps == steps
    assert plan(Desired("new", "s"), actual).done is (not steps)


@given(st.lists(st.text("abc", min_size=1, max_size=3), unique=True), st.integers(0, 6), st.data())
def test_the_release_in_use_is_never_removed(releases: list[str], keep: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(releases))) if releases else set()
    gone = expired(releases, keep, needed)
    assert not needed & set(gone)
    assert len(releases) - len(gone) >= min(keep, len(releases))
    assert gone == [name for name in releases if name in gone], "the oldest go first"


def test_the_oldest_releases_go() -> None:
    assert expired(["a", "b", "c", "d", "e", "f", "g"], 5, ["g", "a"]) == ["b", "c"]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        pytest.param(
            {"status": "failing", "database": {"state": "failing", "message": "gone"}, "cache": {"state": "ok"}}, ["database: gone"],
            id="state",
        ),
        pytest.param({"checks": {"cache": "fail", "queue": "ok"}}, ["cache: fail"], id="words"),
        pytest.param({"cache": {"ok": False, "error": "refused"}, "ok": False}, ["cache: refused"], id="booleans"),
        pytest.param({"cache": {"ok": False}}, ["cache: not ok"], id="no reason"),
        pytest.param({"queue": 17}, [], id="numbers say nothing"),
        pytest.param(["x"], [], id="a list says nothing"),
    ],
)
def test_a_deep_health_answer_names_the_failing_part(body: Any, parts: list[str]) -> None:
    assert failing_parts(json.dumps(body)) == parts


def test_a_failed_check_is_one_sentence() -> None:
    body = json.dumps({"database": {"state": "down", "message": "refused"}, "cache": "ok"})
    assert explain("http://h/x", 30, 503, body, 200) == "http://h/x answered 503 instead of 200 for 30 s; failing: database: refused"
    assert explain("http://h/x", 30, None, "refused\n", 200) == "http://h/x did not answer for 30 s: refused"


def status(used: int, keys: int, strings: int) -> dict[str, Any]:
    return {
        "memory_usage": {"used_memory": used, "free_memory": 100 - used, "wasted_memory": 0},
        "opcache_statistics": {"num_cached_keys": keys, "max_cached_keys": 100},
        "interned_strings_usage": {"buffer_size": 100, "free_memory": 100 - strings},
    }


@pytest.mark.parametrize(
    ("state", "needed"),
    [
        pytest.param(status(30, 30, 30), False, id="room everywhere"),
        pytest.param(status(70, 30, 30), True, id="memory"),
        pytest.param(status(30, 70, 30), True, id="keys"),
        pytest.param(status(30, 30, 95), True, id="strings"),
    ],
)
def test_opcache_is_emptied_when_the_next_release_would_not_fit(state: dict[str, Any], needed: bool) -> None:
    assert opcache_needs_room(opcache_state(state)) is needed


def test_opcache_that_is_off_needs_no_room() -> None:
    assert opcache_state({}) is None
    assert not opcache_needs_room(None)
    assert OpcacheState(1, 1, 1) == opcache_state({**status(0, 0, 0)})
