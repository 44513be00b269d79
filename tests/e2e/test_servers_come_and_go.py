# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""scale.yml adds an app server and takes it away again under load: no request fails, sessions go on, nothing is left over, and each
time it does to the others what plan.yml said."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import site
from tests.e2e.support.lab import ROOT, Lab, Run
from tests.e2e.support.load import LightLoad
from tests.e2e.support.plans import LAB_INVENTORY, everywhere, planned, run_does, services_did, units
from tests.e2e.support.web import Visitor, served_by
from tests.e2e.support.witness import Witness

FAST = site.environment(Path(sys.prefix), accelerate=True)
NAME = "app3"
CLIENTS, PAUSE_SECONDS = 3, 0.15


def wish(count: int) -> tuple[str, ...]:
    return "-e", "fleet_tier=app_servers", "-e", f"fleet_count={count}"


def scale(lab: Lab, count: int, plan: dict[str, Any]) -> Run:
    """Do it, and hold it against the plan: what it does to hosts that are there before and after, by its own word and by systemd's."""
    telling = [*lab.tier("load_balancers"), *lab.tier("monitoring")]
    before = everywhere(telling, lambda host: units(lab, host))
    run = run_does(lab, lab.play, "scale", [LAB_INVENTORY], plan, *wish(count), hosts=lab.hosts, env=FAST)
    services_did(plan, before, everywhere(telling, lambda host: units(lab, host)))
    return run


def plan_of(lab: Lab, count: int) -> dict[str, Any]:
    plan, _printed = planned(lab, lab.play, [LAB_INVENTORY], "-e", "plan_playbook=scale", *wish(count))
    reloaded = {row["host"] for row in plan["actions"] if (row["verb"], row["what"]) == ("reload", "nginx.service")}
    assert reloaded == {*lab.tier("load_balancers")}, "balancers learn of it"
    assert NAME not in plan["hosts"] or NAME in lab.containers(), "a host that is not there yet is not asked"
    return plan


@pytest.fixture
def as_before(lab: Lab) -> Iterator[None]:
    yield
    if NAME in lab.containers():
        run = lab.play("playbooks/scale.yml", *wish(len(lab.tier("app_servers"))), env=FAST)
        assert run.code == 0, run.output[-6000:]


def test_an_app_server_comes_and_goes_under_load(
    lab: Lab, visit: Callable[..., Visitor], app_servers: list[str], as_before: None, witness: Witness
) -> None:
    visitors = [visit(http2=False, keepalive=bool(number)) for number in range(CLIENTS)]
    sessions: list[list[tuple[str, int]]] = [[] for _visitor in visitors]
    first_seen: dict[str, float] = {}

    def note(client: int, asked: float, answer: httpx.Response) -> None:
        first_seen.setdefault(served_by(answer), asked)
        told = answer.json()
        sessions[client].append((told["session_id_hash"], told["session_hits"]))

    more = plan_of(lab, len(app_servers) + 1)
    with LightLoad(visitors, witness, pause=PAUSE_SECONDS, write_every=0, note=note) as load:
        begun = time.time()
        scale(lab, len(app_servers) + 1, more)
        assert NAME in first_seen, f"{NAME} served nobody, only {sorted(first_seen)} did"
        served_after = first_seen[NAME] - begun
        gone = scale(lab, len(app_servers), plan_of(lab, len(app_servers)))
    assert load.failed == []
    for answers in sessions:
        assert len({session for session, _hits in answers}) == 1, "a client keeps its session"
        assert [hits for _session, hits in answers] == list(range(answers[0][1], answers[0][1] + len(answers)))
    assert served_after < 90, f"{NAME} served its first request {served_after:.0f} s after the command"
    assert NAME not in lab.containers()
    for host in lab.tier("monitoring"):
        watched = lab.ssh(host, "cat /etc/prometheus/targets/*.json /var/lib/graphic_school/fleet/fleet.json")
        assert NAME not in watched, "who watches forgets who left"
    assert not (ROOT / "inventories/lab/scaled.yml").exists()
    assert gone.trouble == {}


def test_a_number_that_cannot_be_is_refused_before_anything_is_made(lab: Lab) -> None:
    before = lab.containers()
    run = lab.play("playbooks/scale.yml", *wish(99), env=FAST)
    assert run.code != 0
    assert "fleet_count of app_servers must be from 1 to 10, not: 99" in run.messages
    assert sorted(lab.containers()) == sorted(before)
