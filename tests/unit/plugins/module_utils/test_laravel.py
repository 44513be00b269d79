# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings in the forms that Laravel takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.laravel import LaravelError, dotenv, dotenv_value, endpoint_urls, endpoints, overlay

NODES = [{"host": "192.0.2.41", "port": 6379}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("base64:ab/+=", "base64:ab/+=", id="a key"),
        pytest.param("redis://192.0.2.41:6379,redis://192.0.2.42:6379", "redis://192.0.2.41:6379,redis://192.0.2.42:6379", id="seeds"),
        pytest.param(None, "", id="nothing"),
        pytest.param(True, "true", id="yes"),
        pytest.param(False, "false", id="no"),
        pytest.param(3306, "3306", id="a number"),
        pytest.param("two words", '"two words"', id="a space"),
        pytest.param("a#b", '"a#b"', id="what would begin a comment"),
        pytest.param("a$HOME", '"a\\$HOME"', id="what would be a variable"),
        pytest.param('say "x" \\', '"say \\"x\\" \\\\"', id="quotes and backslashes"),
        pytest.param("a\nB=1", '"a\\nB=1"', id="a line break adds no line"),
    ],
)
def test_values_in_a_dotenv_file(value: Any, text: str) -> None:
    assert dotenv_value(value) == text


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.text(st.characters(exclude_characters="\0"))))
def test_each_setting_is_one_line_whatever_it_holds(settings: dict[str, str]) -> None:
    assert dotenv(settings).count("\n") == len(settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param({"A B": 1}, "'A B' can't be a name in .env", id="a space in a name"),
        pytest.param({"A\nB": 1}, "can't be a name in .env", id="a line break in a name"),
        pytest.param({"A": [1]}, "A of .env must be text, a number or a boolean, not a list", id="a list"),
        pytest.param({"A": "\0"}, "A of .env holds a null byte", id="a null byte"),
    ],
)
def test_what_a_dotenv_file_cannot_hold_is_refused_by_name(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LaravelError) as refusal:
        dotenv(settings)
    assert sentence in str(refusal.value)


def test_endpoints_leave_out_servers_that_are_down() -> None:
    servers = [
        {"address": "192.0.2.1", "state": "active"},
        {"address": "192.0.2.2", "state": "down"},
        {"address": "2001:db8::1", "state": "active"},
    ]
    rows = endpoints(servers, [1, 2])
    assert [(row["host"], row["port"]) for row in rows] == [("192.0.2.1", 1), ("192.0.2.1", 2), ("2001:db8::1", 1), ("2001:db8::1", 2)]
    assert endpoint_urls(rows[1:3], "redis") == ["redis://192.0.2.1:2", "redis://[2001:db8::1]:1"]


def test_endpoints_leave_out_servers_that_leave_or_wait_while_others_are_there() -> None:
    servers = [{"address": "192.0.2.1", "state": "draining"}, {"address": "192.0.2.2", "state": "standby"}]
    assert [row["host"] for row in endpoints(servers, [1])] == ["192.0.2.1", "192.0.2.2"]
    assert [row["host"] for row in endpoints([*servers, {"address": "192.0.2.3"}], [1])] == ["192.0.2.3"]


def settings(**more: Any) -> dict[str, Any]:
    return {
        "server": "app1",
        "database": {"connection": "mysql", "write": {"host": "127.0.0.1", "port": 3306}, "read": {"host": "127.0.0.1", "port": "3307"}},
        "redis": {"durable": NODES, "cache": NODES, "username": "app", "password": "secret"},
        "queue_retry_seconds": 90,
        **more,
    }


def test_reads_and_writes_go_apart_and_a_request_reads_what_it_wrote() -> None:
    values = overlay(settings())["set"]
    assert values["database.connections.mysql.write"] == {"host": ["127.0.0.1"], "port": 3306}
    assert values["database.connections.mysql.read"] == {"host": ["127.0.0.1"], "port": 3307}
    assert values["database.connections.mysql.sticky"] is True


def test_single_redis_connections_make_way_for_clusters_of_their_names() -> None:
    it = overlay(settings())
    assert it["remove"] == ["database.redis.default", "database.redis.cache"]
    assert set(it["set"]["database.redis.clusters"]) == {"default", "cache"}
    assert it["set"]["database.redis.options.password"] == ["app", "secret"]
    without_user = overlay(settings(redis={"durable": NODES, "cache": NODES, "password": "secret"}))
    assert without_user["set"]["database.redis.options.password"] == "secret"


def test_without_redis_the_application_keeps_its_own() -> None:
    it = overlay(settings(redis={"durable": [], "cache": [], "password": ""}))
    assert it["remove"] == []
    assert not [key for key in it["set"] if "redis" in key]


def test_one_pool_without_the_other_is_refused_by_name() -> None:
    with pytest.raises(LaravelError, match="the Redis pool 'cache' has no nodes"):
        overlay(settings(redis={"durable": NODES, "cache": [], "password": ""}))


def test_what_a_fleet_adds_goes_over_the_rest() -> None:
    assert overlay(settings(extra={"queue.connections.redis.retry_after": 600, "app.locale": "de"}))["set"].items() >= {
        "queue.connections.redis.retry_after": 600, "app.locale": "de"}.items()
