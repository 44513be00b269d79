# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: endpoint_urls
short_description: Write rows of host and port as URLs
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns one URL for each row; IPv6 addresses get their brackets.
positional: scheme
options:
  _input:
    description: Rows of C(host) and C(port), as P(graphic_school.scaling.endpoints#filter) returns them.
    type: list
    elements: dict
    required: true
  scheme:
    description: Scheme of the URLs.
    type: str
    required: true
"""

EXAMPLES = """
# redis://192.0.2.41:6379,redis://192.0.2.42:6379
seeds: "{{ fleet.redis_cluster | graphic_school.scaling.endpoints([6379]) | graphic_school.scaling.endpoint_urls('redis') | join(',') }}"
"""

RETURN = """
_value:
  description: URLs.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..module_utils import laravel


def endpoint_urls(rows: Iterable[Mapping[str, Any]], scheme: str) -> list[str]:
    """Return URLs of a service's listeners."""
    return laravel.endpoint_urls(rows, scheme)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"endpoint_urls": endpoint_urls}
