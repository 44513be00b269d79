# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A former primary that starts takes writes only while a majority still replicates from it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.support.scripts import script

guard = script("roles/mysql/templates/usr/local/lib/graphic_school/mysql_guard.py")
OWN, B, C, D = "192.0.2.31", "192.0.2.32", "192.0.2.33", "192.0.2.34"
FOLLOWS = {"state": "alive", "writable": False, "source": OWN}
FOLLOWS_ANOTHER = {"state": "alive", "writable": False, "source": C}
PRIMARY = {"state": "alive", "writable": True, "source": None}
DEAD = {"state": "dead"}
WRITABLE = {
    "Version": 2,
    "mysql_dynamic_variables": {
        "read_only": {"Value": "OFF", "Metadata": {"User": "root"}},
        "super_read_only": {"Value": "OFF", "Metadata": {"User": "root"}},
        "rpl_semi_sync_source_enabled": {"Value": "ON", "Metadata": {"User": "root"}},
    },
}


@pytest.mark.parametrize(
    ("peers", "primary"),
    [
        pytest.param({}, True, id="a server alone"),
        pytest.param({B: FOLLOWS, C: FOLLOWS}, True, id="all replicate from it"),
        pytest.param({B: FOLLOWS, C: None}, True, id="one of two replicates from it, the other is away"),
        pytest.param({B: FOLLOWS, C: DEAD}, True, id="one of two replicates from it, the other's server is down"),
        pytest.param({B: FOLLOWS, C: PRIMARY}, False, id="another takes writes"),
        pytest.param({B: FOLLOWS_ANOTHER, C: None}, False, id="one replicates from another, which is away"),
        pytest.param({B: None, C: None}, None, id="nobody answers"),
        pytest.param({B: DEAD, C: DEAD}, None, id="all start at the same time"),
        pytest.param({B: None}, None, id="two servers, the other is away"),
        pytest.param({B: FOLLOWS, C: None, D: None}, None, id="two of four are no majority"),
    ],
)
def test_a_majority_decides(peers: dict[str, Any], primary: bool | None) -> None:
    assert guard.verdict(OWN, peers)[0] is primary


def test_it_forgets_that_it_takes_writes_and_nothing_else() -> None:
    assert guard.was_primary(WRITABLE)
    left = guard.forgotten(WRITABLE)
    assert not guard.was_primary(left)
    assert list(left["mysql_dynamic_variables"]) == ["rpl_semi_sync_source_enabled"]


def test_a_replica_is_not_asked_about() -> None:
    assert not guard.was_primary({"Version": 2, "mysql_dynamic_variables": {"read_only": {"Value": "ON"}}})
