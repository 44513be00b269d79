# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health service sends writes to the primary that is, reads to replicas that keep up, and nobody to a server that hangs."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.support.scripts import script

health = script("roles/mysql/templates/usr/local/lib/graphic_school/mysql_health.py")
PRIMARY = health.Look(uuid="u1", writable=True, confirmed=True)
REPLICA = health.Look(
    uuid="u2", writable=False, confirmed=True, source="192.0.2.31", source_uuid="u1", replicating=True, lag=0.0
)
LATE = health.Look(uuid="u2", writable=False, confirmed=True, source="192.0.2.31", replicating=True, lag=7.5)
CUT_OFF = health.Look(uuid="u2", writable=False, confirmed=True, source="192.0.2.31", replicating=False, lag=None)
ROW = {
    "uuid": "u2", "read_only": 1, "semi_sync": 0, "clients": "0", "acknowledged": "0", "needed": 1, "source": "192.0.2.31",
    "source_uuid": "u1", "receiver": "ON", "applier": "ON", "all_applied": 1, "applying_age": None, "queued_age": 9_000_000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("all_applied", "applying", "queued", "lag"),
    [
        pytest.param(True, None, None, 0.0, id="nothing ever came"),
        pytest.param(True, None, 90_000_000, 0.0, id="idle: the last write is long ago, and applied"),
        pytest.param(False, 4_000_000, 1_000_000, 4.0, id="as far behind as the oldest that is being applied"),
        pytest.param(False, None, 2_500_000, 2.5, id="between two: at least as the one queued last"),
        pytest.param(False, None, None, 0.0, id="received a moment ago, not yet queued"),
        pytest.param(False, -200_000, None, 0.0, id="a primary whose clock is ahead"),
    ],
)
def test_lag_is_the_age_of_what_is_not_applied(
    all_applied: bool, applying: int | None, queued: int | None, lag: float
) -> None:
    assert health.lag_seconds(all_applied, applying, queued) == lag


@pytest.mark.parametrize(
    ("path", "look", "status"),
    [
        pytest.param("/primary", PRIMARY, 200, id="the primary takes writes"),
        pytest.param("/primary", REPLICA, 503, id="a replica takes none"),
        pytest.param("/primary", None, 503, id="a dead server takes none"),
        pytest.param(
            "/primary",
            health.Look(uuid="u1", writable=True, confirmed=False),
            503,
            id="a primary that nobody follows takes none",
        ),
        pytest.param("/replica?max_lag=5", REPLICA, 200, id="a replica that keeps up takes reads"),
        pytest.param("/replica?max_lag=5", LATE, 404, id="one that lags takes no new ones"),
        pytest.param("/replica?max_lag=10", LATE, 200, id="how late is late is the caller's to say"),
        pytest.param("/replica?max_lag=5", CUT_OFF, 404, id="one without its source takes no new ones"),
        pytest.param("/replica?max_lag=5", PRIMARY, 404, id="the primary is no replica"),
        pytest.param("/replica?max_lag=5", None, 503, id="a dead one loses those it has"),
        pytest.param("/replica?max_lag=x", REPLICA, 503, id="a limit that is no number"),
        pytest.param("/alive", CUT_OFF, 200, id="anything that answers is alive"),
        pytest.param("/alive", None, 503, id="the dead are not"),
        pytest.param("/", PRIMARY, 503, id="no other path answers"),
    ],
)
def test_requests_are_answered_by_what_the_server_is(path: str, look: Any, status: int) -> None:
    url = health.urlsplit(path)
    code, body = health.answer(url.path, health.parse_qs(url.query), look)
    assert code == status
    assert body["state"]


@pytest.mark.parametrize(
    ("semi_sync", "clients", "acknowledged", "confirmed"),
    [
        pytest.param(False, 0, 0, True, id="a server without replicas needs none"),
        pytest.param(True, 2, 0, True, id="replicas are attached"),
        pytest.param(True, 0, 12, True, id="replicas acknowledged since it started"),
        pytest.param(True, 0, 0, False, id="back from the dead: nobody follows"),
    ],
)
def test_a_primary_is_one_that_is_followed(semi_sync: bool, clients: int, acknowledged: int, confirmed: bool) -> None:
    assert health.confirmed(semi_sync, clients, 1, acknowledged) is confirmed


