# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as JSON for machines and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.e2e.ledger.figures import PHASES


def table(report: Mapping[str, Any]) -> str:
    """The report in 100 columns."""
    phases = report["phases"]
    columns = [*PHASES, "all"]
    lines = [
        f"{report['name']}: {report['about']}",
        f"{report['rate']:g} requests/s for {phases['all']['seconds']:g} s, {report['kept_share']:.0%} on kept connections",
        "",
        f"{'':<34}" + "".join(f"{name:>12}" for name in columns),
    ]

    def row(name: str, values: list[Any]) -> None:
        lines.append(f"{name:<34}" + "".join(f"{'-' if v is None else v:>12}" for v in values))

    row("seconds", [phases[c]["seconds"] for c in columns])
    row("requests", [phases[c]["requests"] for c in columns])
    row("failed", [sum(phases[c]["failed"].values()) for c in columns])
    row("POSTs unsafe to retry", [sum(phases[c]["unsafe_to_retry"].values()) for c in columns])
    row("repeated on a new connection", [phases[c]["repeated_on_a_new_connection"] for c in columns])
    for name in ("p50", "p95", "p99", "max"):
        row(f"{name}, ms", [phases[c]["milliseconds"][name] for c in columns])
    for name, words in (("all", "success"), ("writes", "a write"), ("rows", "a new row")):
        row(f"longest gap without {words}, s", [f"{phases[c]['longest_gap'][name]['seconds']:.2f}" for c in columns])
    whole = phases["all"]
    lines.append("")
    for title, counts in (
        ("failed", whole["failed"]),
        ("unsafe to retry", whole["unsafe_to_retry"]),
        ("answers by server", whole["by_server"]),
        ("answers by release", whole["by_release"]),
    ):
        lines += [f"{title}:", *[f"  {count:>8}  {name}" for name, count in counts.items()]] if counts else []
    lines.append(f"answers by a deleted release: {len(report['by_deleted_release'])}")
    lines.append("")
    for step in report["steps"]:
        code = "" if step["exit_code"] is None else f", exit code {step['exit_code']}"
        row = step.get("first_row_seconds")
        since = "" if row is None else f", a new row after {row:.2f} s"
        lines.append(f"second {step['start']:>6.1f} to {step['end']:>6.1f}: {step['name']}{code}{since}")
        if new := step.get("new_server"):
            lines.append(f"{'':<19}  first answer by a new server after {new['seconds']:.1f} s, by {new['name']}")
    lines += ["", "ledger:"]
    for kind, figures in report["ledger"].items():
        lines.append(f"  {kind}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()))
    lines.append(f"  missing: {len(report['missing']) or 'nothing'}")
    lines += [f"    {one}" for one in report["missing"][:20]]
    client = report["client"]
    lines += [
        "",
        f"the client itself: {client['cpu_percent_of_a_core']:.0f} % of one core, "
        f"{client['cpu_ms_per_request']:.2f} ms a request, late by {client['late_ms']['p99']:.0f} ms (p99), "
        f"{client['waited_for_cpu_seconds']:.1f} s without a processor, {client['connections_opened']} connections opened",
    ]
    lines += [f"note: {note}" for note in report["notes"]]
    lines += ["", *[f"BROKEN: {sentence}" for sentence in report["breaches"]]]
    lines.append("verdict: " + ("kept" if not report["breaches"] else "broken"))
    return "\n".join(lines) + "\n"
