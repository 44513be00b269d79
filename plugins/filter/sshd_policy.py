# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: sshd_policy
short_description: SSH settings that never lock out the connection in use
version_added: "0.1.0"
description:
  - From how a host is reached now, and what is wished, the strictest settings that leave that way open.
author: graphic_school.scaling contributors (@graphic_school)
positional: _input
options:
  _input:
    description: The fact C(ssh_access) of M(graphic_school.scaling.host_facts); empty when it is not known.
    type: dict
    required: true
  admin_user:
    description: Name of the admin user; empty for none.
    type: str
    default: ""
  admin_keys:
    description: Public keys of the admin user.
    type: list
    elements: str
    default: []
  password_authentication:
    description: Whether passwords shall be accepted.
    type: bool
    default: false
  root_login:
    description: What sshd's C(PermitRootLogin) shall be.
    type: str
    default: prohibit-password
  by_password:
    description: Whether Ansible itself connects with a password.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show which doors stay open
  ansible.builtin.debug:
    msg: "{{ {'user': 'root', 'user_keys': 0, 'root_keys': 0} | graphic_school.scaling.sshd_policy }}"
"""

RETURN = r"""
_value:
  description:
    - C(password_authentication) and C(permit_root_login) are values for sshd, or null to leave what the host has;
      C(admin_keys_files) are the files sshd reads for the admin user; C(why) has a sentence for each wish not met.
  type: dict
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.sshd_policy import Access, SshdPolicyError
from ..module_utils.sshd_policy import sshd_policy as decide


def sshd_policy(
    ssh_access: Mapping[str, Any],
    *,
    admin_user: str = "",
    admin_keys: list[str] | None = None,
    password_authentication: bool = False,
    root_login: str = "prohibit-password",
    by_password: bool = False,
) -> dict[str, Any]:
    values: dict[str, Any] = dict(ssh_access)
    if "keys_files" in values:
        values["keys_files"] = tuple(values["keys_files"])
    try:
        policy = decide(
            Access(**values, by_password=by_password),
            admin_user=admin_user,
            admin_keys=admin_keys or [],
            password_authentication=password_authentication,
            root_login=root_login,
        )
    except SshdPolicyError as error:
        raise AnsibleFilterError(str(error)) from error
    return asdict(policy)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"sshd_policy": sshd_policy}
