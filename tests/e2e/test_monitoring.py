# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole fleet is watched, what watches it tells nobody else, and a new host is watched too."""

from __future__ import annotations

import json
from contextlib import suppress

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.e2e.support.lab import Lab, good
from tests.e2e.support.redis_pools import POOLS
from tests.e2e.support.waiting import until
from tests.e2e.support.watchers import ask, client, login
from tests.e2e.support.web import Visitor, new_key

# Job → port, and the groups whose hosts have it; None for every host.
EXPORTERS: dict[str, tuple[int, tuple[str, ...] | None]] = {
    "node": (9100, None),
    "process": (9256, None),
    "nginx": (9113, ("load_balancers", "app_servers", "monitoring")),
    "phpfpm": (9253, ("app_servers",)),
    "mysqld": (9104, ("mysql",)),
    "redis": (9121, ("redis_cluster",)),
    "haproxy": (9101, ("app_servers", "queue_workers")),
    "blackbox": (9115, ("monitoring",)),
    "laravel": (9210, ("queue_workers",)),
    "balancer_log": (9211, ("load_balancers",)),
}


def hosts_of(lab: Lab, job: str) -> list[str]:
    groups = EXPORTERS[job][1]
    return lab.hosts if groups is None else sorted({host for group in groups for host in lab.tier(group)})


def up(lab: Lab) -> dict[str, set[tuple[str, str]]]:
    """Job → (host, tier) of all targets that answer."""
    found: dict[str, set[tuple[str, str]]] = {}
    for row in ask(lab, "up == 1"):
        labels = row["metric"]
        found.setdefault(labels["job"], set()).add((labels["host"], labels["tier"]))
    return found


def test_every_host_is_asked_by_every_job_of_its_tiers(lab: Lab) -> None:
    def all_up() -> bool:
        answering = up(lab)
        for job in set(EXPORTERS) - {"blackbox"}:
            wanted = {(host, lab.data["hosts"][host]["groups"][0]) for host in hosts_of(lab, job)}
            assert answering.get(job, set()) == wanted, job
        watching = {(host, "monitoring") for host in lab.tier("monitoring")}
        assert answering["prometheus"] == answering["alertmanager"] == watching
        return True

    until("every target of the inventory answers", all_up, seconds=30, every=1)
    assert ask(lab, "up == 0") == []


@pytest.mark.parametrize(
    ("expression", "job"),
    [
        pytest.param("nginx_up == 1", "nginx", id="nginx counts"),
        pytest.param("php_fpm_up == 1", "phpfpm", id="PHP-FPM tells its state"),
        pytest.param("php_opcache_enabled == 1", "phpfpm", id="OPcache is looked into"),
        pytest.param("mysql_up == 1", "mysqld", id="MySQL lets the metrics user in"),
        pytest.param("mysql_global_status_threads_connected > 0", "mysqld", id="MySQL counts its connections"),
        pytest.param("haproxy_process_uptime_seconds > 0", "haproxy", id="HAProxy counts"),
        pytest.param(
            'node_systemd_unit_state{name="haproxy.service",state="active"} == 1',
            "haproxy",
            id="systemd's units are seen",
        ),
    ],
)
def test_an_exporter_gets_at_what_it_tells_of(lab: Lab, expression: str, job: str) -> None:
    assert {row["metric"]["host"] for row in ask(lab, expression)} == set(hosts_of(lab, job))


def test_every_redis_instance_is_asked_by_pool(lab: Lab) -> None:
    rows = ask(lab, "redis_up == 1")
    found = {
        (row["metric"]["host"], row["metric"]["pool"], int(row["metric"]["instance"].rpartition(":")[2]))
        for row in rows
    }
    assert found == {
        (host, pool, port) for host in lab.tier("redis_cluster") for pool, ports in POOLS.items() for port in ports
    }
    assert {row["value"][1] for row in ask(lab, "redis_cluster_slots_ok")} == {"16384"}


def test_the_application_and_the_balancers_are_asked_as_clients_would(lab: Lab) -> None:
    def well() -> bool:
        rows = ask(lab, "probe_success == 1")
        seen = {(row["metric"]["host"], row["metric"]["probe"]) for row in rows}
        wanted = {(host, probe) for host in lab.tier("app_servers") for probe in ("live", "health")}
        wanted |= {(host, "live") for host in lab.tier("load_balancers")} | {
            (host, "page") for host in lab.tier("monitoring")
        }
        assert seen == wanted
        return True

    until("every probe succeeds", well, seconds=30, every=1)
    left = {
        row["metric"]["host"]: float(row["value"][1]) for row in ask(lab, "probe_ssl_earliest_cert_expiry - time()")
    }
    assert set(left) == {*lab.tier("load_balancers"), *lab.tier("monitoring")}
    assert min(left.values()) > 24 * 3600


