# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML page that needs nothing else: its plots are SVG, its style is in it, no script, no network. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from .report import HostRow, Report, Split, TierRow, Use, Verdict, percent, tier_words
from .report_history import DAY, HOUR, History, buckets, hourly_hosts
from .report_render import days_text, full, growth_rows, headline, kept, money, refused_splits, saves, used, window

# Hosts that are drawn; of a larger fleet those with a suggestion, then the fullest.
MOST_DRAWN = 24
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 330.0, 104.0, 34.0, 6.0, 8.0, 18.0
PARTS = 168

STYLE = """
:root{--ink:#1c2330;--soft:#5b6678;--paper:#fff;--panel:#f5f7fa;--line:#d9dfe8;--blue:#2563c9;--band:#2563c933;
--green:#18794e;--amber:#a35200;--red:#b42318;--reserved:#2563c955;--bar:#2563c9;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf1;--soft:#9aa6b8;--paper:#12161d;--panel:#1a2029;--line:#303a48;
--blue:#7fb0ff;--band:#7fb0ff33;--green:#5fd39b;--amber:#f5b25f;--red:#ff8f85;--reserved:#7fb0ff4d;--bar:#7fb0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:28px 24px 60px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif}
h1{font-size:24px;margin:0 0 6px}h2{font-size:18px;margin:40px 0 10px;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:15px;margin:20px 0 6px}p{margin:6px 0}
.lead{font-size:17px}.soft{color:var(--soft)}.small{font-size:13px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(138px,1fr));gap:12px;margin:20px 0}
.card{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.card b{display:block;font-size:21px;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.3}
.card span{color:var(--soft);font-size:13px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;font-weight:600;color:var(--soft);font-size:12.5px;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);
vertical-align:bottom}
td{padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top;text-wrap:pretty;
font-variant-numeric:tabular-nums}
th.n,td.n{text-align:right}td.name{font-weight:600;white-space:nowrap}
.badge{display:inline-block;border:1px solid currentColor;border-radius:9px;padding:0 8px;font-size:12px;font-weight:600;white-space:nowrap}
.smaller{color:var(--green)}.larger,.stuck{color:var(--red)}.refused{color:var(--amber)}.keep{color:var(--soft)}
.bar{position:relative;height:7px;min-width:84px;background:var(--line);border-radius:2px;margin-top:4px}
.bar i{position:absolute;left:0;top:0;bottom:0;background:var(--bar);border-radius:2px}
.bar.over i{background:var(--red)}.bar u{position:absolute;top:-2px;bottom:-2px;width:2px;background:var(--ink)}
details{margin-top:3px}summary{cursor:pointer;color:var(--soft);font-size:13px}ul{margin:4px 0;padding-left:20px}
.plots{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:6px 14px}
@media(max-width:800px){.plots{grid-template-columns:1fr}}
.splits{gap:22px 18px}
figure{margin:0}figcaption{font-size:13px;color:var(--soft)}figcaption b{color:var(--ink)}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:10px;font-family:inherit}
.grid{stroke:var(--line);stroke-width:1}.mean{fill:none;stroke:var(--blue);stroke-width:1.5;stroke-linejoin:round}
.band{fill:var(--band)}.target{stroke:var(--red);stroke-width:1;stroke-dasharray:4 3}.p95{stroke:var(--ink);stroke-width:1}
.reserved{fill:var(--reserved)}.demand{fill:var(--band)}.steps{fill:none;stroke:var(--blue);stroke-width:1.5}
.key span{white-space:nowrap;margin-right:16px}.key svg{display:inline-block;width:26px;height:10px;vertical-align:middle;margin-right:5px}
@media print{body{max-width:none;padding:0}h2{break-after:avoid}figure,tr{break-inside:avoid}}
"""

OUTCOMES = {"smaller": "smaller", "larger": "larger", "keep": "as it is", "stuck": "no size is enough", "refused": "not judged"}


# -- plots --------------------------------------------------------------------------------------------------------------


