# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.simulation`: the table, and with --docs also the table and the pictures of docs/autoscaling-decision.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import docs
from .report import everything, file_name, svg, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Play loads against autoscaling's decision.")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="write a picture of each load there")
    parser.add_argument("--docs", action="store_true", help=f"renew the table in {docs.PAGE.name} and its pictures")
    arguments = parser.parse_args()
    rows = everything()
    print(table(rows), end="")
    if arguments.svg:
        arguments.svg.mkdir(parents=True, exist_ok=True)
        for row in rows:
            (arguments.svg / file_name(row.name)).write_text(svg(row.scaled), encoding="utf-8")
    if arguments.docs:
        docs.renew(rows)


if __name__ == "__main__":
    main()
