# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upstream block: its text, its stability, and that nothing an inventory holds leaves its directive."""

from __future__ import annotations

import difflib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.nginx_upstream import (
    METHODS,
    METHODS_WITH_BACKUP,
    STATES,
    NginxUpstreamError,
    render_upstream,
)

APP1 = {"name": "app1", "address": "192.0.2.21"}
APP2 = {"name": "app2", "address": "192.0.2.22"}


def tokens(text: str) -> list[list[str]]:
    """nginx's own reading of a configuration, as far as blocks go: words, quotes, comments, `;`, `{` and `}`."""
    statements: list[list[str]] = []
    words: list[str] = []
    for match in re.finditer(
        r"""#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\$\{[^}]*\}|[;{}]|[^\s;{}"']+|\s+""", text
    ):
        token = match.group()
        if token.isspace() or token.startswith("#"):
            continue
        if token in ";{}":
            statements.append([*words, token])
            words = []
        else:
            words.append(token)
    assert words == []
    return statements


def server_lines(text: str) -> list[list[str]]:
    return [words[1:-1] for words in tokens(text) if words[0] == "server"]


# --- what comes out -----------------------------------------------------------------------------------------------


def test_the_block_as_a_whole() -> None:
    assert render_upstream([APP2 | {"weight": 2}, APP1], "app") == (
        "upstream app {\n"
        "    zone app 1m;\n"
        "    least_conn;\n"
        "    server 192.0.2.21:80 max_fails=3 fail_timeout=10s;  # app1\n"
        "    server 192.0.2.22:80 weight=2 max_fails=3 fail_timeout=10s;  # app2\n"
        "    keepalive 32;\n"
        "}\n"
    )


PLAIN1 = "server 192.0.2.21:80 max_fails=3 fail_timeout=10s;"
PLAIN2 = "server 192.0.2.22:80 max_fails=3 fail_timeout=10s;"
AGAIN2 = "server 192.0.2.22:80 max_fails=0 backup;"


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        pytest.param(
            {},
            [f"{PLAIN1} server 192.0.2.21:80 max_fails=0 backup;  # app1", f"{PLAIN2} {AGAIN2}  # app2"],
            id="each server is its own backup that never counts as failed, on one line",
        ),
        pytest.param(
            {"weight": 5, "max_conns": 9, "fail_timeout": 3},
            [
                "server 192.0.2.21:80 weight=5 max_conns=9 max_fails=3 fail_timeout=3s; "
                "server 192.0.2.21:80 weight=5 max_conns=9 max_fails=0 backup;  # app1",
                f"{PLAIN2} {AGAIN2}  # app2",
            ],
            id="weight and limit hold for the last resort too",
        ),
        pytest.param(
            {"state": "down"},
            ["server 192.0.2.21:80 max_fails=3 fail_timeout=10s down;  # app1", f"{PLAIN2} {AGAIN2}  # app2"],
            id="who is down is nobody's last resort",
        ),
        pytest.param({"state": "draining"}, [f"{PLAIN2} {AGAIN2}  # app2"], id="nor who is draining"),
        pytest.param(
            {"backup": True},
            ["server 192.0.2.21:80 max_fails=0 backup;  # app1", f"{PLAIN2}  # app2"],
            id="a server that is a backup is the last resort, and the others are none beside it",
        ),
        pytest.param(
            {"backup": True, "state": "down"},
            ["server 192.0.2.21:80 max_fails=3 fail_timeout=10s backup down;  # app1", f"{PLAIN2} {AGAIN2}  # app2"],
            id="a backup that is down is not",
        ),
    ],
)
@pytest.mark.parametrize("method", METHODS_WITH_BACKUP)
def test_with_a_last_resort_nobody_is_left_alone_for_good(method: str, row: dict[str, Any], lines: list[str]) -> None:
    block = render_upstream([APP1 | row, APP2], "app", method=method, last_resort=True)
    assert [line.strip() for line in block.splitlines() if line.strip().startswith("server ")] == lines


@pytest.mark.parametrize("method", [method for method in METHODS if method not in METHODS_WITH_BACKUP])
def test_a_last_resort_is_refused_where_nginx_has_no_backups(method: str) -> None:
    key = "$request_uri" if method == "hash" else None
    with pytest.raises(NginxUpstreamError, match=f"upstream app: last_resort needs backup.* method {method}: leave it"):
        render_upstream([APP1], "app", method=method, hash_key=key, last_resort=True)


