# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alerts of a fleet as data, and what tells the autoscaler to look. Each has a page docs/runbooks/<name>.md."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .capacity import number_from
from .series import BY_NAME, SLOTS

CRITICAL, WARNING = "critical", "warning"
SEVERITIES = (CRITICAL, WARNING)
# What the limit stands as in an expression.
LIMIT = "LIMIT"
AUTOSCALE_OUT, AUTOSCALE_IN = "AutoscaleOut", "AutoscaleIn"
# How long a trigger of the autoscaler must hold: two evaluations, so that one odd scrape starts nothing.
TRIGGER_SECONDS = 5
RUNBOOKS = "https://example.com/graphic_school/scaling/docs/runbooks"


class AlertError(ValueError):
    """An alert can't be as it was asked for; the message names it, the value and the cure."""


@dataclass(frozen=True)
class Alert:
    """One alert. C(expr) holds LIMIT where C(limit) goes, in the unit of the series. It fires after C(seconds) of being true.

    C(summary) is one sentence that names the host (or queue, or pool), C(about) what that means for people; both are templates of
    Prometheus.
    """

    name: str
    expr: str
    limit: float
    seconds: int
    severity: str
    summary: str
    about: str

    @property
    def promql(self) -> str:
        return self.expr.replace(LIMIT, f"{self.limit:g}")


_HOST = "{{ $labels.host }}"
_SHARE = "{{ $value | humanizePercentage }}"
_TIME = "{{ $value | humanizeDuration }}"
_NUMBER = '{{ $value | printf "%.0f" }}'

# A host that is out of traffic on purpose answers its health page with a refusal, and one that is down says nothing new.
_IN_TRAFFIC = "unless on (host) fleet:out_of_traffic:bool == 1"
_HOST_ANSWERS = "unless on (host) fleet:up:bool == 0"

