# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: rollback_target
short_description: The release to go back to
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns the release that was named, or the last that is known to be good; refuses by name one that failed.
positional: release
options:
  _input:
    description: Variables of the hosts; C(app_release_seen) is what the role C(app_release) learned from each.
    type: list
    elements: dict
    required: true
  release:
    description: Name of the release; empty for the last good one.
    type: str
    default: ""
"""

EXAMPLES = """
release: "{{ ansible_play_hosts | map('extract', hostvars) | graphic_school.scaling.rollback_target }}"
"""

RETURN = """
_value:
  description: Name of the release.
  type: str
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.release import ReleaseError
from ..module_utils.release_ledger import Seen, parse
from ..module_utils.release_ledger import rollback_target as target


def rollback_target(hosts: Iterable[Mapping[str, Any]], release: str = "") -> str:
    seen = {}
    for host in hosts:
        told = host["app_release_seen"]
        seen[str(host["inventory_hostname"])] = Seen(told["previous"], tuple(told["releases"]), parse(json.dumps(told["verdicts"])))
    try:
        return target(str(release), seen)
    except ReleaseError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rollback_target": rollback_target}
