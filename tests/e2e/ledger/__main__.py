# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.e2e.ledger --verb NAME`, or `--command "…"`: what `make e2e` runs.

Ends with 0 when every promise was kept, 1 when one was broken, 2 when nothing was begun.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from tests.e2e.ledger.rows import FAULTS, ROWS, VERBS, Row
from tests.e2e.ledger.run import Options, Refused, run, write
from tests.e2e.ledger.steps import command
from tests.e2e.support.lab import ROOT, Lab


def options_of(words: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.ledger", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--verb", choices=sorted(ROWS), help=" ".join([*VERBS, *FAULTS]), metavar="NAME")
    what.add_argument("--command", help="any shell command, run from the checkout", metavar="WORDS")
    parser.add_argument("--arguments", default="", help="added to each playbook of the verb, such as '-e fleet_host=app1'")
    parser.add_argument("--times", type=int, default=1, help="rounds of the verb (1)")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (50)")
    parser.add_argument("--before", type=float, default=10.0, help="seconds of load before (10)")
    parser.add_argument("--after", type=float, default=10.0, help="seconds of load after (10)")
    parser.add_argument("--hold", type=float, default=20.0, help="seconds that a fault, or nothing, lasts (20)")
    parser.add_argument("--most", type=float, default=1200.0, help="seconds that the verb may take (1200)")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule (1)")
    parser.add_argument("--out", type=Path, help="folder for reports (.lab/e2e/runs/<time>-<verb>)")
    given = parser.parse_args(words)
    name = given.verb or "command"
    row = ROWS[given.verb] if given.verb else Row(given.command, (command(given.command),))
    folder = given.out or ROOT / ".lab" / "e2e" / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    return Options(
        name, row, folder, given.rate, given.before, given.after, given.hold, given.most, given.arguments, given.seed, given.times
    )


def main() -> int:
    options = options_of()
    summary = Path(os.environ.get("GRAPHIC_SCHOOL_SUMMARY", ROOT / ".lab" / "summary.json"))
    try:
        if not summary.is_file():
            raise Refused(f"{summary} is missing: the load runs on the fleet that `make demo` makes")
        lab = Lab(summary)
        options.folder.mkdir(parents=True, exist_ok=True)
        told = asyncio.run(run(lab, options))
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the command was told to stop; `python -m lab status` says how the fleet is.\n")
        return 130
    sys.stdout.write(write(lab, options, told))
    sys.stdout.write(f"{options.folder}/report.json\n")
    return 1 if told["breaches"] else 0


if __name__ == "__main__":
    sys.exit(main())