ALERTS: tuple[Alert, ...] = (
    # -- machines
    Alert(
        "HostDown", "fleet:up:bool == LIMIT", 0, 30, CRITICAL,
        f"{_HOST} ({{{{ $labels.tier }}}}) does not answer", "The others carry its work; the next fault may not be borne.",
    ),
    Alert(
        "CpuHigh", "fleet:cpu_used:ratio > LIMIT", 0.80, 300, WARNING,
        f"{_HOST} uses {_SHARE} of its processors", "Answers will become slow when the load rises further.",
    ),
    Alert(
        "CpuSaturated", "fleet:cpu_used:ratio > LIMIT", 0.90, 60, CRITICAL,
        f"{_HOST} uses {_SHARE} of its processors", "Requests and jobs wait for processor time.",
    ),
    Alert(
        "MemoryHigh", "fleet:memory_used:ratio > LIMIT", 0.85, 120, WARNING,
        f"{_HOST} uses {_SHARE} of its memory", "When nothing is left, the kernel ends a process.",
    ),
    Alert(
        "DiskFull", "fleet:disk_used:ratio > LIMIT", 0.80, 300, WARNING,
        f"a file system of {_HOST} is {_SHARE} full", "MySQL stops writing, and deploys fail, when no room is left.",
    ),
    Alert(
        "CertificateEnding", "fleet:certificate_left:days < LIMIT", 21, 600, WARNING,
        f"a certificate of {_HOST} ends in {_NUMBER} days", "After that, clients or the other hosts refuse it.",
    ),
    Alert(
        "CertificateEndsSoon", "fleet:certificate_left:days < LIMIT", 7, 60, CRITICAL,
        f"a certificate of {_HOST} ends in {_NUMBER} days", "After that, clients or the other hosts refuse it.",
    ),
    # -- traffic
    Alert(
        "HealthRed", f"(fleet:health:bool == LIMIT {_IN_TRAFFIC}) {_HOST_ANSWERS}", 0, 30, CRITICAL,
        f"{_HOST} answers, but what it serves is not well", "It gets requests, or should, and can't do its part.",
    ),
    Alert(
        "ResponseTimeHigh", "fleet:response_time:p95_seconds > LIMIT", 5, 60, CRITICAL,
        f"5 of 100 answers of {{{{ $labels.upstream }}}} take longer than {_TIME}", "People wait, or have gone.",
    ),
    Alert(
        "ErrorsHigh", "fleet:request_errors:ratio > LIMIT", 0.01, 60, CRITICAL,
        f"the fleet answers {_SHARE} of its requests with an error", "People see error pages.",
    ),
    Alert(
        "OutOfTrafficLong", "max by (host, of) (fleet_out_of_traffic == LIMIT)", 1, 3600, WARNING,
        f"{_HOST} is out of traffic as one of {{{{ $labels.of }}}}, for an hour or longer",
        "The fleet is smaller than the inventory says.",
    ),
    Alert(
        "ReleasesDiffer",
        f"(fleet:release:info {_IN_TRAFFIC}) and on () count(count by (release) (fleet:release:info {_IN_TRAFFIC})) > LIMIT",
        1, 600, WARNING,
        f"{_HOST} runs release {{{{ $labels.release }}}}, and not all hosts do", "A deploy was interrupted, or a host missed it.",
    ),
    # -- PHP
    Alert(
        "FpmSaturated", "fleet:fpm_busy:ratio > LIMIT", 0.90, 60, WARNING,
        f"{_SHARE} of the PHP-FPM children of {_HOST} are at work", "Further requests wait until one is free.",
    ),
    Alert(
        "OpcacheFull", "fleet:opcache_used:ratio > LIMIT", 0.90, 300, WARNING,
        f"OPcache of {_HOST} is {_SHARE} full", "What no longer fits is compiled at each request.",
    ),
    # -- queues
    Alert(
        "QueueLong", "fleet:queue_length:jobs > LIMIT", 1000, 300, WARNING,
        f"{_NUMBER} jobs wait in queue {{{{ $labels.queue }}}}", "Workers don't keep up.",
    ),
    Alert(
        "QueueOld", "fleet:queue_oldest_job_age:seconds > LIMIT", 300, 60, WARNING,
        f"a job in queue {{{{ $labels.queue }}}} waits for {_TIME}", "What it was to do comes late: a mail, a payment.",
    ),
    Alert(
        "JobsSlow", "fleet:job_duration:p95_seconds > LIMIT", 45, 300, WARNING,
        f"5 of 100 jobs of queue {{{{ $labels.queue }}}} take longer than {_TIME}",
        "A worker ends a job that exceeds its timeout (60 s unless its row says otherwise).",
    ),
    # -- MySQL
    Alert(
        "DatabaseConnectionsHigh", "fleet:database_connections_used:ratio > LIMIT", 0.80, 60, WARNING,
        f"{_SHARE} of the connections of {_HOST} are open", "When all are, MySQL refuses new ones.",
    ),
    Alert(
        "DatabaseBudgetHigh", "fleet:database_budget_used:ratio > LIMIT", 0.80, 60, WARNING,
        f"the fleet's clients hold {_SHARE} of what its smallest MySQL server allows",
        "If all of them meet on one server, it refuses some.",
    ),
    Alert(
        "SlowQueries", "fleet:slow_queries:per_minute > LIMIT", 10, 60, WARNING,
        f"{_HOST} runs {_NUMBER} slow queries a minute", "Each holds a connection, and a PHP-FPM child that waits for it.",
    ),
    Alert(
        "MysqlPrimaryMissing", "absent(fleet:mysql_primary:bool == LIMIT)", 1, 15, CRITICAL,
        "no MySQL server of the fleet takes writes", "Every write fails.",
    ),
    Alert(
        "ReplicationBroken",
        "max by (host) (mysql_health_replica == 1 and on (host) mysql_health_replicating == LIMIT)", 0, 30, CRITICAL,
        f"{_HOST} does not replicate", "It serves no reads, and can't take over.",
    ),
    Alert(
        "ReplicationLag", "fleet:replication_lag:seconds > LIMIT", 5, 30, WARNING,
        f"{_HOST} is {_TIME} behind its source", "Reads went to the other servers; it can't take over without waiting.",
    ),
    Alert(
        "GtidGap", "fleet:gtid_gap:transactions > LIMIT", 5000, 60, WARNING,
        f"{_HOST} lacks {_NUMBER} transactions of its source", "It can't take over before it has them.",
    ),
    Alert(
        "SemiSyncLost",
        "fleet:semi_sync_replicas:count and on (host) (mysql_global_variables_rpl_semi_sync_source_enabled == 1"
        " and on (host) (mysql_global_status_rpl_semi_sync_source_status == LIMIT"
        " or mysql_global_status_rpl_semi_sync_source_clients"
        " < on (host) mysql_global_variables_rpl_semi_sync_source_wait_for_replica_count))",
        0, 15, CRITICAL,
        f"{_NUMBER} replicas acknowledge the commits of {_HOST}, which is too few", "Writes wait until one does.",
    ),
    # -- Redis
    Alert(
        "RedisSlotsUncovered", "fleet:redis_slots_covered:count < LIMIT", SLOTS, 15, CRITICAL,
        f"pool {{{{ $labels.pool }}}} of Redis covers {_NUMBER} of {SLOTS} slots",
        "Sessions, queues or the cache fail for a part of all keys.",
    ),
    # -- the watchers themselves
    Alert(
        "ExporterDown", f'(max by (host, job) (up{{job!="node"}}) == LIMIT) {_HOST_ANSWERS}', 0, 60, WARNING,
        f"exporter {{{{ $labels.job }}}} of {_HOST} does not answer",
        "What it tells is missing: plots have holes, and the autoscaler holds.",
    ),
)  # fmt: skip

