# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What queue_workers and scheduler write on a host, rendered by Ansible from the roles' own defaults."""

from __future__ import annotations

import configparser
import re
from typing import Any

from tests.unit.support.render import Fleet

PROGRAMS = "/etc/supervisor/conf.d/laravel-workers.conf"
DROP_IN = "/etc/systemd/system/supervisor.service.d/graphic_school.conf"
ALONE: dict[str, Any] = {"queue_workers_processes": 3, "queue_workers_enabled": True}


def render(**variables: Any) -> dict[str, str]:
    return Fleet(vars=ALONE | variables).render_role("queue_workers")


def programs(**variables: Any) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(render(**variables)[PROGRAMS])
    return parser


def seconds(text: str, setting: str) -> int:
    found = re.search(rf"^{setting}=(\d+)$", text, re.MULTILINE)
    assert found, f"{setting} is not set"
    return int(found[1])


def test_the_default_program_works_on_all_queues_in_order() -> None:
    program = programs()["program:school-main"]
    assert "--queue={payments},{default},{emails},{notifications} " in program["command"]
    assert program["numprocs"] == "3"
    assert program["directory"] == "/srv/school/current"


def test_each_row_becomes_a_program_of_its_own() -> None:
    rows = [{"name": "urgent", "queues": ["payments"]}, {"name": "slow", "queues": ["emails"], "processes": 1}]
    assert programs(queue_workers_programs=rows).sections() == ["program:school-urgent", "program:school-slow"]


def test_systemd_waits_longer_than_supervisor_and_supervisor_longer_than_the_longest_job() -> None:
    rows = [{"name": "a", "queues": ["a"], "timeout": 20}, {"name": "b", "queues": ["b"], "timeout": 80}]
    files = render(queue_workers_programs=rows)
    parser = programs(queue_workers_programs=rows)
    longest = max(int(parser[name]["stopwaitsecs"]) for name in parser.sections())
    assert longest > 80
    assert seconds(files[DROP_IN], "TimeoutStopSec") > longest
    assert seconds(files[DROP_IN], "TimeoutStartSec") > longest


def test_a_worker_that_is_not_active_runs_no_program() -> None:
    assert not render(queue_workers_enabled=False).get(PROGRAMS, "").strip()


def test_a_host_that_is_not_active_is_no_candidate_for_the_schedule() -> None:
    (arguments,) = Fleet(vars={"scheduler_enabled": False}).converge_arguments("scheduler")
    (service,) = arguments["services"]
    assert (service["enabled"], service["state"]) == (False, "stopped")
