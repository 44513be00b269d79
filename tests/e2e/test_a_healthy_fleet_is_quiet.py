# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody is called while all is well: a quarter of an hour of light load, and no alert fires.

Long: `make quiet`; QUIET_SECONDS=120 looks for less. What only tells the autoscaler to look (severity none) is no alert.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from plugins.module_utils.alerts import ALERTS
from tests.e2e.support.lab import Lab
from tests.e2e.support.load import LightLoad
from tests.e2e.support.waiting import until
from tests.e2e.support.watchers import ask, told
from tests.e2e.support.web import Visitor
from tests.e2e.support.witness import Witness

pytestmark = pytest.mark.quiet

SECONDS = int(os.environ.get("QUIET_SECONDS") or 900)
LOOK_SECONDS = 5
CLIENTS = 2


def firing(lab: Lab) -> list[str]:
    """A sentence for each alert that people are told of now."""
    alerts: list[dict[str, Any]] = told(lab, "alerts")["alerts"]
    return [
        f"{alert['labels']['alertname']} since {alert['activeAt'][:19]}: {alert['annotations']['summary']}"
        for alert in alerts
        if alert["state"] == "firing" and alert["labels"].get("severity") != "none"
    ]


def fired(lab: Lab, seconds: int) -> set[str]:
    """The names of those that fired within so many seconds, also of those that no look met."""
    rows = ask(lab, f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing", severity!="none"}}[{seconds}s]))')
    return {row["metric"]["alertname"] for row in rows}


def test_a_healthy_fleet_is_quiet(lab: Lab, visit: Callable[..., Visitor], witness: Witness) -> None:
    rules = {rule["name"]: rule for group in told(lab, "rules")["groups"] for rule in group["rules"] if rule["type"] == "alerting"}
    assert {row.name for row in ALERTS} <= set(rules), "an alert that is not there can't fire"
    assert {name for name, rule in rules.items() if rule["health"] == "err"} == set()
    until("what fired before has resolved", lambda: not firing(lab), seconds=300, every=5)
    begun = time.monotonic()
    with LightLoad([visit(http2=False) for _client in range(CLIENTS)], witness) as load:
        while (passed := time.monotonic() - begun) < SECONDS:
            now = firing(lab)
            assert now == [], f"after {passed:.0f} s: {'; '.join(now)}"
            time.sleep(LOOK_SECONDS)
    assert fired(lab, int(time.monotonic() - begun)) == set()
    assert len(ask(lab, "fleet:up:bool == 1")) == len(lab.hosts), "a host that is not watched is quiet too"
    assert load.failed == []
    assert len(load.answers) > SECONDS / 2, "there was a load"
