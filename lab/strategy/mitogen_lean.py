"""mitogen_linear without two things that cost more than all the rest on a small control node.

Mitogen ties each of its processes to one processor: on a machine with two, all workers share a single one. And each worker that
calls a module of a collection lists all installed collections anew, which costs more than the call.
"""

from __future__ import annotations

from typing import Any

import ansible_mitogen.affinity
import ansible_mitogen.loaders
import ansible_mitogen.planner
import ansible_mitogen.strategy
from ansible.collections.list import list_collection_dirs

COLLECTIONS = [path.decode() for path in list_collection_dirs()]


def load_collections(invocation: Any) -> None:
    """As mitogen's own, with the list that was made before the workers were forked."""
    invocation._extra_sys_paths.update(COLLECTIONS)


ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()
ansible_mitogen.planner._load_collections = load_collections

Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)


class StrategyModule(ansible_mitogen.strategy.StrategyMixin, Linear):  # type: ignore[misc,valid-type]
    pass