class _Frame:
    """The axes of one plot: time from C(start) to C(end), values from 0 to C(top)."""

    def __init__(self, start: float, end: float, top: float) -> None:
        self.start, self.end, self.top = start, end, top

    def x(self, time: float) -> float:
        return LEFT + (time - self.start) / (self.end - self.start or 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - min(max(value, 0.0), self.top) / self.top * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(time):.1f},{self.y(value):.1f}" for time, value in points)

    def level(self, value: float, kind: str) -> str:
        return f'<line class="{kind}" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>'

    def grid(self, levels: Sequence[tuple[float, str]]) -> str:
        """Lines at the levels with their labels, and the days along the bottom, at most seven of them named."""
        parts = [
            self.level(value, "grid") + f'<text x="{LEFT - 4:g}" y="{self.y(value) + 3.5:.1f}" text-anchor="end">{escape(label)}</text>'
            for value, label in levels
        ]
        days = [day * DAY for day in range(math.ceil(self.start / DAY), math.floor(self.end / DAY) + 1)]
        every = max(1, math.ceil(len(days) / 7))
        for day in days[::every]:
            x = self.x(day)
            name = datetime.fromtimestamp(day, UTC).strftime("%d %b").lstrip("0")
            anchor = "start" if x < LEFT + 14 else "end" if x > WIDTH - 22 else "middle"
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM:g}" y2="{HEIGHT - BOTTOM + 3:g}"/>')
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 4:g}" text-anchor="{anchor}">{name}</text>')
        return "".join(parts)

    def svg(self, title: str, *parts: str) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
            f"{''.join(parts)}</svg>"
        )