def test_what_no_exporter_tells_is_told_by_the_host_itself(lab: Lab) -> None:
    releases = {row["metric"]["host"]: row["metric"]["release"] for row in ask(lab, "fleet_release_info")}
    assert {host: lab.ssh(host, "basename $(readlink /srv/*/current)").strip() for host in releases} == releases
    assert set(releases) == {*lab.tier("app_servers"), *lab.tier("queue_workers")}
    assert {row["metric"]["host"] for row in ask(lab, "fleet_out_of_traffic == 0")} == set(lab.hosts)


# --- nobody else is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", sorted(EXPORTERS))
def test_an_exporter_without_credentials_answers_nothing(lab: Lab, job: str) -> None:
    port = EXPORTERS[job][0]
    with httpx.Client(timeout=5) as web:
        for host in hosts_of(lab, job):
            place = f"http://{lab.address(host)}:{port}"
            for path in (
                "/metrics",
                "/scrape?target=redis://127.0.0.1:6379",
                "/probe?target=http://127.0.0.1",
                "/",
                "/debug/pprof/",
            ):
                assert web.get(place + path).status_code in {401, 404}, f"{place}{path}"
            assert web.get(f"{place}/metrics").status_code == 401
            assert web.get(f"{place}/metrics", auth=("prometheus", "guessed")).status_code == 401


@pytest.mark.parametrize(
    "path", ["/fleet/", "/fleet/data/fleet.json", "/fleet/data/decisions.json", "/fleet/api/v1/query?query=up"]
)
def test_an_anonymous_visitor_sees_no_page(lab: Lab, path: str) -> None:
    with client(lab) as web:
        assert web.get(path).status_code == 401
        assert web.get(path, auth=("fleet", "guessed")).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["status/config", "targets", "admin/tsdb/snapshot", "query/../status/config", "label/x/../../status/config/values"],
)
def test_the_page_reaches_only_what_reads_measurements(lab: Lab, path: str) -> None:
    with client(lab, auth=login(lab)) as web:
        assert web.get(f"/fleet/api/v1/{path}").status_code == 404


def test_nothing_can_be_written_through_the_page(lab: Lab) -> None:
    with client(lab, auth=login(lab)) as web:
        for method in ("POST", "PUT", "DELETE"):
            assert web.request(method, "/fleet/api/v1/series?match[]=up").status_code == 403
        assert web.post("/-/reload").status_code == 404


@pytest.mark.parametrize(
    "port",
    [pytest.param(9090, id="Prometheus"), pytest.param(9093, id="Alertmanager"), pytest.param(9094, id="its peers")],
)
def test_what_watches_listens_on_loopback_only(lab: Lab, port: int) -> None:
    for host in lab.tier("monitoring"):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{lab.address(host)}:{port}/", timeout=5)


def test_the_page_knows_the_fleet(lab: Lab) -> None:
    with client(lab, auth=login(lab)) as web:
        told = web.get("/fleet/data/fleet.json").json()
        decisions = web.get("/fleet/data/decisions.json")
    assert told["vip"] == lab.vip
    assert {host["name"]: host["address"] for host in told["hosts"]} == {host: lab.address(host) for host in lab.hosts}
    assert decisions.status_code == 200
    assert isinstance(decisions.json(), list)


# --- the metrics user ---------------------------------------------------------------------------------------------


def as_metrics(lab: Lab, host: str, statement: str) -> str:
    """What MySQL says to the metrics user; the password travels over standard input."""
    password = lab.credentials["vault_mysql_metrics_password"]
    script = f"read -r MYSQL_PWD; export MYSQL_PWD; mysql --user=metrics --batch --skip-column-names --execute '{statement}' 2>&1; true"
    return lab.ssh(host, f'echo {password} | sh -c "{script}"')


def test_the_metrics_user_of_mysql_reads_counters_and_no_table(lab: Lab) -> None:
    # A replica would refuse to write before it looks who asks.
    host = next(name for name in lab.tier("mysql") if lab.sql(name, "SELECT @@read_only") == [["0"]])
    schema, table = lab.sql(
        host, 'SELECT table_schema, table_name FROM information_schema.tables WHERE table_name = "enrolments" LIMIT 1'
    )[0]
    assert "Threads_connected" in as_metrics(lab, host, 'SHOW GLOBAL STATUS LIKE \\"Threads_connected\\"')
    assert "denied" in as_metrics(lab, host, f"SELECT * FROM {schema}.{table}")
    assert "denied" in as_metrics(lab, host, "SELECT user FROM mysql.user")
    for forbidden in ("CREATE DATABASE metrics_was_here", "SET GLOBAL max_connections = 100", "SHUTDOWN"):
        assert "denied" in as_metrics(lab, host, forbidden)


