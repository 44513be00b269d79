# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every alert fires by what exporters would tell, after its time, names the host, and resolves: Prometheus' own promtool says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import bootstrap
from plugins.filter.prometheus_rules import prometheus_rules
from plugins.module_utils.alerts import (
    ALERTS,
    AUTOSCALE_IN,
    NAMES,
    RUNBOOKS,
    AlertError,
    adjusted,
    alert_rules,
    autoscale_rules,
)
from plugins.module_utils.series import SERIES, metrics_in
from tests.unit.support.render import ROOT

# Seconds between two samples. Each case is well for GOOD seconds, then ill, then well again.
STEP, GOOD = 5, 300
# Nothing that is recorded looks back further.
LAG = 330
# As the filter autoscale_policies completes them.
POLICIES: list[dict[str, Any]] = [
    {
        "tier": "app_servers", "minimum": 2, "window_seconds": 300,
        "signals": {
            "cpu": {"scale_out": 0.7, "scale_in": 0.3, "series": "fleet:cpu_used:ratio", "labels": {"tier": "app_servers"}},
            "memory": {"scale_out": 0.8, "scale_in": 0.6, "series": "fleet:memory_used:ratio", "labels": {"tier": "app_servers"}},
            "response_time": {"scale_out": 2.0, "scale_in": 0.6, "series": "fleet:response_time_overall:p95_seconds", "labels": {}},
        },
    },
    {
        "tier": "queue_workers", "minimum": 2, "window_seconds": 300,
        "signals": {
            "queue_length": {"scale_out": 1000, "scale_in": 300, "series": "fleet:queue_length:jobs", "labels": {}},
            "queue_age": {"scale_out": 60, "scale_in": 18, "series": "fleet:queue_oldest_job_age:seconds", "labels": {}},
            "workers_busy": {
                "scale_out": 0.9, "scale_in": 0.4, "series": "fleet:queue_running:jobs", "labels": {}, "of": "fleet:queue_workers:count",
            },
        },
    },
]  # fmt: skip


@dataclass(frozen=True)
class Gauge:
    """A metric that has one value while all is well and another while it isn't; None: it is not told."""

    series: str
    good: float | None
    bad: float | None

    def values(self, ill: int, after: int) -> str:
        before, during = ("_" if value is None else f"{value:g}" for value in (self.good, self.bad))
        leave, back = ("stale" if value is None else f"{value:g}" for value in (self.bad, self.good))
        return f"{before}x{GOOD // STEP - 1} {leave} {during}x{ill // STEP - 2} {back} {before}x{after // STEP}"


