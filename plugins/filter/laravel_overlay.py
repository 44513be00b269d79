# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: laravel_overlay
short_description: Say what a fleet lays over a Laravel application's configuration
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Returns the values that give a stock Laravel configuration reads and writes on separate MySQL connections, Redis Cluster for
    sessions, queues and cache, and compiled views of its own for each release.
  - The role P(graphic_school.scaling.app_release#role) lays them over the application's configuration when it builds the cache of that.
options:
  _input:
    description: Settings of the fleet.
    type: dict
    required: true
    suboptions:
      server: {description: Name of the host., type: str, required: true}
      database: {description: "Rows C(write) and C(read) of host and port, and the name of the C(connection).", type: dict, required: true}
      redis:
        description:
          - Lists C(durable) and C(cache) of rows of host and port; C(username) and C(password).
          - Empty lists leave Redis as the application has it.
        type: dict
        required: true
      queue_retry_seconds: {description: Seconds after which an unfinished job is given to another worker., type: int, required: true}
      extra: {description: Further values by dotted key., type: dict}
"""

EXAMPLES = """
overlay: "{{ settings | graphic_school.scaling.laravel_overlay }}"
"""

RETURN = """
_value:
  description: C(remove), dotted keys that go first; C(set), values by dotted key; C(release_paths), paths in the release by dotted key.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils import laravel


def laravel_overlay(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is laid over the application's configuration."""
    try:
        return laravel.overlay(settings)
    except laravel.LaravelError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"laravel_overlay": laravel_overlay}
