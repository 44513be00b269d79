# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus for its history, say what the fleet uses and which sizes would do; too little history is a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils.prometheus_client import Prometheus, PrometheusError, fetcher
from ..module_utils.report import Policy, Report, ReportError, machines_from, make_report, policy_from, sizes_from
from ..module_utils.report_history import HOUR, QUERIES, History, step_for
from ..module_utils.report_html import as_html
from ..module_utils.report_render import FORMATS, as_json, as_markdown, as_text, headline
from ..plugin_utils.control_action import ControlAction, tell

POLICY = (
    "history_hours", "window_hours", "cpu_percent", "memory_percent", "connections_percent", "children_percent", "pool_percent",
    "pool_hits_percent", "queue_seconds", "disk_days",
)  # fmt: skip
ARGUMENTS: dict[str, dict[str, Any]] = {
    "fleet": {"type": "dict", "required": True},
    "url": {"type": "str"},
    "user": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "ca_file": {"type": "path"},
    "seconds": {"type": "int", "default": 60},
    "prices": {"type": "dict", "default": {}},
    "currency": {"type": "str", "default": "USD"},
    "format": {"type": "str", "choices": list(FORMATS)},
    "file": {"type": "path"},
    # As they come: what is wrong with one is said in the words of its variable.
    **{name: {"type": "raw"} for name in POLICY},
}
# What is read of a host's variables.
HOST_VARIABLES = (
    "fleet_sizes", "fleet_storage", "capacity_settings", "php_fpm_max_children", "mysql_max_connections", "mysql_buffer_pool_mb",
    "mysql_settings", "queue_workers_programs", "queue_workers_processes",
)  # fmt: skip


def ask(prometheus: Prometheus, policy: Policy, now: float) -> History:
    """Every query of C(QUERIES) over the window, on one grid."""
    step = step_for(policy.window_hours)
    end = now // step * step
    start = end - policy.window_hours * HOUR
    series = {
        name: prometheus.query_range(query.expr.replace("STEP", f"{step:.0f}s"), start, end, step, query.labels)
        for name, query in QUERIES.items()
    }
    return History(start, end, step, series)


def url_of(fleet: Mapping[str, Any], given: str | None) -> str:
    """C(given), or where the fleet's own monitoring host serves Prometheus' API."""
    if given:
        return given
    hosts = [host for host in fleet["hosts"].values() if "monitoring" in host["tiers"] and host["state"] == "active"]
    if not hosts:
        raise ReportError(
            "report_url is not set and the fleet has no active host in group monitoring: set it to what stands before /api/v1"
        )
    return f"https://{hosts[0]['address']}/fleet"


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        try:
            report, history = self._report(arguments, task_vars["hostvars"])
        except (ReportError, PrometheusError) as error:
            raise AnsibleActionFail(str(error)) from error
        forms: dict[str, Callable[[], str]] = {
            "text": lambda: as_text(report),
            "json": lambda: as_json(report),
            "markdown": lambda: as_markdown(report),
            "html": lambda: as_html(report, history),
        }
        tell(forms, arguments["format"], arguments["file"], "report_file")
        result: dict[str, Any] = {"changed": False, "headline": headline(report), "report": report.as_dict()}
        if report.refused:
            reasons = "\n".join(verdict.reason for verdict in report.refusals)
            result.update(failed=True, msg=f"{headline(report)}\n{reasons}")
        return result

    def _report(self, arguments: Mapping[str, Any], hostvars: Mapping[str, Any]) -> tuple[Report, History]:
        fleet = arguments["fleet"]
        policy = policy_from({name: arguments[name] for name in POLICY} | {"currency": arguments["currency"]})
        known = {
            name: {variable: hostvars[name][variable] for variable in HOST_VARIABLES if variable in hostvars[name]}
            for name in fleet["hosts"]
            if name in hostvars
        }
        fleet_sizes = {size: row for own in known.values() for size, row in (own.get("fleet_sizes") or {}).items()}
        sizes = sizes_from(fleet_sizes, arguments["prices"])
        prometheus = Prometheus(
            url_of(fleet, arguments["url"]),
            fetcher(arguments["user"], arguments["password"], arguments["ca_file"], arguments["seconds"], "report"),
        )
        history = ask(prometheus, policy, time.time())
        machines = machines_from(fleet, known, sizes, fleet_sizes, history)
        return make_report(machines, history, sizes, policy, fleet=fleet, hostvars=known), history
