# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write extras/grafana/*.json from the list of recorded series: `python docs/generate_dashboards.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "extras" / "grafana"


def files() -> dict[str, str]:
    """Name of each file and what belongs into it."""
    from plugins.module_utils.grafana import dashboards  # noqa: PLC0415
    from plugins.module_utils.series import SERIES  # noqa: PLC0415

    return {f"{name}.json": json.dumps(board, indent=2) + "\n" for name, board in dashboards(SERIES).items()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
