# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever made the demo is told where everything is, and of nothing that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import summary
from lab.inventory import Host

APP = Host("app1", "198.18.10.21", ("app_servers",), "app", 1024, 2)
MON = Host("mon1", "198.18.10.71", ("monitoring",), "mon", 768, 1)


def told(*hosts: Host) -> dict[str, Any]:
    return summary.data(hosts, vip="198.18.10.10", ca_file=Path("ca.pem"), stages={}, first_stages={})


def test_a_watched_fleet_says_where_it_can_be_watched() -> None:
    content = told(APP, MON)
    assert (content["page"], content["prometheus"]) == ("https://198.18.10.71/fleet/", "https://198.18.10.71/fleet")
    said = "\n".join(summary.closing(content, []))
    assert "https://198.18.10.71/fleet/ " in said
    assert "-NL 9090:127.0.0.1:9090 root@198.18.10.71" in said


def test_a_fleet_that_nobody_watches_says_nothing_of_it() -> None:
    content = told(APP)
    assert (content["page"], content["prometheus"]) == (None, None)
    assert "Prometheus" not in "\n".join(summary.closing(content, []))
