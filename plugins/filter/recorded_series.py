# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: recorded_series
short_description: The series that Prometheus records of a fleet
version_added: "0.1.0"
description:
  - The rows of the one list of recorded series whose name begins with the input, for whoever shows them.
author: graphic_school.scaling contributors (@graphic_school)
positional: _input
options:
  _input:
    description: How the names begin; C(fleet:) means all.
    type: str
    required: true
"""

EXAMPLES = r"""
# roles/fleet_page/defaults/main.yml
fleet_page_series: "{{ 'fleet:' | graphic_school.scaling.recorded_series }}"
"""

RETURN = r"""
_value:
  description: Rows with C(name), C(unit), C(about), C(labels) and C(group), the heading they belong under; in the order of the headings.
  type: list
  elements: dict
  sample:
    - name: fleet:cpu_used:ratio
      unit: ratio
      about: processor time in use, of the host's own cores
      labels: [host, tier]
      group: Hosts
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.series import SERIES
from ..module_utils.series_groups import grouped


def recorded_series(beginning: str) -> list[dict[str, Any]]:
    rows = [
        {"name": row.name, "unit": row.unit, "about": row.about, "labels": list(row.labels), "group": group}
        for group, members in grouped(SERIES)
        for row in members
        if row.name.startswith(beginning)
    ]
    if not rows:
        raise AnsibleFilterError(
            f"no recorded series begins with {beginning!r}; the list is plugins/module_utils/series.py"
        )
    return rows


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"recorded_series": recorded_series}
