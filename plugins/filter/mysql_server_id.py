# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: mysql_server_id
short_description: A MySQL server's number, from its address
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - An IPv4 address is such a number already; any other address is hashed. The number stays as long as the address does.
options:
  _input:
    description: The server's address.
    type: str
    required: true
"""

EXAMPLES = """
server_id: "{{ '192.0.2.31' | graphic_school.scaling.mysql_server_id }}"
# 3221226015
"""

RETURN = """
_value:
  description: A number between 1 and 4294967295.
  type: int
"""

from collections.abc import Callable
from typing import Any

from ..module_utils.mysql_settings import server_id


class FilterModule:
    """The filter ``graphic_school.scaling.mysql_server_id``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mysql_server_id": server_id}
