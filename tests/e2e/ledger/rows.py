# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make e2e VERB=<name>` knows: one row for each verb and each fault. A new one is a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.e2e.ledger.schedule import MIX, ROWS_MIX
from tests.e2e.ledger.steps import (
    Step,
    a_mysql_replica,
    a_redis_primary,
    a_worker,
    an_app_server,
    cut_off,
    everything_started,
    hanging,
    holder_of_the_vip,
    killed,
    killed_for_good,
    play,
    rebooted,
    the_mysql_primary,
    the_store,
    wait,
)
from tests.e2e.ledger.verdict import Rules


@dataclass(frozen=True)
class Row:
    """What is done while the load goes on, one step after another, and what that may cost."""

    about: str
    steps: tuple[Step, ...]
    rules: Rules = field(default_factory=Rules)
    mix: Mapping[str, float] = field(default_factory=lambda: MIX)


VERBS: Mapping[str, Row] = {
    "none": Row("nothing happens: the fleet alone, and the ledger itself", (wait(),)),
    "site": Row("the whole playbook again", (play("site"),)),
    "deploy": Row("the release of this checkout", (play("deploy"),)),
    "rollback": Row("back to the last good release", (play("rollback"),)),
    "drain": Row(
        "an app server out of traffic, and in again",
        (play("drain", "-e", "fleet_host=app2"), wait(5), play("undrain", "-e", "fleet_host=app2")),
    ),
    "switchover": Row(
        "another server becomes MySQL's primary",
        (play("switchover"),),
        Rules(row_gap_seconds=1.5),
        ROWS_MIX,
    ),
    "failover": Row(
        "MySQL's primary loses its power, and the verb puts another in its place",
        (killed_for_good(the_mysql_primary), play("failover"), everything_started()),
        Rules(failed=None, unsafe=None, gap_seconds=10, row_gap_seconds=30),
        ROWS_MIX,
    ),
    "scale": Row(
        "two app servers more, and two less",
        (
            play("scale", "-e", "fleet_tier=app_servers", "-e", "fleet_count=4"),
            wait(10),
            play("scale", "-e", "fleet_tier=app_servers", "-e", "fleet_count=2"),
        ),
    ),
    "redis_scale": Row(
        "one Redis host more, and one less",
        (
            play("scale", "-e", "fleet_tier=redis_cluster", "-e", "fleet_count=4"),
            wait(10),
            play("scale", "-e", "fleet_tier=redis_cluster", "-e", "fleet_count=3"),
        ),
    ),
    "resize": Row(
        "app servers get another size (give it with ARGS)",
        (play("resize", "-e", "fleet_tier=app_servers"),),
    ),
}

# A POST that was with the dead machine can't be repeated by anyone but its client: those are shown, not forbidden.
FAULTS: Mapping[str, Row] = {
    "kill-app-server": Row(
        "an app server loses its power", (killed(an_app_server),), Rules(failed=0, unsafe=None)
    ),
    "kill-balancer": Row(
        "the balancer with the VIP loses its power", (killed(holder_of_the_vip),), Rules(failed=None, unsafe=None)
    ),
    "kill-redis": Row(
        "a host with a Redis primary loses its power",
        (killed(a_redis_primary),),
        Rules(failed=None, unsafe=None, gap_seconds=4),
    ),
    "kill-replica": Row("a MySQL replica loses its power", (killed(a_mysql_replica),)),
    "kill-worker": Row("a worker loses its power in the middle of jobs", (killed(a_worker),)),
    "kill-store": Row(
        "the S3 store loses its power: pictures fail, nothing else does", (killed(the_store),), Rules(failed=None)
    ),
    "pause-app-server": Row(
        "an app server stands still", (hanging(an_app_server),), Rules(failed=None, unsafe=None)
    ),
    "reboot-app-server": Row("an app server reboots by itself", (rebooted(an_app_server),), Rules(unsafe=None)),
    "reboot-replica": Row("a MySQL replica reboots by itself", (rebooted(a_mysql_replica),)),
    "partition": Row(
        "the app servers lose the MySQL primary from sight, and nobody else does",
        (cut_off(the_mysql_primary, "app_servers"),),
        Rules(failed=None, unsafe=None, gap_seconds=4),
        ROWS_MIX,
    ),
}

ROWS: Mapping[str, Row] = {**VERBS, **FAULTS}