@pytest.mark.parametrize(
    ("arguments", "directive"),
    [
        pytest.param({}, ["least_conn", ";"], id="least_conn is the default"),
        pytest.param({"method": "ip_hash"}, ["ip_hash", ";"], id="ip_hash"),
        pytest.param(
            {"method": "hash", "hash_key": "$http_x_academy"},
            ["hash", "$http_x_academy", "consistent", ";"],
            id="a hash is consistent",
        ),
        pytest.param(
            {"method": "hash", "hash_key": "${scheme}://$host/$arg_id"},
            ["hash", "${scheme}://$host/$arg_id", "consistent", ";"],
            id="a hash may join variables",
        ),
        pytest.param({"method": "random_two"}, ["random", "two", "least_conn", ";"], id="random two"),
    ],
)
def test_the_method_comes_before_keepalive(arguments: dict[str, Any], directive: list[str]) -> None:
    statements = tokens(render_upstream([APP1], "app", **arguments))
    if "hash_key" in arguments and "{" in arguments["hash_key"]:
        statements = [["hash", arguments["hash_key"], "consistent", ";"] if s[0] == "hash" else s for s in statements]
    assert statements.index(directive) < statements.index(["keepalive", "32", ";"])


def test_round_robin_is_nginxs_own_and_has_no_directive() -> None:
    assert [words[0] for words in tokens(render_upstream([APP1], "app", method="round_robin"))] == [
        "upstream",
        "zone",
        "server",
        "keepalive",
        "}",
    ]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param({}, ["192.0.2.21:80", "max_fails=3", "fail_timeout=10s"], id="a server with nothing special"),
        pytest.param(
            {"weight": 5}, ["192.0.2.21:80", "weight=5", "max_fails=3", "fail_timeout=10s"], id="a server with a weight"
        ),
        pytest.param({"port": 8080}, ["192.0.2.21:8080", "max_fails=3", "fail_timeout=10s"], id="a port of its own"),
        pytest.param(
            {"max_fails": 0, "fail_timeout": 30, "max_conns": 100},
            ["192.0.2.21:80", "max_conns=100", "max_fails=0", "fail_timeout=30s"],
            id="checks of its own",
        ),
        pytest.param(
            {"address": "2001:db8::21"}, ["[2001:db8::21]:80", "max_fails=3", "fail_timeout=10s"], id="an IPv6 address"
        ),
        pytest.param(
            {"address": "app1.example.com"},
            ["app1.example.com:80", "max_fails=3", "fail_timeout=10s"],
            id="a DNS name",
        ),
        pytest.param(
            {"backup": True}, ["192.0.2.21:80", "max_fails=3", "fail_timeout=10s", "backup"], id="a backup server"
        ),
        pytest.param(
            {"down": True}, ["192.0.2.21:80", "max_fails=3", "fail_timeout=10s", "down"], id="a server marked down"
        ),
        pytest.param(
            {"state": "down"}, ["192.0.2.21:80", "max_fails=3", "fail_timeout=10s", "down"], id="a host that is down"
        ),
        pytest.param({"state": "draining"}, None, id="a draining host gets nothing new"),
        pytest.param({"state": "standby"}, None, id="a standby host gets nothing"),
        pytest.param(
            {"size": "medium", "vcpus": 2, "memory_mb": 4096, "storage": "ssd", "tiers": ["app_servers"]},
            ["192.0.2.21:80", "max_fails=3", "fail_timeout=10s"],
            id="what else the fleet knows of a server changes nothing",
        ),
    ],
)
def test_the_line_of_a_server(row: dict[str, Any], line: list[str] | None) -> None:
    lines = server_lines(render_upstream([APP1 | row, APP2], "app"))
    assert lines[:-1] == ([] if line is None else [line])


def test_with_ip_hash_a_draining_host_keeps_its_place_so_that_others_keep_their_clients() -> None:
    text = render_upstream(
        [APP1 | {"state": "draining"}, APP2 | {"state": "standby"}, APP1 | {"name": "app3", "address": "192.0.2.23"}],
        "app",
        method="ip_hash",
    )
    assert [(line[0], line[-1] == "down") for line in server_lines(text)] == [
        ("192.0.2.21:80", True),
        ("192.0.2.23:80", False),
    ]


def test_no_idle_connections_are_kept_when_none_are_wanted() -> None:
    assert "keepalive" not in render_upstream([APP1], "app", keepalive=0)


def test_kept_connections_end_after_a_time_and_a_number_of_requests() -> None:
    text = render_upstream([APP1], "app", keepalive="64", keepalive_requests=500, keepalive_timeout=30)
    assert tokens(text)[-4:-1] == [
        ["keepalive", "64", ";"],
        ["keepalive_requests", "500", ";"],
        ["keepalive_timeout", "30s", ";"],
    ]


