# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx_lb writes, rendered by Ansible from the role's own defaults. nginx's own verdict is in molecule."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleError

from tests.unit.support.render import Fleet

APP1: dict[str, Any] = {"name": "app1", "address": "192.0.2.21", "state": "active"}
APP2: dict[str, Any] = {"name": "app2", "address": "192.0.2.22", "state": "active"}
APP3: dict[str, Any] = {"name": "app3", "address": "192.0.2.23", "state": "active"}
ALONE: dict[str, Any] = {
    "nginx_lb_upstream_servers": [APP1, APP2],
    "nginx_lb_tls_certificate": "the certificate\n",
    "nginx_lb_tls_key": "the key\n",
    "nginx_lb_worker_processes": 2,
    "nginx_lb_worker_connections": 1024,
}


def render(facts: Mapping[str, Any] | None = None, **variables: Any) -> dict[str, str]:
    return Fleet(vars=ALONE | variables, facts=facts).render_role("nginx_lb")


def app(**variables: Any) -> str:
    return render(**variables)["/etc/nginx/conf.d/app.conf"]


def directives(text: str, name: str) -> list[str]:
    return re.findall(rf"^\s*{name} (.*);$", text, flags=re.MULTILINE)


def test_the_role_works_alone_without_a_fleet() -> None:
    assert set(render()) == {
        "/etc/nginx/nginx.conf",
        "/etc/nginx/conf.d/app.conf",
        "/etc/nginx/conf.d/status.conf",
        "/etc/nginx/conf.d/upstream.conf",
        "/etc/nginx/tls/app.pem",
        "/etc/nginx/tls/app.key",
        "/etc/systemd/system/nginx.service.d/50-graphic_school.conf",
    }


def test_another_server_is_one_more_line() -> None:
    before, after = render(), render(nginx_lb_upstream_servers=[APP1, APP2, APP3])
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"/etc/nginx/conf.d/upstream.conf"}
    old, new = (files["/etc/nginx/conf.d/upstream.conf"].splitlines() for files in (before, after))
    assert [line for line in new if line not in old] == [
        "    server 192.0.2.23:80 max_fails=3 fail_timeout=5s; server 192.0.2.23:80 max_fails=0 backup;  # app3",
    ]
    assert [line for line in new if line in old] == old


def test_only_failures_that_did_nothing_are_retried_and_a_post_never_is() -> None:
    (retried,) = directives(app(), "proxy_next_upstream")
    assert set(retried.split()) == {"error", "timeout", "http_502"}


def test_an_unhealthy_application_takes_no_server_out() -> None:
    (retried,) = directives(app(), "proxy_next_upstream")
    assert "http_503" not in retried


def test_connections_to_the_servers_are_kept() -> None:
    text = app()
    assert directives(text, "proxy_http_version") == ["1.1"]
    assert "Connection $lb_connection" in directives(text, "proxy_set_header")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"])
def test_what_a_client_says_of_itself_is_overwritten(header: str) -> None:
    values = [value for value in directives(app(), "proxy_set_header") if value.startswith(header + " ")]
    assert len(values) == 1
    assert "proxy_add_x_forwarded_for" not in values[0]


def test_nobody_is_trusted_to_name_the_client_unless_told() -> None:
    assert "set_real_ip_from" not in render()["/etc/nginx/nginx.conf"]


def test_a_proxy_in_front_is_trusted_when_told() -> None:
    text = render(nginx_lb_trusted_proxies=["198.51.100.0/24", "2001:db8::/32"])["/etc/nginx/nginx.conf"]
    assert directives(text, "set_real_ip_from") == ["198.51.100.0/24", "2001:db8::/32"]
    assert directives(text, "real_ip_header") == ["X-Forwarded-For"]


def test_http3_is_offered_where_the_build_has_it() -> None:
    assert "443 quic default_server reuseport" in directives(app(), "listen")
    assert any("h3=" in value for value in directives(app(), "add_header"))


def test_an_older_nginx_speaks_http2_and_no_http3() -> None:
    text = render(facts={"distribution": "Ubuntu", "distribution_version": "24.04"})["/etc/nginx/conf.d/app.conf"]
    assert "443 ssl http2 default_server" in directives(text, "listen")
    assert "quic" not in text
    assert "h3=" not in text
    assert directives(text, "http2") == []


def test_ipv6_can_be_turned_off() -> None:
    assert not [value for value in directives(app(nginx_lb_ipv6_enabled=False), "listen") if value.startswith("[")]


def test_unknown_names_are_turned_away_when_names_are_given() -> None:
    text = app(nginx_lb_server_names=["school.example.com", "www.example.com"])
    assert directives(text, "server_name") == ["_", "school.example.com www.example.com", "_"]
    assert directives(text, "return") == ["301 https://$host$request_uri", "502", "421"]
    assert sum("reuseport" in value for value in directives(text, "listen")) == 2


def test_a_path_that_leads_elsewhere_is_that_path_only() -> None:
    text = app(nginx_lb_redirects={"/fleet/": "https://192.0.2.71/fleet/"})
    assert "    location = /fleet/ {\n        return 302 https://192.0.2.71/fleet/;\n    }\n    location / {\n" in text
    assert "return 302" not in app()


