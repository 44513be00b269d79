# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of what is recorded of a fleet: Prometheus' rules, the table in docs/monitoring.md, dashboards and the page derive from it.

The names in the expressions are those of Debian 13's exporters (node 1.9, mysqld 0.17, redis 1.69, phpfpm 0.6, blackbox 0.26),
of HAProxy 3.0's own page, and of this collection's own (OWN_METRICS). Every target carries the labels host, tier and job; those of
Redis also pool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# How far back a rate looks. Two scrapes must fit into it, so targets are scraped at least every 10 s; a longer window would hide
# the beginning of a load from the autoscaler.
WINDOW = "30s"
# For what is rare: slow queries and jobs.
LONG_WINDOW = "2m"
JOB_WINDOW = "5m"
SLOTS = 16384

# Metrics that this collection's own programs give, by the job that asks for them; those of node and phpfpm come through these
# exporters' collectors of text files and of scripts.
OWN_METRICS: Mapping[str, tuple[str, ...]] = {
    "mysql_health": (
        "mysql_health_writable", "mysql_health_replica", "mysql_health_replicating", "mysql_health_lag_seconds",
        "mysql_health_executed_transactions", "mysql_health_backlog_transactions",
    ),
    "node": ("fleet_release_info", "fleet_certificate_not_after_seconds", "fleet_out_of_traffic"),
    "phpfpm": ("php_opcache_memory_used_bytes", "php_opcache_memory_wasted_bytes", "php_opcache_memory_free_bytes"),
    "laravel": ("laravel_queue_jobs", "laravel_queue_oldest_job_age_seconds", "laravel_job_duration_seconds"),
    "balancer_log": ("balancer_requests_total", "balancer_upstream_seconds", "balancer_response_seconds"),
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """One recorded series.

    ``expr`` is PromQL over what exporters give, or over series further up in the list. ``unit`` is one of ratio, seconds, count,
    per_second, per_minute, days, bool, info. ``labels`` are all that it carries. ``merge`` is how the values of several hosts or
    queues become one for the fleet: avg, sum or max; "" where that says nothing.
    """

    name: str
    expr: str
    unit: str
    about: str
    labels: tuple[str, ...] = ()
    merge: str = ""


def _quantile(share: float, histogram: str, by: str = "", window: str = WINDOW) -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({histogram}_bucket[{window}])))"


# Transactions that the source had committed 15 s ago, by the time that Prometheus asked it, and that the replica still lacks. Two
# servers are not asked in the same moment, so a younger number of the source would show a gap where there is none.
_GTID_BEHIND_SOURCE = (
    'clamp_min(max by (source_uuid) (label_replace(mysql_health_executed_transactions offset 15s, "source_uuid", "$1", "uuid", "(.*)"))'
    ' - on (source_uuid) group_right () mysql_health_executed_transactions{source_uuid!=""}, 0)'
)

