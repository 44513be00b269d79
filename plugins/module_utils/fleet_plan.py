# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the record of a run (C(callback/run_record)) to what it changes, or changed: a plan, and its three forms. Pure.

The record of a run in check mode gives what would be done; the record of a real run, through the same functions, what was done. So
the two can be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .capacity import CapacityError, Figure, host_from, settings_from, size_host
from .settings_text import changed_lines, differences

COLLECTION = "graphic_school.scaling."
FORMATS = ("text", "json", "markdown")

# A setting of a component → the figure that it comes from.
FIGURES: Mapping[tuple[str, str], str] = {
    ("php_fpm", "pm.max_children"): "php_fpm_children",
    ("mysql", "innodb_buffer_pool_size"): "innodb_buffer_pool_mb",
    ("mysql", "innodb_redo_log_capacity"): "innodb_redo_log_mb",
    ("mysql", "innodb_io_capacity"): "innodb_io_capacity",
    ("mysql", "innodb_io_capacity_max"): "innodb_io_capacity_max",
    ("mysql", "max_connections"): "mysql_max_connections",
    ("redis_cluster", "maxmemory"): "redis_maxmemory_mb",
    ("queue_workers", "numprocs"): "queue_worker_processes",
    ("nginx_lb", "worker_processes"): "nginx_worker_processes",
    ("nginx_lb", "worker_connections"): "nginx_worker_connections",
}
TIER_FIGURES: Mapping[str, tuple[str, ...]] = {
    "load_balancers": ("nginx_worker_processes", "nginx_worker_connections"),
    "app_servers": ("php_fpm_children",),
    "mysql": (
        "innodb_buffer_pool_mb", "innodb_redo_log_mb", "innodb_io_capacity", "innodb_io_capacity_max", "mysql_max_connections",
    ),
    "redis_cluster": ("redis_maxmemory_mb",),
    "queue_workers": ("queue_worker_processes",),
}  # fmt: skip
VERBS = ("start", "restart", "reload", "hold")


@dataclass(frozen=True)
class Change:
    """One setting, file, package or step on one host; C(effect) is what follows: reload, restart, online, none."""

    host: str
    component: str
    thing: str
    setting: str
    now: str | None
    then: str | None
    effect: str = "none"
    why: str = ""


@dataclass(frozen=True)
class Action:
    """Something done to a running service, or a command that is run."""

    host: str
    verb: str
    what: str


@dataclass(frozen=True)
class Stage:
    """One task of the run that changes something, in the order of the run."""

    play: str
    component: str
    task: str
    hosts: tuple[str, ...]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """Where the run would stop, and what it would say; C(reached) is false for a host that can't be asked."""

    host: str
    task: str
    message: str
    reached: bool = True

    @property
    def heading(self) -> str:
        """What happened, where."""
        return f"Refused on {self.host}, in: {self.task}" if self.reached else f"{self.host} can't be reached, in: {self.task}"


@dataclass(frozen=True)
class Plan:
    """What a run changes. C(sizes) holds, by host, each figure of its tiers with its arithmetic."""

    playbook: str
    hosts: tuple[str, ...]
    changes: tuple[Change, ...]
    actions: tuple[Action, ...]
    stages: tuple[Stage, ...]
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    sizes: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None
    budget: Mapping[str, Any] | None = None

    @property
    def changing(self) -> tuple[str, ...]:
        touched = {change.host for change in self.changes} | {action.host for action in self.actions}
        return tuple(sorted(touched))

    def as_dict(self) -> dict[str, Any]:
        return {"changing": list(self.changing), **asdict(self)}


# -- from records to a plan -------------------------------------------------------------------------------------------