NAMES: tuple[str, ...] = (*(row.name for row in ALERTS), AUTOSCALE_OUT, AUTOSCALE_IN)


def adjusted(changes: Mapping[str, Mapping[str, Any] | None] | None) -> tuple[Alert, ...]:
    """The alerts with C(changes) laid over them: name to {limit, seconds, severity}; null leaves one out.

    Raises AlertError for an unknown name or key, and for a value that makes no sense.
    """
    left = {row.name: row for row in ALERTS}
    for name, change in (changes or {}).items():
        if name not in left:
            raise AlertError(f"there is no alert {name}{_near(name, left)}; known are {', '.join(left)}")
        if change is None:
            del left[name]
        else:
            left[name] = _changed(left[name], change)
    return tuple(left.values())


def _changed(alert: Alert, change: object) -> Alert:
    known = ("limit", "seconds", "severity")
    if not isinstance(change, Mapping):
        raise AlertError(f"alert {alert.name} must be a dictionary of {', '.join(known)}, or null to leave it out, not: {change!r}")
    for key, value in change.items():
        if key not in known:
            raise AlertError(f"alert {alert.name} has the unknown key {key}{_near(key, known)}; it holds {', '.join(known)}")
        if key == "severity":
            if value not in SEVERITIES:
                raise AlertError(f"alert {alert.name}: severity must be {' or '.join(SEVERITIES)}, not: {value!r}")
            alert = replace(alert, severity=value)
            continue
        number = number_from(value)
        if number is None or (key == "seconds" and (number < 0 or number != int(number))):
            raise AlertError(f"alert {alert.name}: {key} must be a {'whole ' if key == 'seconds' else ''}number, not: {value!r}")
        alert = replace(alert, limit=number) if key == "limit" else replace(alert, seconds=int(number))
    return alert