@dataclass(frozen=True)
class Counter:
    """A metric that grows by so much a second."""

    series: str
    good: float
    bad: float

    def values(self, ill: int, after: int) -> str:
        words, start = [], 0.0
        for rate, samples in ((self.good, GOOD // STEP), (self.bad, ill // STEP), (self.good, after // STEP)):
            words.append(f"{start:g}+{rate * STEP:g}x{samples - 1}")
            start += rate * STEP * samples
        return " ".join(words)


@dataclass(frozen=True)
class Case:
    """What makes an alert fire, and what it then says: labels and summary of each alert that is expected."""

    alert: str
    series: tuple[Gauge | Counter, ...]
    expected: tuple[tuple[dict[str, str], str], ...]
    seconds: int | None = None

    @property
    def wait(self) -> int:
        return next(row.seconds for row in ALERTS if row.name == self.alert) if self.seconds is None else self.seconds


def case(alert: str, series: Sequence[Gauge | Counter], labels: dict[str, str], summary: str) -> Case:
    return Case(alert, tuple(series), ((labels, summary),))


def cpu(host: str, tier: str, good: float, bad: float) -> tuple[Counter, ...]:
    """Two processors, of which so much is used."""
    return tuple(
        Counter(f'node_cpu_seconds_total{{job="node", host="{host}", tier="{tier}", cpu="{number}", mode="idle"}}', 1 - good, 1 - bad)
        for number in (0, 1)
    )


def memory(host: str, tier: str, good: float, bad: float) -> tuple[Gauge, ...]:
    labels = f'{{job="node", host="{host}", tier="{tier}"}}'
    return (
        Gauge(f"node_memory_MemTotal_bytes{labels}", 1000, 1000),
        Gauge(f"node_memory_MemAvailable_bytes{labels}", 1000 * (1 - good), 1000 * (1 - bad)),
    )


def slow(histogram: str, labels: str, fast: str, bad: str) -> tuple[Counter, ...]:
    """Ten values a second, all within the bound ``fast``, later all between that and ``bad``."""
    return (
        Counter(f'{histogram}_bucket{{{labels}, le="{fast}"}}', 10, 0),
        Counter(f'{histogram}_bucket{{{labels}, le="{bad}"}}', 10, 10),
        Counter(f'{histogram}_bucket{{{labels}, le="+Inf"}}', 10, 10),
    )


def mysql(metric: str, host: str, good: float, bad: float) -> Gauge:
    return Gauge(f'{metric}{{job="mysqld", host="{host}", tier="mysql"}}', good, bad)


def health(metric: str, host: str, good: float | None, bad: float | None) -> Gauge:
    return Gauge(f'{metric}{{job="mysql_health", host="{host}", tier="mysql"}}', good, bad)


def up(job: str, host: str, tier: str, good: float = 1, bad: float = 1) -> Gauge:
    return Gauge(f'up{{job="{job}", host="{host}", tier="{tier}"}}', good, bad)


APP1 = {"host": "app1", "tier": "app_servers"}
PROBE = 'probe_success{job="blackbox", host="app1", tier="app_servers", probe="health"}'
CERTIFICATE = 'fleet_certificate_not_after_seconds{job="node", host="db1", tier="mysql", path="/etc/mysql/tls/server.pem"}'
GTID = 'mysql_health_executed_transactions{job="mysql_health", tier="mysql", '
CASES = [
    case("HostDown", [up("node", **APP1, bad=0)], APP1, "app1 (app_servers) does not answer"),
    case("CpuHigh", cpu(**APP1, good=0.5, bad=0.85), APP1, "app1 uses 85% of its processors"),
    case("CpuSaturated", cpu(**APP1, good=0.5, bad=0.95), APP1, "app1 uses 95% of its processors"),
    case("MemoryHigh", memory(**APP1, good=0.5, bad=0.9), APP1, "app1 uses 90% of its memory"),
    case(
        "DiskFull",
        [
            Gauge('node_filesystem_size_bytes{job="node", host="db1", tier="mysql", fstype="ext4", mountpoint="/"}', 100, 100),
            Gauge('node_filesystem_avail_bytes{job="node", host="db1", tier="mysql", fstype="ext4", mountpoint="/"}', 50, 10),
        ],
        {"host": "db1", "tier": "mysql"},
        "a file system of db1 is 90% full",
    ),
    case("CertificateEnding", [Gauge(CERTIFICATE, 90 * 86400, 15 * 86400)], {"host": "db1"}, "a certificate of db1 ends in 15 days"),
    case("CertificateEndsSoon", [Gauge(CERTIFICATE, 90 * 86400, 5 * 86400)], {"host": "db1"}, "a certificate of db1 ends in 5 days"),
    case(
        "HealthRed", [up("node", **APP1), Gauge(PROBE, 1, 0)], {"host": "app1"}, "app1 answers, but what it serves is not well"
    ),
    case(
        "ResponseTimeHigh", slow("balancer_upstream_seconds", 'upstream="app1", class="2xx"', "5", "10"), {"upstream": "app1"},
        "5 of 100 answers of app1 take longer than 9.75s",
    ),
    case(
        "ErrorsHigh",
        [
            Counter('balancer_requests_total{host="lb1", upstream="app1", class="2xx"}', 10, 8),
            Counter('balancer_requests_total{host="lb1", upstream="app1", class="5xx"}', 0, 2),
        ],
        {}, "the fleet answers 20% of its requests with an error",
    ),
    case(
        "OutOfTrafficLong", [Gauge('fleet_out_of_traffic{job="node", host="app1", tier="app_servers", of="app_servers"}', 0, 1)],
        {"host": "app1", "of": "app_servers"}, "app1 is out of traffic as one of app_servers, for an hour or longer",
    ),
    Case(
        "ReleasesDiffer",
        (
            Gauge('fleet_release_info{host="app1", tier="app_servers", release="bbb"}', 1, 1),
            Gauge('fleet_release_info{host="app2", tier="app_servers", release="bbb"}', 1, None),
            Gauge('fleet_release_info{host="app2", tier="app_servers", release="aaa"}', None, 1),
        ),
        (
            ({"host": "app1", "release": "bbb"}, "app1 runs release bbb, and not all hosts do"),
            ({"host": "app2", "release": "aaa"}, "app2 runs release aaa, and not all hosts do"),
        ),
    ),
    case(
        "FpmSaturated",
        [Gauge('php_fpm_active_processes{host="app1"}', 2, 12), Gauge('php_fpm_total_processes{host="app1"}', 12, 12)],
        {"host": "app1"}, "100% of the PHP-FPM children of app1 are at work",
    ),
    case(
        "OpcacheFull",
        [
            Gauge('php_opcache_memory_used_bytes{host="app1"}', 50, 90),
            Gauge('php_opcache_memory_wasted_bytes{host="app1"}', 0, 5),
            Gauge('php_opcache_memory_free_bytes{host="app1"}', 50, 5),
        ],
        {"host": "app1"}, "OPcache of app1 is 95% full",
    ),
    case(
        "QueueLong", [Gauge('laravel_queue_jobs{host="worker1", queue="emails", state="waiting"}', 3, 5000)], {"queue": "emails"},
        "5000 jobs wait in queue emails",
    ),
    case(
        "QueueOld", [Gauge('laravel_queue_oldest_job_age_seconds{host="worker1", queue="emails"}', 1, 400)], {"queue": "emails"},
        "a job in queue emails waits for 6m 40s",
    ),
    case(
        "JobsSlow", slow("laravel_job_duration_seconds", 'host="worker1", queue="emails", result="done"', "30", "60"),
        {"queue": "emails"}, "5 of 100 jobs of queue emails take longer than 58.5s",
    ),
    case(
        "DatabaseConnectionsHigh",
        [mysql("mysql_global_status_threads_connected", "db1", 10, 90), mysql("mysql_global_variables_max_connections", "db1", 100, 100)],
        {"host": "db1"}, "90% of the connections of db1 are open",
    ),
    case(
        "DatabaseBudgetHigh",
        [
            Gauge('haproxy_frontend_current_sessions{host="app1", proxy="to_primary"}', 10, 45),
            Gauge('haproxy_frontend_current_sessions{host="worker1", proxy="to_replica"}', 10, 45),
            Gauge('haproxy_frontend_current_sessions{host="worker1", proxy="stats"}', 500, 500),
            mysql("mysql_global_variables_max_connections", "db1", 100, 100),
            mysql("mysql_global_variables_max_connections", "db2", 200, 200),
        ],
        {}, "the fleet's clients hold 90% of what its smallest MySQL server allows",
    ),
    case(
        "SlowQueries", [Counter('mysql_global_status_slow_queries{host="db1"}', 0, 0.5)], {"host": "db1"},
        "db1 runs 30 slow queries a minute",
    ),
    case(
        "MysqlPrimaryMissing", [health("mysql_health_writable", "db1", 1, 0), health("mysql_health_writable", "db2", 0, 0)], {},
        "no MySQL server of the fleet takes writes",
    ),
    case(
        "ReplicationBroken", [health("mysql_health_replica", "db2", 1, 1), health("mysql_health_replicating", "db2", 1, 0)],
        {"host": "db2"}, "db2 does not replicate",
    ),
    case("ReplicationLag", [health("mysql_health_lag_seconds", "db2", 0, 7)], {"host": "db2"}, "db2 is 7s behind its source"),
    case(
        "GtidGap", [health("mysql_health_backlog_transactions", "db2", 0, 8000)], {"host": "db2"},
        "db2 lacks 8000 transactions of its source",
    ),
    case(
        "SemiSyncLost",
        [
            health("mysql_health_writable", "db1", 1, 1),
            mysql("mysql_global_variables_rpl_semi_sync_source_enabled", "db1", 1, 1),
            mysql("mysql_global_variables_rpl_semi_sync_source_wait_for_replica_count", "db1", 1, 1),
            mysql("mysql_global_status_rpl_semi_sync_source_status", "db1", 1, 1),
            mysql("mysql_global_status_rpl_semi_sync_source_clients", "db1", 2, 0),
        ],
        {"host": "db1"}, "0 replicas acknowledge the commits of db1, which is too few",
    ),
    case(
        "RedisSlotsUncovered",
        [
            Gauge(f'redis_cluster_slots_ok{{host="redis{number}", pool="durable"}}', 16384, bad)
            for number, bad in ((1, 10922), (2, 10922), (3, 16384))
        ],
        {"pool": "durable"}, "pool durable of Redis covers 10922 of 16384 slots",
    ),
    case(
        "ExporterDown", [up("node", "db1", "mysql"), up("mysqld", "db1", "mysql", bad=0)], {"host": "db1", "job": "mysqld"},
        "exporter mysqld of db1 does not answer",
    ),
]  # fmt: skip


def written(row: Case, expected: Sequence[tuple[dict[str, str], str]]) -> list[dict[str, Any]]:
    alert = next(item for item in ALERTS if item.name == row.alert)
    return [
        {
            "exp_labels": {"severity": alert.severity, **labels},
            "exp_annotations": {
                "summary": summary, "description": alert.about, "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
            },
        }
        for labels, summary in expected
    ]  # fmt: skip


def look(alert: str, at: int, expected: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"eval_time": f"{at}s", "alertname": alert, "exp_alerts": list(expected)}


pytestmark = pytest.mark.slow


def promtool(*words: str | Path) -> str:
    done = subprocess.run([bootstrap.tool("promtool"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rule_test(folder: Path, series: Sequence[Gauge | Counter], ill: int, looks: Sequence[dict[str, Any]], after: int = 900) -> None:
    """Play the series against the rules that are looked at and those that they need, as promtool does."""
    rules = [rule for text in prometheus_rules(POLICIES).values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    wanted = {str(item["alertname"]) for item in looks}
    alerts = [rule for rule in rules if rule.get("alert") in wanted]
    needed = {name for rule in alerts for name in metrics_in(rule["expr"])}
    # A series stands below those that it is made of.
    for row in reversed(SERIES):
        needed |= metrics_in(row.expr) if row.name in needed else set()
    recorded = [rule for rule in rules if rule.get("record") in needed]
    groups = [{"name": "fleet", "rules": recorded}, {"name": "alerts", "rules": alerts}]
    (folder / "rules.yml").write_text(json.dumps({"groups": groups}), "utf-8")
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": f"{STEP}s",
        "group_eval_order": ["fleet", "alerts"],
        "tests": [
            {
                "interval": f"{STEP}s",
                "input_series": [{"series": row.series, "values": row.values(ill, after)} for row in series],
                "alert_rule_test": list(looks),
            }
        ],
    }
    (folder / "test.yml").write_text(json.dumps(test), "utf-8")
    promtool("test", "rules", folder / "test.yml")


def test_prometheus_takes_the_files(tmp_path: Path) -> None:
    for name, text in prometheus_rules(POLICIES).items():
        (tmp_path / name).write_text(text, "utf-8")
        assert "SUCCESS" in promtool("check", "rules", tmp_path / name)


@pytest.mark.parametrize("row", CASES, ids=lambda row: row.alert)
def test_an_alert_fires_after_its_time_and_resolves(row: Case, tmp_path: Path) -> None:
    ill = row.wait + LAG + 60
    looks = [
        look(row.alert, GOOD - STEP),
        look(row.alert, GOOD + row.wait - 2 * STEP),
        look(row.alert, GOOD + row.wait + LAG, written(row, row.expected)),
        look(row.alert, GOOD + ill + LAG + 60),
    ]
    rule_test(tmp_path, row.series, ill, looks)


def test_every_alert_is_made_to_fire() -> None:
    assert [row.alert for row in CASES] == [row.name for row in ALERTS]


def test_a_healthy_fleet_is_silent_for_fifteen_minutes(tmp_path: Path) -> None:
    calm = {row.series: type(row)(row.series, row.good, row.good) for item in CASES for row in item.series}
    looks = [look(name, at) for name in NAMES for at in (60, 300, 600, 900)]
    rule_test(tmp_path, list(calm.values()), ill=600, looks=looks)


@pytest.mark.parametrize(
    ("series", "alert"),
    [
        pytest.param(
            [up("node", **APP1), Gauge(PROBE, 1, 0), Gauge('fleet_out_of_traffic{host="app1", of="app_servers"}', 0, 1)],
            "HealthRed", id="a host that is out of traffic refuses its health page on purpose",
        ),
        pytest.param([up("node", **APP1, bad=0), Gauge(PROBE, 1, 0)], "HealthRed", id="a host that is down is told of once"),
        pytest.param(
            [up("node", **APP1, bad=0), up("phpfpm", **APP1, bad=0)], "ExporterDown", id="its exporters are not told of either"
        ),
        pytest.param(
            [
                Gauge('fleet_release_info{host="app1", release="bbb"}', 1, 1),
                Gauge('fleet_release_info{host="app2", release="bbb"}', 1, None),
                Gauge('fleet_release_info{host="app2", release="aaa"}', None, 1),
                Gauge('fleet_out_of_traffic{host="app2", of="app_servers"}', 0, 1),
            ],
            "ReleasesDiffer", id="the release of a host that is out of traffic serves nobody",
        ),
        pytest.param(
            [
                mysql("mysql_global_variables_rpl_semi_sync_source_enabled", "db2", 0, 0),
                mysql("mysql_global_variables_rpl_semi_sync_source_wait_for_replica_count", "db2", 1, 1),
                mysql("mysql_global_status_rpl_semi_sync_source_status", "db2", 0, 0),
                mysql("mysql_global_status_rpl_semi_sync_source_clients", "db2", 0, 0),
                health("mysql_health_writable", "db2", 0, 0),
            ],
            "SemiSyncLost", id="a replica has nobody who acknowledges, and needs nobody",
        ),
        pytest.param(
            [
                Gauge(GTID + 'host="db1", uuid="u1", source_uuid=""}', 10, 10),
                Gauge(GTID + 'host="db2", uuid="u2", source_uuid="u1"}', 10, 10),
            ],
            "GtidGap", id="a replica that has everything lacks nothing",
        ),
    ],
)  # fmt: skip
def test_what_is_as_it_should_be_is_no_alert(series: Sequence[Gauge | Counter], alert: str, tmp_path: Path) -> None:
    rule_test(tmp_path, series, ill=900, looks=[look(alert, at) for at in (GOOD + 60, GOOD + 300, GOOD + 850)])


def test_a_replica_that_receives_nothing_lacks_what_its_source_commits(tmp_path: Path) -> None:
    row = next(item for item in CASES if item.alert == "GtidGap")
    series = [
        Counter(GTID + 'host="db1", uuid="u1", source_uuid=""}', 0, 100),
        Gauge(GTID + 'host="db2", uuid="u2", source_uuid="u1"}', 0, 0),
    ]
    # At 100 a second; those of the last 15 s are never counted.
    at = GOOD + 140
    expected = written(row, [({"host": "db2"}, f"db2 lacks {100 * (140 - 15)} transactions of its source")])
    looks = [look("GtidGap", GOOD + 55), look("GtidGap", at, expected)]
    rule_test(tmp_path, series, ill=900, looks=looks)


# -- what tells the autoscaler to look --------------------------------------------------------------------------------


def app_servers(count: int, good: float, bad: float) -> list[Gauge | Counter]:
    found: list[Gauge | Counter] = []
    for number in range(1, count + 1):
        found += [up("node", f"app{number}", "app_servers"), *cpu(f"app{number}", "app_servers", good, bad)]
        found += memory(f"app{number}", "app_servers", 0.4, 0.4)
    return found


def running(host: str, good: float, bad: float) -> list[Gauge | Counter]:
    """Jobs that run of each of two queues, as a host's exporter sees them."""
    return [Gauge(f'laravel_queue_jobs{{host="{host}", queue="{queue}", state="reserved"}}', good, bad) for queue in ("default", "emails")]


def workers(host: str, count: int) -> list[Gauge | Counter]:
    """Workers on a host, and another program."""
    name = f'namedprocess_namegroup_num_procs{{job="process", host="{host}", groupname='
    return [Gauge(f'{name}"queue-worker"}}', count, count), Gauge(f'{name}"supervisord"}}', 1, 1)]


def trigger(tier: str, direction: str, signal: str, summary: str, about: str) -> dict[str, Any]:
    name = "AutoscaleOut" if direction == "out" else AUTOSCALE_IN
    labels = {"severity": "none", "autoscale": tier, "direction": direction} | ({"signal": signal} if signal else {})
    return {
        "exp_labels": labels,
        "exp_annotations": {"summary": summary, "description": about, "runbook_url": f"{RUNBOOKS}/{name}.md"},
    }


OUT = "The autoscaler looks whether hosts have to be added."


@pytest.mark.parametrize(
    ("series", "tier", "signal", "summary"),
    [
        pytest.param(
            app_servers(2, 0.5, 0.9), "app_servers", "cpu", "app_servers: cpu is 0.90, above 0.7", id="two hosts at 90 % of CPU"
        ),
        pytest.param(
            memory("app1", "app_servers", 0.5, 0.9), "app_servers", "memory", "app_servers: memory is 0.90, above 0.8",
            id="memory at 90 %",
        ),
        pytest.param(
            slow("balancer_response_seconds", 'host="lb1"', "2", "5"), "app_servers", "response_time",
            "app_servers: response_time is 4.85, above 2", id="answers take more than 2 s",
        ),
        pytest.param(
            [Gauge(f'laravel_queue_jobs{{host="worker1", queue="{name}", state="waiting"}}', 1, 600) for name in ("emails", "default")],
            "queue_workers", "queue_length", "queue_workers: queue_length is 1200.00, above 1000", id="all queues together count",
        ),
        pytest.param(
            [Gauge('laravel_queue_oldest_job_age_seconds{host="worker1", queue="emails"}', 1, 90)],
            "queue_workers", "queue_age", "queue_workers: queue_age is 90.00, above 60", id="a job waits for 90 s",
        ),
        pytest.param(
            # Each worker host tells the same of a queue: nobody runs twice.
            [*running("worker1", 1, 19 / 2), *running("worker2", 1, 19 / 2), *workers("worker1", 10), *workers("worker2", 10)],
            "queue_workers", "workers_busy", "queue_workers: workers_busy is 0.95, above 0.9", id="19 of 20 workers run a job",
        ),
    ],
)  # fmt: skip
def test_a_signal_above_its_threshold_makes_the_autoscaler_look_within_the_window(
    series: Sequence[Gauge | Counter], tier: str, signal: str, summary: str, tmp_path: Path
) -> None:
    looks = [
        look("AutoscaleOut", GOOD - STEP),
        look("AutoscaleOut", GOOD + 60, [trigger(tier, "out", signal, summary, OUT)]),
        look("AutoscaleOut", GOOD + 180 + 60),
    ]
    rule_test(tmp_path, series, ill=180, looks=looks)


def test_a_host_that_is_out_of_traffic_does_not_hide_the_load_of_the_others(tmp_path: Path) -> None:
    idle = [*cpu("app3", "app_servers", 0.0, 0.0), Gauge('fleet_out_of_traffic{host="app3", of="app_servers"}', 1, 1)]
    looks = [look("AutoscaleOut", GOOD + 60, [trigger("app_servers", "out", "cpu", "app_servers: cpu is 0.90, above 0.7", OUT)])]
    rule_test(tmp_path, [*app_servers(2, 0.5, 0.9), *idle], ill=180, looks=looks)


@pytest.mark.parametrize(
    ("count", "good", "bad", "found"),
    [
        pytest.param(3, 0.5, 0.1, True, id="three idle hosts: one may go"),
        pytest.param(2, 0.5, 0.1, False, id="two idle hosts are the minimum"),
        pytest.param(3, 0.5, 0.5, False, id="three hosts that work"),
    ],
)
def test_hosts_may_go_when_no_signal_needs_them_for_the_window(
    count: int, good: float, bad: float, found: bool, tmp_path: Path
) -> None:
    told = trigger(
        "app_servers", "in", "", "app_servers: 3 hosts serve, and no signal needs them all",
        "The autoscaler looks whether hosts may be taken away.",
    )  # fmt: skip
    looks = [look(AUTOSCALE_IN, GOOD + 290), look(AUTOSCALE_IN, GOOD + 350, [told] if found else [])]
    rule_test(tmp_path, app_servers(count, good, bad), ill=600, looks=looks)


@pytest.mark.parametrize(
    ("jobs", "found"),
    [pytest.param(1, True, id="2 of 20 workers run a job"), pytest.param(5, False, id="10 of 20 workers run a job")],
)
def test_worker_hosts_stay_while_their_workers_are_busy_although_no_job_waits(jobs: float, found: bool, tmp_path: Path) -> None:
    hosts = [up("node", f"worker{number}", "queue_workers") for number in (1, 2, 3)]
    told = trigger(
        "queue_workers", "in", "", "queue_workers: 3 hosts serve, and no signal needs them all",
        "The autoscaler looks whether hosts may be taken away.",
    )  # fmt: skip
    looks = [look(AUTOSCALE_IN, GOOD + 400, [told] if found else [])]
    rule_test(tmp_path, [*hosts, *running("worker1", 10, jobs), *workers("worker1", 20)], ill=600, looks=looks)


# -- what an inventory may change -------------------------------------------------------------------------------------


def test_an_inventory_may_lower_a_limit_and_leave_an_alert_out() -> None:
    alerts = {row.name: row for row in adjusted({"DiskFull": {"limit": 0.7, "seconds": 60, "severity": "critical"}, "JobsSlow": None})}
    assert (alerts["DiskFull"].promql, alerts["DiskFull"].seconds, alerts["DiskFull"].severity) == (
        "fleet:disk_used:ratio > 0.7", 60, "critical",
    )  # fmt: skip
    assert "JobsSlow" not in alerts


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"DiskFul": None}, r"no alert DiskFul \(did you mean DiskFull\?\)", id="a misspelt alert"),
        pytest.param({"DiskFull": {"limits": 1}}, r"DiskFull has the unknown key limits \(did you mean limit\?\)", id="a misspelt key"),
        pytest.param({"DiskFull": {"limit": "much"}}, "DiskFull: limit must be a number, not: 'much'", id="a limit in words"),
        pytest.param({"DiskFull": {"seconds": 1.5}}, "seconds must be a whole number, not: 1.5", id="half a second"),
        pytest.param({"DiskFull": {"severity": "bad"}}, "severity must be critical or warning, not: 'bad'", id="another severity"),
        pytest.param({"DiskFull": 0.7}, "DiskFull must be a dictionary of limit, seconds, severity", id="only a number"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_by_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AlertError, match=sentence):
        adjusted(changes)


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        pytest.param({"tier": "app_servers"}, "give it through the filter autoscale_policies", id="a row as people write it"),
        pytest.param(
            {"tier": "app_servers", "signals": {"cpu": {"scale_out": 0.5}}}, "signal cpu of the autoscale policy of app_servers lacks",
            id="a signal that is not complete",
        ),
        pytest.param(
            {"tier": "app_servers", "signals": {"cpu": {"scale_out": 0.5, "scale_in": 0.1, "series": "fleet:cpu:ratio"}}},
            "asks for fleet:cpu:ratio, which nobody records", id="a series that is not recorded",
        ),
        pytest.param(
            {
                "tier": "queue_workers",
                "signals": {
                    "workers_busy": {"scale_out": 0.9, "scale_in": 0.4, "series": "fleet:queue_running:jobs", "of": "fleet:worker:count"}
                },
            },
            r"asks for fleet:worker:count, which nobody records \(did you mean fleet:queue_workers:count\?\)",
            id="a share of nothing that is recorded",
        ),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_asked_about_is_refused(policy: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AlertError, match=sentence):
        autoscale_rules([policy])


def test_no_policy_writes_no_trigger() -> None:
    assert autoscale_rules([]) == {"groups": []}


# -- the pages --------------------------------------------------------------------------------------------------------

# Pages that are about something that happens, and belong to no alert.
OTHER_PAGES = {"a-machine-died"}


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - OTHER_PAGES
    assert pages == set(NAMES)


@pytest.mark.parametrize("row", ALERTS, ids=lambda row: row.name)
def test_a_page_says_when_what_and_which_command(row: Any) -> None:
    page = (ROOT / "docs/runbooks" / f"{row.name}.md").read_text("utf-8")
    assert page.startswith(f"# {row.name}\n")
    assert [part for part in ("## Means", "## Look", "## Do") if part not in page] == []


def test_alerts_link_to_the_folder_that_an_inventory_names() -> None:
    rules = alert_rules(ALERTS, "https://wiki.example.com/pages")["groups"][0]["rules"]  # type: ignore[index]
    assert rules[0]["annotations"]["runbook_url"] == "https://wiki.example.com/pages/HostDown.md"
