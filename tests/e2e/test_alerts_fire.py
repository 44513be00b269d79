# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts fire when what they warn of is really so, and end when it is over.

Long, and hard on the fleet: `make alerts` runs all, `make alerts ALERTS="HostDown or DiskFull"` some. Limits are those of every fleet; only
the time that something has to last is shorter meanwhile, by the role's own variable.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import pytest

from plugins.module_utils.alerts import ALERTS
from plugins.module_utils.prometheus_client import Prometheus, PrometheusError, Series
from tests.e2e.ledger.steps import wait_until_lab_is_whole
from tests.e2e.support.alert_conditions import CONDITIONS, Condition
from tests.e2e.support.lab import Lab, good
from tests.e2e.support.monitoring import prometheus
from tests.e2e.support.waiting import until

pytestmark = pytest.mark.alerts

# How long a condition has to last before its alert fires, meanwhile: two evaluations.
SOON_SECONDS = 10


def wait_times(lab: Lab, seconds: Mapping[str, int]) -> None:
    """Give alerts these times on the host that watches; none gives each its own."""
    changes = json.dumps({"prometheus_alerts": {name: {"seconds": value} for name, value in seconds.items()}})
    good(lab.play("playbooks/monitoring.yml", "--limit", lab.tier("monitoring")[0], "--tags", "prometheus", "-e", changes))


@pytest.fixture(scope="module")
def asked(lab: Lab) -> Iterator[Prometheus]:
    """Prometheus, whose alerts fire soon."""
    if not lab.tier("monitoring"):
        pytest.fail("nobody watches this fleet: give the group monitoring of its inventory a host", pytrace=False)
    try:
        wait_times(lab, {row.name: min(row.seconds, SOON_SECONDS) for row in ALERTS})
        yield prometheus(lab)
    finally:
        wait_times(lab, {})


def firing(asked: Prometheus, name: str, labels: Mapping[str, str]) -> list[Series]:
    """The alerts of this name that fire, with at least these labels."""
    try:
        series = asked.query(f'ALERTS{{alertstate="firing", alertname="{name}"}}')
    except PrometheusError as error:
        # One that is busy answers later.
        raise AssertionError(str(error)) from error
    return [one for one in series if labels.items() <= one.labels.items()]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_an_alert_fires_and_ends(lab: Lab, asked: Prometheus, condition: Condition) -> None:
    wanted = {name: dict(labels(lab)) for name, labels in condition.alerts.items()}
    for name, labels in wanted.items():
        until(f"{name} does not fire before", lambda name=name, labels=labels: not firing(asked, name, labels), seconds=60, every=1)
    begun = time.monotonic()
    with condition.held(lab):
        fired = {}
        for name, labels in wanted.items():
            left = max(1.0, condition.fire_seconds - (time.monotonic() - begun))
            until(f"{name} {labels} fires", lambda name=name, labels=labels: firing(asked, name, labels), seconds=left, every=1)
            fired[name] = time.monotonic() - begun
    undone = time.monotonic()
    for name, labels in wanted.items():
        left = max(1.0, condition.end_seconds - (time.monotonic() - undone))
        until(f"{name} {labels} ends", lambda name=name, labels=labels: not firing(asked, name, labels), seconds=left, every=1)
        print(f"{name} {labels}: fired after {fired[name]:.0f} s, ended {time.monotonic() - undone:.0f} s after it was over", flush=True)
    wait_until_lab_is_whole(lab)
