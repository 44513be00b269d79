# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases and hosts change under load without a failed request; a broken release stops at the first host and is remembered."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.support.lab import ROOT, Lab, Run
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor, new_key, served_by

CLIENTS = 4
HEALTH = Path("app/Http/Controllers/HealthController.php")


class Load:
    """Clients that read and write without a pause worth mentioning; `failed` has what went wrong."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.answers: list[tuple[float, str, str]] = []
        self.stop = threading.Event()

    def client(self, visitor: Visitor, course: int) -> None:
        number = 0
        while not self.stop.wait(0.05):
            number += 1
            try:
                if number % 4:
                    answer = visitor.get("/api/courses", params={"page": 1 + number % 3})
                else:
                    answer = visitor.post("/api/enrolments", {"course_id": course, "student": "Ada", "key": new_key("deploy")})
            except httpx.TransportError as error:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {error!r}")
                continue
            self.answers.append((time.time(), served_by(answer), answer.headers.get("X-Release", "")))
            if answer.status_code not in {200, 201}:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {answer.request.method} {answer.status_code}: {answer.text[:100]}")

    def served(self, since: float) -> set[str]:
        return {server for at, server, _release in self.answers if at >= since}


@pytest.fixture
def load(visit: Callable[..., Visitor]) -> Iterator[Load]:
    """Load that has to go on without a failure from the first to the last line of a test."""
    load = Load()
    course = visit().get("/api/courses").json()["data"][0]["id"]
    # Kept connections and fresh ones; httpx can't share one HTTP/2 connection between threads.
    visitors = [visit(timeout=30, http2=False, keepalive=bool(number % 2)) for number in range(CLIENTS)]
    threads = [threading.Thread(target=load.client, args=(visitor, course), daemon=True) for visitor in visitors]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join(40)
    assert load.failed == []
    assert len(load.answers) > 50, "there was load"


def source(folder: Path, *, broken: str = "") -> str:
    """The demo's application with one changed line, as `-e` takes it; `broken` is what its deep health then says."""
    shutil.copytree(ROOT / "examples/school", folder)
    with (folder / "public/school.css").open("a") as sheet:
        sheet.write(f"/* {uuid.uuid4()} */\n")
    if broken:
        text = (folder / HEALTH).read_text()
        there = "'queue' => $this->check(fn () => ["
        assert there in text
        thrown = f"'queue' => $this->check(fn () => throw new RuntimeException('{broken}'), ["
        (folder / HEALTH).write_text(text.replace(there, thrown))
    return json.dumps({"app_source": {"type": "folder", "location": str(folder)}})


def current(lab: Lab, host: str) -> str:
    return lab.ssh(host, "basename $(readlink /srv/school/current)").strip()


def releases(lab: Lab) -> set[str]:
    return {current(lab, host) for host in {*lab.tier("app_servers"), *lab.tier("queue_workers")}}


def nobody_is_out(lab: Lab) -> None:
    hosts = {*lab.tier("app_servers"), *lab.tier("queue_workers")}
    assert {host: lab.ssh(host, "ls /etc/graphic_school/out-of-traffic 2>/dev/null; true") for host in hosts} == dict.fromkeys(hosts, "")


def good(run: Run) -> Run:
    assert run.code == 0, f"{run.trouble}: {run.messages or run.output[-3000:]}"
    return run


@pytest.fixture(scope="module")
def home(lab: Lab) -> Iterator[str]:
    """The release that the fleet serves before and after: its own source's."""
    before = current(lab, lab.tier("app_servers")[0])
    yield before
    if releases(lab) != {before}:
        good(lab.play("playbooks/deploy.yml", "-e", "deploy_force=true"))


def test_a_deploy_a_broken_release_and_a_rollback_lose_nothing(lab: Lab, load: Load, home: str, tmp_path: Path) -> None:
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


def test_a_drained_host_gets_nothing_and_stays_out(lab: Lab, load: Load, app_servers: list[str]) -> None:
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
        assert host not in load.served(drained + 0.5), "also after a reboot"
        logged = lab.ssh(host, "tail -n 2000 /var/log/nginx/access.log").splitlines()
        elsewhere = [row for row in map(json.loads, logged) if row["balancer"] != "127.0.0.1"]
        assert [row for row in elsewhere if row["time"] > time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(drained + 1))] == []
    finally:
        good(lab.play("playbooks/undrain.yml", "-e", f"fleet_host={host}"))
    back = time.time()
    until(f"{host} serves again", lambda: host in load.served(back), seconds=30)


@contextmanager
def deploying(lab: Lab, options: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A deploy in its own process group, as in somebody's terminal."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/lab", "playbooks/deploy.yml", *options]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **settings}, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# The task during which somebody presses Ctrl-C: each step of the verb.
STEPS = ["prepare | Ship", "migrate | Migrate", "out | Take no new", "switch | Switch", "in | Take new", "Let the workers end"]


@pytest.mark.skipif(not os.environ.get("TIMES"), reason="long: make e2e VERB=deploy TIMES=… runs it")
@pytest.mark.parametrize("step", STEPS)
def test_a_deploy_that_was_interrupted_is_finished_by_the_next(step: str, lab: Lab, load: Load, home: str, tmp_path: Path) -> None:
    options: list[Any] = ["-e", source(tmp_path / "interrupted")]
    with deploying(lab, options) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("TASK") and step in line:
                time.sleep(0.4)
                os.killpg(process.pid, signal.SIGINT)
                break
        else:
            pytest.fail(f"the deploy never came to {step}")
        process.communicate(timeout=60)
        assert process.returncode != 0
    good(lab.play("playbooks/deploy.yml", *options))
    assert len(releases(lab)) == 1
    assert releases(lab) != {home}
    nobody_is_out(lab)


@pytest.mark.skipif(not os.environ.get("TIMES"), reason="long: make e2e VERB=deploy TIMES=20 runs it")
def test_deploys_in_a_row_lose_nothing(lab: Lab, load: Load, home: str, tmp_path: Path) -> None:
    for turn in range(int(os.environ["TIMES"])):
        good(lab.play("playbooks/deploy.yml", "-e", source(tmp_path / str(turn))))
    assert len(releases(lab)) == 1
