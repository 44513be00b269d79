# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of the demo's application: made for a test, and asked for on the hosts."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

from tests.e2e.support.lab import ROOT, Lab

HEALTH = Path("app/Http/Controllers/HealthController.php")


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
