# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus about every tier that has a policy, and decide; nothing is changed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils import autoscale_loop as loop
from ..module_utils.autoscale import HOLD, changes_from, decide, members_from, samples_from
from ..module_utils.autoscale_policy import AUTOSCALED, AutoscaleError, Policy, policies_from
from ..module_utils.fleet_lock import Holder, parse_lock, process_began, refusal
from ..module_utils.prometheus_client import Fetch, Prometheus, PrometheusError, fetcher
from ..plugin_utils.control_action import ControlAction

ARGUMENTS: dict[str, dict[str, Any]] = {
    "url": {"type": "str", "required": True},
    "user": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "ca_file": {"type": "path"},
    "seconds": {"type": "float", "default": 5},
    "policies": {"type": "list", "elements": "dict"},
    "fleet": {"type": "dict", "required": True},
    "group_names": {"type": "dict", "default": {}},
    "lock": {"type": "path", "required": True},
    "history": {"type": "path", "required": True},
    "dry_run": {"type": "bool", "default": False},
}


class ActionModule(ControlAction):
    SPEC = ARGUMENTS

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        fetch = fetcher(arguments["user"], arguments["password"], arguments["ca_file"], arguments["seconds"], "autoscale")
        try:
            return {"changed": False, **look(arguments, task_vars["hostvars"], fetch, bool(self._task.check_mode))}
        except AutoscaleError as error:
            raise AnsibleActionFail(str(error)) from error


def look(
    arguments: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], fetch: Fetch, check_mode: bool = False
) -> dict[str, Any]:
    """A decision for each policy, and the work that follows. Raises AutoscaleError for policies and variables that can't be."""
    fleet = arguments["fleet"]
    rows = arguments["policies"]
    policies = policies_from([{"tier": tier} for tier in AUTOSCALED if fleet[tier]] if rows is None else rows)
    holders = lock_holders(Path(arguments["lock"]))
    if loop.VERB in holders:
        return {"decisions": [], "changes": [], "lines": ["another run scales the fleet: what it does is not looked at beside it"]}
    history = read_history(Path(arguments["history"]), f"{arguments['url'].rstrip('/')}/data/decisions.json", fetch)
    dry_run = arguments["dry_run"] or check_mode
    decisions, changes = [], []
    for policy in policies:
        row, work = _tier(policy, arguments, hostvars, fetch, history, lock_holder=", ".join(holders), dry_run=dry_run)
        decisions.append(row)
        if row["action"] != HOLD and not dry_run:
            group = str(arguments["group_names"].get(policy.tier, policy.tier))
            changes.append({"decision": row, "group": group, **work.as_dict()})
    return {"decisions": decisions, "changes": changes, "history": history, "lines": [loop.line(row) for row in decisions]}


def _tier(
    policy: Policy,
    arguments: Mapping[str, Any],
    hostvars: Mapping[str, Mapping[str, Any]],
    fetch: Fetch,
    history: list[dict[str, Any]],
    *,
    lock_holder: str,
    dry_run: bool,
) -> tuple[dict[str, Any], loop.Work]:
    pool = arguments["fleet"][policy.tier]
    if not pool:
        raise AutoscaleError(
            f"autoscale_policies has a row for {policy.tier}, of which the fleet has none: take out the row, or give the group a first host"
        )
    names = [str(server["name"]) for server in pool]
    has_workers = policy.tier == "queue_workers"
    policy = replace(policy, maximum=loop.most_hosts(policy, pool, hostvars[names[0]]))
    if policy.minimum > policy.maximum:
        raise AutoscaleError(
            f"autoscale policy of {policy.tier}: minimum {policy.minimum} is above {policy.maximum}, the most that fleet_maximum, "
            "fleet_address_pool and hosts that stand by allow; lower it, or allow more"
        )
    prometheus = Prometheus(str(arguments["url"]), fetch)
    changes = changes_from(history, policy.tier)
    try:
        now = prometheus.query("time()")[0].points[0][1]
        states = {name: loop.last_values(prometheus.query(question)) for name, question in loop.state_questions(policy, names).items()}
        samples = loop.sample_rows([(signal, prometheus.query(question)) for signal, question in loop.questions(policy, names)], now)
    except PrometheusError as error:
        members = members_from(loop.member_rows(pool, hostvars, {}, {}, workers=has_workers))
        decision = decide(policy, members, [], time.time(), changes, lock_holder=lock_holder, dry_run=dry_run)
        row = loop.without_answer(decision, str(error))
    else:
        members = members_from(
            loop.member_rows(pool, hostvars, states[loop.UP], states[loop.OUT_OF_TRAFFIC], workers=has_workers)
        )
        row = decide(
            policy, members, samples_from(samples), now, changes, lock_holder=lock_holder, dry_run=dry_run
        ).as_dict()
    if not lock_holder:
        row = loop.finishing(row, loop.unfinished(pool, hostvars), history, policy.cooldown_out_seconds)
    serving = {member.name for member in members if member.state in ("active", "joining")}
    workers = {
        str(server["name"]): loop.workers_of(server, hostvars[server["name"]])
        for server in pool
        if has_workers and server["name"] in serving
    }
    return row, loop.work_for(row, workers)


def lock_holders(path: Path) -> list[str]:
    """The verbs of other runs that hold the fleet's lock."""
    try:
        text = path.read_text("utf-8")
    except OSError:
        return []
    # Tasks run in short-lived children of the process that takes the lock.
    pid = os.getppid()
    me = Holder(pid, process_began(pid), socket.gethostname(), loop.VERB, "")
    found = []
    for holder in parse_lock(text):
        began = process_began(holder.pid) if holder.host == me.host else ""
        if refusal(holder, me, began, str(path)):
            found.append(holder.verb)
    return found


def read_history(path: Path, url: str, fetch: Fetch) -> list[dict[str, Any]]:
    """Earlier decisions: this control host's own, and on a new one what the monitoring host shows. Raises AutoscaleError."""
    if path.exists():
        try:
            return loop.history_from(path.read_text("utf-8"), str(path))
        except OSError as error:
            raise AutoscaleError(f"{path} can't be read: {error.strerror}; see who owns it") from error
    try:
        return loop.history_from(fetch(url).decode("utf-8", "replace"), url)
    except (PrometheusError, AutoscaleError):
        return []
