# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus asks follows from the fleet; what a host runs follows from its tiers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugins.module_utils.monitoring import (
    HARDENED,
    MonitoringError,
    beside,
    exporters,
    files,
    jobs,
    layout,
    page_data,
    probes,
    targets,
)

NODE = {"name": "node", "port": 9100, "tiers": ["all"]}
MYSQLD = {"name": "mysqld", "port": 9104, "tiers": ["mysql"]}
REDIS = {"name": "redis", "port": 9121, "tiers": ["redis_cluster"], "path": "/scrape"}
BLACKBOX = {"name": "blackbox", "port": 9115, "tiers": ["monitoring"], "path": "/probe", "seconds": 10}
LOGIN = {"username": "prometheus", "password_file": "/etc/prometheus/scrape_password"}


def host(name: str, address: str, *tiers: str, state: str = "active") -> dict[str, Any]:
    return {
        "name": name,
        "address": address,
        "tiers": list(tiers),
        "state": state,
        "memory_mb": 1024,
        "vcpus": 2,
        "weight": 1,
    }


def fleet(*hosts: dict[str, Any]) -> dict[str, Any]:
    return {"vip": "192.0.2.10", "hosts": {row["name"]: row for row in hosts}}


def group(target: str, **labels: str) -> dict[str, Any]:
    return {"targets": [target], "labels": labels}


# --- what is asked ------------------------------------------------------------------------------------------------


def test_every_host_of_a_tier_is_asked_with_its_name_and_its_first_tier() -> None:
    both = fleet(host("db1", "192.0.2.31", "mysql"), host("tiny", "192.0.2.9", "queue_workers", "redis_cluster"))
    assert targets(both, exporters([NODE, MYSQLD])) == {
        "node": [
            group("192.0.2.31:9100", host="db1", tier="mysql"),
            group("192.0.2.9:9100", host="tiny", tier="queue_workers"),
        ],
        "mysqld": [group("192.0.2.31:9104", host="db1", tier="mysql")],
    }


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        pytest.param("active", True, id="a host that serves is asked"),
        pytest.param("draining", True, id="so is one on its way out"),
        pytest.param("standby", True, id="and one that stands by"),
        pytest.param("down", False, id="one that is gone is not"),
    ],
)
def test_hosts_that_are_gone_are_not_asked(state: str, asked: bool) -> None:
    found = targets(fleet(host("app1", "192.0.2.21", "app_servers", state=state)), exporters([NODE]))
    assert bool(found["node"]) is asked


def test_an_ipv6_address_gets_its_brackets() -> None:
    (one,) = targets(fleet(host("app1", "2001:db8::21", "app_servers")), exporters([NODE]))["node"]
    assert one["targets"] == ["[2001:db8::21]:9100"]


def test_a_host_of_no_tier_has_no_label_for_one() -> None:
    (one,) = targets(fleet(host("bastion", "192.0.2.5")), exporters([NODE]))["node"]
    assert one["labels"] == {"host": "bastion"}


def test_each_redis_instance_is_asked_through_the_exporter_of_its_host() -> None:
    found = targets(
        fleet(host("redis1", "192.0.2.41", "redis_cluster")),
        exporters([REDIS]),
        redis_ports={"durable": [6379, 6380], "cache": [6389]},
    )
    assert [(one["targets"], one["labels"]["pool"], one["labels"]["__param_target"]) for one in found["redis"]] == [
        (["192.0.2.41:9121"], "durable", "redis://192.0.2.41:6379"),
        (["192.0.2.41:9121"], "durable", "redis://192.0.2.41:6380"),
        (["192.0.2.41:9121"], "cache", "redis://192.0.2.41:6389"),
    ]
    assert len({one["labels"]["instance"] for one in found["redis"]}) == 3


def test_a_probe_carries_the_labels_of_the_host_that_it_is_about() -> None:
    both = fleet(host("app1", "192.0.2.21", "app_servers"), host("mon1", "192.0.2.71", "monitoring"))
    rows = probes([both["hosts"]["app1"]], "http", {"live": "/up", "health": "/api/health"}, "application")
    assert [
        (one["targets"], one["labels"]) for one in targets(both, exporters([BLACKBOX]), probes=rows)["blackbox"]
    ] == [
        (
            ["192.0.2.71:9115"],
            {
                "host": "app1",
                "tier": "app_servers",
                "instance": f"http://192.0.2.21{path}",
                "probe": probe,
                "__param_target": f"http://192.0.2.21{path}",
                "__param_module": "application",
            },
        )
        for probe, path in (("live", "/up"), ("health", "/api/health"))
    ]


