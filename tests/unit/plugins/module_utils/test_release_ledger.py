# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet remembers of releases decides what is deployed, kept, and gone back to."""

from __future__ import annotations

import pytest

from plugins.module_utils.release import ReleaseError
from plugins.module_utils.release_ledger import (
    Choice,
    Seen,
    Verdict,
    check_serial,
    choose,
    merged,
    parse,
    rollback_target,
    text,
)

GOOD1, GOOD2, GOOD3 = (Verdict("verified", f"2026-01-0{day}T00:00:00Z") for day in (1, 2, 3))
FAILED = Verdict("failed", "2026-01-04T00:00:00Z", "/api/health answered 503")
WITHDRAWN = Verdict("withdrawn", "2026-01-04T00:00:00Z", "rolled back to r2")


def seen(current: str, **verdicts: Verdict) -> Seen:
    return Seen(current, ("r1", "r2", "r3"), verdicts)


def test_what_was_written_can_be_read() -> None:
    verdicts = {"r1": GOOD1, "r2": FAILED}
    assert parse(text(verdicts)) == verdicts


@pytest.mark.parametrize("content", ["", "{", "[]", '{"r1": 1}', '{"r1": {"state": "odd"}}'])
def test_a_file_that_says_nothing_is_no_obstacle(content: str) -> None:
    assert parse(content) == {}


def test_the_later_verdict_holds() -> None:
    later = Verdict("verified", "2026-01-05T00:00:00Z")
    assert merged([seen("r1", r2=FAILED), seen("r1", r2=later)])["r2"] == later
    same = Verdict("verified", FAILED.at)
    assert merged([seen("r1", r2=same), seen("r1", r2=FAILED)])["r2"] == FAILED


@pytest.mark.parametrize(
    ("state", "policy", "release"),
    [
        pytest.param(seen("r1", r1=GOOD1), "refuse", "r3", id="an unknown release is taken"),
        pytest.param(seen("r1", r3=GOOD3), "stay", "r3", id="a good one too"),
        pytest.param(seen("r1", r3=FAILED), "take", "r3", id="a bad one when told to"),
        pytest.param(seen("r2", r2=GOOD2, r3=FAILED), "stay", "r2", id="site.yml stays where a failed release isn't"),
        pytest.param(seen("r2", r2=GOOD2, r3=WITHDRAWN), "stay", "r2", id="site.yml undoes no rollback"),
        pytest.param(seen("r3", r1=GOOD1, r2=GOOD2, r3=FAILED), "stay", "r2", id="a host left on a bad one goes to the last good one"),
        pytest.param(seen("r2", r3=FAILED), "stay", "r2", id="what is in service needs no verdict to stay"),
    ],
)
def test_the_release_of_a_run(state: Seen, policy: str, release: str) -> None:
    assert choose("r3", state, policy).release == release


def test_a_run_that_stays_says_why() -> None:
    assert choose("r3", seen("r2", r3=FAILED), "stay") == Choice("r2", f"release r3 failed on {FAILED.at}: /api/health answered 503")


@pytest.mark.parametrize(
    ("state", "policy", "message"),
    [
        (seen("r2", r3=FAILED), "refuse", "release r3 failed on .*answered 503; change app_source, or insist"),
        (seen("r2", r3=WITHDRAWN), "refuse", "release r3 was withdrawn on .*: rolled back to r2"),
        (seen("", r3=FAILED), "stay", "no other release is known to be good"),
    ],
)
def test_a_bad_release_is_refused_by_name(state: Seen, policy: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        choose("r3", state, policy)


@pytest.mark.parametrize(
    ("named", "hosts", "target"),
    [
        pytest.param("", [seen("r3", r1=GOOD1, r2=GOOD2, r3=GOOD3)] * 2, "r2", id="the last good one before"),
        pytest.param("", [seen("r3", r1=GOOD1, r2=FAILED, r3=GOOD3)], "r1", id="never one that failed"),
        pytest.param("", [seen("r2", r2=GOOD2, r3=WITHDRAWN), seen("r3", r2=GOOD2)], "r2", id="an interrupted rollback goes on"),
        pytest.param("", [seen("r3", r1=GOOD1, r2=GOOD2, r3=WITHDRAWN)], "r2", id="also one that had only begun"),
        pytest.param("", [seen("r2", r1=GOOD1, r2=GOOD2, r3=WITHDRAWN)], "r1", id="a second rollback goes further back"),
        pytest.param("r1", [seen("r3", r1=GOOD1, r2=GOOD2)], "r1", id="the one that was named"),
        pytest.param("r3", [seen("r2", r2=GOOD2, r3=WITHDRAWN)], "r3", id="one that was withdrawn, when named"),
    ],
)
def test_where_a_rollback_goes(named: str, hosts: list[Seen], target: str) -> None:
    assert rollback_target(named, {f"app{number}": host for number, host in enumerate(hosts)}) == target


@pytest.mark.parametrize(
    ("named", "hosts", "message"),
    [
        ("r3", {"app1": seen("r2", r3=FAILED)}, "release r3 failed on .* a rollback never goes there"),
        ("r9", {"app1": seen("r2")}, "release r9 is not on app1; all hosts have: r1, r2, r3"),
        ("r1", {"app1": seen("r2")}, "release r1 was never in service"),
        ("", {"app1": seen("r2", r2=GOOD2, r3=FAILED)}, r"no earlier release that is known to be good .*\(r2 verified, r3 failed\)"),
        ("", {}, "no host could be asked"),
    ],
)
def test_a_rollback_that_leads_nowhere_is_refused(named: str, hosts: dict[str, Seen], message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        rollback_target(named, hosts)


@pytest.mark.parametrize(
    ("serial", "serving", "drain"),
    [
        ("1", ["app1", "app2"], True),
        ("1", ["app1"], False),
        ("50%", ["a", "b", "c", "d"], True),
        ("10%", ["a", "b"], True),
        ("2", [], False),
    ],
)
def test_a_batch_leaves_traffic_when_others_stay(serial: str, serving: list[str], drain: bool) -> None:
    assert check_serial(serial, serving) is drain


@pytest.mark.parametrize(
    ("serial", "message"),
    [("2", "deploy_serial 2 would take all that serve out at once"), ("100%", "set it to 1 or less"), ("0", "not: 0"), ("x", "not: x")],
)
def test_a_batch_that_takes_everything_is_refused(serial: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        check_serial(serial, ["app1", "app2"])