def read_record(text: str) -> list[dict[str, Any]]:
    """The rows of a record; a last line that was cut off is left out."""
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def plan_from(
    rows: Iterable[Mapping[str, Any]],
    playbook: str,
    servers: Mapping[str, Mapping[str, Any]] | None = None,
    capacity_settings: Mapping[str, Mapping[str, Any]] | None = None,
    budget: Mapping[str, Any] | None = None,
) -> Plan:
    """What a recorded run changes.

    ``servers`` is C(fleet.hosts) and ``capacity_settings`` each host's variable of that name: both for the arithmetic.
    """
    changes: list[Change] = []
    actions: list[Action] = []
    refusals: list[Refusal] = []
    notes: list[str] = []
    stages: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    hosts: set[str] = set()
    for row in rows:
        if "host" not in row:
            continue
        hosts.add(row["host"])
        facts[row["host"]] = {**facts.get(row["host"], {}), **row["result"].get("ansible_facts", {})}
        if row["outcome"] in ("failed", "unreachable"):
            refusals.append(
                Refusal(row["host"], row["task"], _message(row["result"]), row["outcome"] == "failed")
            )
            continue
        own_changes, own_actions = _of(row)
        notes += [f"{row['host']}: {note}" for note in row["result"].get("warnings", []) if _ours(row)]
        if own_changes or own_actions:
            stage = stages.setdefault((row["play"], row["role"], row["task"]), ([], []))
            stage[0].append(row["host"])
            stage[1].extend(f"{action.verb} {action.what}" for action in own_actions)
        changes += own_changes
        actions += own_actions
    sizes = _sizes(servers or {}, facts, capacity_settings or {}, hosts)
    return Plan(
        playbook=playbook,
        hosts=tuple(sorted(hosts - {"localhost"})),
        changes=tuple(_with_why(change, sizes.get(change.host, {})) for change in _settled(changes, actions)),
        actions=tuple(dict.fromkeys(actions)),
        stages=tuple(
            Stage(play, role, task, tuple(dict.fromkeys(names)), tuple(dict.fromkeys(done)))
            for (play, role, task), (names, done) in stages.items()
        ),
        refusals=tuple(refusals),
        notes=tuple(dict.fromkeys(notes)),
        sizes=sizes,
        budget=budget,
    )


def _message(result: Mapping[str, Any]) -> str:
    said = [str(item.get("msg")) for item in result.get("results", []) if item.get("failed") and item.get("msg")]
    text = "\n".join(said) if said else str(result.get("msg") or "failed")
    return re.sub(r"^Task failed: (Finalization of task args.*?: )?", "", text).strip()


def _ours(row: Mapping[str, Any]) -> bool:
    return str(row["action"]).startswith(COLLECTION)