def test_a_probe_of_a_host_that_is_gone_is_left_out() -> None:
    both = fleet(host("app1", "192.0.2.21", "app_servers", state="down"), host("mon1", "192.0.2.71", "monitoring"))
    rows = probes([both["hosts"]["app1"]], "http", {"live": "/up"}, "application")
    assert targets(both, exporters([BLACKBOX]), probes=rows) == {"blackbox": []}


def test_a_probe_of_an_unknown_host_is_refused_by_name() -> None:
    with pytest.raises(MonitoringError, match="a probe is for host app9, which the inventory does not have"):
        targets(
            fleet(host("mon1", "192.0.2.71", "monitoring")),
            exporters([BLACKBOX]),
            probes=[{"host": "app9", "url": "http://192.0.2.29/", "module": "application"}],
        )


def test_what_runs_beside_prometheus_is_told_apart_by_its_host() -> None:
    assert beside({"prometheus": "127.0.0.1:9090", "alertmanager": ""}, "mon1") == {
        "prometheus": [group("127.0.0.1:9090", host="mon1", tier="monitoring", instance="mon1:9090")]
    }


def test_jobs_log_in_where_they_are_asked_to_and_look_into_their_own_file() -> None:
    open_row = NODE | {"name": "open", "login": False}
    assert jobs(exporters([BLACKBOX, open_row]), ["prometheus"], LOGIN) == [
        {
            "job_name": "blackbox",
            "metrics_path": "/probe",
            "basic_auth": LOGIN,
            "scrape_interval": "10s",
            "file_sd_configs": [{"files": ["/etc/prometheus/targets/blackbox.json"]}],
        },
        {
            "job_name": "open",
            "metrics_path": "/metrics",
            "file_sd_configs": [{"files": ["/etc/prometheus/targets/open.json"]}],
        },
        {"job_name": "prometheus", "file_sd_configs": [{"files": ["/etc/prometheus/targets/prometheus.json"]}]},
    ]


def test_a_file_holds_data_or_a_text_as_it_is() -> None:
    one, two = files({"b": "groups: []\n", "a": [{"targets": []}]}, "/etc/prometheus/rules/", ".yml")
    assert (one["path"], json.loads(one["content"])) == ("/etc/prometheus/rules/a.yml", [{"targets": []}])
    assert two == {"path": "/etc/prometheus/rules/b.yml", "content": "groups: []\n"}


def test_the_page_is_told_of_hosts_and_nothing_more() -> None:
    told = page_data(fleet(host("db1", "192.0.2.31", "mysql")))
    assert told == {
        "vip": "192.0.2.10",
        "hosts": [
            {
                "name": "db1",
                "address": "192.0.2.31",
                "tiers": ["mysql"],
                "state": "active",
                "memory_mb": 1024,
                "vcpus": 2,
            }
        ],
    }


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_further_row_takes_the_place_of_its_namesake() -> None:
    found = exporters(
        [NODE, MYSQLD], [NODE | {"port": 19100}, {"name": "memcached", "port": 9150, "tiers": ["app_servers"]}]
    )
    assert [(one.name, one.port) for one in found] == [("node", 19100), ("mysqld", 9104), ("memcached", 9150)]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        pytest.param({"name": "no de"}, "name of an exporter must be a word", id="a name with a space"),
        pytest.param({"name": "node", "prot": 1}, r"unknown key 'prot' \(did you mean port\?\)", id="a misspelt key"),
        pytest.param(
            NODE | {"port": "ninety"},
            "port of exporter node must be a number from 1 to 65535, not: ninety",
            id="no number",
        ),
        pytest.param(NODE | {"port": 70000}, "not: 70000", id="a port that is none"),
        pytest.param(NODE | {"tiers": []}, r"tiers of exporter node must be a list of tiers, or \[all\]", id="no tier"),
        pytest.param(
            NODE | {"tiers": ["databases"]},
            "for the tier 'databases', which is none; the tiers are",
            id="an unknown tier",
        ),
        pytest.param(
            NODE | {"path": "metrics"}, "path of exporter node must begin with /", id="a path without a slash"
        ),
    ],
)
def test_a_row_that_cannot_be_is_refused(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MonitoringError, match=sentence):
        exporters([row])


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(MonitoringError, match="names node twice"):
        exporters([NODE, NODE])


# --- what a host runs ---------------------------------------------------------------------------------------------

PROGRAMS: dict[str, dict[str, Any]] = {
    "node": {"package": "prometheus-node-exporter", "arguments": ["--collector.x=^(a|b)$"]},
    "mysqld": {"package": "prometheus-mysqld-exporter", "files": ["/etc/my.cnf"]},
}


def run(
    programs: dict[str, dict[str, Any]], *tiers: str, rows: tuple[dict[str, Any], ...] = (NODE, MYSQLD)
) -> dict[str, Any]:
    return layout(exporters(rows), programs, tiers, "192.0.2.31")


