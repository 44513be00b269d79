# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as text, Markdown and JSON; report_html.py draws it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from .fleet_status import table
from .report import (
    HOURS_A_MONTH,
    Growth,
    Report,
    Split,
    Use,
    Verdict,
    a_month,
    amount,
    iso,
    percent,
    size_of,
    tier_words,
)

FORMATS = ("text", "json", "markdown", "html")


def as_json(report: Report) -> str:
    return json.dumps(report.as_dict(), indent=2, sort_keys=True) + "\n"


def hosts_word(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


def headline(report: Report) -> str:
    """The report in one or two sentences."""
    policy = report.policy
    if report.refused:
        return f"Nothing is suggested: no host has what it takes, report_history_hours is {policy.history_hours:g}."
    smaller = sum(1 for verdict in report.suggestions if verdict.outcome == "smaller")
    larger = len(report.suggestions) - smaller
    stuck = sum(1 for verdict in report.verdicts if verdict.outcome == "stuck")
    parts = [f"{hosts_word(smaller)} could be smaller"] if smaller else []
    parts += [f"{hosts_word(larger)} should be larger"] if larger else []
    parts += [f"{hosts_word(stuck)} would need more than any known size"] if stuck else []
    parts = parts or ["every host that can be judged has the right size"]
    said = ", ".join(parts)
    said = said[0].upper() + said[1:] + "."
    if report.priced and report.suggestions:
        saving = report.saving
        what = f"saves {a_month(saving, policy.currency)}" if saving >= 0 else f"costs {a_month(-saving, policy.currency)} more"
        said += f" That {what}: {money(report.price_then)} in place of {money(report.price_now)}."
    if report.refusals:
        said += f" Nothing is said of {hosts_word(len(report.refusals))} with too little history or none."
    return said


def money(hourly: Decimal | None) -> str:
    """A price per hour as its month, two digits."""
    return "-" if hourly is None else f"{hourly * HOURS_A_MONTH:,.2f}"


def window(report: Report) -> str:
    policy = report.policy
    return (
        f"95th percentiles of the last {policy.window_hours:g} h, until {iso(report.made)}; "
        f"suggestions from {policy.history_hours:g} h of history on"
    )


def used(use: Use | None) -> str:
    """``62 % (1.24 of 2 cores)``"""
    if use is None:
        return "-"
    if use.used is None or not use.has:
        return percent(use.share)
    return f"{percent(use.share)} ({amount(use.used)} of {amount(round(use.has))})"


def days_text(days: float | None) -> str:
    return "-" if days is None else f"{days:,.0f}"


# Each section as rows of cells, the first one the heading, so that text, Markdown and HTML say the same.


def host_rows(report: Report) -> list[list[str]]:
    head = ["host", "tiers", "size", "cores", "MB", "history", "CPU p95", "memory p95", "disk p95", "connections p95"]
    return [
        head,
        *(
            [
                row.host + ("" if row.state == "active" else f" ({row.state})"), tier_words(row.tiers), row.size,
                str(row.vcpus or "-"), f"{row.memory_mb:,}" if row.memory_mb else "-", f"{row.history_hours:.0f} h",
                used(row.cpu), used(row.memory), used(row.disk), used(row.connections),
            ]
            for row in report.hosts
        ),
    ]  # fmt: skip


def tier_rows(report: Report) -> list[list[str]]:
    head = ["tier", "hosts", "CPU p95", "memory p95", "fullest disk", "most connections"]
    money_head = [f"{report.policy.currency} a month", "as suggested"] if report.priced else []
    return [
        head + money_head,
        *(
            [row.tier, str(len(row.hosts)), used(row.cpu), used(row.memory), used(row.disk), used(row.connections)]
            + ([money(row.price_now), money(row.price_then)] if report.priced else [])
            for row in report.tiers
        ),
    ]


def suggestion_rows(report: Report) -> list[list[str]]:
    head = ["host", "now", "then", *([f"saves, {report.policy.currency} a month"] if report.priced else []), "because"]
    return [
        head,
        *(
            [verdict.host, verdict.now, verdict.then, *([money(verdict.saving)] if report.priced else []), verdict.reason]
            for verdict in report.suggestions
        ),
    ]


def kept(report: Report) -> list[Verdict]:
    return [verdict for verdict in report.verdicts if verdict.outcome in ("keep", "stuck")]


def split_rows(report: Report) -> list[list[str]]:
    head = ["tier", "reserve", "at most", "average", *([f"saves, {report.policy.currency} a month"] if report.priced else []), "which"]
    return [
        head,
        *(
            [
                split.tier, str(split.reserve), str(split.most), f"{split.average:.1f}",
                *([money(split.saving)] if report.priced else []), ", ".join(split.hosts),
            ]
            for split in report.splits
            if not split.refused
        ),
    ]  # fmt: skip


def refused_splits(report: Report) -> list[Split]:
    return [split for split in report.splits if split.refused]


def growth_rows(report: Report) -> list[list[str]]:
    head = ["host", "file system", "size", "free", "grows by a day", "days until full"]
    return [
        head,
        *(
            [
                row.host, row.mountpoint, size_of(row.size_bytes), size_of(row.free_bytes), by_day(row), days_text(row.days_left),
            ]
            for row in report.growth
        ),
    ]  # fmt: skip


def as_text(report: Report) -> str:
    lines = [headline(report), window(report), ""]
    for heading, rows in (("Hosts", host_rows(report)), ("Tiers", tier_rows(report))):
        lines += [heading, *_indented(rows), ""]
    if report.suggestions:
        lines.append("Suggestions")
        for verdict in report.suggestions:
            lines.append(f"  {verdict.host}: {verdict.now} -> {verdict.then}{saves(verdict, report)}")
            lines += [f"    {line}" for line in (verdict.reason, *verdict.arithmetic)]
        lines.append("")
    if kept(report):
        lines += ["As they are", *(f"  {verdict.host}: {verdict.reason}" for verdict in kept(report)), ""]
    if report.refusals:
        lines += ["Not judged", *(f"  {verdict.reason}" for verdict in report.refusals), ""]
    if report.splits:
        lines.append("Reserved and on demand")
        lines += _indented(split_rows(report)) if len(split_rows(report)) > 1 else []
        for split in (split for split in report.splits if not split.refused):
            lines += [f"  {split.tier}: {split.reason}", *([f"    {split.arithmetic}"] if split.arithmetic else [])]
        lines += [f"  {split.reason}" for split in refused_splits(report)] + [""]
    if report.growth:
        lines += ["Storage", *_indented(growth_rows(report)), ""]
        lines += [f"  {full(row)}" for row in report.filling] + ([""] if report.filling else [])
    lines += [f"Note: {note}" for note in report.notes]
    return "\n".join(lines).rstrip() + "\n"


def by_day(row: Growth) -> str:
    """What it grows by; less than a ten-thousandth of the file system is noise."""
    return size_of(row.bytes_per_day) if abs(row.bytes_per_day) > row.size_bytes / 1e4 else "steady"


def full(row: Growth) -> str:
    flow = f"{size_of(row.free_bytes)} are free, {size_of(row.bytes_per_day)} a day come"
    return f"{row.host}: {row.mountpoint} is full in {days_text(row.days_left)} days: {flow}"


def saves(verdict: Verdict, report: Report) -> str:
    if verdict.saving is None:
        return ", its price is not known" if report.priced else ""
    if verdict.price_now is None or verdict.price_then is None:
        raise AssertionError("a saving without its two prices")
    what = "saves" if verdict.saving >= 0 else "costs"
    currency = report.policy.currency
    sums = f"({verdict.price_now} - {verdict.price_then}) {currency} x {HOURS_A_MONTH} h"
    return f", {what} {a_month(abs(verdict.saving), currency)} = {sums}"


def _indented(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"  {line}" for line in table(rows)]


# -- Markdown -----------------------------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """Text that can't leave its cell, nor become a link, emphasis or HTML."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return [
        f"| {' | '.join(cell(text) for text in head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(cell(text) for text in row)} |" for row in body),
    ]


