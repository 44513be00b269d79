# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of a playbook, told as it goes; a failure names the task; the check from outside waits, then names what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab import site
from lab.outside import Answer, check
from lab.shell import LabError
from lab.site import Story

OUTPUT = """\
PLAY [Bring up the load balancers] *********************************************

TASK [graphic_school.scaling.base : Main | Bring what every host needs] ********
ok: [lb1]
TASK [graphic_school.scaling.nginx_lb : Main | Bring nginx to its state] *******
fatal: [lb2]: FAILED! =>
    changed: false
    msg: nginx -t refused the new configuration
ok: [lb1]

PLAY RECAP *********************************************************************
lb1                        : ok=2    changed=1    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0
lb2                        : ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0
"""


def story() -> tuple[Story, list[str]]:
    told: list[str] = []
    heard = Story(told.append)
    for line in OUTPUT.splitlines():
        heard.hear(line)
    return heard, told


def test_plays_and_roles_are_told_once() -> None:
    assert story()[1] == ["Bring up the load balancers", "  base", "  nginx_lb"]


def test_the_failing_task_is_named_with_what_it_said() -> None:
    trouble = "\n".join(story()[0].trouble)
    assert "graphic_school.scaling.nginx_lb : Main | Bring nginx to its state" in trouble
    assert "nginx -t refused the new configuration" in trouble


def test_the_recap_becomes_data() -> None:
    heard, _told = story()
    assert (heard.changed, heard.tasks) == ({"lb1": 1, "lb2": 0}, 2)


class Client:
    """Answers as a fleet would whose app servers take turns; `ill` paths answer 503 that many times."""

    def __init__(self, servers: list[str], ill: int = 0) -> None:
        self.servers, self.ill, self.asked = servers, ill, 0

    def __call__(self, address: str, path: str, ca_file: Path) -> Answer:
        self.asked += 1
        server = self.servers[self.asked % len(self.servers)]
        if path == "/api/health" and self.ill > 0:
            self.ill -= 1
            return Answer(503, {}, b'{"queue": "down"}')
        body = {"read_server": "b", "write_server": "a"} if path == "/api/whoami" else {}
        return Answer(200, {"x-served-by": server}, json.dumps(body).encode())


def looked_at(client: Client, seconds: float = 0.0) -> list[str]:
    return check(
        "198.18.10.10", Path("ca.pem"), {"app1", "app2"}, fetch=client, seconds=seconds, pause=lambda _seconds: None
    )


def test_a_fleet_that_serves_passes() -> None:
    lines = looked_at(Client(["app1", "app2"]))
    assert "app1, app2 answer through 198.18.10.10" in lines
    assert "reads come from a replica, writes go to the primary" in lines


def test_a_fleet_that_needs_a_moment_gets_it() -> None:
    assert looked_at(Client(["app1", "app2"], ill=2), seconds=5)


def test_an_app_server_without_traffic_is_named() -> None:
    with pytest.raises(LabError, match=r"app2 answered none of 40 requests through .*, only app1 did"):
        looked_at(Client(["app1"]))


def test_an_ill_application_is_refused_with_what_it_says() -> None:
    with pytest.raises(LabError, match=r"/api/health answers 503: .*queue.*down"):
        looked_at(Client(["app1", "app2"], ill=10**6))


# As a strategy is loaded, once Ansible knows where collections are; then what mitogen does in each worker.
LEAN = """
import os, runpy, sys, types
from ansible import constants
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader(constants.COLLECTIONS_PATHS)
import ansible_mitogen.affinity, ansible_mitogen.planner

def extra_paths():
    invocation = types.SimpleNamespace(_extra_sys_paths=set())
    ansible_mitogen.planner._load_collections(invocation)
    return invocation._extra_sys_paths

theirs = extra_paths()
processors = os.sched_getaffinity(0)
runpy.run_path(sys.argv[1])
ansible_mitogen.affinity.policy.assign_worker()
print(os.sched_getaffinity(0) == processors, any(path.endswith("graphic_school/scaling") for path in theirs), extra_paths() == theirs)
"""


def test_mitogen_leaves_all_processors_to_the_workers_and_knows_the_collections() -> None:
    env = site.environment(Path(sys.prefix), accelerate=True)
    strategy = Path(env["ANSIBLE_STRATEGY_PLUGINS"], f"{env['ANSIBLE_STRATEGY']}.py")
    done = subprocess.run([sys.executable, "-c", LEAN, strategy], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr
