# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: mysql_settings
short_description: Lay given MySQL settings over computed ones
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Merges two dictionaries of C(my.cnf) options whether they write dashes or underscores, C(loose_) or not.
  - V(null) takes an option out, a list repeats it, a boolean becomes V(ON) or V(OFF).
positional: given
options:
  _input:
    description: Computed settings.
    type: dict
    required: true
  given:
    description: Settings that win.
    type: dict
    required: true
"""

EXAMPLES = """
settings: "{{ {'max_connections': 200} | graphic_school.scaling.mysql_settings({'max-connections': 500}) }}"
# {'max_connections': 500}
"""

RETURN = """
_value:
  description: Options as my.cnf writes them.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.mysql_settings import SettingError, merged_settings


def mysql_settings(computed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The merged settings; see ``merged_settings``."""
    try:
        return merged_settings(computed, given)
    except SettingError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter ``graphic_school.scaling.mysql_settings``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"mysql_settings": mysql_settings}
