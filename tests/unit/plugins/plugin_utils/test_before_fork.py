# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers inherit the collection's filters instead of loading them anew for each task of each host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
# As the linear strategy does before it forks: it looks at the class of the task's action.
SCRIPT = """
import sys
from ansible.plugins.loader import action_loader, init_plugin_loader
init_plugin_loader([sys.argv[1]])
prefix = "ansible_collections.graphic_school.scaling.plugins.filter."
assert not any(name.startswith(prefix) for name in sys.modules)
assert action_loader.get(sys.argv[2], class_only=True)
print(*(name.removeprefix(prefix) for name in sys.modules if name.startswith(prefix)))
"""


@pytest.mark.parametrize("action", ["converge", "fleet_lock", "fleet_status"])
def test_an_action_brings_all_filters_into_the_process_that_forks(action: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT / ".collections"), f"graphic_school.scaling.{action}"],
        cwd=ROOT, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = {path.stem for path in (ROOT / "plugins" / "filter").glob("*.py")}
    assert files <= set(done.stdout.split())
