# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: prometheus_rules
short_description: Prometheus' rule files of a fleet
version_added: "0.2.0"
description:
  - Writes the recorded series, the alerts and what tells the autoscaler to look, each as the text of one rule file.
  - The lists are C(plugins/module_utils/series.py) and C(plugins/module_utils/alerts.py); C(docs/monitoring.md) shows them.
author: graphic_school.scaling contributors (@graphic_school)
positional: _input
options:
  _input:
    description:
      - The autoscaling policies, as the filter C(autoscale_policies) completes them. Each has C(tier), C(minimum), C(window_seconds) and
        C(signals), which holds for each name C(series), C(labels), C(scale_out) and C(scale_in). An empty list writes no triggers.
    type: list
    elements: dict
    required: true
  alerts:
    description:
      - What differs from the alerts' defaults, by name. Each may have C(limit) (in the unit of its series), C(seconds) (how long it must be
        true), C(severity) (V(critical) or V(warning)); null leaves the alert out.
    type: dict
    default: {}
  runbooks:
    description: Address of the folder with the alerts' pages; each alert links to C(<runbooks>/<name>.md) there.
    type: str
    default: https://example.com/graphic_school/scaling/docs/runbooks
  interval:
    description: Seconds between two evaluations of the recorded series.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Show the rules that alert earlier about disks, and never about slow jobs
  ansible.builtin.debug:
    msg: "{{ ([] | graphic_school.scaling.prometheus_rules(alerts={'DiskFull': {'limit': 0.7}, 'JobsSlow': none}))['alerts.yml'] }}"
"""

RETURN = r"""
_value:
  description: For each of C(recording.yml), C(alerts.yml) and C(autoscale.yml) the text of the file.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]
from ansible.errors import AnsibleFilterError

from ..module_utils.alerts import RUNBOOKS, AlertError, adjusted, alert_rules, autoscale_rules
from ..module_utils.series import recording_rules


def prometheus_rules(
    policies: Sequence[Mapping[str, Any]],
    alerts: Mapping[str, Mapping[str, Any] | None] | None = None,
    runbooks: str = RUNBOOKS,
    interval: int = 5,
) -> dict[str, str]:
    try:
        files = {
            "recording.yml": recording_rules(interval),
            "alerts.yml": alert_rules(adjusted(alerts), runbooks),
            "autoscale.yml": autoscale_rules(policies, runbooks),
        }
    except AlertError as error:
        raise AnsibleFilterError(str(error)) from error
    return {name: yaml.safe_dump(rules, sort_keys=False, width=1000) for name, rules in files.items()}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"prometheus_rules": prometheus_rules}