def as_markdown(report: Report) -> str:
    lines = ["# What the fleet uses of what it has", "", f"**{cell(headline(report))}**", "", cell(window(report)) + ".", ""]
    if report.suggestions:
        lines += ["## Suggestions", "", *_table(suggestion_rows(report)), ""]
        for verdict in report.suggestions:
            lines += [f"- {cell(verdict.host)}{cell(saves(verdict, report))}", *(f"    - {cell(line)}" for line in verdict.arithmetic)]
        lines.append("")
    lines += ["## Hosts", "", *_table(host_rows(report)), "", "## Tiers", "", *_table(tier_rows(report)), ""]
    if kept(report):
        lines += ["## As they are", "", *_table([["host", "because"], *([v.host, v.reason] for v in kept(report))]), ""]
    if report.refusals:
        lines += ["## Not judged", "", *(f"- {cell(verdict.reason)}" for verdict in report.refusals), ""]
    if report.splits:
        lines += ["## Reserved and on demand", ""]
        lines += [*_table(split_rows(report)), ""] if len(split_rows(report)) > 1 else []
        for split in (split for split in report.splits if not split.refused):
            lines += [f"- {cell(split.tier)}: {cell(split.reason)}", *([f"    - {cell(split.arithmetic)}"] if split.arithmetic else [])]
        lines += [f"- {cell(split.reason)}" for split in refused_splits(report)] + [""]
    if report.growth:
        lines += ["## Storage", "", *_table(growth_rows(report)), ""]
        lines += [f"- {cell(full(row))}" for row in report.filling] + ([""] if report.filling else [])
    if report.notes:
        lines += ["## Notes", "", *(f"- {cell(note)}" for note in report.notes), ""]
    return "\n".join(lines).rstrip() + "\n"
