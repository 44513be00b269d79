# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who watches the fleet, asked as a person or the page would: over TLS, by login."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from tests.e2e.support.lab import Lab


def client(lab: Lab, **options: Any) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(lab.ca_file))
    return httpx.Client(
        base_url=f"https://{lab.address(lab.tier('monitoring')[0])}", verify=context, timeout=10, **options
    )


def login(lab: Lab) -> tuple[str, str]:
    return "fleet", lab.credentials["vault_monitoring_web_password"]


def told(lab: Lab, path: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus, through the page's own way to it."""
    with client(lab, auth=login(lab)) as web:
        answer = web.get(f"/fleet/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def ask(lab: Lab, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers to an expression."""
    rows: list[dict[str, Any]] = told(lab, "query", query=expression)["result"]
    return rows