SERIES: tuple[Series, ...] = (
    Series(
        "fleet:up:bool", 'max by (host, tier) (up{job="node"})', "bool",
        "1 when its node exporter answers", ("host", "tier"),
    ),
    Series(
        "fleet:cpu_used:ratio",
        "clamp(1 - avg by (host, tier) (sum by (host, tier, cpu)"
        f" (rate(node_cpu_seconds_total{{mode=~\"idle|iowait\"}}[{WINDOW}]))), 0, 1)",
        "ratio", "processor time in use, of the host's own cores", ("host", "tier"), "avg",
    ),
    Series(
        "fleet:memory_used:ratio",
        "max by (host, tier) (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)",
        "ratio", "memory that is not available to a new program", ("host", "tier"), "avg",
    ),
    Series(
        "fleet:disk_used:ratio",
        "max by (host, tier) (1 - node_filesystem_avail_bytes{fstype!~\"tmpfs|ramfs|squashfs|iso9660|fuse.*\"}"
        " / node_filesystem_size_bytes)",
        "ratio", "the fullest file system", ("host", "tier"), "max",
    ),
    Series(
        "fleet:out_of_traffic:bool", "max by (host) (fleet_out_of_traffic)", "bool",
        "1 when a tier of the host is kept out of traffic (drain.yml, or a verb)", ("host",),
    ),
    Series(
        "fleet:release:info", "max by (host, release) (fleet_release_info)", "info",
        "1 for the release that is current on the host", ("host", "release"),
    ),
    Series(
        "fleet:health:bool", 'min by (host) (probe_success{job="blackbox"})', "bool",
        "1 when what the host serves answers as it should: the health page, the port", ("host",),
    ),
    Series(
        "fleet:certificate_left:days",
        "min by (host) ((fleet_certificate_not_after_seconds or probe_ssl_earliest_cert_expiry) - time()) / 86400",
        "days", "until the first of the host's certificates ends", ("host",), "min",
    ),
    Series(
        "fleet:database_connections:count", "max by (host) (mysql_global_status_threads_connected)", "count",
        "open connections of a MySQL server", ("host",), "sum",
    ),
    Series(
        "fleet:database_connections_used:ratio",
        "max by (host) (mysql_global_status_threads_connected / mysql_global_variables_max_connections)",
        "ratio", "open connections of a MySQL server, of its max_connections", ("host",), "max",
    ),
    Series(
        "fleet:database_budget_used:ratio",
        'sum(haproxy_frontend_current_sessions{proxy=~"to_primary|to_replica"}) / min(mysql_global_variables_max_connections)',
        "ratio", "connections that all clients have open, of what the smallest MySQL server allows: any one may have to bear them all",
    ),
    Series(
        "fleet:slow_queries:per_minute", f"60 * sum by (host) (rate(mysql_global_status_slow_queries[{LONG_WINDOW}]))", "per_minute",
        "queries that took longer than long_query_time", ("host",), "sum",
    ),
    Series(
        "fleet:mysql_primary:bool", "max by (host) (mysql_health_writable)", "bool",
        "1 on the MySQL server that takes writes", ("host",),
    ),
    Series(
        "fleet:replication_lag:seconds", "max by (host) (mysql_health_lag_seconds)", "seconds",
        "how far a replica is behind the commits of its source; the same number decides where reads go", ("host",), "max",
    ),
    Series(
        "fleet:gtid_gap:transactions",
        f"max by (host) (mysql_health_backlog_transactions or {_GTID_BEHIND_SOURCE})",
        "count", "transactions that a replica lacks: received and not applied, or committed by its source 15 s ago and not here",
        ("host",), "max",
    ),
    Series(
        "fleet:semi_sync_replicas:count",
        "max by (host) (mysql_global_status_rpl_semi_sync_source_clients) and on (host) fleet:mysql_primary:bool == 1",
        "count", "replicas that acknowledge what the primary commits", ("host",),
    ),
    Series(
        "fleet:redis_slots_covered:count", "quantile by (pool) (0.5, redis_cluster_slots_ok)", "count",
        f"slots of a pool that somebody serves, of {SLOTS}, as most of its instances see it", ("pool",), "min",
    ),
    Series(
        "fleet:fpm_busy:ratio", "max by (host) (php_fpm_active_processes / php_fpm_total_processes)", "ratio",
        "PHP-FPM children that serve a request, of all", ("host",), "avg",
    ),
    Series(
        "fleet:opcache_used:ratio",
        "max by (host) (1 - php_opcache_memory_free_bytes"
        " / (php_opcache_memory_used_bytes + php_opcache_memory_wasted_bytes + php_opcache_memory_free_bytes))",
        "ratio", "OPcache's memory that holds code, or did", ("host",), "max",
    ),
    Series(
        "fleet:queue_length:jobs", 'max by (queue) (laravel_queue_jobs{state="waiting"})', "count",
        "jobs that wait for a worker", ("queue",), "sum",
    ),
    # Averaged, because a job may be shorter than the time between two looks.
    Series(
        "fleet:queue_running:jobs", f'max by (queue) (avg_over_time(laravel_queue_jobs{{state="reserved"}}[{WINDOW}]))', "count",
        f"jobs that workers run, averaged over {WINDOW}", ("queue",), "sum",
    ),
    Series(
        "fleet:queue_workers:count", 'sum by (host) (namedprocess_namegroup_num_procs{groupname="queue-worker"})', "count",
        "workers (artisan queue:work) that there are, whether they run a job or wait for one", ("host",), "sum",
    ),
    Series(
        "fleet:queue_oldest_job_age:seconds", "max by (queue) (laravel_queue_oldest_job_age_seconds)", "seconds",
        "how long the first job of the queue has waited", ("queue",), "max",
    ),
    Series(
        "fleet:job_duration:p95_seconds", _quantile(0.95, "laravel_job_duration_seconds", "queue", JOB_WINDOW), "seconds",
        f"what 95 of 100 jobs stay below, over {JOB_WINDOW}", ("queue",), "max",
    ),
    Series(
        "fleet:jobs_done:rate", f"sum by (queue) (rate(laravel_job_duration_seconds_count[{LONG_WINDOW}]))", "per_second",
        "jobs that workers ended, well or not", ("queue",), "sum",
    ),
    *(
        Series(
            f"fleet:response_time:p{percent}_seconds", _quantile(percent / 100, "balancer_upstream_seconds", "upstream"), "seconds",
            f"what {percent} of 100 answers of an application server stay below, as the balancers see it", ("upstream",), "max",
        )
        for percent in (50, 95, 99)
    ),
    Series(
        "fleet:response_time_overall:p95_seconds", _quantile(0.95, "balancer_response_seconds"), "seconds",
        "what 95 of 100 requests stay below, all attempts together",
    ),
    Series(
        "fleet:requests:rate", f"sum by (upstream) (rate(balancer_requests_total[{WINDOW}]))", "per_second",
        "requests that an application server answered; upstream is none for those that a balancer answered itself", ("upstream",), "sum",
    ),
    Series(
        "fleet:request_errors:ratio",
        f"sum(rate(balancer_requests_total{{class=\"5xx\"}}[{WINDOW}])) / sum(rate(balancer_requests_total[{WINDOW}]))",
        "ratio", "answers to clients with a status of 500 and above, of all",
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Series] = {row.name: row for row in SERIES}

# Words of PromQL in the expressions above and in alerts.py that are no metric.
_WORDS = frozenset({
    "by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset", "sum", "avg", "min", "max",
    "count", "quantile", "rate", "time", "clamp", "clamp_min", "histogram_quantile", "label_replace", "absent", "vector",
    "avg_over_time",
})  # fmt: skip
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
_LABELS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*")


def metrics_in(expr: str) -> frozenset[str]:
    """The names of metrics and recorded series in an expression of this collection."""
    bare = _LABELS.sub(" ", _SELECTOR.sub("", _STRING.sub("", expr)))
    return frozenset(name for name in _NAME.findall(bare) if name not in _WORDS and not re.fullmatch(r"\d*[smhd]", name))


def recording_rules(interval_seconds: int = 5) -> dict[str, object]:
    """The content of Prometheus' file of recording rules: one group, so that a series may use those above it."""
    rules = [{"record": row.name, "expr": row.expr} for row in SERIES]
    return {"groups": [{"name": "fleet", "interval": f"{interval_seconds}s", "rules": rules}]}


def markdown() -> str:
    """The table of docs/monitoring.md."""
    lines = ["| series | labels | unit | what |", "|---|---|---|---|"]
    for row in SERIES:
        labels = ", ".join(f"`{label}`" for label in row.labels) or "-"
        lines.append(f"| `{row.name}` | {labels} | {row.unit} | {row.about} |")
    return "\n".join(lines) + "\n"
