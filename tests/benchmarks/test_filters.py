# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters at every number of application servers, for `pytest tests/benchmarks` (pytest-benchmark prints the table)."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.module_utils.capacity import host_from, size_host
from plugins.module_utils.connection_budget import connection_budget
from plugins.module_utils.fleet import build_fleet
from plugins.module_utils.nginx_upstream import render_upstream
from tests.benchmarks.filters import COUNTS, inventory


@pytest.mark.parametrize("app_servers", COUNTS, ids="{:05d}".format)
def test_fleet_and_upstream(benchmark: Any, app_servers: int) -> None:
    groups, hostvars = inventory(app_servers)
    text = benchmark.pedantic(
        lambda: render_upstream(build_fleet(groups, hostvars).as_dict()["app_servers"], "app"), rounds=3
    )
    assert text.count("    server ") == app_servers


@pytest.mark.parametrize("app_servers", COUNTS, ids="{:05d}".format)
def test_capacity_of_every_host(benchmark: Any, app_servers: int) -> None:
    servers = build_fleet(*inventory(app_servers)).as_dict()["app_servers"]
    assert (
        len(benchmark.pedantic(lambda: [size_host(host_from(server)) for server in servers], rounds=3)) == app_servers
    )


@pytest.mark.parametrize("app_servers", COUNTS, ids="{:05d}".format)
def test_connection_budget_of_the_fleet(benchmark: Any, app_servers: int) -> None:
    groups, hostvars = inventory(app_servers)
    fleet = build_fleet(groups, hostvars).as_dict()
    assert benchmark.pedantic(lambda: connection_budget(fleet, hostvars), rounds=3).total > 0
