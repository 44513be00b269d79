# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/autoscaling-decision.md shows of the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .report import Comparison, file_name, svg, table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "autoscaling-decision.md"
PICTURES = ROOT / "docs" / "images" / "autoscaling"
SHOWN = ("step", "spike", "daily wave", "slow flapping", "metric loss", "flood")
BEGIN, END = "<!-- the table of `python -m tests.simulation --docs` -->\n", "<!-- end of the table -->\n"


def page_with(page: str, rows: Sequence[Comparison]) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + table(rows) + END + rest.split(END)[1]


def renew(rows: Sequence[Comparison]) -> None:
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for row in rows:
        if row.name in SHOWN:
            (PICTURES / file_name(row.name)).write_text(svg(row.scaled), encoding="utf-8")