def test_the_shared_memory_grows_in_steps() -> None:
    def zone(servers: int, **arguments: Any) -> str:
        rows = [{"address": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"} for n in range(servers)]
        return render_upstream(rows, "app", **arguments).splitlines()[1].strip()

    assert [zone(count) for count in (1, 1000, 1001, 5000)] == [
        "zone app 1m;",
        "zone app 1m;",
        "zone app 2m;",
        "zone app 8m;",
    ]
    assert [zone(count, last_resort=True) for count in (500, 501)] == ["zone app 1m;", "zone app 2m;"]
    assert "zone app 256k;" in render_upstream([APP1], "app", zone="256k")


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "arguments", "sentence"),
    [
        pytest.param(
            [],
            {},
            "upstream app has no active server; nginx would answer 502 to everything: set fleet_state: active on at "
            "least one",
            id="an empty pool",
        ),
        pytest.param(
            [APP1 | {"state": "draining"}, APP2 | {"state": "down"}],
            {},
            "upstream app has no active server: app1 is draining, app2 is down; nginx would answer 502 to everything: "
            "set fleet_state: active on at least one",
            id="a pool that is all draining or down",
        ),
        pytest.param(
            [APP1 | {"backup": True}],
            {},
            "upstream app has backup servers only: leave backup out on at least one",
            id="a pool of backups",
        ),
        pytest.param(
            [APP1, APP2 | {"backup": True}],
            {"method": "ip_hash"},
            "upstream app: server app2: backup can't be used with the method ip_hash: leave it out, or use least_conn "
            "or round_robin",
            id="a backup with ip_hash",
        ),
        pytest.param(
            [APP1, APP2 | {"backup": True}],
            {"method": "hash", "hash_key": "$uri"},
            "upstream app: server app2: backup can't be used with the method hash: leave it out, or use least_conn or "
            "round_robin",
            id="a backup with hash",
        ),
        pytest.param(
            [APP1, APP2 | {"address": "192.0.2.21"}],
            {},
            "upstream app: servers app1 and app2 have one address and port, 192.0.2.21:80: give each its own",
            id="two servers with one address",
        ),
        pytest.param(
            [APP1],
            {"method": "least_con"},
            "upstream app: method must be one of least_conn, round_robin, ip_hash, hash, random_two, not: least_con (did "
            "you mean least_conn?)",
            id="an unknown method",
        ),
        pytest.param(
            [APP1],
            {"method": "hash"},
            "upstream app: method hash needs hash_key, the variable to hash, e.g. $request_uri",
            id="a hash without a key",
        ),
        pytest.param(
            [APP1],
            {"method": "hash", "hash_key": "academy"},
            "upstream app: hash_key academy holds no variable, so one server would get everything; e.g. $request_uri",
            id="a hash of a constant",
        ),
        pytest.param(
            [APP1],
            {"method": "hash", "hash_key": "$uri; }"},
            "upstream app: hash_key must be made of nginx variables, letters, digits and ._:/|-, not: '$uri; }'",
            id="a hash key with a directive behind it",
        ),
        pytest.param(
            [APP1],
            {"hash_key": "$uri"},
            "upstream app: hash_key belongs to the method hash, not to least_conn: leave it out",
            id="a hash key without a hash",
        ),
        pytest.param(
            [APP1 | {"address": "192.0.2.21;"}],
            {},
            "upstream app: '192.0.2.21;' is not an address: use an IPv4 address, an IPv6 address without brackets, or a "
            "DNS name",
            id="an address with a semicolon",
        ),
        pytest.param(
            [APP1 | {"address": "[2001:db8::1]"}],
            {},
            "upstream app: '[2001:db8::1]' is not an address: use an IPv4 address, an IPv6 address without brackets, or "
            "a DNS name",
            id="an address with brackets",
        ),
        pytest.param(
            [APP1 | {"name": "app1\nserver 203.0.113.1"}],
            {},
            "upstream app: server name 'app1\\nserver 203.0.113.1' must be letters, digits, dots, dashes and "
            "underscores, beginning and ending with a letter or digit",
            id="a name with a line break",
        ),
        pytest.param(
            [APP1 | {"port": 0}],
            {},
            "upstream app: server app1: port must be a whole number from 1 to 65535, not: 0",
            id="port 0",
        ),
        pytest.param(
            [APP1],
            {"port": "80;"},
            "upstream app: port must be a whole number from 1 to 65535, not: '80;'",
            id="a port with a semicolon",
        ),
        pytest.param(
            [APP1 | {"fail_timeout": "10 s"}],
            {},
            "upstream app: server app1: fail_timeout must be a time such as 10s, 500ms or 1m, not: '10 s'",
            id="a time with a space",
        ),
        pytest.param(
            [APP1 | {"state": "darining"}],
            {},
            "upstream app: server app1: state must be one of active, draining, standby, down, not: darining (did you "
            "mean draining?)",
            id="an unknown state",
        ),
        pytest.param(
            [APP1 | {"wieght": 2}],
            {},
            "upstream app: server '192.0.2.21' has an unknown key 'wieght' (did you mean weight?); a server holds name, "
            "address, port, state, weight, max_fails, fail_timeout, max_conns, backup, down",
            id="an unknown key",
        ),
        pytest.param(
            [APP1 | {"slow_start": "30s"}],
            {},
            "upstream app: server 192.0.2.21: slow_start exists in NGINX Plus only; raise fleet_weight in steps instead",
            id="what only NGINX Plus has",
        ),
        pytest.param(
            [{"name": "app1"}],
            {},
            "upstream app: a server must be a dictionary with an address, not: {'name': 'app1'}",
            id="a server without an address",
        ),
        pytest.param(
            [APP1 | {"backup": "yes"}],
            {},
            "upstream app: server app1: backup must be true or false, not: 'yes'",
            id="a backup that is a word",
        ),
        pytest.param(
            [APP1], {"zone": "1g"}, "upstream app: zone must be a size such as 512k or 1m, not: '1g'", id="a bad zone"
        ),
    ],
)
def test_refused(servers: list[dict[str, Any]], arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NginxUpstreamError) as refused:
        render_upstream(servers, "app", **arguments)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("name", ["", "a b", "app;", "app{", "1app", "$app", "app\n", 7])