def test_a_certificate_of_somebody_else_is_not_written() -> None:
    files = render(
        nginx_lb_tls_certificate="",
        nginx_lb_tls_certificate_path="/etc/letsencrypt/live/x/fullchain.pem",
        nginx_lb_tls_key_path="/etc/letsencrypt/live/x/privkey.pem",
    )
    assert not [path for path in files if path.endswith((".pem", ".key"))]
    text = files["/etc/nginx/conf.d/app.conf"]
    assert directives(text, "ssl_certificate") == ["/etc/letsencrypt/live/x/fullchain.pem"]


def test_the_key_is_a_secret() -> None:
    (arguments,) = Fleet(vars=ALONE).converge_arguments("nginx_lb")
    (row,) = [row for row in arguments["files"] if row["path"].endswith(".key")]
    assert (row["mode"], row["secret"]) == ("0600", True)


def test_without_brotli_neither_its_package_nor_its_directives_are_used() -> None:
    fleet = Fleet(vars=ALONE | {"nginx_lb_brotli_enabled": False})
    (arguments,) = fleet.converge_arguments("nginx_lb")
    assert arguments["packages"] == ["nginx"]
    assert "brotli" not in fleet.render_role("nginx_lb")["/etc/nginx/nginx.conf"]


def test_ones_own_directives_win_and_stand_once() -> None:
    text = render(
        nginx_lb_http_options={"keepalive_timeout": "5s", "limit_req_zone": "$binary_remote_addr zone=a:1m rate=1r/s"}
    )
    conf = text["/etc/nginx/nginx.conf"]
    assert directives(conf, "keepalive_timeout") == ["5s"]
    assert directives(conf, "limit_req_zone") == ["$binary_remote_addr zone=a:1m rate=1r/s"]
    assert directives(app(nginx_lb_server_options={"proxy_read_timeout": None}), "proxy_read_timeout") == []


def test_an_option_that_breaks_out_is_refused() -> None:
    with pytest.raises(AnsibleError, match="nginx directive gzip has the value"):
        render(nginx_lb_http_options={"gzip": "on; include /tmp/x"})


def test_the_access_log_is_json_with_request_and_upstream() -> None:
    conf = render()["/etc/nginx/nginx.conf"]
    parts = re.search(r"log_format json escape=json\n(.*?);\n", conf, flags=re.DOTALL)
    assert parts
    line = "".join(re.findall(r"'(.*?)'", parts[1]))
    sample = re.sub(r"\$\w+", "1", line)
    assert {"request_id", "upstream", "upstream_addr", "upstream_status", "served_by"} <= set(json.loads(sample))


def test_hsts_can_be_left_out() -> None:
    assert '"" "max-age=31536000";' in render()["/etc/nginx/nginx.conf"]
    assert '"" "";' in render(nginx_lb_hsts_seconds=0)["/etc/nginx/nginx.conf"]


def test_a_check_without_a_certificate_does_not_ask_nginx() -> None:
    fleet = Fleet(vars=ALONE | {"nginx_lb_tls_certificate": "", "ansible_check_mode": True})
    assert fleet.converge_arguments("nginx_lb")[0]["validate"] == []
    fleet = Fleet(vars=ALONE | {"nginx_lb_tls_certificate": "", "ansible_check_mode": False})
    assert fleet.converge_arguments("nginx_lb")[0]["validate"] != []


def test_a_request_that_nobody_was_sent_meets_every_server_once_more() -> None:
    files = render()
    sent = re.compile(re.findall(r'"~(.+?)" 0;', files["/etc/nginx/nginx.conf"])[0])
    assert all(sent.match(bytes_sent) for bytes_sent in ("0", "-", "0, 0", "0, 0, -")), "refused, or nobody asked"
    assert not any(sent.match(bytes_sent) for bytes_sent in ("119", "0, 119", "119, 0", "10")), "somebody was sent something"
    upstream = files["/etc/nginx/conf.d/upstream.conf"]
    assert re.findall(r"^upstream (\S+) {", upstream, flags=re.MULTILINE) == ["app"]
    assert re.findall(r"server (\S+) max_fails=0 backup;", upstream) == ["192.0.2.21:80", "192.0.2.22:80"]
    again = files["/etc/nginx/conf.d/app.conf"].partition("location @any_server {")[2]
    assert directives(again, "proxy_pass") == ["http://app"]
    assert directives(again, "proxy_next_upstream_tries") == ["0"]


@pytest.mark.parametrize("method", ["ip_hash", "hash", "random_two"])
def test_where_nginx_takes_no_backups_the_second_try_has_a_list_of_its_own(method: str) -> None:
    key = {"nginx_lb_upstream_hash_key": "$request_uri"} if method == "hash" else {}
    files = render(nginx_lb_upstream_method=method, **key)
    first, again = files["/etc/nginx/conf.d/upstream.conf"].split("upstream app_any {")
    assert re.findall(r"server (\S+) max_fails=3 fail_timeout=5s;", first) == ["192.0.2.21:80", "192.0.2.22:80"]
    assert re.findall(r"server (\S+) max_fails=0", again) == ["192.0.2.21:80", "192.0.2.22:80"]
    assert "backup" not in first + again
    assert directives(files["/etc/nginx/conf.d/app.conf"], "proxy_pass") == ["http://app", "http://app_any"]
