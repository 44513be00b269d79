# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions of a file become the settings that differ, in each format that the roles write."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.settings_text import FORMATS, HIDDEN, Difference, changed_lines, differences, hidden

Rows: TypeAlias = "list[tuple[str, str | None, str | None]]"

CASES: dict[str, tuple[str, str, str, Rows]] = {
    "my.cnf, a value": (
        "/etc/mysql/my.cnf",
        "[mysqld]\nmax_connections = 154\nskip_name_resolve\n",
        "[mysqld]\nmax_connections = 160\nskip_name_resolve\n",
        [("max_connections", "154", "160")],
    ),
    "an FPM pool, a value and a new one": (
        "/etc/php/8.4/fpm/pool.d/school.conf",
        "; managed\n[school]\npm.max_children = 12\n",
        "; managed\n[school]\npm.max_children = 28\npm.max_requests = 500\n",
        [("pm.max_children", "12", "28"), ("pm.max_requests", None, "500")],
    ),
    "supervisor, in its section": (
        "/etc/supervisor/conf.d/laravel-workers.conf",
        "[program:a]\nnumprocs=8\n[program:b]\nnumprocs=2\n",
        "[program:a]\nnumprocs=8\n[program:b]\nnumprocs=4\n",
        [("program:b.numprocs", "2", "4")],
    ),
    "redis.conf, one goes": (
        "/etc/redis/durable-6379.conf",
        "maxmemory 100mb\nsave \"\"\n",
        "maxmemory 200mb\n",
        [("maxmemory", "100mb", "200mb"), ("save", '""', None)],
    ),
    "sysctl": (
        "/etc/sysctl.d/60-graphic_school.conf",
        "net.core.somaxconn = 4096\n",
        "net.core.somaxconn = 8192\n",
        [("net.core.somaxconn", "4096", "8192")],
    ),
    "nginx, one more server in an upstream": (
        "/etc/nginx/conf.d/upstream.conf",
        "upstream app {\n  least_conn;\n  server 192.0.2.21:80;  # app1\n  server 192.0.2.22:80;\n}\n",
        "upstream app {\n  least_conn;\n  server 192.0.2.21:80;\n  server 192.0.2.22:80;\n  server 192.0.2.23:80;\n}\n",
        [("upstream app: server", None, "192.0.2.23:80")],
    ),
    "nginx, quotes and nested blocks": (
        "/etc/nginx/nginx.conf",
        "http {\n  log_format main '$remote_addr; {x}';\n  server { listen 80; }\n}\n",
        "http {\n  log_format main '$remote_addr; {y}';\n  server { listen 443; }\n}\n",
        [("http: log_format", "main '$remote_addr; {x}'", "main '$remote_addr; {y}'"), ("http / server: listen", "80", "443")],
    ),
    "nginx, a map whose key is quoted, and a directive without a value": (
        "/etc/nginx/nginx.conf",
        "map $a $b {\n  default 1;\n}\n",
        'map $a $b {\n  default 1;\n  "~^(?:[,:] +[-0])*$" 0;\n  volatile;\n}\n',
        [('map $a $b: "~^(?:[,:] +[-0])*$"', None, "0"), ("map $a $b: volatile", None, "on")],
    ),
    "nginx, where requests pass to is no secret": (
        "/etc/nginx/conf.d/app.conf",
        "proxy_pass http://app;\n",
        "proxy_pass http://app_any;\n",
        [("proxy_pass", "http://app", "http://app_any")],
    ),
    "php.ini without a section keeps its prefix": (
        "/etc/php/8.4/fpm/conf.d/90-graphic_school.ini",
        "opcache.enable = 1\n",
        "opcache.enable = 0\n",
        [("opcache.enable", "1", "0")],
    ),
    "systemd, a section that is new": (
        "/etc/systemd/system/x.service.d/y.conf",
        "[Service]\nRestart=always\n",
        "[Unit]\nAfter=a.service\n[Service]\nRestart=always\n",
        [("Unit.After", None, "a.service")],
    ),
    "haproxy, in its section": (
        "/etc/haproxy/haproxy.cfg",
        "global\n    maxconn 100\n\nbackend primary\n    server db1 192.0.2.31:3306\n",
        "global\n    maxconn 200\n\nbackend primary\n    server db1 192.0.2.31:3306\n",
        [("global: maxconn", "100", "200")],
    ),
    "a value whose name sounds like a secret is hidden": (
        "/etc/redis/replication.conf",
        "masterauth one\n",
        "masterauth two\n",
        [("masterauth", "(secret)", "(secret)")],
    ),
    "systemd, a line that is there several times": (
        "/etc/systemd/system/x.service",
        "[Service]\nExecStartPre=/bin/a\nExecStartPre=/bin/b\n",
        "[Service]\nExecStartPre=/bin/a\nExecStartPre=/bin/c\n",
        [("ExecStartPre", "/bin/b", None), ("ExecStartPre", None, "/bin/c")],
    ),
    "the same lines in another order": (
        "/etc/nginx/conf.d/upstream.conf",
        "server a;\nserver b;\n",
        "server b;\nserver a;\n",
        [("server", "its lines", "the same in another order")],
    ),
}


@pytest.mark.parametrize(("path", "before", "after", "rows"), CASES.values(), ids=CASES)
def test_settings_that_differ(path: str, before: str, after: str, rows: Rows) -> None:
    assert [(row.name, row.now, row.then) for row in differences(path, before, after) or []] == rows


@pytest.mark.parametrize("path", ["/usr/local/bin/tool", "/etc/keepalived/keepalived.conf"])
def test_a_format_that_is_not_known_is_left_to_the_caller(path: str) -> None:
    assert differences(path, "a b\n", "a c\n") is None


def test_comments_are_no_settings() -> None:
    assert differences("/etc/redis/x.conf", "# one\na 1\n", "# two\na 1\n") is None


PATHS = ["/etc/nginx/x.conf", "/etc/haproxy/x.cfg", "/etc/php/8.4/x.ini", "/etc/mysql/x.cnf", "/etc/redis/x.conf"]


@given(st.sampled_from(PATHS), st.text(), st.text())
def test_no_text_breaks_a_parser_and_equal_texts_never_differ(path: str, before: str, after: str) -> None:
    assert differences(path, before, before) is None
    differences(path, before, after)


def test_every_format_is_tried() -> None:
    assert len({parse.__name__ for _pattern, parse in FORMATS}) == 4


def test_lines_that_go_and_come_are_counted() -> None:
    assert changed_lines("a\nb\nb\n", "a\nb\nc\nd\n") == (1, 2)


SECRETS = ["password", "requirepass", "masterauth", "auth_pass", "vrrp.auth_pass", "admin_token", "secret_key", "app.key", "Service.pass"]
HARMLESS = ["proxy_pass", "fastcgi_pass", "keepalive", "key_buffer_size", "server: proxy_pass", "bypass", "tokens"]


@pytest.mark.parametrize(("name", "is_hidden"), [*((n, True) for n in SECRETS), *((n, False) for n in HARMLESS)])
def test_which_names_sound_like_a_secret(name: str, is_hidden: bool) -> None:
    assert (hidden(Difference(name, "a", "b")).now == HIDDEN) is is_hidden