def test_a_row_becomes_a_look() -> None:
    assert health.look_from(ROW) == REPLICA
    assert health.look_from({**ROW, "source": None, "receiver": None, "applier": None, "read_only": 0}).writable


def test_a_server_that_hangs_is_dead_once_its_last_answer_is_a_second_old() -> None:
    watcher = health.Watcher("/nowhere", handover="/nowhere")
    watcher.last = PRIMARY
    for _turn in range(health.STALE_TICKS):
        watcher.tick()
    assert watcher.look() == PRIMARY
    watcher.tick()
    assert watcher.look() is None


@pytest.mark.parametrize(
    ("receiver", "applier", "silent", "lag"),
    [
        pytest.param("ON", "ON", 0.0, 0.0, id="connected"),
        pytest.param("CONNECTING", "ON", 1.5, 1.5, id="its source restarts: as far behind as it last heard it"),
        pytest.param("CONNECTING", "ON", None, None, id="it never heard its source"),
        pytest.param("OFF", "ON", 1.5, None, id="the receiver was stopped"),
        pytest.param("ON", "OFF", 0.0, None, id="the applier stopped"),
    ],
)
def test_a_replica_without_its_source_ages(
    receiver: str, applier: str, silent: float | None, lag: float | None
) -> None:
    assert health.look_from({**ROW, "receiver": receiver, "applier": applier}, silent).lag == lag


def test_a_primary_that_hands_over_takes_nothing_new_and_keeps_what_it_has() -> None:
    assert health.answer("/primary", {}, PRIMARY, handing_over=True)[0] == 404
    assert health.answer("/primary", {}, REPLICA, handing_over=True)[0] == 503


def test_who_has_not_heard_of_a_handover_is_told_apart() -> None:
    watcher = health.Watcher("/nowhere", "/nowhere/handover")
    watcher.told("192.0.2.21", "handing over")
    watcher.told("192.0.2.22", "primary")
    assert watcher.not_told() == ["192.0.2.22"]


def test_a_handover_that_nobody_carries_on_is_over(tmp_path: Path) -> None:
    file = tmp_path / "handover"
    watcher = health.Watcher("/nowhere", str(file))
    assert not watcher.watch_handover()
    file.touch()
    assert watcher.watch_handover()
    os.utime(file, (1, 1))
    assert not watcher.watch_handover()


def test_who_watches_hears_of_a_change_at_once(tmp_path: Path) -> None:
    file = tmp_path / "handover"
    watcher = health.Watcher("/nowhere", str(file))
    watcher.last = PRIMARY
    watcher.watch_handover()
    waiting = threading.Thread(target=watcher.wait_for_other_than, args=("primary", 10))
    waiting.start()
    file.touch()
    watcher.watch_handover()
    waiting.join(2)
    assert not waiting.is_alive()


# -- for Prometheus ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gtid_set", "count"),
    [
        pytest.param("", 0, id="nothing"),
        pytest.param("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", 5, id="one interval"),
        pytest.param("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:10-11", 8, id="with gaps"),
        pytest.param("11111111-71ca-11e1-9e33-c80aa9429562:1-3,\n22222222-71ca-11e1-9e33-c80aa9429562:1", 4, id="of two servers"),
        pytest.param("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:tag:1-3", 8, id="with a tag"),
    ],
)
def test_the_transactions_of_a_set_are_counted(gtid_set: str, count: int) -> None:
    assert health.transactions_in(gtid_set) == count


def test_a_replica_tells_how_far_it_is() -> None:
    look = health.look_from(ROW | {"executed": "u1:1-100", "backlog": "u1:101-107", "all_applied": 0, "queued_age": 2_500_000})
    told = health.metrics(look).splitlines()
    assert "mysql_health_lag_seconds 2.5" in told
    assert "mysql_health_backlog_transactions 7" in told
    assert 'mysql_health_executed_transactions{uuid="u2",source_uuid="u1"} 100' in told
    assert "mysql_health_writable 0" in told


def test_what_nobody_can_tell_is_not_told() -> None:
    assert "mysql_health_lag_seconds" not in health.metrics(CUT_OFF)
    assert "mysql_health_lag_seconds" not in health.metrics(PRIMARY)
    assert health.metrics(None).splitlines()[-1] == "mysql_health_up 0"
