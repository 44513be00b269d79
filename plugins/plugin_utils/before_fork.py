# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run loads once, before it forks a worker for each task of each host."""

from __future__ import annotations

from ansible.plugins.loader import filter_loader
from ansible.utils.display import Display

# Whichever filter is asked for: Ansible looks through all of the collection's.
FILTER = "graphic_school.scaling.fleet"


def load_filters() -> None:
    """Load all filters of the collection into this process.

    Ansible compiles a collection's plug-ins from their source in each process that uses one, and a worker lives for one
    task: without this a third of all CPU time of a run is the loading of filters. For the top of an action plug-in, which
    the process that forks the workers loads.
    """
    if not __name__.startswith("ansible_collections."):
        return  # imported as a file, as a test does: Ansible does not know yet where collections are
    try:
        filter_loader.get(FILTER)
    except Exception as error:
        # Who uses a filter is told what is wrong with it.
        Display().vvv(f"filters are not loaded before the first task: {error}")
