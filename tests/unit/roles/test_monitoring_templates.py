# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles that watch, and those that are watched, write: rendered by Ansible. promtool's and nginx' verdict is in converge."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.support.render import Fleet

SECRETS: dict[str, Any] = {
    f"vault_{name}": f"the-{name.replace('_', '-')}"
    for name in (
        "app_key", "autoscaler_token", "monitoring_scrape_password", "monitoring_web_password", "mysql_app_password",
        "mysql_metrics_password", "mysql_replication_password", "redis_admin_password", "redis_app_password",
        "redis_metrics_password", "redis_queues_password", "redis_replication_password", "s3_access_key", "s3_secret_key",
    )
} | {"fleet_secrets_dir": "/nonexistent", "lab_debian_mirror": "http://mirror.example.com/debian"} | dict.fromkeys(
    ("mysql_tls_ca", "mysql_tls_certificate", "mysql_tls_key"), ""
)  # fmt: skip
TARGETS = "/etc/prometheus/targets/"
READS = ("query", "query_range", "series", "labels", "label/job/values", "alerts", "rules")
WRITES = (
    "admin/tsdb/delete_series",
    "targets",
    "status/config",
    "status/flags",
    "query/../admin",
    "label/a b/values",
    "format_query",
)


@functools.cache
def lab() -> Fleet:
    return Fleet("inventories/lab", vars=SECRETS)


@functools.cache
def on(host: str, role: str = "exporter") -> dict[str, str]:
    return lab().render_role(role, host)


def extra(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "extra.yml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def asked(files: dict[str, str], job: str) -> dict[str, str]:
    """Host to target of a job."""
    return {row["labels"]["host"]: row["targets"][0] for row in json.loads(files[f"{TARGETS}{job}.json"])}


def units(host: str) -> dict[str, str]:
    """Exporter → its unit or drop-in."""
    pattern = r"/(?:prometheus-(\w+)-exporter.service.d/|fleet-exporter-([\w-]+).service)"
    found = {path: re.search(pattern, path) for path in on(host)}
    return {(name[1] or name[2]).replace("-", "_"): on(host)[path] for path, name in found.items() if name}


# --- exporters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        pytest.param("lb1", {"node", "process", "nginx", "balancer_log"}, id="a balancer"),
        pytest.param("app1", {"node", "process", "nginx", "phpfpm"}, id="an application server"),
        pytest.param("db1", {"node", "process", "mysqld"}, id="a database"),
        pytest.param("redis1", {"node", "process", "redis"}, id="a Redis host"),
        pytest.param("worker1", {"node", "process", "laravel"}, id="a worker"),
        pytest.param("store1", {"node", "process"}, id="the store"),
        pytest.param("mon1", {"node", "process", "nginx", "blackbox"}, id="who watches"),
    ],
)
def test_each_tier_has_its_exporters(host: str, wanted: set[str]) -> None:
    assert {*units(host)} == wanted


def test_no_exporter_listens_everywhere_and_each_asks_for_a_login() -> None:
    for host in lab().hosts:
        address = lab().value(f"fleet.hosts['{host}'].address")
        for name, text in units(host).items():
            (listen,) = re.findall(r"--web.listen-address=(\S+):\d+", text)
            assert listen == ("127.0.0.1" if name == "phpfpm" else address)
            guarded = "--web.config.file=" in text or f"EnvironmentFile=/etc/graphic_school/exporter/{name}.env" in text
            assert guarded or name == "phpfpm", f"{name} on {host} answers anybody"
    assert "auth_basic_user_file" in on("app1")["/etc/nginx/conf.d/exporters.conf"]


def test_no_secret_is_on_a_command_line() -> None:
    for host in lab().hosts:
        assert [
            path
            for path, text in on(host).items()
            if path.startswith("/etc/systemd/") and "the-" in text.replace("the-way", "")
        ] == []


def test_only_hosts_that_need_a_secret_get_it() -> None:
    for name, hosts in (
        ("the-mysql-metrics-password", "db"), ("the-redis-metrics-password", "redis"), ("the-redis-queues-password", "worker"),
    ):  # fmt: skip
        assert {host for host in lab().hosts if name in "".join(on(host).values())} == {
            host for host in lab().hosts if host.startswith(hosts)
        }


