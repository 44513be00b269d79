# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: nginx_directives
short_description: nginx directives from a dictionary
version_added: "0.1.0"
description:
  - Writes nginx's own directives, given as data, one to a line. A list repeats its directive, booleans become C(on) and
    C(off), null leaves a directive out.
  - A value that would end its directive or open a block is refused.
author: graphic_school.scaling contributors (@graphic_school)
positional: _input
options:
  _input:
    description: Directive names and their arguments.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show two directives
  ansible.builtin.debug:
    msg: "{{ {'sendfile': true, 'keepalive_timeout': '65s'} | graphic_school.scaling.nginx_directives }}"
"""

RETURN = r"""
_value:
  description: The directives, one to a line.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.nginx_directives import NginxDirectiveError
from ..module_utils.nginx_directives import nginx_directives as lines


def nginx_directives(options: Mapping[str, Any]) -> str:
    try:
        return "\n".join(lines(options))
    except NginxDirectiveError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_directives": nginx_directives}
