# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a run recorded to what it changes: nothing that changed is left out, secrets are, and every number says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plugins.module_utils.fleet_plan import as_markdown, as_text, headline, plan_from, read_record, render, scrubbed

SERVERS = {
    "app1": {"name": "app1", "memory_mb": 2048, "vcpus": 2, "storage": "ssd", "tiers": ["app_servers"]},
    "db1": {"name": "db1", "memory_mb": 1024, "vcpus": 2, "storage": "ssd", "tiers": ["mysql"]},
    "db2": {"name": "db2", "memory_mb": 1024, "vcpus": 2, "storage": "ssd", "tiers": ["mysql"]},
}
POOL = "/etc/php/8.4/fpm/pool.d/school.conf"
CNF = "/etc/mysql/my.cnf"


def row(host: str, action: str, role: str = "", outcome: str = "ok", task: str = "Main | Do it", **result: Any) -> dict[str, Any]:
    return {
        "play": "A play", "role": role, "task": task, "action": action, "host": host, "outcome": outcome, "result": result,
    }  # fmt: skip


def ours(host: str, module: str, role: str, **result: Any) -> dict[str, Any]:
    return row(host, f"graphic_school.scaling.{module}", role, **result)


def wrote(path: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def converged(host: str, role: str, path: str, before: str, after: str, *effects: str, **more: Any) -> dict[str, Any]:
    return ours(
        host, "converge", role, changed=True, diff=[wrote(path, before, after)], changed_paths=[path],
        effects={path: list(effects)}, **more,
    )  # fmt: skip


def settled(*rows: dict[str, Any]) -> list[tuple[str, str | None, str | None, str]]:
    return [(c.setting, c.now, c.then, c.effect) for c in plan_from(rows, "site").changes]


FPM = converged(
    "app1", "php_fpm", POOL, "[school]\npm.max_children = 12\n", "[school]\npm.max_children = 33\n", "reload php8.4-fpm.service",
    services_reloaded=["php8.4-fpm.service"],
)  # fmt: skip


def test_a_changed_setting_says_what_follows_and_why() -> None:
    plan = plan_from([FPM], "site", SERVERS)
    [change] = plan.changes
    assert (change.setting, change.now, change.then) == ("pm.max_children", "12", "33")
    assert change.effect == "reload php8.4-fpm.service"
    assert change.why == "(2048 MB - 256 MB for the system - 192 MB OPcache) / 48 MB per child = 33"
    assert [(action.verb, action.what) for action in plan.actions] == [("reload", "php8.4-fpm.service")]
    assert plan.stages[0].hosts == ("app1",)


def test_a_number_that_an_inventory_sets_says_so() -> None:
    given = converged("app1", "php_fpm", POOL, "[school]\npm.max_children = 12\n", "[school]\npm.max_children = 7\n")
    [change] = plan_from([given], "site", SERVERS).changes
    assert change.why.startswith("set in the inventory; computed: 33 = ")


HELD = converged("db1", "mysql", CNF, "[client]\n[mysqld]\nmax_connections = 100\nx = 1\n",
                 "[client]\n[mysqld]\nmax_connections = 90\nx = 2\n",
                 "hold mysql.service")  # fmt: skip
ONLINE = ours(
    "db1", "mysql_replication", "mysql", changed=True, performed=["set max_connections = 90 (was 100)"],
    actions=[{"action": "set", "settings": {"max_connections": 90}}],
)  # fmt: skip
RESTART = ours("db1", "mysql_replication", "mysql", changed=True, performed=["restart"], actions=[{"action": "restart", "settings": {}}])


def test_a_held_restart_is_resolved_by_what_replication_does_later() -> None:
    assert [effect for *_rest, effect in settled(HELD, ONLINE)] == ["set online", "waits for a restart of mysql.service"]
    assert [effect for *_rest, effect in settled(HELD, ONLINE, RESTART)] == ["set online", "restart mysql.service, in turn"]
    assert [effect for *_rest, effect in settled(HELD)] == ["waits for a restart of mysql.service"] * 2


CHANGES: dict[str, tuple[dict[str, Any], list[tuple[str, str | None, str | None, str]]]] = {
    "a new file": (
        converged("app1", "base", "/etc/x", "", "a\nb\n", "run sysctl"),
        [("file", None, "new, 2 lines", "run sysctl")],
    ),
    "a file without a known format": (
        converged("app1", "base", "/etc/x", "a\n", "b\nc\n"),
        [("file", None, "1 lines go, 2 come", "none")],
    ),
    "a secret file": (
        ours("app1", "converge", "app_release", changed=True, changed_paths=["/srv/.env"], effects={"/srv/.env": []},
             diff=[{"prepared": "/srv/.env: content differs (secret, not shown)"}]),
        [("file", None, "changed (secret)", "none")],
    ),
    "a removed file": (
        ours("app1", "converge", "x", changed=True, changed_paths=["/etc/x"], effects={}, diff=[{"prepared": "/etc/x: removed"}]),
        [("file", "there", "removed", "none")],
    ),
    "a link": (
        ours("app1", "converge", "x", changed=True, changed_paths=["/etc/x"], effects={}, diff=[{"prepared": "/etc/x -> /etc/y"}]),
        [("link", None, "/etc/y", "none")],
    ),
    "an owner": (
        converged("app1", "x", "/etc/x", "root:root 0644\n", "root:app 0640\n"),
        [("owner and mode", "root:root 0644", "root:app 0640", "none")],
    ),
    "a path that converge names without a diff": (
        ours("app1", "converge", "x", changed=True, changed_paths=["/etc/x"], effects={"/etc/x": ["reload a.service"]}, diff=[]),
        [("file", None, "changed", "reload a.service")],
    ),
    "packages and users": (
        ours("app1", "converge", "x", changed=True, missing_packages=["nginx"], missing_users=["app"], diff=[]),
        [("nginx", None, "installed", "none"), ("app", None, "made", "none")],
    ),
    "a release": (
        ours("app1", "release", "app_release", changed=True, steps=["reload", "probe", "switch"], previous="aaa", release="bbb"),
        [("reload, probe, switch", "aaa", "bbb", "reload PHP-FPM, gracefully")],
    ),
    "steps of a Redis pool": (
        ours("redis1", "redis_cluster", "redis_cluster", changed=True, steps={"durable": ["redis4:6379 meets redis1:6379"]}),
        [("redis4:6379 meets redis1:6379", None, "done", "online")],
    ),
    "buckets": (
        ours("store1", "s3_buckets", "object_storage", changed=True, made=["school"]),
        [("school", None, "done", "none")],
    ),
    "a module that nobody taught it": (
        row("app1", "ansible.builtin.lineinfile", "other", task="Main | Add a line", changed=True),
        [("Main | Add a line", None, "changed", "none")],
    ),
    "nothing": (ours("app1", "converge", "x", changed=False, diff=[], changed_paths=[], effects={}), []),
}  # fmt: skip


@pytest.mark.parametrize(("result", "rows"), CHANGES.values(), ids=CHANGES)
def test_every_kind_of_change_is_told(result: dict[str, Any], rows: list[tuple[str, str | None, str | None, str]]) -> None:
    assert settled(result) == rows


ACTIONS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "services and commands": (
        ours("app1", "converge", "x", changed=True, services_started=["a.service"], services_restarted=["b.service"],
             services_reloaded=["c.service"], commands=["apt-get update"]),
        [("start", "a.service"), ("restart", "b.service"), ("reload", "c.service"), ("run", "apt-get update")],
    ),
    "Redis, online and with a restart": (
        ours("redis1", "redis_instances", "redis_cluster", changed=True, settings={"durable-6379": ["maxmemory: 1 -> 2", "masterauth"]},
             acl_loaded=["durable-6379"], restarted=["durable-6380"]),
        [("set online", "durable-6379 maxmemory: 1 -> 2"), ("set online", "durable-6379 masterauth"),
         ("reload users of", "durable-6379"), ("restart", "redis-cluster@durable-6380.service")],
    ),
    "a command that check mode skipped": (
        row("worker1", "ansible.builtin.command", outcome="skipped", msg="Command would have run if not in check mode",
            cmd=["/usr/local/lib/restart-workers", "school-"]),
        [("run", "/usr/local/lib/restart-workers school-")],
    ),
    "a command that ran": (
        row("worker1", "ansible.builtin.command", changed=True, cmd=["/usr/local/lib/restart-workers", "school-"]),
        [("run", "/usr/local/lib/restart-workers school-")],
    ),
    "a task that its condition skipped": (
        row("worker1", "ansible.builtin.command", outcome="skipped", msg="", skip_reason="Conditional result was False"), [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("result", "rows"), ACTIONS.values(), ids=ACTIONS)
def test_every_kind_of_action_is_told(result: dict[str, Any], rows: list[tuple[str, str]]) -> None:
    assert [(action.verb, action.what) for action in plan_from([result], "site").actions] == rows


REFUSED = row("db1", "ansible.builtin.set_fact", outcome="failed", task="Work out the topology",
              msg="Task failed: Finalization of task args for 'set_fact' failed: group mysql has no primary")  # fmt: skip


def test_a_refusal_is_told_in_the_words_of_the_run() -> None:
    plan = plan_from([REFUSED], "site")
    assert [(row.host, row.message) for row in plan.refusals] == [("db1", "group mysql has no primary")]
    assert headline(plan) == "site would stop: 1 reason."
    assert "group mysql has no primary" in as_text(plan)
    assert "> group mysql has no primary" in as_markdown(plan)


def test_a_host_that_cannot_be_reached_is_no_refusal_but_stops_the_run_too() -> None:
    plan = plan_from([row("db1", "x", outcome="unreachable", task="Main | Look", msg="timed out")], "site")
    assert "db1 can't be reached, in: Main | Look\n  timed out" in as_text(plan)


def test_nothing_to_do_is_said() -> None:
    plan = plan_from([ours("app1", "converge", "x", changed=False)], "site", SERVERS)
    assert headline(plan) == "site has nothing to do on 1 hosts."
    assert plan.changing == ()


BUDGET = {
    "rows": [{"client": "PHP-FPM", "hosts": ["app1"], "per_host": 24, "connections": 24, "why": "12 children x 2"}],
    "total": 24, "max_connections": 154, "headroom": 130, "unknown": [], "why": "",
}  # fmt: skip


def test_all_three_forms_tell_the_same() -> None:
    plan = plan_from([FPM, HELD, ONLINE], "site", SERVERS, budget=BUDGET)
    data = json.loads(render(plan, "json"))
    assert data["changing"] == ["app1", "db1"]
    for form in ("text", "markdown"):
        text = render(plan, form)
        for part in ("pm.max_children", "12", "33", "reload php8.4-fpm.service", "/ 48 MB per child = 33", "set online",
                     "130 left", "12 children x 2", "innodb_buffer_pool_mb"):  # fmt: skip
            assert part in text, form
    assert all(line.count("|") >= 6 for line in as_markdown(plan).splitlines() if line.startswith("| `"))


def test_no_secret_is_shown_in_any_form_wherever_it_turns_up() -> None:
    secret = "s3cr3t-value"
    rows = [
        converged("lb1", "keepalived", "/etc/nginx/x.conf", "a one;\n", f"a {secret};\n", f"run x {secret}"),
        ours("lb1", "converge", "x", changed=True, commands=[f"tool {secret}"]),
        row("lb2", "x", outcome="failed", msg=f"wrong: {secret}"),
        ours("lb2", "mysql_replication", "mysql", warnings=[f"odd {secret}"]),
    ]
    plan = scrubbed(plan_from(rows, "site"), [secret, "short"])
    for form in ("text", "json", "markdown"):
        assert secret not in render(plan, form)
        assert "(secret)" in render(plan, form)


def test_a_record_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    assert read_record('{"play": "a"}\n{"pl') == [{"play": "a"}]