def _of(row: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    """What one result changes. Whatever module returned it, a change is never left out: what isn't known is named by its task."""
    result, host, role = row["result"], str(row["host"]), str(row["role"])
    if row["outcome"] == "skipped":
        return _skipped(row)
    reader = READERS.get(str(row["action"]).removeprefix(COLLECTION)) if _ours(row) else None
    if reader is not None:
        return reader(host, role, result)
    if not result.get("changed"):
        return [], []
    command = result.get("cmd")
    if command:
        words = command if isinstance(command, str) else " ".join(str(word) for word in command)
        return [], [Action(host, "run", words)]
    return [Change(host, role, "task", str(row["task"]), None, "changed")], []


def _skipped(row: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    """A command is skipped in check mode; that it would run is what counts."""
    result = row["result"]
    if "would have run" not in str(result.get("msg", "")):
        return [], []
    command = result.get("cmd")
    words = command if isinstance(command, str) else " ".join(str(word) for word in command or [row["task"]])
    return [], [Action(str(row["host"]), "run", words)]


def _converge(host: str, role: str, result: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    changes: list[Change] = []
    for kind in ("packages", "users"):
        changes += [
            Change(host, role, kind[:-1], name, None, "installed" if kind == "packages" else "made")
            for name in result.get(f"missing_{kind}", [])
        ]
    effects = result.get("effects", {})
    told: set[str] = set()
    for diff in result.get("diff", []):
        path, rows = _from_diff(diff)
        told.add(path)
        effect = ", ".join(effects.get(path, [])) or "none"
        changes += [Change(host, role, path, name, now, then, effect) for name, now, then in rows]
    changes += [
        Change(host, role, path, "file", None, "changed", ", ".join(effects.get(path, [])) or "none")
        for path in result.get("changed_paths", [])
        if path not in told
    ]
    actions = [
        Action(host, verb, unit)
        for verb, key in (("start", "services_started"), ("restart", "services_restarted"), ("reload", "services_reloaded"))
        for unit in result.get(key, [])
    ]
    return changes, [*actions, *(Action(host, "run", command) for command in result.get("commands", []))]


def _from_diff(diff: Mapping[str, Any]) -> tuple[str, list[tuple[str, str | None, str | None]]]:
    """The path of one entry of converge's diff, and its rows of setting, now and then."""
    prepared = diff.get("prepared")
    if prepared is not None:
        path, arrow, target = str(prepared).partition(" -> ")
        if arrow:
            return path, [("link", None, target)]
        path, _colon, what = str(prepared).partition(": ")
        return path, [("file", "there", "removed") if what == "removed" else ("file", None, "changed (secret)")]
    path, before, after = str(diff.get("after_header")), str(diff.get("before", "")), str(diff.get("after", ""))
    if re.fullmatch(r"\S+:\S+ \d{4}\n", after) and (not before or re.fullmatch(r"\S+:\S+ \d{4}\n", before)):
        return path, [("owner and mode", before.strip() or None, after.strip())]
    if not before:
        return path, [("file", None, f"new, {len(after.splitlines())} lines")]
    found = differences(path, before, after)
    if found:
        return path, [(row.name, row.now, row.then) for row in found]
    gone, come = changed_lines(before, after)
    return path, [("file", None, f"{gone} lines go, {come} come")]


def _mysql_replication(host: str, role: str, result: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    changes: list[Change] = []
    actions: list[Action] = []
    for sentence, action in zip(result.get("performed", []), result.get("actions", []), strict=False):
        if action["action"] == "set":
            actions += [Action(host, "set online", f"{name} = {value}") for name, value in sorted(action["settings"].items())]
        elif action["action"] == "restart":
            actions.append(Action(host, "restart", "mysql.service"))
        else:
            changes.append(Change(host, role, "MySQL", action["action"], None, sentence, "online"))
    return changes, actions


def _redis_instances(host: str, role: str, result: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    actions = [
        Action(host, "set online", f"{instance} {sentence}")
        for instance, sentences in sorted(result.get("settings", {}).items())
        for sentence in sentences
    ]
    actions += [Action(host, "reload users of", instance) for instance in result.get("acl_loaded", [])]
    actions += [Action(host, "restart", f"redis-cluster@{instance}.service") for instance in result.get("restarted", [])]
    return [], actions


def _steps(
    thing: str, key: str, effect: str = "none"
) -> Callable[[str, str, Mapping[str, Any]], tuple[list[Change], list[Action]]]:
    """A reader of results that list sentences under C(key), maybe by name."""

    def read(host: str, role: str, result: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
        told = result.get(key) or []
        rows = [(f" {name}", row) for name, rows in told.items() for row in rows] if isinstance(told, dict) else [("", r) for r in told]
        return [Change(host, role, thing + name, str(row), None, "done", effect) for name, row in rows], []

    return read


def _release(host: str, role: str, result: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    steps = list(result.get("steps", []))
    if not steps:
        return [], []
    now, then = result.get("previous") or None, result.get("release")
    effect = "reload PHP-FPM, gracefully" if "reload" in steps else "none"
    return [Change(host, role, "release", ", ".join(steps), now, then, effect)], []


def _release_build(host: str, role: str, result: Mapping[str, Any]) -> tuple[list[Change], list[Action]]:
    if not result.get("changed"):
        return [], []
    return [Change("localhost", role, "release", "build", None, str(result.get("release")))], []


READERS: Mapping[str, Callable[[str, str, Mapping[str, Any]], tuple[list[Change], list[Action]]]] = {
    "converge": _converge,
    "mysql_replication": _mysql_replication,
    "redis_instances": _redis_instances,
    "redis_cluster": _steps("Redis pool", "steps", "online"),
    "release": _release,
    "release_build": _release_build,
    "s3_buckets": _steps("bucket", "made"),
    "internal_ca": _steps("certificate", "issued"),
}


# -- what follows, and why ------------------------------------------------------------------------------------------


def _settled(changes: Sequence[Change], actions: Sequence[Action]) -> Iterator[Change]:
    """The changes with a held restart resolved: set online, restarted in turn, or left waiting."""
    online = {(action.host, _setting_name(action.what)) for action in actions if action.verb == "set online"}
    restarted = {(action.host, action.what) for action in actions if action.verb == "restart"}
    for change in changes:
        if change.component == "redis_cluster" and change.effect == "none" and (change.host, change.setting) in online:
            yield replace(change, effect="set online")
            continue
        held = re.search(r"hold (\S+)", change.effect)
        if not held:
            yield change
        elif (change.host, change.setting.rpartition(".")[2].replace("-", "_").removeprefix("loose_")) in online:
            yield replace(change, effect="set online")
        elif (change.host, held[1]) in restarted:
            yield replace(change, effect=f"restart {held[1]}, in turn")
        else:
            yield replace(change, effect=f"waits for a restart of {held[1]}")


def _setting_name(what: str) -> str:
    """Of C(max_connections = 100), or C(durable-6379 maxmemory: 1 -> 2): the setting."""
    redis = re.match(r"\S+ ([\w-]+)(:|$)", what)
    return redis[1] if redis else what.split(" ", maxsplit=1)[0]


def _sizes(
    servers: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    settings: Mapping[str, Mapping[str, Any]],
    hosts: Iterable[str],
) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in sorted(hosts):
        if name not in servers:
            continue
        try:
            figures: Mapping[str, Figure] = size_host(
                host_from(servers[name], facts.get(name, {})), settings_from(settings.get(name))
            )
        except CapacityError:
            continue
        wanted = [figure for tier in servers[name]["tiers"] for figure in TIER_FIGURES.get(tier, ())]
        if wanted:
            found[name] = {figure: figures[figure].as_dict() for figure in wanted}
    return found


def _with_why(change: Change, sizes: Mapping[str, Mapping[str, Any]]) -> Change:
    """The change with the arithmetic of its number; where another number was set on purpose, that is said."""
    name = change.setting.rpartition(": ")[2].rpartition(".")[2] if change.component != "php_fpm" else change.setting
    figure = sizes.get(FIGURES.get((change.component, name), ""))
    if figure is None or change.then is None:
        return change
    digits = re.match(r"\d+", change.then)
    if digits and int(digits[0]) == figure["value"]:
        return replace(change, why=str(figure["why"]))
    if name in ("maxmemory", "numprocs"):
        return replace(change, why=f"a share of {figure['value']} {figure['unit']}: {figure['why']}")
    return replace(change, why=f"set in the inventory; computed: {figure['value']} = {figure['why']}")


def scrubbed(plan: Plan, secrets: Iterable[str]) -> Plan:
    """The plan without any of the secrets, wherever one turns up."""
    known = sorted((secret for secret in secrets if len(secret) >= 6), key=len, reverse=True)
    if not known:
        return plan
    pattern = re.compile("|".join(re.escape(secret) for secret in known))

    def clean(value: Any) -> Any:
        return pattern.sub("(secret)", value) if isinstance(value, str) else value

    return replace(
        plan,
        changes=tuple(Change(**{key: clean(value) for key, value in asdict(row).items()}) for row in plan.changes),
        actions=tuple(Action(**{key: clean(value) for key, value in asdict(row).items()}) for row in plan.actions),
        stages=tuple(replace(row, actions=tuple(clean(action) for action in row.actions)) for row in plan.stages),
        refusals=tuple(replace(row, message=clean(row.message)) for row in plan.refusals),
        notes=tuple(clean(note) for note in plan.notes),
    )


# -- three forms ------------------------------------------------------------------------------------------------------


def render(plan: Plan, form: str) -> str:
    """The plan as C(text), C(json) or C(markdown)."""
    return {"text": as_text, "json": as_json, "markdown": as_markdown}[form](plan)


def as_json(plan: Plan) -> str:
    return json.dumps(plan.as_dict(), indent=2, sort_keys=True) + "\n"


def headline(plan: Plan) -> str:
    """The plan in one sentence."""
    if plan.refusals:
        return f"{plan.playbook} would stop: {len(plan.refusals)} reason{'s' if len(plan.refusals) > 1 else ''}."
    if not plan.changing:
        return f"{plan.playbook} has nothing to do on {len(plan.hosts)} hosts."
    hosts = [host for host in plan.changing if host != "localhost"]
    calm = len(plan.hosts) - len(hosts)
    return f"{plan.playbook} would change {len(hosts)} of {len(plan.hosts)} hosts ({', '.join(hosts) or 'none'}); {calm} stay as they are."


def _by_host(plan: Plan) -> Iterator[tuple[str, list[Change], list[Action]]]:
    for host in plan.changing:
        yield (
            host,
            [change for change in plan.changes if change.host == host],
            [action for action in plan.actions if action.host == host],
        )


def _summary(actions: Sequence[Action]) -> str:
    """What happens to running services and which commands run, in a line."""
    return "; ".join(f"{action.verb} {action.what}" for action in actions) or "nothing is reloaded or restarted"


def aligned(rows: Sequence[Sequence[str]], indent: str, most: int = 44) -> list[str]:
    """Rows as lines of aligned columns; a cell that is longer than most doesn't widen its column."""
    widths = [
        max((len(row[column]) for row in rows if len(row[column]) <= most), default=0) for column in range(len(rows[0]))
    ]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def as_text(plan: Plan) -> str:
    lines = [headline(plan), ""]
    for refusal in plan.refusals:
        lines += [refusal.heading, *(f"  {line}" for line in refusal.message.splitlines()), ""]
    for host, changes, actions in _by_host(plan):
        lines.append(host)
        for thing in dict.fromkeys(change.thing for change in changes):
            rows = [change for change in changes if change.thing == thing]
            lines.append(f"  {thing}")
            lines += aligned(
                [[row.setting, _short(row.now), "->", _short(row.then), row.effect] for row in rows], "    "
            )
            lines += [f"      {row.setting}: {row.why}" for row in rows if row.why]
        lines += [f"  then: {_summary(actions)}", ""]
    if plan.stages:
        lines.append("In this order:")
        lines += [f"  {number}. {_stage(stage)}" for number, stage in enumerate(plan.stages, 1)]
        lines.append("")
    lines += [f"Note: {note}" for note in plan.notes]
    lines += _budget_text(plan)
    if plan.sizes:
        lines.append("Sizes, and the arithmetic behind them:")
        for host, figures in plan.sizes.items():
            lines += [f"  {host}: {name} = {row['value']} {row['unit']}: {row['why']}" for name, row in figures.items()]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _short(value: str | None, most: int = 60) -> str:
    if value is None:
        return "-"
    return value if len(value) <= most else value[: most - 3] + "..."


def _stage(stage: Stage) -> str:
    what = stage.component or stage.play
    done = f": {'; '.join(stage.actions)}" if stage.actions else ""
    return f"{what} on {', '.join(stage.hosts)} ({stage.task.rpartition('| ')[2]}){done}"


def _budget_rows(budget: Mapping[str, Any]) -> list[list[str]]:
    rows = [["client", "hosts", "each", "connections", "why"]]
    rows += [
        [row["client"], ", ".join(row["hosts"]), str(row["per_host"]), str(row["connections"]), row["why"]]
        for row in budget["rows"]
    ]
    allowed = "unknown" if budget["max_connections"] is None else str(budget["max_connections"])
    room = "" if budget["headroom"] is None else f"{budget['headroom']} left"
    return [*rows, ["all together", "", "", str(budget["total"]), f"of {allowed} allowed; {room}".rstrip("; ")]]


def _budget_text(plan: Plan) -> list[str]:
    if not plan.budget:
        return []
    return ["Connections to MySQL:", *aligned(_budget_rows(plan.budget), "  "), ""]


def as_markdown(plan: Plan) -> str:
    lines = [f"## {headline(plan)}", ""]
    for refusal in plan.refusals:
        lines += [f"**{refusal.heading}**", "", *_quoted(refusal.message), ""]
    for host, changes, actions in _by_host(plan):
        lines += [f"### {host}", ""]
        if changes:
            rows = [
                [f"`{c.thing}`", f"`{c.setting}`", _code(c.now), _code(c.then), c.effect, _cell(c.why)] for c in changes
            ]
            lines += _markdown_table(["where", "setting", "now", "then", "follows", "why"], rows)
        lines += ["", f"Then: {_cell(_summary(actions))}.", ""]
    if plan.stages:
        lines += ["### Order", ""]
        lines += [f"{number}. {_cell(_stage(stage))}" for number, stage in enumerate(plan.stages, 1)]
        lines.append("")
    lines += [f"> {note}" for note in plan.notes]
    if plan.budget:
        head, *rows = _budget_rows(plan.budget)
        lines += ["### Connections to MySQL", "", *_markdown_table(head, rows), ""]
    if plan.sizes:
        rows = [
            [host, name, f"{row['value']} {row['unit']}", _cell(row["why"])]
            for host, figures in plan.sizes.items()
            for name, row in figures.items()
        ]
        lines += ["### Sizes", "", *_markdown_table(["host", "figure", "value", "why"], rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def _quoted(text: str) -> list[str]:
    return [f"> {line}" for line in text.splitlines()]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _code(value: str | None) -> str:
    return "" if value is None else f"`{_cell(_short(value, 200)).replace('`', chr(39))}`"


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
