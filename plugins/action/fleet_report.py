# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus for its history, say what the fleet uses and which sizes would do; too little history is a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from ansible.errors import AnsibleActionFail
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.prometheus_client import Prometheus, PrometheusError
from ..module_utils.report import Policy, Report, ReportError, machines_from, make_report, policy_from, sizes_from
from ..module_utils.report_history import HOUR, QUERIES, History, step_for
from ..module_utils.report_html import as_html
from ..module_utils.report_render import FORMATS, as_json, as_markdown, as_text, headline

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
BY_SUFFIX = {".json": "json", ".md": "markdown", ".html": "html"}
# What is read of a host's variables.
HOST_VARIABLES = (
    "fleet_sizes", "fleet_storage", "capacity_settings", "php_fpm_max_children", "mysql_max_connections", "mysql_buffer_pool_mb",
    "mysql_settings", "queue_workers_programs", "queue_workers_processes",
)  # fmt: skip


def fetcher(user: str, password: str, ca_file: str | None, seconds: int) -> Callable[[str], bytes]:
    """Fetch a URL with a login and an authority; every way to fail is one sentence that says what to do."""

    def fetch(url: str) -> bytes:
        where = url.partition("?")[0]
        login = {"url_username": user, "url_password": password, "force_basic_auth": True} if user else {}
        try:
            return bytes(open_url(url, timeout=seconds, ca_path=ca_file, **login).read())
        except HTTPError as error:
            if error.code in (400, 422, 503):  # Prometheus says itself what is wrong
                return bytes(error.read())
            cure = "check report_user and report_password" if error.code in (401, 403) else "check report_url"
            raise PrometheusError(f"{where} answers {error.code} {error.reason}: {cure}") from error
        except Exception as error:
            cure = "check report_url and report_ca_file, and that the host with Prometheus runs (status.yml)"
            raise PrometheusError(f"{where} does not answer: {error}; {cure}") from error

    return fetch


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


class ActionModule(ActionBase):  # type: ignore[misc]
    _requires_connection = False
    _supports_check_mode = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        file = Path(arguments["file"]) if arguments["file"] else None
        form = arguments["format"] or (BY_SUFFIX.get(file.suffix, "text") if file else "text")
        try:
            report, history = self._report(arguments, (task_vars or {})["hostvars"])
        except (ReportError, PrometheusError) as error:
            raise AnsibleActionFail(str(error)) from error
        forms: dict[str, Callable[[], str]] = {
            "text": lambda: as_text(report),
            "json": lambda: as_json(report),
            "markdown": lambda: as_markdown(report),
            "html": lambda: as_html(report, history),
        }
        if file:
            try:
                file.write_text(forms[form](), encoding="utf-8")
            except OSError as error:
                raise AnsibleActionFail(f"report_file {file} can't be written: {error.strerror}") from error
        Display().display("\n" + forms["text" if file else form]())
        result.update(changed=False, headline=headline(report), report=report.as_dict())
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
            fetcher(arguments["user"], arguments["password"], arguments["ca_file"], arguments["seconds"]),
        )
        history = ask(prometheus, policy, time.time())
        machines = machines_from(fleet, known, sizes, fleet_sizes, history)
        return make_report(machines, history, sizes, policy, fleet=fleet, hostvars=known), history
