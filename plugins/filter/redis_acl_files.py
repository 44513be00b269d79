# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: redis_acl_files
short_description: Write the ACL file of each Redis pool
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Turns users into ACL files that hold digests instead of passwords and switch the default user off.
  - The last user of a file is off and named after the file's digest, so that C(ACL USERS) tells what an instance has loaded.
positional: users, app_user
options:
  _input:
    description: The pools, with C(name), C(port) and C(app_commands).
    type: list
    elements: dict
    required: true
  users:
    description: The users, with C(name), C(password) and C(rules).
    type: list
    elements: dict
    required: true
  app_user:
    description: The user whose rules are widened by each pool's C(app_commands).
    type: str
    required: true
"""

EXAMPLES = """
files: "{{ redis_cluster_pools | graphic_school.scaling.redis_acl_files(users, 'app') }}"
"""

RETURN = """
_value:
  description: Rows of files for M(graphic_school.scaling.converge).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.redis_layout import RedisLayoutError, acl_files


def redis_acl_files(
    pools: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, str]], app_user: str
) -> list[dict[str, Any]]:
    """The rows of files; see ``acl_files``."""
    try:
        return acl_files(pools, users, app_user)
    except RedisLayoutError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Edge between Jinja and module_utils/redis_layout.py."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"redis_acl_files": redis_acl_files}
