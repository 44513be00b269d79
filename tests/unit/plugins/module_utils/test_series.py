# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every recorded series is made of metrics that exist, and says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plugins.module_utils.alerts import ALERTS
from plugins.module_utils.series import BY_NAME, OWN_METRICS, SERIES, markdown, metrics_in
from tests.unit.support.render import ROOT

NAMES = ROOT / "tests/unit/support/metric_names"
# The names and labels that the page, the autoscaler and the report were promised.
PROMISED = {
    "fleet:cpu_used:ratio": {"host", "tier"}, "fleet:memory_used:ratio": {"host", "tier"}, "fleet:disk_used:ratio": {"host", "tier"},
    "fleet:up:bool": {"host", "tier"}, "fleet:database_connections:count": {"host"}, "fleet:database_connections_used:ratio": {"host"},
    "fleet:database_budget_used:ratio": set(), "fleet:slow_queries:per_minute": {"host"}, "fleet:queue_length:jobs": {"queue"},
    "fleet:queue_running:jobs": {"queue"}, "fleet:queue_workers:count": {"host"}, "fleet:queue_oldest_job_age:seconds": {"queue"},
    "fleet:job_duration:p95_seconds": {"queue"},
    "fleet:response_time:p50_seconds": {"upstream"}, "fleet:response_time:p95_seconds": {"upstream"},
    "fleet:response_time:p99_seconds": {"upstream"}, "fleet:response_time_overall:p95_seconds": set(),
    "fleet:requests:rate": {"upstream"}, "fleet:request_errors:ratio": set(), "fleet:replication_lag:seconds": {"host"},
    "fleet:gtid_gap:transactions": {"host"}, "fleet:semi_sync_replicas:count": {"host"}, "fleet:mysql_primary:bool": {"host"},
    "fleet:redis_slots_covered:count": {"pool"}, "fleet:fpm_busy:ratio": {"host"}, "fleet:opcache_used:ratio": {"host"},
    "fleet:certificate_left:days": {"host"}, "fleet:release:info": {"host", "release"}, "fleet:out_of_traffic:bool": {"host"},
}  # fmt: skip


def known_metrics() -> set[str]:
    """What exporters of Debian 13 gave when they were asked, what Prometheus adds, and this collection's own."""
    names = {"up"} | {name for metrics in OWN_METRICS.values() for name in metrics}
    for path in NAMES.glob("*.txt"):
        names |= {line for line in path.read_text("ascii").split("\n") if line and not line.startswith("#")}
    return names


def plain(name: str) -> str:
    """A histogram's name, without what its parts add."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_series_is_recorded_with_its_labels(name: str) -> None:
    assert set(BY_NAME[name].labels) == PROMISED[name]


def test_no_series_stands_in_the_list_twice() -> None:
    assert len(BY_NAME) == len(SERIES)


@pytest.mark.parametrize("row", [*SERIES, *ALERTS], ids=lambda row: row.name)
def test_an_expression_reads_only_metrics_that_exist_and_series_that_are_recorded(row: object) -> None:
    expr = str(getattr(row, "promql", None) or getattr(row, "expr"))  # noqa: B009 - rows of two kinds
    known = known_metrics()
    missing = {name for name in metrics_in(expr) if name not in known and plain(name) not in known and name not in BY_NAME}
    assert missing == set()


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        pytest.param("max by (host) (up{job=\"node\"} == 0)", {"up"}, id="labels and strings are none"),
        pytest.param("rate(a_total[30s]) / on (host) group_left (tier) b offset 15s", {"a_total", "b"}, id="neither are durations"),
        pytest.param("fleet:up:bool > 1e3", {"fleet:up:bool"}, id="nor numbers; a recorded series is"),
    ],
)
def test_the_names_in_an_expression_are_found(expr: str, names: set[str]) -> None:
    assert metrics_in(expr) == names


def test_a_series_uses_only_those_above_it() -> None:
    seen: set[str] = set()
    for row in SERIES:
        assert {name for name in metrics_in(row.expr) if name.startswith("fleet:")} <= seen, row.name
        seen.add(row.name)


def test_the_own_metrics_are_those_that_the_programs_give() -> None:
    health = Path(ROOT / "roles/mysql/templates/usr/local/lib/graphic_school/mysql_health.py").read_text("utf-8")
    sources = {
        "mysql_health": health,
        "laravel": (ROOT / "plugins/module_utils/laravel_exporter.py").read_text("utf-8"),
        "balancer_log": (ROOT / "plugins/module_utils/balancer_log.py").read_text("utf-8"),
    }
    missing = [name for job, source in sources.items() for name in OWN_METRICS[job] if f'"{name}"' not in source]
    assert missing == []


def test_the_documentation_shows_the_list_as_it_is() -> None:
    assert markdown() in (ROOT / "docs/monitoring.md").read_text("utf-8")
