# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application server is told, rendered from the lab's inventory through Ansible itself."""

from __future__ import annotations

import functools
import json
import re

import pytest

from tests.unit.support.render import Fleet

FLEET = "inventories/lab"
# A checkout has no secrets until `make demo` makes them.
SECRETS = {
    f"vault_{name}": f"made-up-{name.replace('_', '-')}"
    for name in ("app_key", "mysql_app_password", "redis_app_password", "s3_access_key", "s3_secret_key")
}


@functools.cache
def files(role: str, host: str = "app1") -> dict[str, str]:
    return dict(Fleet(FLEET, vars=SECRETS).render_role(role, host=host))


def seconds(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"no line {pattern}"
    return int(found[1])


@functools.cache
def addresses(tier: str) -> tuple[str, ...]:
    return tuple(server["address"] for server in Fleet(FLEET).value(f"fleet.{tier}", host="app1"))


def test_only_the_balancers_and_this_host_are_believed() -> None:
    site = files("app_server")["/etc/nginx/conf.d/app.conf"]
    vip = Fleet(FLEET).value("fleet.vip", host="app1")
    believed = set(re.findall(r"set_real_ip_from (\S+);", site))
    assert believed == {*addresses("load_balancers"), vip, "127.0.0.1", "::1"}
    assert set(re.findall(r"^    (\S+) 1;$", site, re.MULTILINE)) == believed, "the same hosts for address and scheme"


def test_php_reads_no_forwarding_header() -> None:
    site = files("app_server")["/etc/nginx/conf.d/app.conf"]
    for name in ("X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "FORWARDED", "PROXY"):
        assert f'fastcgi_param HTTP_{name} "" if_not_empty;' in site


def test_each_location_with_a_header_of_its_own_repeats_the_servers() -> None:
    site = files("app_server")["/etc/nginx/conf.d/app.conf"]
    for block in re.findall(r"location [^{]+\{(.*?)\n    \}", site, re.DOTALL):
        if "add_header" in block:
            assert "add_header X-Served-By" in block
            assert "add_header X-Release" in block


def test_nobody_in_the_chain_gives_up_before_the_one_behind() -> None:
    fpm = files("php_fpm")
    pool = fpm["/etc/php/8.4/fpm/pool.d/school.conf"]
    request = seconds(r"^request_terminate_timeout = (\d+)s$", pool)
    assert seconds(r"fastcgi_read_timeout (\d+)s;", files("app_server")["/etc/nginx/conf.d/app.conf"]) > request
    reload = seconds(r"^process_control_timeout = (\d+)s$", fpm["/etc/php/8.4/fpm/php-fpm.conf"])
    assert reload > request, "a reload must not cut off a request"
    stop = seconds(r"^TimeoutStopSec=(\d+)$", fpm["/etc/systemd/system/php8.4-fpm.service.d/graphic_school.conf"])
    assert stop > reload


def test_nginx_asks_the_socket_on_which_php_listens() -> None:
    listen = re.search(r"^listen = (\S+)$", files("php_fpm")["/etc/php/8.4/fpm/pool.d/school.conf"], re.MULTILINE)
    assert listen
    assert f"fastcgi_pass unix:{listen[1]};" in files("app_server")["/etc/nginx/conf.d/app.conf"]


def test_the_pool_is_as_large_as_the_host_allows() -> None:
    children = Fleet(FLEET).value("capacity.php_fpm_children.value", host="app1")
    assert f"pm.max_children = {children}\n" in files("php_fpm")["/etc/php/8.4/fpm/pool.d/school.conf"]


@pytest.mark.parametrize("host", ["app1", "worker1"])
def test_the_application_learns_its_fleet(host: str) -> None:
    settings = files("app_release", host)["/srv/school/shared/.env"].splitlines()
    wanted = ["DB_WRITE_HOST=127.0.0.1", "DB_READ_HOST=127.0.0.1", "SESSION_DRIVER=redis", "FILESYSTEM_DISK=s3", f"FLEET_SERVER={host}"]
    assert not [line for line in wanted if line not in settings]
    assert f"REDIS_CLUSTER=redis://{addresses('redis_cluster')[0]}:6379," in "\n".join(settings)
    overlay = json.loads(files("app_release", host)["/srv/school/shared/fleet.json"])["set"]
    assert {node["host"] for node in overlay["database.redis.clusters"]["default"]} == set(addresses("redis_cluster"))
    assert overlay["database.connections.mysql.read"]["port"] != overlay["database.connections.mysql.write"]["port"]


def test_jobs_and_cache_lie_in_different_pools() -> None:
    clusters = json.loads(files("app_release")["/srv/school/shared/fleet.json"])["set"]["database.redis.clusters"]
    ports = {name: {node["port"] for node in nodes} for name, nodes in clusters.items()}
    assert not ports["default"] & ports["cache"]