def test_a_name_that_could_leave_its_directive_is_refused(name: Any) -> None:
    with pytest.raises(NginxUpstreamError, match="upstream name"):
        render_upstream([APP1], name)


# --- properties ---------------------------------------------------------------------------------------------------

host_names = st.from_regex(r"[a-z][a-z0-9-]{0,6}[a-z0-9]", fullmatch=True)
nasty = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["192.0.2.1", "app1", "::1", "80", "10s"]).flatmap(
        lambda start: st.text(alphabet=" \t\n\r;{}#\"'\\$%[]:@`\x00\u2028", max_size=6).map(lambda end: start + end)
    ),
    st.integers(),
    st.booleans(),
    st.none(),
)


@given(
    what=st.sampled_from(["name", "address", "weight", "port", "fail_timeout", "upstream", "hash_key", "zone"]),
    value=nasty,
)
def test_nothing_leaves_its_directive(what: str, value: Any) -> None:
    """Whatever the text: it's refused, or the block reads back as exactly the directives that were meant."""
    row = APP1 | ({what: value} if what not in ("upstream", "hash_key", "zone") else {})
    arguments = {"hash_key": {"method": "hash", "hash_key": value}, "zone": {"zone": value}}.get(what, {})
    title = value if what == "upstream" else "app"
    try:
        text = render_upstream([row], title, **arguments)
    except NginxUpstreamError:
        return
    assert text.isascii() and text.replace("\n", "").isprintable()
    if what == "hash_key":
        assert f"\n    hash {value} consistent;\n" in text and not set(value) & set(" ;\"'\\#\n")
        return
    endpoint = f"[{row['address']}]" if ":" in row["address"] else row["address"]
    weight = [] if row.get("weight") in (None, 1, "1") else [f"weight={int(row['weight'])}"]
    time = row.get("fail_timeout", "10s")
    time = "10s" if time is None else f"{time}s" if isinstance(time, int) else time
    port = 80 if row.get("port") is None else int(row["port"])
    assert tokens(text) == [
        ["upstream", title, "{"],
        ["zone", title, arguments.get("zone") or "1m", ";"],
        ["least_conn", ";"],
        ["server", f"{endpoint}:{port}", *weight, "max_fails=3", f"fail_timeout={time}", ";"],
        ["keepalive", "32", ";"],
        ["}"],
    ]


@given(
    names=st.lists(host_names, min_size=1, max_size=12, unique=True),
    new=host_names,
    method=st.sampled_from([method for method in METHODS if method != "hash"]),
    states=st.lists(st.sampled_from(STATES), min_size=12, max_size=12),
    wanted=st.booleans(),
)
def test_a_new_server_is_one_new_line_and_moves_none(
    names: list[str], new: str, method: str, states: list[str], wanted: bool
) -> None:
    if new in names:
        return
    rows = [
        {"name": name, "address": f"192.0.2.{number}", "state": states[number - 1]}
        for number, name in enumerate(names, start=1)
    ]
    rows[0]["state"] = "active"
    arguments: dict[str, Any] = {"method": method, "last_resort": wanted and method in METHODS_WITH_BACKUP}
    before = render_upstream(rows, "app", **arguments).splitlines()
    after = render_upstream([{"name": new, "address": "198.51.100.1"}, *rows], "app", **arguments).splitlines()
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert [line[0] for line in changed] == ["+"]
    assert "198.51.100.1" in changed[0]


@given(st.permutations([{"name": f"app{n}", "address": f"192.0.2.{n}"} for n in range(1, 8)]))
def test_the_order_of_the_servers_does_not_matter(rows: list[dict[str, Any]]) -> None:
    assert render_upstream(rows, "app") == render_upstream(sorted(rows, key=lambda row: row["name"]), "app")
