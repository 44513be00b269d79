# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: pass_on
short_description: The rules by which a balancer passes on what belongs to one that gave the shared address away
version_added: "0.2.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns nft's input. While a peer says that it gives the address away, packets of connections that this host doesn't know go to it.
options:
  _input:
    description:
      - How one balancer sees the shared address, with C(address), C(own) and C(peers) (addresses that each has for itself), C(interface),
        C(ports) of clients, C(port) on which peers are heard, and C(seconds) that connections may last.
    type: dict
    required: true
"""

EXAMPLES = """
rules: "{{ {'address': '192.0.2.10', 'own': '192.0.2.11', 'peers': ['192.0.2.12'], 'interface': 'eth0', 'ports': [80, 443],
            'port': 8112, 'seconds': 600} | graphic_school.scaling.pass_on }}"
"""

RETURN = """
_value:
  description: Text for C(nft -f).
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.handover import shared_from
from ..module_utils.pass_on import pass_on_rules


def pass_on(settings: Mapping[str, Any]) -> str:
    try:
        return pass_on_rules(shared_from(settings))
    except KeyError as error:
        raise AnsibleFilterError(f"the shared address lacks its {error.args[0]}") from error
    except ValueError as error:
        raise AnsibleFilterError(f"the shared address: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"pass_on": pass_on}
