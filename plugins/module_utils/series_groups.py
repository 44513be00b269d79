# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Under which heading a recorded series is shown: on the fleet's page and in the Grafana dashboards alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol, TypeVar

# Heading → what the subject of a series' name (between its colons) looks like. The first that fits counts.
GROUPS: tuple[tuple[str, str], ...] = (
    ("Requests", r"response_time|requests|request_errors"),
    ("Hosts", r"cpu|memory|disk|up\b|health|out_of_traffic|certificate|release"),
    ("Application servers", r"fpm|opcache"),
    ("Queues", r"queue|job"),
    ("Database", r"database|slow_queries|replication|gtid|semi_sync|mysql"),
    ("Redis", r"redis"),
)
FURTHER = "Further"


class Named(Protocol):
    """What has a name, as a recorded series has."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


def group_of(name: str) -> str:
    """The heading for a series: C(fleet:queue_length:jobs) → C(Queues); C(Further) where none fits."""
    subject = name.split(":")[1] if name.count(":") == 2 else name
    return next((heading for heading, pattern in GROUPS if re.match(pattern, subject)), FURTHER)


# Not in the newer form of generics: module_utils have to compile with every Python that a host may run.
def grouped(series: Iterable[Row]) -> list[tuple[str, list[Row]]]:  # noqa: UP047
    """The series by heading, in the order of C(GROUPS); within a heading in the given order. No heading is empty."""
    rows = list(series)
    headings = [*(heading for heading, _pattern in GROUPS), FURTHER]
    found = [(heading, [row for row in rows if group_of(row.name) == heading]) for heading in headings]
    return [(heading, members) for heading, members in found if members]
