# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keepalived's configuration says, rendered by Ansible from the role's own defaults."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError

from plugins.module_utils.handover import Shared, shared_from
from tests.unit.support.render import Fleet

LB1: dict[str, Any] = {"name": "host1", "address": "192.0.2.11", "state": "active"}
LB2: dict[str, Any] = {"name": "lb2", "address": "192.0.2.12", "state": "active"}
ALONE: dict[str, Any] = {"keepalived_servers": [LB1, LB2], "keepalived_virtual_address": "192.0.2.10"}


def conf(**variables: Any) -> str:
    return Fleet(vars=ALONE | variables).render_role("keepalived")["/etc/keepalived/keepalived.conf"]


def value(text: str, name: str) -> str:
    found = re.findall(rf"^\s*{name} (.*)$", text, flags=re.MULTILINE)
    assert len(found) == 1, f"{name}: {found}"
    return str(found[0])


def block(text: str, name: str) -> list[str]:
    found = re.search(rf"^\s*{name} {{\n(.*?)^\s*}}", text, flags=re.MULTILINE | re.DOTALL)
    return found[1].split() if found else []


def test_adverts_go_to_the_peers_alone() -> None:
    text = conf()
    assert block(text, "unicast_peer") == ["192.0.2.12"]
    assert value(text, "unicast_src_ip") == "192.0.2.11"


def test_a_single_balancer_holds_the_address_without_peers() -> None:
    text = conf(keepalived_servers=[LB1])
    # keepalived --config-test fails on any of these words when there is no peer.
    assert not re.search(r"^\s*unicast_(peer|src_ip)", text, flags=re.MULTILINE)
    assert value(text, "mcast_src_ip") == "192.0.2.11"
    assert block(text, "virtual_ipaddress") == ["192.0.2.10/32"]
    assert "mcast_src_ip" not in conf()


@pytest.mark.parametrize(
    ("address", "written"), [("192.0.2.10", "192.0.2.10/32"), ("2001:db8::10", "2001:db8::10/128")]
)
def test_the_address_is_a_hosts_not_a_networks(address: str, written: str) -> None:
    assert block(conf(keepalived_virtual_address=address), "virtual_ipaddress") == [written]


def test_a_draining_balancer_hands_over_by_its_priority() -> None:
    active, draining = conf(), conf(keepalived_servers=[LB1 | {"state": "draining"}, LB2])
    assert int(value(draining, "priority")) < int(value(active, "priority"))


def test_adverts_of_less_than_a_second_use_version_3() -> None:
    text = conf()
    assert float(value(text, "advert_int")) < 1
    assert value(text, "vrrp_version") == "3"


def test_the_script_is_given_longer_than_the_check_itself() -> None:
    assert float(value(conf(keepalived_check_timeout_seconds=1.5), "timeout")) > 1.5


def test_the_check_asks_where_nginx_answers() -> None:
    script = Fleet(vars=ALONE | {"keepalived_check_port": 9999, "keepalived_check_path": "/well"}).render_role(
        "keepalived"
    )
    assert "/dev/tcp/127.0.0.1/9999" in script["/etc/keepalived/nginx_alive"]
    assert "GET /well HTTP/1.0" in script["/etc/keepalived/nginx_alive"]


def test_keepaliveds_check_and_nginxs_answer_agree_by_default() -> None:
    fleet = Fleet(vars=ALONE)
    nginx = {
        "nginx_lb_upstream_servers": [LB2],
        "nginx_lb_tls_certificate": "x",
        "nginx_lb_tls_key": "x",
        "nginx_lb_worker_processes": 1,
        "nginx_lb_worker_connections": 512,
    }
    status = fleet.render_role("nginx_lb", vars=nginx)["/etc/nginx/conf.d/status.conf"]
    script = fleet.render_role("keepalived")["/etc/keepalived/nginx_alive"]
    asked = re.search(r"/dev/tcp/(.*?)/(\d+).*GET (\S+)", script, flags=re.DOTALL)
    assert asked
    assert f"listen {asked[1]}:{asked[2]};" in status
    assert f"location = {asked[3]} {{" in status


def test_a_host_that_is_no_balancer_is_refused_by_name() -> None:
    with pytest.raises(AnsibleError, match="host1 is not among the load balancers"):
        conf(keepalived_servers=[LB2])


def test_the_address_can_be_given_away(tmp_path: Path) -> None:
    files = Fleet(vars=ALONE).render_role("keepalived")
    settings = json.loads(files["/etc/graphic_school/handover.json"])
    assert shared_from(settings) == Shared("192.0.2.10", "192.0.2.11", "eth0", ("192.0.2.12",), (80, 443), 8112, 600)
    assert "ip saddr { 192.0.2.12 } udp dport 8112 " in files["/etc/graphic_school/pass-on.nft"]
    unit = files["/etc/systemd/system/graphic_school-handover.service"]
    module = re.search(r"^ExecStart=/usr/bin/python3 -m (\S+) /etc/graphic_school/handover.json$", unit, flags=re.MULTILINE)
    assert module
    for path, text in files.items():
        if path.startswith("/usr/local/lib/"):
            shipped = tmp_path / path.removeprefix("/usr/local/lib/")
            shipped.parent.mkdir(exist_ok=True)
            shipped.write_text(text)
    # Everything that it needs is there.
    subprocess.run([sys.executable, "-c", f"import {module[1]}.__main__"], cwd=tmp_path, check=True, timeout=60)


def test_a_balancer_alone_has_nobody_to_give_it_to() -> None:
    files = Fleet(vars=ALONE | {"keepalived_servers": [LB1]}).render_role("keepalived")
    assert json.loads(files["/etc/graphic_school/handover.json"])["peers"] == []
    assert "dup" not in files["/etc/graphic_school/pass-on.nft"]