@pytest.mark.parametrize("pool", sorted(POOLS))
def test_the_metrics_user_of_redis_reads_figures_and_no_key(lab: Lab, pool: str) -> None:
    key = f"school:{new_key('metrics')}"
    password = lab.credentials["vault_redis_metrics_password"]
    address, port = lab.address(lab.tier("redis_cluster")[0]), POOLS[pool][0]
    with redis.Redis(
        host=address,
        port=port,
        username="metrics",
        password=password,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    ) as visitor:
        assert visitor.info("memory")["used_memory"] > 0
        for command in (
            f"GET {key}", f"SET {key} 1", f"EXISTS {key}", "SCAN 0", "KEYS *", "RANDOMKEY", "CONFIG GET masterauth", "SLOWLOG GET",
            "CLIENT LIST", "MONITOR", "ACL LIST", "EVAL return(1) 0", "FLUSHALL", "PUBLISH a b",
        ):  # fmt: skip
            with pytest.raises(redis.exceptions.NoPermissionError):
                visitor.execute_command(*command.split())


def test_who_looks_into_the_queues_sees_no_other_key_and_changes_nothing(lab: Lab) -> None:
    queue = "school:queues:{default}"
    with redis.Redis(
        host=lab.address(lab.tier("redis_cluster")[0]),
        port=POOLS["durable"][0],
        username="queues",
        password=lab.credentials["vault_redis_queues_password"],
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    ) as visitor:
        # Who may ask is asked first, where the key is next.
        for command in (f"LLEN {queue}", f"LPOS {queue} x", f"LINDEX {queue} 0", f"ZCARD {queue}:delayed", f"ZRANGE {queue}:reserved 0 9"):
            with suppress(redis.exceptions.MovedError):
                visitor.execute_command(*command.split())
        for command in (
            "GET school:x", f"GET {queue}", f"LRANGE {queue} 0 -1", f"LPOP {queue}", f"RPUSH {queue} x", f"DEL {queue}", "LLEN school:x",
            "ZRANGE school:x 0 -1", "SCAN 0", "KEYS *", "INFO", "CONFIG GET masterauth", "CLUSTER NODES", "EVAL return(1) 0", "FLUSHALL",
        ):  # fmt: skip
            with pytest.raises(redis.exceptions.NoPermissionError):
                visitor.execute_command(*command.split())


def test_the_queues_are_seen_and_what_runs_of_them(lab: Lab) -> None:
    seen = {row["metric"]["queue"] for row in ask(lab, "fleet:queue_running:jobs")}
    assert seen == {row["metric"]["queue"] for row in ask(lab, "fleet:queue_length:jobs")} != set()
    assert ask(lab, "laravel_redis_up == 0") == []
    assert {row["metric"]["host"] for row in ask(lab, "fleet:queue_workers:count > 0")} == set(lab.tier("queue_workers"))


def test_balancers_call_application_servers_by_their_names(lab: Lab, visitor: Visitor) -> None:
    def named() -> bool:
        visitor.get("/api/whoami")
        seen = {row["metric"]["upstream"] for row in ask(lab, "sum by (upstream) (increase(balancer_requests_total[1m])) > 0")}
        assert set(lab.tier("app_servers")) <= seen, seen
        assert {name for name in seen if name.startswith("198.18.")} == set()
        return True

    until("each application server is seen by its name", named, seconds=60, every=1)


# --- the inventory is the whole truth -----------------------------------------------------------------------------


def test_a_host_more_in_the_inventory_is_asked_without_a_restart(lab: Lab) -> None:
    more = lab.inventory_with("watched", {"app_servers": {"hosts": {"app8": {"ansible_host": "198.18.10.28"}}}})
    mon = lab.tier("monitoring")[0]
    folder = "/etc/prometheus/targets"
    started = lab.ssh(mon, "systemctl show --property=ExecMainStartTimestampMonotonic prometheus")

    def watched() -> bool:
        return bool(ask(lab, 'up{host="app8"}'))

    options = ("--limit", mon, "--skip-tags", "exporter")
    sources = (lab.folder.parent / "inventories" / "lab", more)
    try:
        run = good(lab.play("playbooks/monitoring.yml", *options, inventories=sources))
        assert run.changed.keys() == {mon}
        rows = json.loads(lab.ssh(mon, f"cat {folder}/node.json"))
        assert {"targets": ["198.18.10.28:9100"], "labels": {"host": "app8", "tier": "app_servers"}} in rows
        until("Prometheus asks the new host", watched, seconds=30, every=1)
    finally:
        good(lab.play("playbooks/monitoring.yml", *options))
    assert "app8" not in lab.ssh(mon, f"cat {folder}/*.json")
    assert lab.ssh(mon, "systemctl show --property=ExecMainStartTimestampMonotonic prometheus") == started
