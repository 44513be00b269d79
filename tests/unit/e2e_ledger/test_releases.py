# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An answer by a deleted release is noticed; one by a release that still lay there, or lies there again, is not."""

from __future__ import annotations

import pytest

from tests.e2e.ledger.figures import Answer
from tests.e2e.ledger.releases import ReleaseLog


def watched() -> ReleaseLog:
    log = ReleaseLog()
    for at, releases in [(0, "old"), (1, "old new"), (2, "old new"), (3, "new"), (4, "new"), (6, "old new"), (7, "old new")]:
        log.saw("app1", at, releases.split())
    log.saw("app2", 3, ["old"])
    return log


@pytest.mark.parametrize(
    ("host", "release", "ended", "deleted"),
    [
        pytest.param("app1", "old", 1.5, False, id="before it was deleted"),
        pytest.param("app1", "old", 2.9, False, id="just before it was seen to be gone"),
        pytest.param("app1", "old", 3.5, True, id="while it was gone"),
        pytest.param("app1", "old", 5.5, False, id="it may have been there again"),
        pytest.param("app1", "old", 6.5, False, id="deployed again"),
        pytest.param("app1", "new", 3.5, False, id="another release"),
        pytest.param("app2", "old", 3.5, False, id="another host"),
        pytest.param("app3", "old", 3.5, False, id="a host that nobody watched"),
        pytest.param("app1", "", 3.5, False, id="no release told"),
    ],
)
def test_by_a_deleted_release(host: str, release: str, ended: float, deleted: bool) -> None:
    answer = Answer("slow", "GET", 0.5, 0.5, ended, server=host, release=release)
    assert bool(watched().by_deleted([answer])) is deleted
