# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role autoscaler on a control host of its own: as a service it is called, decides, shows it, and comes back when it is killed.

A dry run, so nothing is scaled. Some minutes (a host is made, Java and Ansible are installed): `make control-host`, not in `make proof`.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.e2e.support.control_host import ADDRESS, FOLDER, PORT, UNIT, USER, ControlHost, control_host
from tests.e2e.support.lab import Lab, good
from tests.e2e.support.waiting import until
from tests.e2e.support.watchers import client, login

pytestmark = pytest.mark.control_host

FIRING = {"status": "firing", "alerts": [{"labels": {"alertname": "AutoscaleOut", "autoscale": "app_servers"}}]}
LOOK_SECONDS = 90
EXPOSURE = 2.0


@pytest.fixture(scope="module")
def control(lab: Lab) -> Iterator[ControlHost]:
    with control_host(lab) as made:
        yield made


def listens(control: ControlHost) -> bool:
    return bool(control.ssh(f"ss --listening --tcp --numeric --no-header 'sport = :{PORT}'").strip())


def newest(control: ControlHost) -> str:
    """When it last decided something about the application servers."""
    return next((str(row["time"]) for row in control.decisions() if row["tier"] == "app_servers"), "")


def looked_since(control: ControlHost, before: str) -> bool:
    return newest(control) > before


def begin_anew(control: ControlHost) -> None:
    """A storm is one look: what comes within ten seconds of the last call changes nothing."""
    time.sleep(11)


def test_it_runs_as_a_user_of_its_own_and_looks_once_it_has_started(control: ControlHost) -> None:
    until("it listens", lambda: listens(control), seconds=60, every=1)
    until("it looks", lambda: newest(control), seconds=LOOK_SECONDS, every=1)
    state = control.state()
    assert state["ActiveState"] == "active", control.journal()
    assert control.ssh(f"ps -o user= -p {state['MainPID']}").strip() == USER
    rows = control.decisions()
    assert {row["tier"] for row in rows} == {"app_servers", "queue_workers"}
    assert all(row["dry_run"] for row in rows)
    # It asked, and was answered.
    assert not [row for row in rows if "can't be asked" in row["reason"] or "missing" in row["reason"]], rows


def test_the_second_run_of_the_role_changes_nothing(control: ControlHost) -> None:
    before = control.state()
    assert control.install().changed == {}
    assert control.state() == before


@pytest.mark.parametrize("token", ["", "another"], ids=["no token", "another token"])
def test_nobody_without_the_token_is_heard(control: ControlHost, token: str) -> None:
    before = newest(control)
    assert control.post(FIRING, token) == 401
    time.sleep(10)
    assert newest(control) == before


def test_alertmanager_calls_it_with_the_token_and_it_looks(control: ControlHost, lab: Lab) -> None:
    watcher = lab.tier("monitoring")[0]
    run = ("playbooks/monitoring.yml", "--limit", watcher, "--tags", "alertmanager")

    def told(what: str) -> float:
        lines = lab.ssh(watcher, "curl --silent http://127.0.0.1:9093/metrics").splitlines()
        wanted = f"alertmanager_{what}_total{{"
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted) and '"webhook"' in line)

    good(lab.play(*run, "-e", json.dumps({"alertmanager_webhook_url": f"http://{ADDRESS}:{PORT}/alerts"})))
    try:
        sent, failed, first = told("notifications"), told("notifications_failed"), newest(control)
        add = "alert add AutoscaleOut autoscale=app_servers --end $(date -u -d '+1 min' +%Y-%m-%dT%H:%M:%SZ)"
        begun = time.monotonic()
        lab.ssh(watcher, f"amtool --alertmanager.url=http://127.0.0.1:9093 {add}")
        until("it looks", lambda: looked_since(control, first), seconds=LOOK_SECONDS, every=1)
        print(f"decided {time.monotonic() - begun:.1f} s after Alertmanager learned of it")
        sent, failed = told("notifications") - sent, told("notifications_failed") - failed
    finally:
        good(lab.play(*run))
    assert sent > 0 and failed == 0, f"{sent:g} sent, {failed:g} of them failed"


def test_what_it_decided_is_on_the_page_and_in_the_log(control: ControlHost, lab: Lab) -> None:
    rows = control.decisions()
    with client(lab, auth=login(lab)) as web:
        shown = web.get("/fleet/data/decisions.json").json()
    # A look that says the same again reaches the page once a minute.
    assert {(row["tier"], row["action"]) for row in shown} == {(row["tier"], row["action"]) for row in rows}
    assert all(row["dry_run"] for row in shown)
    log = control.ssh(f"cat {FOLDER}/secrets/autoscale/decisions.log").splitlines()
    assert {json.loads(line)["tier"] for line in log} == {"app_servers", "queue_workers"}
    assert "app_servers: hold" in control.journal()


