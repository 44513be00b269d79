# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How modules log in to Redis; the argument spec is plugins/module_utils/redis_options.py."""

    DOCUMENTATION = r"""
options:
  user:
    description: ACL user that may manage the instances.
    type: str
    default: default
  passwords:
    description: Its password; while passwords change, also the one before. The first that works is used.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that each wait (for answers, for agreement, for data on replicas) may take.
    type: float
    default: 60
"""
