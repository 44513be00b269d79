# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of all traces as a table, and one trace as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from plugins.module_utils.autoscale import OUT
from plugins.module_utils.autoscale_policy import Policy, default_policy, policies_from

from .simulator import Result, play
from .traces import TRACES, Trace


@dataclass(frozen=True)
class Comparison:
    """A trace with the decision, and with as many hosts all the time as the policy allows at least and at most."""

    name: str
    scaled: Result
    least: Result
    most: Result


def compare(trace: Trace, policy: Policy | None = None, name: str = "") -> Comparison:
    policy = policy or default_policy(trace.tier)
    return Comparison(
        name or trace.name,
        play(trace, policy=policy),
        play(trace, policy=policy, fixed=policy.minimum),
        play(trace, policy=policy, fixed=policy.maximum),
    )


def everything() -> list[Comparison]:
    """All traces with the default policies, and what the optional signal of workers makes of the last one."""
    (busy,) = policies_from([{"tier": "queue_workers", "signals": {"workers_busy": {}}}])
    return [*(compare(trace) for trace in TRACES), compare(TRACES[-1], busy, "the same with workers_busy")]


def table(rows: Sequence[Comparison]) -> str:
    """Markdown, which also reads well in a terminal."""
    head = ["load", "host-minutes", "fixed 2 / 10", "minutes over the limit", "fixed 2 / 10", "most hosts", "changes", "turns"]
    cells = [head, ["---"] * len(head)]
    for row in rows:
        scaled, least, most = row.scaled, row.least, row.most
        cells.append([
            row.name,
            f"{scaled.host_minutes:,.0f}",
            f"{least.host_minutes:,.0f} / {most.host_minutes:,.0f}",
            f"{scaled.over_minutes:.1f}",
            f"{least.over_minutes:.1f} / {most.over_minutes:.1f}",
            str(scaled.most),
            str(scaled.changes),
            str(scaled.turns),
        ])  # fmt: skip
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    cells[1] = ["-" * width for width in widths]
    return "".join(f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |\n" for line in cells)


# --- a picture --------------------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, POINTS = 720, 52, 46, 240
TOP, PANEL, GAP = 40, 120, 34
INK, LOAD, HOSTS, PAIN, LIMIT, LOST = "#444", "#9aa7b5", "#1f6feb", "#b35900", "#d1242f", "#f3e3c3"


@dataclass(frozen=True)
class _Scale:
    """From a value to a place in a panel whose upper edge is at ``top``."""

    top: int
    highest: float

    def y(self, value: float) -> float:
        return self.top + PANEL - PANEL * min(value, self.highest) / self.highest


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... that a scale may end at."""
    step = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    return next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if step * factor >= value)


def svg(result: Result) -> str:
    """Load and hosts above, what users feel and its limit below; the time runs from left to right."""
    trace, moments = result.trace, result.moments
    every = max(1, len(moments) // POINTS)
    groups = [moments[place : place + every] for place in range(0, len(moments), every)]
    below = TOP + PANEL + GAP
    load = _Scale(TOP, _round_up(max(moment.load for moment in moments)))
    hosts = _Scale(TOP, _round_up(max(result.most, 4)))
    pain = _Scale(below, result.limit * 4)

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / trace.seconds

    def path(place: Callable[[Sequence[object]], float], colour: str, width: float) -> str:
        points = " ".join(f"{x(group[0].second):.1f},{place(group):.1f}" for group in groups)
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    parts = [
        f'<rect x="{x(begins):.1f}" y="{TOP}" width="{x(ends) - x(begins):.1f}" height="{PANEL}" fill="{LOST}"/>'
        for begins, ends, host in trace.lost
        if not host
    ]
    parts += [
        path(lambda group: load.y(sum(m.load for m in group) / len(group)), LOAD, 1),
        path(lambda group: hosts.y(group[0].hosts), HOSTS, 2),
        path(lambda group: pain.y(max(m.pain for m in group)), PAIN, 1.5),
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{pain.y(result.limit):.1f}" y2="{pain.y(result.limit):.1f}" '
        f'stroke="{LIMIT}" stroke-dasharray="4 3"/>',
    ]
    for decision in result.decisions:
        place = x(decision.time)
        mark = "0,0 8,0 4,-7" if decision.action == OUT else "0,-7 8,-7 4,0"
        words = escape(f"{decision.action}: {decision.reason}")
        parts.append(
            f'<polygon points="{mark}" transform="translate({place - 4:.1f} {TOP + PANEL})" fill="{HOSTS}"><title>{words}</title></polygon>'
        )
    for top in (TOP, below):
        parts.append(f'<path d="M{LEFT} {top}V{top + PANEL}H{WIDTH - RIGHT}V{top}" fill="none" stroke="{INK}"/>')

    def text(place: float, y: float, words: str, anchor: str, colour: str = INK) -> str:
        return f'<text x="{place:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'

    parts += [
        text(LEFT, 16, f"{trace.name}: {trace.about}", "start"),
        text(LEFT, 32, result.names[0], "start", "#66717d"),
        text(WIDTH - RIGHT, 32, "hosts that serve", "end", HOSTS),
        text(LEFT - 6, TOP + 10, f"{load.highest:g}", "end", "#66717d"),
        text(LEFT - 6, TOP + PANEL, "0", "end", "#66717d"),
        text(WIDTH - RIGHT + 6, TOP + 10, f"{hosts.highest:g}", "start", HOSTS),
        text(WIDTH - RIGHT + 6, TOP + PANEL, "0", "start", HOSTS),
        text(LEFT, below - 8, f"{result.names[1]}, and its limit", "start", PAIN),
        text(LEFT - 6, below + 10, f"{pain.highest:g}+", "end", PAIN),
        text(LEFT - 6, pain.y(result.limit) + 4, f"{result.limit:g}", "end", LIMIT),
    ]
    hours = trace.seconds > 4 * 3600
    unit, label = (3600, "h") if hours else (60, "min")
    last = trace.seconds // unit
    every_label = next(step for step in (2, 5, 10, 15, 20, 30, 60) if last / step <= 12)
    for tick in range(0, last + 1, every_label):
        parts.append(text(x(tick * unit), below + PANEL + 14, f"{tick} {label}" if tick == 0 else str(tick), "middle"))
    height = below + PANEL + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def file_name(name: str) -> str:
    return name.replace(" ", "-") + ".svg"
