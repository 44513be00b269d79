# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: dotenv
short_description: Write settings as the text of a .env file
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Writes one line for each setting, quoted and escaped where Laravel's reader (vlucas/phpdotenv) needs it.
  - Refuses by name what such a file can't hold.
options:
  _input:
    description: Names and values; a value is text, a number, a boolean or V(null).
    type: dict
    required: true
"""

EXAMPLES = """
env_text: "{{ {'APP_DEBUG': false, 'DB_PASSWORD': 'a$b c'} | graphic_school.scaling.dotenv }}"
# APP_DEBUG=false
# DB_PASSWORD="a\\$b c"
"""

RETURN = """
_value:
  description: The text of the file.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils import laravel


def dotenv(settings: Mapping[str, Any]) -> str:
    """Return the text of a .env file."""
    try:
        return laravel.dotenv(settings)
    except laravel.LaravelError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"dotenv": dotenv}