def units(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["vars"]["unit"]["name"]: row["vars"]["unit"] for row in found["files"] if "unit" in row.get("vars", {})}


def test_a_host_runs_what_its_tiers_need_and_stops_the_rest() -> None:
    found = run(PROGRAMS, "redis_cluster")
    assert found["packages"] == ["prometheus-node-exporter"]
    states = {row["name"]: row.get("state", "started") for row in found["services"]}
    assert states == {"prometheus-node-exporter": "started", "prometheus-mysqld-exporter": "stopped"}


def test_an_exporter_listens_on_the_fleets_address_and_asks_for_a_login() -> None:
    command = units(run(PROGRAMS, "mysql"))["mysqld"]["command"]
    assert "--web.listen-address=192.0.2.31:9104" in command
    assert "--web.config.file=/etc/graphic_school/exporter/web.yml" in command


def test_what_systemd_would_read_in_an_argument_is_doubled() -> None:
    assert units(run(PROGRAMS, "mysql"))["node"]["command"].endswith("--collector.x=^(a|b)$$")


def test_an_exporter_that_knows_no_login_stays_on_loopback_behind_a_web_server() -> None:
    found = run({"mysqld": PROGRAMS["mysqld"] | {"login": "front"}}, "mysql")
    command = units(found)["mysqld"]["command"]
    assert "--web.listen-address=127.0.0.1:19104" in command
    assert "web.config" not in command
    (front,) = [row for row in found["files"] if row["path"] == "/etc/nginx/conf.d/exporters.conf"]
    assert front["vars"]["fronts"] == [{"name": "mysqld", "listen": "192.0.2.31:9104", "port": 19104}]
    assert found["validate"] == [{"trees": ["/etc/nginx"], "command": ["nginx", "-t"]}]
    (nginx,) = [row for row in found["services"] if row["name"] == "nginx"]
    assert {front["path"], "/etc/nginx/exporters.htpasswd"} == {*nginx["reload_on"]}


def test_a_host_whose_exporters_all_know_a_login_needs_no_web_server() -> None:
    found = run(PROGRAMS, "mysql")
    assert found["validate"] == []
    assert "nginx" not in str(found)


def test_secrets_are_in_a_file_and_never_on_the_command_line() -> None:
    found = run(
        {"mysqld": PROGRAMS["mysqld"] | {"login": "environment", "secrets": {"B": 'a "b"', "A": "plain"}}}, "mysql"
    )
    assert [row for row in found["files"] if "content" in row] == [
        {
            "path": "/etc/graphic_school/exporter/mysqld.env",
            "content": 'A=plain\nB="a \\"b\\""\n',
            "mode": "0600",
            "secret": True,
        },
    ]
    assert "plain" not in str([row for row in found["files"] if "template" in row])
    assert "/etc/graphic_school/exporter/mysqld.env" in found["services"][0]["restart_on"]


def test_a_program_of_ones_own_gets_a_unit_of_its_own() -> None:
    row = {"name": "laravel", "port": 9210, "tiers": ["queue_workers"]}
    found = run(
        {"laravel": {"command": ["/usr/local/bin/laravel"], "login": "environment"}}, "queue_workers", rows=(row,)
    )
    unit = units(found)["laravel"]
    assert (unit["path"], unit["whole"]) == ("/etc/systemd/system/fleet-exporter-laravel.service", True)
    assert unit["command"] == "/usr/local/bin/laravel --web.listen-address=192.0.2.31:9210"
    assert found["packages"] == []


def test_a_row_loosens_what_it_needs_and_keeps_the_rest_tight() -> None:
    settings = units(run({"node": PROGRAMS["node"] | {"unit": {"ProtectProc": "default"}}}, "mysql"))["node"][
        "settings"
    ]
    assert settings == {**HARDENED, "ProtectProc": "default"}


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        pytest.param({}, "needs exactly one of package and command", id="neither package nor command"),
        pytest.param({"package": "a", "command": ["b"]}, "needs exactly one of package and command", id="both"),
        pytest.param(
            {"package": "a", "argument": []},
            r"unknown key 'argument' \(did you mean arguments\?\)",
            id="a misspelt key",
        ),
        pytest.param(
            {"package": "a", "login": "token"}, "login of the exporter node must be one of", id="an unknown login"
        ),
        pytest.param(
            {"package": "a", "arguments": ["a\nb"]}, "must be on one line", id="an argument that would begin a new line"
        ),
    ],
)
def test_a_program_that_cannot_be_is_refused(program: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MonitoringError, match=sentence):
        run({"node": program}, "mysql")
