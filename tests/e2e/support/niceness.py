# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that goes before others must not hand that on: neither to the command that it counts the losses of, nor to a host it starts."""

from __future__ import annotations

import os
from collections.abc import Sequence


def without_privilege(words: Sequence[str]) -> list[str]:
    """The words that run a command at the usual niceness, whatever that of this process is."""
    return ["nice", "-n", str(max(0, -os.getpriority(os.PRIO_PROCESS, 0))), *words]
