# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan, and holding it against a run: by the run's own word, and by what systemd says from outside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.module_utils.fleet_plan import plan_from, read_record
from tests.e2e.support.lab import ROOT, Lab, Run

LAB_INVENTORY = ROOT / "inventories/lab"
RECORDER = {"ANSIBLE_CALLBACKS_ENABLED": "graphic_school.scaling.run_record"}


@dataclass(frozen=True)
class Units:
    """Of every unit that the collection looks after: which start it lives in, and when it was last told to reload."""

    started: dict[str, str]
    reloaded: dict[str, str]


def everywhere[T](hosts: list[str], ask: Callable[[str], T]) -> dict[str, T]:
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(hosts, pool.map(ask, hosts), strict=True))


def units(lab: Lab, host: str) -> Units:
    """What systemd says, asked over SSH."""
    kept = lab.ssh(host, "cat /var/lib/graphic_school/*.json").replace("}{", "}\n{")
    names = sorted(set(re.findall(r'"([\w@:.-]+\.service)"', kept)))
    printed = lab.ssh(host, f"systemctl show --property=Id,InvocationID,ExecReload -- {' '.join(names)}")
    started, reloaded = {}, {}
    for block in printed.strip().split("\n\n"):
        name = re.findall(r"^Id=(.*)$", block, re.MULTILINE)[0]
        started[name] = "".join(re.findall(r"^InvocationID=(.*)$", block, re.MULTILINE))
        reloaded[name] = "".join(re.findall(r"start_time=\[([^\]]*)\]", block))
    return Units(started, reloaded)


def files(lab: Lab, host: str) -> str:
    """A fingerprint of all that a run of site.yml could write, with owners and modes."""
    look = "find /etc /usr/local /var/lib/graphic_school -xdev -type f -printf '%p %m %u %g ' -exec sha256sum {} + | sort"
    return lab.ssh(host, f"({look}) 2>/dev/null | grep -v '/resolv.conf\\|/adjtime' | sha256sum")


def planned(lab: Lab, play: Callable[..., Run], inventories: list[Path], *options: str) -> tuple[dict[str, Any], str]:
    """The plan as data, and all that was printed."""
    file = lab.folder / "e2e" / "plan.json"
    file.unlink(missing_ok=True)
    run = play("playbooks/plan.yml", "-e", f"plan_file={file}", *options, inventories=inventories)
    assert run.code == 0, run.output[-4000:]
    return json.loads(file.read_text(encoding="utf-8")), run.output + file.read_text(encoding="utf-8")


def rows(plan: dict[str, Any], part: str, *keys: str, hosts: Collection[str] = ()) -> set[tuple[str, ...]]:
    """The rows of a plan, or those of some hosts: of these without the steps that are no setting."""
    found = [row for row in plan[part] if not hosts or (row["host"] in hosts and row.get("thing") != "task")]
    return {tuple(str(row[key]) for key in keys) for row in found}


def run_does(
    lab: Lab,
    play: Callable[..., Run],
    playbook: str,
    inventories: list[Path],
    plan: dict[str, Any],
    *options: str,
    hosts: Collection[str] = (),
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run the playbook, and hold what it says that it did against the plan; with C(hosts), the settings and services of these."""
    record = lab.folder / "e2e" / "record"
    env = {**(env or {}), **RECORDER, "GRAPHIC_SCHOOL_RUN_RECORD": str(record)}
    run = play(f"playbooks/{playbook}.yml", *options, inventories=inventories, env=env)
    assert run.code == 0, run.output[-4000:]
    did = plan_from(read_record(record.read_text(encoding="utf-8")), playbook).as_dict()
    columns = ("host", "component", "thing", "setting", "now", "then", "effect")
    assert rows(plan, "changes", *columns, hosts=hosts) == rows(did, "changes", *columns, hosts=hosts)
    assert rows(plan, "actions", "host", "verb", "what", hosts=hosts) == rows(did, "actions", "host", "verb", "what", hosts=hosts)
    return run


def services_did(plan: dict[str, Any], before: dict[str, Units], after: dict[str, Units], gates: Collection[str] = ()) -> None:
    """What systemd says happened to the services is what the plan said would; units that are gates of the traffic come and go with it."""
    for verb, part in (("restart", "started"), ("reload", "reloaded")):
        seen = {
            (host, unit)
            for host in before
            for unit, mark in getattr(after[host], part).items()
            if unit not in gates and mark != getattr(before[host], part).get(unit)
        }
        if verb == "reload":  # a restart may leave the mark of the last reload out
            seen -= {(row["host"], row["what"]) for row in plan["actions"] if row["verb"] == "restart"}
        said = {(row["host"], row["what"]) for row in plan["actions"] if row["verb"] == verb}
        assert said == seen, verb
