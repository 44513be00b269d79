# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting with a deadline: the only way the proof waits."""

from __future__ import annotations

import time
from collections.abc import Callable


def until[T](what: str, probe: Callable[[], T], *, seconds: float, every: float = 0.2) -> T:
    """What `probe` returns once it is true; fails by name when it isn't within `seconds`.

    The probe tells "not yet" with a false value or an AssertionError; any other exception is a failure at once.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            last: object = probe()
            if last:
                return last  # type: ignore[return-value]
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (last: {last})")
        time.sleep(every)
