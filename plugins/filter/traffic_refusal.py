# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: traffic_refusal
short_description: The rule that refuses new connections
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns nft's input that refuses every new connection to these ports with a TCP reset, and leaves existing ones alone.
options:
  _input:
    description: TCP ports.
    type: list
    elements: int
    required: true
"""

EXAMPLES = """
rules: "{{ [80] | graphic_school.scaling.traffic_refusal }}"
"""

RETURN = """
_value:
  description: Text for C(nft -f).
  type: str
"""

from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.traffic import TrafficError, ruleset


def traffic_refusal(ports: Iterable[int]) -> str:
    try:
        return ruleset([int(port) for port in ports])
    except (TrafficError, ValueError) as error:
        raise AnsibleFilterError(f"traffic_app_ports: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"traffic_refusal": traffic_refusal}
