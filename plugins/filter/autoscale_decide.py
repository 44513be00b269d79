# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: autoscale_decide
short_description: How many hosts a tier shall have now, and why
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Decides from what was measured, who is there, the policy and what was done before; nothing is asked and nothing is changed.
  - Holds while metrics are missing or stale, while a verb holds the fleet's lock, and during a cool-down.
  - Every rule is in C(docs/autoscaling-decision.md).
positional: tier, members, samples, now
options:
  _input:
    description: The rows of C(autoscale_policies).
    type: list
    elements: dict
    required: true
  tier:
    description: Which of them; C(app_servers) or C(queue_workers).
    type: str
    required: true
  members:
    description:
      - The tier's hosts, rows of C(name), C(state) (V(active), V(joining), V(draining), V(standby), V(down) or V(ill)), or C(ill)
        beside the state of the inventory.
      - For C(queue_workers) also C(processes), the workers that run on the host, and C(capacity), how many it can hold.
    type: list
    elements: dict
    required: true
  samples:
    description:
      - Rows of C(signal), C(value), C(age) in seconds, and C(source), the host or queue, from now back over the policy's window.
      - The value may be Prometheus' text, such as V(NaN).
    type: list
    elements: dict
    required: true
  now:
    description: Seconds since 1970, or an ISO 8601 text.
    type: raw
    required: true
  history:
    description: Earlier decisions, as this filter returned them; those that only held or were a dry run don't count.
    type: list
    elements: dict
    default: []
  lock_holder:
    description: The verb that holds the fleet's lock; empty when nobody does.
    type: str
    default: ""
  dry_run:
    description: Is noted in the decision.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Ask for a decision
  ansible.builtin.debug:
    msg: "{{ [{'tier': 'app_servers', 'maximum': 6}] | graphic_school.scaling.autoscale_decide('app_servers',
             [{'name': 'app1'}, {'name': 'app2'}],
             [{'signal': 'cpu', 'source': 'app1', 'value': 0.86, 'age': 5},
              {'signal': 'cpu', 'source': 'app2', 'value': 0.86, 'age': 5}],
             '2026-01-31T12:00:00Z', history=[]) }}"
"""

RETURN = """
_value:
  description:
    - A row of C(decisions.json), C(time), C(tier), C(current) and C(desired) (hosts that serve), C(action) (V(out), V(in) or
      V(hold)), C(reason), C(signals) with C(name), C(value), C(threshold) and C(demand) each, C(dry_run).
    - C(count), what C(scale.yml) has to be told as C(fleet_count); it also counts hosts that are ill.
    - For C(queue_workers) also C(processes), the C(current) and C(desired) workers on each host; demands are in workers then.
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.autoscale import changes_from, decide, members_from, moment, samples_from
from ..module_utils.autoscale_policy import AutoscaleError, policies_from


def autoscale_decide(
    policies: Sequence[Mapping[str, Any]],
    tier: str,
    members: Sequence[Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
    now: Any,
    *,
    history: Sequence[Mapping[str, Any]] = (),
    lock_holder: str = "",
    dry_run: bool = False,
) -> dict[str, Any]:
    """The decision as plain data; see ``module_utils/autoscale.py``."""
    try:
        known = {policy.tier: policy for policy in policies_from(policies)}
        if tier not in known:
            raise AutoscaleError(f"autoscale_policies has no row for {tier or 'no tier'}; it has {', '.join(known) or 'none'}")
        decision = decide(
            known[tier],
            members_from(members),
            samples_from(samples),
            moment(now),
            changes_from(history, tier),
            lock_holder=lock_holder,
            dry_run=dry_run,
        )
    except AutoscaleError as error:
        raise AnsibleFilterError(str(error)) from error
    return decision.as_dict()


def autoscale_policies(policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The policies with nothing left out; see ``module_utils/autoscale_policy.py``."""
    try:
        return [policy.as_dict() for policy in policies_from(policies)]
    except AutoscaleError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters ``graphic_school.scaling.autoscale_decide`` and ``graphic_school.scaling.autoscale_policies``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"autoscale_decide": autoscale_decide, "autoscale_policies": autoscale_policies}