def test_a_verb_of_somebody_else_on_this_host_makes_it_hold(control: ControlHost) -> None:
    # A process of root, whom the service can't look into, holds the fleet's lock as a verb does.
    holder = (
        "import json, os, pathlib, socket, time\n"
        "began = pathlib.Path('/proc/self/stat').read_text().rpartition(')')[2].split()[19]\n"
        "row = {'pid': os.getpid(), 'began': began, 'host': socket.gethostname(), 'verb': 'deploy', 'since': 'a while ago'}\n"
        f"pathlib.Path('{FOLDER}/secrets/fleet.lock').write_text(json.dumps(row) + '\\n')\n"
        "time.sleep(300)\n"
    )
    control.ssh(f"systemd-run --quiet --collect --unit e2e-verb python3 -c {shlex.quote(holder)}")
    try:
        begin_anew(control)
        before = newest(control)
        assert control.post(FIRING, str(control.lab.credentials["vault_autoscaler_token"])) == 200
        until("it looks", lambda: looked_since(control, before), seconds=LOOK_SECONDS, every=1)
        row = next(row for row in control.decisions() if row["tier"] == "app_servers")
        assert row["action"] == "hold" and "deploy" in row["reason"], row
    finally:
        control.ssh(f"systemctl stop e2e-verb; rm -f {FOLDER}/secrets/fleet.lock")


def test_it_is_closed_off_from_its_host(control: ControlHost) -> None:
    exposure = control.exposure()
    print(f"systemd-analyze security: {exposure}")
    assert exposure <= EXPOSURE


def test_a_second_loop_on_the_host_waits_and_takes_over_when_the_first_is_killed(control: ControlHost) -> None:
    # The same unit under another name: as a second control host that sees the same lock.
    first = control.state()["MainPID"]
    control.ssh(f"cp /etc/systemd/system/{UNIT}.service /run/systemd/system/{UNIT}-2.service && systemctl daemon-reload")
    control.ssh(f"systemctl start {UNIT}-2")
    try:
        time.sleep(15)
        assert control.ssh(f"systemctl is-active {UNIT}-2").strip() == "active"
        assert "flock" in control.ssh(f"ps -o comm= -p $(systemctl show --value --property=MainPID {UNIT}-2)")
        assert control.state()["MainPID"] == first
        before = newest(control)
        control.ssh(f"systemctl kill --signal=KILL {UNIT}")
        until("the second works", lambda: "ansible-rulebook" in control.ssh(
            f"cat /proc/$(systemctl show --value --property=MainPID {UNIT}-2)/cmdline | tr '\\0' ' '"
        ) and listens(control), seconds=60, every=1)  # fmt: skip
        until("the second looks", lambda: looked_since(control, before), seconds=LOOK_SECONDS, every=1)
    finally:
        control.ssh(f"systemctl stop {UNIT}-2; rm -f /run/systemd/system/{UNIT}-2.service; systemctl daemon-reload")


def test_it_comes_back_when_it_is_killed(control: ControlHost) -> None:
    until("the first works again", lambda: listens(control), seconds=60, every=1)
    before, first = control.state(), newest(control)
    begun = time.monotonic()
    control.ssh(f"kill -KILL {before['MainPID']}")
    until("it is another process that listens", lambda: control.state()["MainPID"] not in ("0", before["MainPID"]) and listens(control),
          seconds=60, every=0.5)  # fmt: skip
    print(f"listens again {time.monotonic() - begun:.1f} s after it was killed")
    until("it looks", lambda: looked_since(control, first), seconds=LOOK_SECONDS, every=1)
    print(f"looked {time.monotonic() - begun:.1f} s after it was killed")


def test_it_fits_into_its_memory(control: ControlHost) -> None:
    # cgroup v1, or v2
    stat = control.ssh("cat /sys/fs/cgroup/memory/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory.stat").splitlines()
    used = max(int(line.split()[1]) for line in stat if line.split()[0] in ("total_rss", "anon"))
    print(f"the host's programs hold {used >> 20} MB")
    assert control.state()["ActiveState"] == "active"
    assert "oom-kill" not in control.ssh(f"systemctl show --property=Result {UNIT}") + control.journal()