def use_plot(title: str, points: Sequence[tuple[float, float]], history: History, use: Use | None, target: float | None) -> str:
    """Shares over the window: a line for the mean, a band from least to most, the 95th percentile and the target as levels."""
    start = _begin(history)
    frame = _Frame(start, history.end, max(1.0, use.share if use else 1.0))
    parts = [frame.grid([(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")])]
    width = (history.end - start) / PARTS
    for run in _runs(buckets(tuple(points), start, history.end, PARTS), 2.5 * width):
        up = [(time, most) for time, _least, _mean, most in run]
        down = [(time, least) for time, least, _mean, _most in reversed(run)]
        parts.append(f'<polygon class="band" points="{frame.path([*up, *down])}"/>')
        parts.append(f'<polyline class="mean" points="{frame.path((time, mean) for time, _least, mean, _most in run)}"/>')
    if target is not None:
        parts.append(frame.level(target, "target"))
    if use is not None:
        parts.append(frame.level(use.share, "p95"))
    return frame.svg(title, *parts)


def _begin(history: History) -> float:
    """When the first sample of any host was: Prometheus may hold less than was asked for."""
    first = [history.of(name, *key)[0][0] for name in ("cpu", "up") for key in history.keys(name)]
    return min(first, default=history.start)


def _runs(
    rows: Sequence[tuple[float, float, float, float]], gap: float
) -> list[list[tuple[float, float, float, float]]]:
    """Cut where nothing was measured for longer than the gap, so that no line is drawn over it."""
    runs: list[list[tuple[float, float, float, float]]] = []
    for row in rows:
        if not runs or row[0] - runs[-1][-1][0] > gap:
            runs.append([])
        runs[-1].append(row)
    return runs


def split_plot(split: Split, history: History) -> str:
    """Hosts that were up in each hour; what is reserved is filled darker than what comes and goes."""
    hourly = hourly_hosts(history, split.tier)
    frame = _Frame(min(hourly), max(hourly) + HOUR, max(split.most, 1) * 1.1)
    marks = sorted({0, split.reserve, split.most})
    steps = [point for hour, count in hourly.items() for point in ((hour, float(count)), (hour + HOUR, float(count)))]
    first, last = steps[0][0], steps[-1][0]
    area = frame.path([(first, 0.0), *steps, (last, 0.0)])
    reserved = frame.path([(first, 0.0), (first, split.reserve), (last, split.reserve), (last, 0.0)])
    return frame.svg(
        f"{split.tier}: hosts that were up, {split.reserve} of them always",
        frame.grid([(float(mark), str(mark)) for mark in marks]),
        f'<polygon class="demand" points="{area}"/><polygon class="reserved" points="{reserved}"/>',
        f'<polyline class="steps" points="{frame.path(steps)}"/>',
    )


# -- parts of the page ---------------------------------------------------------------------------------------------------


def _bar(use: Use | None, target: float | None = None) -> str:
    if use is None:
        return '<span class="soft">-</span>'
    over = " over" if target is not None and use.share > target else ""
    tick = f'<u style="left:{target * 100:.1f}%"></u>' if target is not None else ""
    return f'{escape(used(use))}<div class="bar{over}"><i style="width:{min(use.share, 1.0) * 100:.1f}%"></i>{tick}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Cells are HTML already; the first column holds names, C(numbers) are right-aligned."""
    right = set(numbers)

    def kind(column: int) -> str:
        return ' class="name"' if column == 0 else ' class="n"' if column in right else ""

    heads = "".join(f'<th scope="col"{kind(column) if column else ""}>{text}</th>' for column, text in enumerate(head))
    body = "".join(f"<tr>{''.join(f'<td{kind(column)}>{text}</td>' for column, text in enumerate(row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _badge(outcome: str) -> str:
    return f'<span class="badge {outcome}">{OUTCOMES[outcome]}</span>'


def _because(verdict: Verdict, report: Report) -> str:
    lines = [*verdict.arithmetic, *([saves(verdict, report).removeprefix(", ")] if verdict.saving is not None else [])]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"{escape(verdict.reason)}" + (f"<details><summary>the arithmetic</summary><ul>{items}</ul></details>" if items else "")


def _cards(report: Report) -> str:
    currency = report.policy.currency
    judged = len(report.verdicts) - len(report.refusals)
    cards = [(f"{judged} of {len(report.verdicts)}", "hosts can be judged"), (str(len(report.suggestions)), "suggestions")]
    if report.priced:
        word = "saved by them" if report.saving >= 0 else "more by them"
        cards += [
            (money(report.price_now), f"{currency} a month now, on demand"),
            (money(report.price_then), f"{currency} a month as suggested"),
            (money(abs(report.saving)), f"{currency} a month {word}"),
            (money(report.reserving_saves), f"{currency} a month more by reserving"),
        ]
    if report.growth:
        first = min((row.days_left for row in report.growth if row.days_left is not None), default=None)
        cards.append((days_text(first), "days until a disk is full"))
    boxes = (f'<div class="card"><b>{escape(value)}</b><span>{escape(what)}</span></div>' for value, what in cards)
    return f'<div class="cards">{"".join(boxes)}</div>'


def _suggestions(report: Report) -> str:
    if not report.suggestions:
        return ""
    head = ["host", "", "now", "then", *([f"saves, {escape(report.policy.currency)} a month"] if report.priced else []), "because"]
    rows = [
        [
            escape(verdict.host), _badge(verdict.outcome), escape(verdict.now), escape(verdict.then),
            *([money(verdict.saving)] if report.priced else []), _because(verdict, report),
        ]
        for verdict in report.suggestions
    ]  # fmt: skip
    return "<h2>Suggestions</h2>" + _table(head, rows, [4] if report.priced else [])


def _targets(report: Report, tiers: Sequence[str]) -> tuple[float, float | None]:
    """The targets of CPU and of memory, None where memory is full by design."""
    policy = report.policy
    full_by_design = {"mysql", "redis_cluster"} & set(tiers)
    return policy.cpu_percent / 100, None if full_by_design else policy.memory_percent / 100


def _tier_row(row: TierRow, report: Report) -> list[str]:
    cpu, memory = _targets(report, [row.tier])
    sums = [money(row.price_now), money(row.price_then)] if report.priced else []
    connections = _bar(row.connections, report.policy.connections_percent / 100)
    return [escape(row.tier), str(len(row.hosts)), _bar(row.cpu, cpu), _bar(row.memory, memory), _bar(row.disk), connections, *sums]


def _host_row(row: HostRow, verdict: Verdict | None, report: Report) -> list[str]:
    cpu, memory = _targets(report, row.tiers)
    name = escape(row.host) + ("" if row.state == "active" else f' <span class="soft">({escape(row.state)})</span>')
    cores = f"{row.vcpus or '-'} {'core' if row.vcpus == 1 else 'cores'}"
    size = f"{escape(row.size)}<br><span class='soft small'>{cores}, {row.memory_mb or 0:,} MB</span>"
    connections = _bar(row.connections, report.policy.connections_percent / 100)
    return [
        name, escape(tier_words(row.tiers)), size, _bar(row.cpu, cpu), _bar(row.memory, memory), _bar(row.disk), connections,
        f"{row.history_hours:,.0f} h", _badge(verdict.outcome) if verdict else "",
    ]  # fmt: skip


def _drawn(report: Report) -> list[HostRow]:
    suggested = {verdict.host for verdict in report.suggestions}

    def urgent(row: HostRow) -> tuple[bool, float]:
        return (row.host not in suggested, -max((use.share for use in (row.cpu, row.memory, row.disk) if use), default=0.0))

    chosen = {row.host for row in sorted((row for row in report.hosts if row.cpu), key=urgent)[:MOST_DRAWN]}
    return [row for row in report.hosts if row.host in chosen]


def _plots(report: Report, history: History) -> str:
    drawn = _drawn(report)
    if not drawn:
        return ""
    parts = ["<h2>Use over the window</h2>", _key()]
    left_out = sum(1 for row in report.hosts if row.cpu) - len(drawn)
    if left_out:
        which = "drawn are those with a suggestion, then the fullest"
        parts.append(f'<p class="soft">{left_out} more hosts are in the table above; {which}.</p>')
    for row in drawn:
        cpu, memory = _targets(report, row.tiers)
        figures = []
        for name, use, target in (("CPU", row.cpu, cpu), ("memory", row.memory, memory), ("disk", row.disk, None)):
            title = f"{row.host}: {name}, p95 {percent(use.share if use else None)}"
            points = history.of(name.lower(), row.host)
            caption = f"{name} <b>{escape(used(use))}</b>"
            figures.append(f"<figure><figcaption>{caption}</figcaption>{use_plot(title, points, history, use, target)}</figure>")
        parts.append(
            f"<h3>{escape(row.host)} <span class='soft'>{escape(tier_words(row.tiers))}, {escape(row.size)}</span></h3>"
            f'<div class="plots">{"".join(figures)}</div>'
        )
    return "".join(parts)


def _key() -> str:
    rows = (
        ('<line class="mean" x1="0" x2="26" y1="5" y2="5"/>', "mean"),
        ('<rect class="band" width="26" height="10"/>', "least to most"),
        ('<line class="p95" x1="0" x2="26" y1="5" y2="5"/>', "95th percentile"),
        ('<line class="target" x1="0" x2="26" y1="5" y2="5"/>', "at most this on the right size"),
    )
    return '<p class="key small soft">' + "".join(f'<span><svg viewBox="0 0 26 10">{svg}</svg>{word}</span>' for svg, word in rows) + "</p>"


def _split_section(report: Report, history: History) -> str:
    if not report.splits:
        return ""
    parts = ["<h2>Reserved and on demand</h2>"]
    told = [split for split in report.splits if not split.refused]
    if told:
        parts.append(
            '<p class="soft">Hosts that were up, hour by hour. What was never missing (dark) is worth reserving; '
            "the rest comes and goes.</p>"
        )
    figures = []
    for split in told:
        money_text = f"<br>{escape(split.arithmetic)}" if split.arithmetic else ""
        which = f" ({', '.join(escape(host) for host in split.hosts)})" if split.hosts else ""
        figures.append(
            f"<figure><figcaption><b>{escape(split.tier)}: reserve {split.reserve}</b>{which}</figcaption>{split_plot(split, history)}"
            f"<figcaption>{escape(split.reason)}{money_text}</figcaption></figure>"
        )
    if figures:
        parts.append(f'<div class="plots splits">{"".join(figures)}</div>')
    parts += [f'<p class="refused">{escape(split.reason)}</p>' for split in refused_splits(report)]
    return "".join(parts)


def _storage(report: Report) -> str:
    if not report.growth:
        return ""
    head, *rows = growth_rows(report)
    warnings = "".join(f'<p class="larger">{escape(full(row))}</p>' for row in report.filling)
    cells = []
    for row, texts in zip(report.growth, rows, strict=True):
        taken = 1 - row.free_bytes / row.size_bytes if row.size_bytes else 0.0
        drawn = _bar(Use(taken, None, None))
        cells.append([escape(texts[0]), escape(texts[1]), drawn, *(escape(text) for text in texts[2:])])
    return f"<h2>Storage</h2>{warnings}" + _table([*map(escape, head[:2]), "used", *map(escape, head[2:])], cells, (3, 4, 5, 6))


def as_html(report: Report, history: History) -> str:
    """The page. C(history) is what the report was made of: its points are drawn."""
    by_host = {verdict.host: verdict for verdict in report.verdicts}
    currency = escape(report.policy.currency)
    sums = [f"{currency} a month", "as suggested"] if report.priced else []
    tier_head = ["tier", "hosts", "CPU", "memory", "fullest disk", "most connections", *sums]
    host_head = ["host", "tiers", "size", "CPU", "memory", "fullest disk", "connections", "history", ""]
    parts = [
        f'<header><h1>What the fleet uses of what it has</h1><p class="lead">{escape(headline(report))}</p>',
        f'<p class="soft small">{escape(window(report))}.</p></header>',
        _cards(report),
        _suggestions(report),
    ]
    if report.refusals:
        parts += ["<h2>Not judged</h2>", *(f'<p class="refused">{escape(verdict.reason)}</p>' for verdict in report.refusals)]
    parts += ["<h2>Tiers</h2>", '<p class="soft small">95th percentiles of all hosts of a tier together; the mark is the target.</p>']
    parts.append(_table(tier_head, [_tier_row(row, report) for row in report.tiers], (1, 6, 7)))
    parts += ["<h2>Hosts</h2>", _table(host_head, [_host_row(row, by_host.get(row.host), report) for row in report.hosts], (7,))]
    if kept(report):
        rows = [[escape(verdict.host), _badge(verdict.outcome), escape(verdict.now), _because(verdict, report)] for verdict in kept(report)]
        parts += ["<h2>Why the others stay as they are</h2>", _table(["host", "", "size", "because"], rows)]
    parts += [_split_section(report, history), _storage(report), _plots(report, history)]
    if report.notes:
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in report.notes), "</ul>"]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>Fleet report</title><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )
