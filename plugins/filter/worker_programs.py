# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: worker_programs
short_description: Rows of queue workers as supervisor's programs
version_added: "0.1.0"
description:
  - Completes each row, shares the host's processes among the rows that ask for no number of their own, and computes how
    long supervisor has to wait for a running job.
  - Refuses by name what would lose or double a job, such as a timeout that is not below O(retry_after).
author: graphic_school.scaling contributors (@graphic_school)
positional: _input, processes, retry_after
options:
  _input:
    description:
      - The rows. Each has C(name) and C(queues) (most urgent first), and may have C(processes), C(tries), C(timeout),
        C(memory), C(sleep), C(max_jobs), C(max_time) and C(backoff).
    type: list
    elements: dict
    required: true
  processes:
    description: Processes that the rows without C(processes) share.
    type: int
    required: true
  retry_after:
    description: Seconds after which Redis hands a job to another worker.
    type: int
    required: true
  stop_margin:
    description: Seconds that a worker may take to end after its job's timeout.
    type: int
    default: 15
  hash_tags:
    description: Whether queues are stored as C({name}), which Redis Cluster needs.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Show what one row becomes
  ansible.builtin.debug:
    msg: "{{ [{'name': 'main', 'queues': ['payments', 'default']}] | graphic_school.scaling.worker_programs(4, 90) }}"
"""

RETURN = r"""
_value:
  description:
    - For each row C(name), C(queues) as Redis stores them, C(processes), C(options) of C(queue:work), C(timeout) and
      C(stop_seconds).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.worker_programs import WorkerError, programs


def worker_programs(
    rows: Sequence[Mapping[str, Any]],
    processes: int,
    retry_after: int,
    stop_margin: int = 15,
    hash_tags: bool = True,
) -> list[dict[str, Any]]:
    try:
        return [asdict(program) for program in programs(rows, processes, retry_after, stop_margin, hash_tags)]
    except WorkerError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"worker_programs": worker_programs}
