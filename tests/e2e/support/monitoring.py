# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's Prometheus, asked as everybody with the login may."""

from __future__ import annotations

from plugins.module_utils.prometheus_client import Prometheus, fetcher
from tests.e2e.support.lab import Lab


def prometheus(lab: Lab) -> Prometheus:
    """The one of the first monitoring host."""
    host = lab.tier("monitoring")[0]
    password = str(lab.credentials["vault_monitoring_web_password"])
    return Prometheus(f"https://{lab.address(host)}/fleet", fetcher("fleet", password, str(lab.ca_file), 10, "monitoring"))


def value(asked: Prometheus, expr: str) -> float | None:
    """The value of an expression now, None when there is none."""
    series = asked.query(expr)
    return series[0].points[-1][1] if series else None


def first_above(asked: Prometheus, expr: str, limit: float, since: float, until: float) -> float | None:
    """When the value was above the limit first, in seconds since 1970; None when it never was."""
    found = asked.query_range(f"{expr} > {limit}", since, until, 1, ())
    return min((points[0][0] for points in found.values()), default=None)
