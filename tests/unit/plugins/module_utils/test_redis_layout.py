"""Pools as rows become instances: ports, memory, lines of redis.conf, users."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.redis_layout import RedisLayoutError, acl_files, acl_revision, acl_text, layout

SERVERS = [{"name": f"redis{n}", "address": f"192.0.2.4{n}", "state": "active"} for n in (1, 2, 3)]
DURABLE = {"name": "durable", "port": 6379, "replicas": 1, "memory_percent": 50, "settings": {"appendonly": True}}
CACHE = {"name": "cache", "port": 6389, "replicas": 1, "memory_percent": 50, "settings": {"save": ""}}


def laid_out(*pools: dict[str, Any], servers: list[dict[str, Any]] | None = None, mb: int = 400) -> dict[str, Any]:
    return layout(servers or SERVERS, pools, "redis2", mb)


def test_each_host_runs_a_primary_and_its_replicas_worth_of_instances() -> None:
    found = laid_out(DURABLE, CACHE)
    assert [instance["name"] for instance in found["local"]] == [
        "durable-6379",
        "durable-6380",
        "cache-6389",
        "cache-6390",
    ]
    assert len(found["pools"][0]["instances"]) == 6
    assert found["pools"][0]["instances"][2] == {"host": "redis2", "address": "192.0.2.42", "port": 6379}


def test_a_hosts_memory_is_shared_out_and_never_exceeded() -> None:
    found = laid_out(DURABLE, CACHE)
    sizes = [int(instance["settings"]["maxmemory"]) for instance in found["local"]]
    assert sizes == [100 * 1024 * 1024] * 4


def test_settings_of_a_row_reach_its_instances_as_redis_writes_them() -> None:
    settings = laid_out(DURABLE)["local"][0]["settings"]
    assert (settings["appendonly"], settings["port"], settings["cluster-port"]) == ("yes", "6379", "16379")
    assert settings["bind"] == "192.0.2.42 127.0.0.1 -::1"


def test_a_host_that_is_down_is_no_member_but_keeps_its_own_files() -> None:
    found = laid_out(DURABLE, servers=[SERVERS[0], SERVERS[1] | {"state": "down"}, SERVERS[2]])
    assert {instance["host"] for instance in found["pools"][0]["instances"]} == {"redis1", "redis3"}
    assert len(found["local"]) == 2


def test_a_firewall_is_told_the_gossip_ports_too() -> None:
    assert laid_out(DURABLE)["ports"] == [6379, 6380, 16379, 16380]


def test_rows_for_converge_name_a_file_and_a_held_unit_per_instance() -> None:
    found = laid_out(CACHE)
    assert [row["path"] for row in found["files"]] == ["/etc/redis/cache-6389.conf", "/etc/redis/cache-6390.conf"]
    assert {(row["name"], row["restart"]) for row in found["services"]} == {
        ("redis-cluster@cache-6389", "hold"),
        ("redis-cluster@cache-6390", "hold"),
    }


@pytest.mark.parametrize(
    ("pools", "mb", "sentence"),
    [
        pytest.param(
            [DURABLE, CACHE | {"port": 6380}], 400, "durable and cache both use port 6380", id="ports overlap"
        ),
        pytest.param([DURABLE, DURABLE], 400, "two Redis pools are called durable", id="one name twice"),
        pytest.param([DURABLE, CACHE | {"memory_percent": 60}], 400, "add up to 110", id="more memory than there is"),
        pytest.param([DURABLE], 20, "20 MB on the host leave 5 MB for durable-6379", id="too little memory"),
        pytest.param([DURABLE | {"replica": 1}], 400, "unknown key replica", id="a misspelt key"),
        pytest.param(
            [DURABLE | {"port": 60000}], 400, "port is a whole number from 1 to 55535", id="no room for gossip"
        ),
        pytest.param([DURABLE | {"replicas": "1"}], 400, "replicas is a whole number", id="a number as text"),
        pytest.param([DURABLE | {"name": "Durable pool"}], 400, "not: 'Durable pool'", id="a name with a blank"),
        pytest.param([DURABLE | {"settings": {"port": 1}}], 400, "the role sets port itself", id="a setting of ours"),
        pytest.param(
            [DURABLE | {"settings": {"save": "1 1\nrequirepass x"}}],
            400,
            "a setting is one line",
            id="two lines in one",
        ),
    ],
)
def test_a_row_that_cannot_work_is_refused_by_name(pools: list[dict[str, Any]], mb: int, sentence: str) -> None:
    with pytest.raises(RedisLayoutError) as refused:
        laid_out(*pools, mb=mb)
    assert sentence in str(refused.value)


APP = {"name": "app", "password": "top secret", "rules": "~* +@all\n  -@admin"}
ADMIN = {"name": "admin", "password": "other", "rules": "~* +@all"}


def test_an_acl_file_holds_digests_and_switches_the_default_user_off() -> None:
    text = acl_text([APP])
    assert "top secret" not in text
    assert text.startswith("user default off resetpass ")
    assert "user app on resetpass #" in text
    assert text.splitlines()[1].endswith("~* +@all -@admin")


def test_redis_may_replay_every_transaction_as_the_default_user() -> None:
    assert acl_text([APP]).splitlines()[0].endswith(" allkeys allchannels +@all")


def test_another_password_makes_another_revision() -> None:
    one, other = acl_text([APP]), acl_text([APP | {"password": "new"}])
    assert acl_revision(one) == acl_revision(acl_text([APP]))
    assert acl_revision(one) != acl_revision(other)
    assert f"user {acl_revision(one)} off" in one


def test_only_the_application_gets_what_a_pool_adds() -> None:
    rows = acl_files([DURABLE, CACHE | {"app_commands": "+flushdb"}], [APP, ADMIN], "app")
    by_path = {row["path"]: row["content"] for row in rows}
    assert "flushdb" not in by_path["/etc/redis/durable.acl"]
    assert by_path["/etc/redis/cache.acl"].count("+flushdb") == 1
    assert all(row["secret"] for row in rows)


def test_a_user_that_would_write_lines_of_its_own_is_refused() -> None:
    with pytest.raises(RedisLayoutError):
        acl_text([APP | {"name": "x on nopass ~* +@all\nuser y"}])
