# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: exporter_layout
short_description: The exporters that one host runs
version_added: "0.3.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - From rows of exporters, programs by name and the tiers of a host to packages, units, services and the exporters that need a
    web server before them because they know no login.
positional: programs, tiers, address
options:
  _input:
    description: Rows of C(name), C(port) and C(tiers), as P(graphic_school.scaling.monitoring_exporters#filter) returns them.
    type: list
    elements: dict
    required: true
  programs:
    description: Name of an exporter to how it is run; see the variable C(exporter_programs) of the role exporter.
    type: dict
    required: true
  tiers:
    description: Tiers of the host.
    type: list
    elements: str
    required: true
  address:
    description: Address on the fleet's network that exporters listen on.
    type: str
    required: true
"""

EXAMPLES = """
layout: "{{ monitoring_exporters | graphic_school.scaling.exporter_layout(programs, ['mysql'], '192.0.2.31') }}"
"""

RETURN = """
_value:
  description: C(packages), C(files), C(validate) and C(services), as an entry of O(graphic_school.scaling.converge#module:parts).
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.monitoring import MonitoringError, exporters, layout


def exporter_layout(
    rows: Sequence[Mapping[str, Any]], programs: Mapping[str, Mapping[str, Any]], tiers: Sequence[str], address: str
) -> dict[str, Any]:
    """What the host runs as plain data; see ``layout``."""
    try:
        return layout(exporters(rows), programs, tiers, str(address))
    except MonitoringError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter ``graphic_school.scaling.exporter_layout``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"exporter_layout": exporter_layout}