def _near(value: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def alert_rules(alerts: Iterable[Alert] = ALERTS, runbooks: str = RUNBOOKS) -> dict[str, object]:
    """The content of Prometheus' file of alerts. C(runbooks) is where the pages are."""
    rules = [
        {
            "alert": row.name,
            "expr": row.promql,
            "for": f"{row.seconds}s",
            "labels": {"severity": row.severity},
            "annotations": {"summary": row.summary, "description": row.about, "runbook_url": f"{runbooks}/{row.name}.md"},
        }
        for row in alerts
    ]
    return {"groups": [{"name": "alerts", "interval": "5s", "rules": rules}]}


# -- what tells the autoscaler to look --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signal:
    """What a policy scales by: above C(scale_out) hosts are added, below C(scale_in) it doesn't mind that some go.

    C(of) is the series of which the value is a share, "" when it is none.
    """

    name: str
    series: str
    labels: Mapping[str, str]
    scale_out: float
    scale_in: float
    of: str = ""

    @property
    def promql(self) -> str:
        """One value for the tier. Hosts that are out of traffic have no part in it."""
        value = _merged(self.series, self.labels)
        return f"({value} / {_merged(self.of)})" if self.of else value


def _merged(series: str, labels: Mapping[str, str] | None = None) -> str:
    row = BY_NAME[series]
    chosen = ", ".join(f'{name}="{value}"' for name, value in (labels or {}).items())
    selector = f"{row.name}{{{chosen}}}" if chosen else row.name
    if "host" in row.labels:
        selector = f"{selector} {_IN_TRAFFIC}"
    return f"{row.merge}({selector})" if row.merge else selector


def _signals(policy: Mapping[str, Any]) -> list[Signal]:
    tier = policy.get("tier")
    signals = policy.get("signals")
    if not tier or not isinstance(signals, Mapping) or not signals:
        raise AlertError(
            f"an autoscale policy needs tier and signals, not: {dict(policy)!r}; give it through the filter autoscale_policies"
        )
    found = []
    for name, told in signals.items():
        missing = [item.name for item in fields(Signal)[1:] if item.name not in told and item.name not in ("labels", "of")]
        if missing:
            raise AlertError(
                f"signal {name} of the autoscale policy of {tier} lacks {', '.join(missing)}; "
                "give it through the filter autoscale_policies, which completes it"
            )
        for series in (told["series"], *([told["of"]] if told.get("of") else [])):
            if series not in BY_NAME:
                raise AlertError(
                    f"signal {name} of the autoscale policy of {tier} asks for {series}, which nobody records"
                    f"{_near(series, BY_NAME)}; plugins/module_utils/series.py lists what is"
                )
        labels = dict(told.get("labels") or {})
        limits = float(told["scale_out"]), float(told["scale_in"])
        found.append(Signal(str(name), told["series"], labels, *limits, of=str(told.get("of") or "")))
    return found


def autoscale_rules(policies: Iterable[Mapping[str, Any]], runbooks: str = RUNBOOKS) -> dict[str, object]:
    """The content of Prometheus' file of triggers, for the rows that the filter C(autoscale_policies) completed.

    One alert AutoscaleOut for each signal of each tier, and one AutoscaleIn for each tier: more hosts than the minimum, and no signal
    that needs them for the policy's window. Alertmanager sends both to the autoscaler. They say when to look; what is true then, the
    autoscaler asks and decides itself.

    Raises AlertError for a row that is not complete, or that asks for a series that nobody records.
    """
    rules: list[dict[str, object]] = []
    for policy in policies:
        tier, signals = policy.get("tier"), _signals(policy)
        rules += [_out(str(tier), signal, runbooks) for signal in signals]
        rules.append(_in(str(tier), signals, policy, runbooks))
    return {"groups": [{"name": "autoscale", "interval": "5s", "rules": rules}]} if rules else {"groups": []}


def _out(tier: str, signal: Signal, runbooks: str) -> dict[str, object]:
    return {
        "alert": AUTOSCALE_OUT,
        "expr": f"{signal.promql} > {signal.scale_out:g}",
        "for": f"{TRIGGER_SECONDS}s",
        "labels": {"severity": "none", "autoscale": tier, "direction": "out", "signal": signal.name},
        "annotations": {
            "summary": f"{tier}: {signal.name} is {{{{ $value | printf \"%.2f\" }}}}, above {signal.scale_out:g}",
            "description": "The autoscaler looks whether hosts have to be added.",
            "runbook_url": f"{runbooks}/{AUTOSCALE_OUT}.md",
        },
    }


def _in(tier: str, signals: Iterable[Signal], policy: Mapping[str, Any], runbooks: str) -> dict[str, object]:
    # No value (nobody asked anything, so there is no response time) is no reason to keep a host: unless, not and.
    needed = " ".join(f"unless on () {signal.promql} >= {signal.scale_in:g}" for signal in signals)
    return {
        "alert": AUTOSCALE_IN,
        "expr": f'count(fleet:up:bool{{tier="{tier}"}} == 1 {_IN_TRAFFIC}) > {int(policy.get("minimum", 2))} {needed}',
        "for": f"{int(policy.get('window_seconds', 300))}s",
        "labels": {"severity": "none", "autoscale": tier, "direction": "in"},
        "annotations": {
            "summary": f"{tier}: {_NUMBER} hosts serve, and no signal needs them all",
            "description": "The autoscaler looks whether hosts may be taken away.",
            "runbook_url": f"{runbooks}/{AUTOSCALE_IN}.md",
        },
    }
