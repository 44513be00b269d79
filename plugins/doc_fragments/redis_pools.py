# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that work on Redis Clusters; the argument spec is plugins/module_utils/redis_options.py."""

    DOCUMENTATION = r"""
options:
  pools:
    description: The clusters, as the filter P(graphic_school.scaling.redis_layout#filter) lays them out.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the pool in messages., type: str, required: true}
      replicas: {description: How many replicas each primary has at least., type: int, default: 1}
      leaving:
        description:
          - Hosts that are on their way out, or wait to come in. They get nothing new and are never joined.
          - M(graphic_school.scaling.redis_scale) empties them; M(graphic_school.scaling.redis_cluster) leaves what they have as it is.
        type: list
        elements: str
        default: []
      instances:
        description: All instances of the pool, those on leaving hosts too.
        type: list
        elements: dict
        required: true
        suboptions:
          host: {description: The host it runs on; replicas avoid their primary's host., type: str, required: true}
          address: {description: Where it listens., type: str, required: true}
          port: {description: Its port., type: int, required: true}
"""