def test_the_same_password_has_the_same_hash_at_each_run_and_another_on_each_host() -> None:
    path = "/etc/graphic_school/exporter/web.yml"
    fleets = [Fleet("inventories/lab", vars=SECRETS) for _turn in range(3)]
    hashes = [fleet.render_role("exporter", host)[path] for fleet, host in zip(fleets, ("lb1", "lb1", "lb2"), strict=True)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert "$2b$" in hashes[0]


def test_redis_is_asked_nothing_that_shows_its_passwords() -> None:
    assert "--config-command=-" in units("redis1")["redis"]


def test_a_further_exporter_is_two_rows(tmp_path: Path) -> None:
    rows = {
        "monitoring_exporters_extra": [{"name": "memcached", "port": 9150, "tiers": ["object_storage"]}],
        "exporter_programs": {"memcached": {"package": "prometheus-memcached-exporter"}},
    }
    fleet = Fleet("inventories/lab", vars=SECRETS | rows)
    (arguments,) = fleet.converge_arguments("exporter", "store1")
    assert "prometheus-memcached-exporter" in arguments["parts"][0]["packages"]
    assert asked(fleet.render_role("prometheus", "mon1"), "memcached") == {"store1": "198.18.10.61:9150"}


# --- what is watched ----------------------------------------------------------------------------------------------


def test_haproxy_tells_prometheus_and_nobody_else() -> None:
    text = on("app1", "db_router")["/etc/haproxy/haproxy.cfg"]
    frontend = text[text.index("frontend metrics") :]
    assert "bind 198.18.10.21:9101" in frontend
    assert frontend.index("http-request auth") < frontend.index("use-service prometheus-exporter")
    assert "the-monitoring-scrape-password" not in text


def test_the_metrics_user_of_mysql_can_read_no_application_table() -> None:
    (user,) = [row for row in lab().value("__mysql_users", "db1", role="mysql") if row["name"] == "metrics"]
    assert user["host"] == "localhost"
    assert user["privileges"] == {"*.*": ["PROCESS", "REPLICATION CLIENT"], "performance_schema.*": ["SELECT"]}


def test_the_metrics_user_of_redis_can_touch_no_key() -> None:
    (text, *others) = [text for path, text in on("redis1", "redis_cluster").items() if path.endswith(".acl")]
    (line,) = [line for line in text.splitlines() if "user metrics " in line]
    assert all(line in other for other in others)
    assert "~" not in line
    assert not re.search(r"\+@|\+get|\+config|\+client(?!\|setname)|\+monitor|\+slowlog(?!\|len)", line)


def test_who_looks_into_the_queues_reads_them_and_nothing_else() -> None:
    texts = [text for path, text in on("redis1", "redis_cluster").items() if path.endswith(".acl")]
    (rules,) = {line.split(" ", 5)[5] for text in texts for line in text.splitlines() if "user queues " in line}
    assert rules == "~*queues:* +ping +cluster|slots +llen +lindex +lpos +zcard +zrange"
    told = json.loads(on("worker1")["/etc/graphic_school/exporter/laravel.json"])
    assert told["redis"]["user"] == "queues"
    assert "the-redis-app-password" not in "".join(on("worker1").values())


@pytest.mark.parametrize("role", ["mysql", "redis_cluster", "db_router"])
def test_without_somebody_who_watches_nothing_is_there_to_be_watched(role: str) -> None:
    secrets = {name: value for name, value in SECRETS.items() if not re.search("metrics|monitoring|queues", name)}
    fleet = Fleet("inventories/lab", vars=secrets | {"fleet_groups": {"monitoring": None}})
    host = {"mysql": "db1", "redis_cluster": "redis1", "db_router": "app1"}[role]
    texts = "".join(fleet.render_role(role, host).values())
    assert "user metrics" not in texts
    assert "user queues" not in texts
    assert "userlist metrics" not in texts
    assert "metrics" not in str(fleet.value("__mysql_users", "db1", role="mysql"))


def test_the_ports_of_redis_are_those_that_its_role_lays_out() -> None:
    pools = lab().value("__redis_cluster_pools_layout.pools", "redis1", role="redis_cluster")
    laid_out = {pool["name"]: sorted({int(one["port"]) for one in pool["instances"]}) for pool in pools}
    assert lab().value("monitoring_redis_ports", "mon1", role="prometheus") == laid_out


# --- who watches --------------------------------------------------------------------------------------------------


def test_a_new_host_is_asked_and_nothing_else_changes(tmp_path: Path) -> None:
    more = extra(tmp_path, {"app_servers": {"hosts": {"app9": {"ansible_host": "198.18.10.29"}}}})
    before = on("mon1", "prometheus")
    after = Fleet("inventories/lab", extra_inventories=[more], vars=SECRETS).render_role("prometheus", "mon1")
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == {
        f"{TARGETS}{job}.json" for job in ("node", "process", "nginx", "phpfpm", "haproxy", "blackbox")
    } | {"/var/lib/graphic_school/fleet/fleet.json"}
    assert asked(after, "node")["app9"] == "198.18.10.29:9100"


def test_every_job_is_asked_where_its_exporter_listens() -> None:
    files = on("mon1", "prometheus")
    for job in ("node", "process", "nginx", "mysqld", "laravel", "balancer_log"):
        for host, target in asked(files, job).items():
            assert f"--web.listen-address={target} " in units(host)[job] + " "
    assert all(
        f"listen {target};" in on(host)["/etc/nginx/conf.d/exporters.conf"]
        for host, target in asked(files, "phpfpm").items()
    )
    assert all(
        f"bind {target}\n" in on(host, "db_router")["/etc/haproxy/haproxy.cfg"]
        for host, target in asked(files, "haproxy").items()
    )


def test_a_dead_host_is_noticed_within_fifteen_seconds() -> None:
    config = yaml.safe_load(on("mon1", "prometheus")["/etc/prometheus/prometheus.yml"])
    seconds = [
        int(config["global"][key].rstrip("s")) for key in ("scrape_interval", "scrape_timeout", "evaluation_interval")
    ]
    assert sum(seconds) <= 15


def test_prometheus_and_alertmanager_stay_on_loopback() -> None:
    unit = on("mon1", "prometheus")["/etc/systemd/system/prometheus.service.d/graphic_school.conf"]
    assert "--web.listen-address=127.0.0.1:9090" in unit
    assert "lifecycle" not in unit
    assert "admin-api" not in unit
    unit = on("mon1", "alertmanager")["/etc/systemd/system/prometheus-alertmanager.service.d/graphic_school.conf"]
    assert re.search(r"--web.listen-address=127.0.0.1:9093 --cluster.listen-address=$", unit, re.MULTILINE)


def api_location() -> tuple[str, str]:
    text = on("mon1", "prometheus")["/etc/nginx/conf.d/fleet.conf"]
    found = re.search(r"location ~ (\S+) \{\n(.*?)\n    \}\n", text, re.DOTALL)
    assert found is not None
    return found[1], found[2]


def test_the_page_reads_and_no_more() -> None:
    pattern, body = api_location()
    assert [path for path in READS if not re.fullmatch(pattern, f"/fleet/api/v1/{path}")] == []
    assert [path for path in WRITES if re.search(pattern, f"/fleet/api/v1/{path}")] == []
    assert re.search(r"limit_except GET \{\s*deny all;", body)


def test_all_of_the_page_is_behind_the_login_and_tls() -> None:
    text = on("mon1", "prometheus")["/etc/nginx/conf.d/fleet.conf"]
    plain, tls = text.split("server {")[1:]
    assert "return 301 https://" in plain
    assert "listen 443 ssl" in tls
    assert tls.index("auth_basic fleet;") < tls.index("location")
    assert "auth_basic off" not in text
    assert "the-monitoring-web-password" not in "".join(on("mon1", "prometheus").values())


def test_the_pages_data_is_what_the_inventory_says() -> None:
    told = json.loads(on("mon1", "prometheus")["/var/lib/graphic_school/fleet/fleet.json"])
    assert told["vip"] == "198.18.10.10"
    assert [host["name"] for host in told["hosts"]] == lab().hosts
    assert {"name", "address", "tiers", "state", "memory_mb", "vcpus"} == {
        key for host in told["hosts"] for key in host
    }


def alertmanager(**variables: Any) -> dict[str, str]:
    return Fleet(vars={"alertmanager_webhook_token": "the-token"} | variables).render_role("alertmanager")


def test_without_anybody_to_tell_alertmanager_tells_nobody() -> None:
    files = alertmanager()
    config = yaml.safe_load(files["/etc/prometheus/alertmanager.yml"])
    assert [receiver["name"] for receiver in config["receivers"]] == ["nobody"]
    assert "/etc/prometheus/webhook_token" not in files


def test_an_alert_storm_is_one_call_of_the_webhook() -> None:
    files = alertmanager(
        alertmanager_webhook_url="http://192.0.2.1:5000/endpoint", alertmanager_webhook_matchers=['autoscale="true"']
    )
    config = yaml.safe_load(files["/etc/prometheus/alertmanager.yml"])
    (route,) = config["route"]["routes"]
    assert (route["receiver"], route["group_by"], route["matchers"]) == ("webhook", [], ['autoscale="true"'])
    (webhook,) = config["receivers"][1]["webhook_configs"]
    assert webhook["http_config"]["authorization"] == {"credentials_file": "/etc/prometheus/webhook_token"}
    assert files["/etc/prometheus/webhook_token"].strip() == "the-token"
    assert "the-token" not in files["/etc/prometheus/alertmanager.yml"]


def test_people_are_told_beside_the_webhook() -> None:
    config = yaml.safe_load(
        alertmanager(
            alertmanager_webhook_url="http://192.0.2.1:5000/endpoint",
            alertmanager_receivers=[{"name": "team", "email_configs": [{"to": "team@example.com"}]}],
            alertmanager_routes=[{"receiver": "team", "matchers": ['severity="critical"']}],
        )["/etc/prometheus/alertmanager.yml"]
    )
    webhook, team = config["route"]["routes"]
    assert webhook["continue"] is True
    assert team["receiver"] == "team"


# --- the collection's own exporters -------------------------------------------------------------------------------


def test_the_exporter_of_the_queues_knows_how_laravel_stores_them() -> None:
    told = json.loads(on("worker1")["/etc/graphic_school/exporter/laravel.json"])
    assert told["queues"]["payments"] == "{payments}"
    assert told["prefix"] == lab().value("app_release_redis_prefix", "worker1", role="app_release")
    assert {"host": "198.18.10.41", "port": 6379} in told["redis"]["nodes"]
    rows = lab().value("__queue_workers_programs", "worker1", role="queue_workers")
    assert {*told["programs"]} == {row["name"] for row in rows}


def test_a_new_application_server_changes_nothing_of_a_balancers_exporters(tmp_path: Path) -> None:
    """One line of the upstream is all that changes on a balancer."""
    more = extra(tmp_path, {"app_servers": {"hosts": {"app9": {"ansible_host": "198.18.10.29"}}}})
    after = Fleet("inventories/lab", extra_inventories=[more], vars=SECRETS).render_role("exporter", "lb1")
    assert after == on("lb1")


@pytest.mark.parametrize(("host", "module"), [("lb1", "balancer_log"), ("worker1", "laravel_exporter")])
def test_an_own_exporter_is_shipped_with_all_that_it_imports(host: str, module: str) -> None:
    shipped = {
        Path(path).stem: text
        for path, text in on(host).items()
        if path.startswith("/usr/local/lib/graphic_school_exporter/")
    }
    wanted, seen = {module}, set[str]()
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        wanted |= {*re.findall(r"^from \.(\w+) import", shipped[name], re.MULTILINE)}
    assert "__init__" in shipped
    assert wanted <= {*shipped}


def test_the_rules_are_the_collections_lists() -> None:
    files = on("mon1", "prometheus")
    recorded = {
        rule["record"]
        for group in yaml.safe_load(files["/etc/prometheus/rules/recording.yml"])["groups"]
        for rule in group["rules"]
    }
    assert {"fleet:up:bool", "fleet:cpu_used:ratio"} <= recorded
    assert "HostDown" in files["/etc/prometheus/rules/alerts.yml"]
