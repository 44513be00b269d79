# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases and hosts change under load without a failed request; a broken release stops at the first host and is remembered.

Twenty in a row, and 100,000 requests: make e2e VERB=deploy OPTIONS="--times 20".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.support.lab import Lab, good
from tests.e2e.support.load import LightLoad
from tests.e2e.support.releases import current, nobody_is_out, releases, source
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor
from tests.e2e.support.witness import Witness

CLIENTS = 4


@pytest.fixture
def load(visit: Callable[..., Visitor], witness: Witness) -> Iterator[LightLoad]:
    """Load that has to go on without a failure from the first to the last line of a test."""
    # Kept connections and fresh ones; httpx can't share one HTTP/2 connection between threads.
    visitors = [visit(timeout=30, http2=False, keepalive=bool(number % 2)) for number in range(CLIENTS)]
    with LightLoad(visitors, witness, pause=0.05, path="/api/courses?page=2", write_every=4) as load:
        yield load
    assert load.failed == []
    assert len(load.answers) > 50, "there was load"


@pytest.fixture(scope="module")
def home(lab: Lab) -> Iterator[str]:
    """The release that the fleet serves before and after: its own source's."""
    before = current(lab, lab.tier("app_servers")[0])
    yield before
    if releases(lab) != {before}:
        good(lab.play("playbooks/deploy.yml", "-e", "deploy_force=true"))


def test_a_deploy_a_broken_release_and_a_rollback_lose_nothing(lab: Lab, load: LightLoad, home: str, tmp_path: Path) -> None:
    good(lab.play("playbooks/deploy.yml", "-e", source(tmp_path / "good")))
    fresh = releases(lab)
    assert len(fresh) == 1
    assert fresh != {home}
    nobody_is_out(lab)

    broken = source(tmp_path / "broken", broken="broken on purpose")
    stopped = lab.play("playbooks/deploy.yml", "-e", broken, "-e", "app_release_patience=3")
    assert stopped.code != 0
    assert "broken on purpose" in stopped.messages
    assert f"stopped at {lab.tier('app_servers')[0]}" in stopped.messages
    assert releases(lab) == fresh, "the hosts that come later were not touched, the first one is back"
    nobody_is_out(lab)

    refused = lab.play("playbooks/deploy.yml", "-e", broken)
    assert refused.code != 0
    assert "known_bad" not in refused.messages
    assert "failed on" in refused.messages
    assert "deploy_force" in refused.messages
    bad = next(
        name for name, row in json.loads(lab.ssh(lab.tier("queue_workers")[0], "cat /srv/school/shared/releases.json")).items()
        if row["state"] == "failed" and "broken on purpose" in row["why"]
    )  # every host remembers, not just the first
    never = lab.play("playbooks/rollback.yml", "-e", f"rollback_release={bad}")
    assert never.code != 0
    assert bad in never.messages

    good(lab.play("playbooks/rollback.yml"))
    assert releases(lab) == {home}
    nobody_is_out(lab)


def test_site_does_not_bring_back_what_was_withdrawn(lab: Lab, home: str, tmp_path: Path) -> None:
    options = ["--tags", "app_release,queue_workers"]
    withdrawn = source(tmp_path / "withdrawn")
    good(lab.play("playbooks/deploy.yml", "-e", withdrawn))
    good(lab.play("playbooks/rollback.yml"))
    run = good(lab.play("playbooks/site.yml", "-e", withdrawn, *options))
    assert releases(lab) == {home}
    assert run.changed == {}


def test_a_drained_host_gets_nothing_and_stays_out(lab: Lab, load: LightLoad, app_servers: list[str]) -> None:
    host = app_servers[0]
    good(lab.play("playbooks/drain.yml", "-e", f"fleet_host={host}"))
    try:
        drained = time.time()
        refused = lab.play("playbooks/drain.yml", "-e", f"fleet_host={app_servers[1]}")
        assert refused.code != 0
        assert f"{app_servers[1]} is all that serves in app_servers ({host} is out of traffic)" in refused.messages + refused.output
        run = good(lab.play("playbooks/site.yml", "--limit", host, "--tags", "app_server,traffic,scheduler,app_release"))
        assert run.changed == {}, "site.yml leaves it as it is"
        lab.podman("restart", host)
        lab.wait_for_boot(host)
        time.sleep(2)
        assert host not in load.servers(drained + 0.5), "also after a reboot"
        logged = lab.ssh(host, "tail -n 2000 /var/log/nginx/access.log").splitlines()
        elsewhere = [row for row in map(json.loads, logged) if row["balancer"] != "127.0.0.1"]
        assert [row for row in elsewhere if row["time"] > time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(drained + 1))] == []
    finally:
        good(lab.play("playbooks/undrain.yml", "-e", f"fleet_host={host}"))
    back = time.time()
    until(f"{host} serves again", lambda: host in load.servers(back), seconds=30)
