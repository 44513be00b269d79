# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: monitoring_targets
short_description: What Prometheus asks, from the fleet and rows of exporters
version_added: "0.3.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - For each job the groups that Prometheus' file_sd takes, one for each target, with the labels C(host) and C(tier).
  - Hosts that are C(down) are left out.
positional: exporters, redis_ports, probes
options:
  _input:
    description: The topology, as P(graphic_school.scaling.fleet#filter) returns it.
    type: dict
    required: true
  exporters:
    description: Rows of exporters, as P(graphic_school.scaling.monitoring_exporters#filter) returns them.
    type: list
    elements: dict
    required: true
  redis_ports:
    description: Ports of the Redis instances on each of their hosts, by pool.
    type: dict
    default: {}
  probes:
    description: What the job C(blackbox) asks from outside; rows of C(host), C(url), C(module) and C(probe), the label.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = """
targets: "{{ fleet | graphic_school.scaling.monitoring_targets([{'name': 'node', 'port': 9100, 'tiers': ['all']}]) }}"
"""

RETURN = """
_value:
  description: Job to its groups of C(targets) and C(labels).
  type: dict
  sample:
    node:
      - {targets: ["192.0.2.21:9100"], labels: {host: app1, tier: app_servers}}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.monitoring import MonitoringError, beside, exporters, files, jobs, page_data, probes, targets


def monitoring_targets(
    fleet: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    redis_ports: Mapping[str, Sequence[int]] | None = None,
    probes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Job → groups as plain data; see ``targets``."""
    try:
        return targets(fleet, exporters(rows), redis_ports=redis_ports, probes=probes)
    except MonitoringError as error:
        raise AnsibleFilterError(str(error)) from error


def monitoring_exporters(
    rows: Sequence[Mapping[str, Any]], extra: Sequence[Mapping[str, Any]] = (), tiers: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The rows with every key, the further ones laid over; with tiers those that a host of these tiers has."""
    try:
        return [one.as_dict() for one in exporters(rows, extra) if tiers is None or one.on(tiers)]
    except MonitoringError as error:
        raise AnsibleFilterError(str(error)) from error


def monitoring_jobs(
    rows: Sequence[Mapping[str, Any]], besides: Sequence[str], login: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Prometheus' scrape_configs; see ``jobs``."""
    try:
        return jobs(exporters(rows), besides, login)
    except MonitoringError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters whose names begin with ``monitoring_``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "monitoring_targets": monitoring_targets,
            "monitoring_exporters": monitoring_exporters,
            "monitoring_page": page_data,
            "monitoring_jobs": monitoring_jobs,
            "monitoring_beside": beside,
            "monitoring_files": files,
            "monitoring_probes": probes,
        }
