# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: fleet_certificates
short_description: List the certificates that the hosts of a fleet need
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Lists one certificate for each host, in the form that M(graphic_school.scaling.internal_ca) takes.
  - Every host answers to its name, its address and localhost, a load balancer also to the VIP and to O(app_domain).
positional: app_domain
options:
  _input:
    description: The dictionary C(fleet).
    type: dict
    required: true
  app_domain:
    description: Name under which clients reach the application.
    type: str
"""

EXAMPLES = """
- name: Issue what is missing
  graphic_school.scaling.internal_ca:
    directory: "{{ fleet_secrets_dir }}/pki"
    certificates: "{{ fleet | graphic_school.scaling.fleet_certificates(app_domain) }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = """
_value:
  description: The certificates, each with C(name), C(dns) and C(ip).
  type: list
  elements: dict
  sample:
    - {name: lb1, dns: [lb1, localhost, school.example.com], ip: [192.0.2.11, 192.0.2.10, 127.0.0.1]}
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..module_utils.fleet import certificates


def fleet_certificates(fleet: Mapping[str, Any], app_domain: str | None = None) -> list[dict[str, Any]]:
    """See ``certificates``."""
    return certificates(fleet, app_domain)


class FilterModule:
    """The filter ``graphic_school.scaling.fleet_certificates``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_certificates": fleet_certificates}
