# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make e2e VERB=<name>` knows: one row for each verb and each fault. A new one is a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.e2e.ledger.autoscale import servers_follow_the_load, workers_follow_the_queue
from tests.e2e.ledger.autoscale_kills import parts_die
from tests.e2e.ledger.schedule import LONG_MIX, MIX, ROWS_MIX
from tests.e2e.ledger.steps import (
    Step,
    a_mysql_replica,
    a_redis_primary,
    a_worker,
    an_app_server,
    another_release,
    cut_off,
    everything_started,
    full_disk,
    hanging,
    holder_of_the_vip,
    killed,
    lost,
    play,
    play_at,
    rebooted,
    small_disk,
    taker_killed,
    the_mysql_primary,
    the_store,
    usual_disk,
    wait,
    whole,
)
from tests.e2e.ledger.verdict import Rules


@dataclass(frozen=True)
class Row:
    """What is done while the load goes on, one step after another, and what that may cost."""

    about: str
    steps: tuple[Step, ...]
    rules: Rules = field(default_factory=Rules)
    mix: Mapping[str, float] = field(default_factory=lambda: MIX)
    # Once, after all rounds, also when one went wrong: the fleet ends as it began.
    closing: tuple[Step, ...] = ()


SIZES = "tests/e2e/ledger/sizes"
# As providers of machines do it, and containers need not.
STOPPING = '{"fleet_provider_options": {"directory": "{{ inventory_dir }}/../..", "resize_stops": true}}'


def scaled(tier: str, *counts: int) -> tuple[Step, ...]:
    """A tier gets these numbers of hosts, one after another; the last is the number that the lab's inventory has."""
    steps = [play("scale", "-e", f"fleet_tier={tier}", "-e", f"fleet_count={count}") for count in counts]
    return (steps[0], *(step for after in steps[1:] for step in (wait(10), after)))


def resized(tier: str, *options: str) -> tuple[Step, ...]:
    """Another size for a tier, and the one that the lab's inventory says: the fleet ends as it began."""
    chosen = ("-e", f"fleet_tier={tier}", *options)
    return play("resize", "-i", f"{SIZES}/{tier}.yml", *chosen), wait(5), play("resize", *chosen)


def failed_over(how: str, about: str) -> Row:
    """The primary is lost, the verb puts another in its place; the machine comes back, and the verb makes it a replica."""
    return Row(
        f"{about}, and the verb puts another in its place",
        (lost(the_mysql_primary, how), play("failover"), everything_started(), play("failover"), whole()),
        Rules(failed=None, unsafe=None, gap_seconds=10, row_gap_seconds=30, row_after_command_seconds=5, two_primaries=0),
        ROWS_MIX,
    )


VERBS: Mapping[str, Row] = {
    "none": Row("nothing happens: the fleet alone, and the ledger itself", (wait(),)),
    "site": Row("the whole playbook again", (play("site"),)),
    "deploy": Row("a release nobody has seen yet", (another_release(),), closing=(play("deploy", "-e", "deploy_force=true"),)),
    "rollback": Row(
        "a new release, and back to the one before",
        (another_release(), play("rollback")),
        closing=(play("deploy", "-e", "deploy_force=true"),),
    ),
    "drain": Row(
        "an app server out of traffic, and in again",
        (play("drain", "-e", "fleet_host=app2"), wait(5), play("undrain", "-e", "fleet_host=app2")),
    ),
    "drain-balancer": Row(
        "the balancer with the VIP out of traffic, and in again",
        (play_at(holder_of_the_vip, "drain", "undrain"),),
        mix=LONG_MIX,
    ),
    "drain-balancer-of-three": Row(
        "one balancer more; the one with the VIP out of traffic, and in again; one less",
        (
            play("scale", "-e", "fleet_tier=load_balancers", "-e", "fleet_count=3"),
            wait(5),
            play_at(holder_of_the_vip, "drain", "undrain"),
            play("scale", "-e", "fleet_tier=load_balancers", "-e", "fleet_count=2"),
        ),
        mix=LONG_MIX,
    ),
    "switchover": Row(
        "another server becomes MySQL's primary",
        (play("switchover"),),
        Rules(row_gap_seconds=1.5, two_primaries=0),
        ROWS_MIX,
    ),
    "failover": failed_over("kill", "MySQL's primary loses its power"),
    "failover-paused": failed_over("pause", "MySQL's primary stands still"),
    "failover-cut-off": failed_over("cut off", "MySQL's primary goes on, but nobody reaches it"),
    "scale": Row("two app servers more, and two less", scaled("app_servers", 4, 2)),
    "scale-workers": Row("one worker host more, and one less", scaled("queue_workers", 2, 1)),
    "scale-balancers": Row("one balancer more, and one less", scaled("load_balancers", 3, 2)),
    "scale-replicas": Row(
        "one MySQL replica more, a copy of the others, and one less",
        scaled("mysql", 4, 3),
        Rules(row_gap_seconds=1.5, two_primaries=0),
        ROWS_MIX,
    ),
    "autoscale": Row(
        "more requests than two app servers can serve: the autoscaler adds some, and takes them back", (servers_follow_the_load(),)
    ),
    "autoscale-queue": Row(
        "thousands of jobs: the autoscaler adds worker processes, then hosts, and takes them back", (workers_follow_the_queue(),)
    ),
    "autoscale-kills": Row(
        "who watches and who scales lose their power: the fleet serves, and the loop goes on where it was",
        (parts_die(),),
        closing=(play("scale", "-e", "fleet_tier=app_servers", "-e", "fleet_count=2"), whole()),
    ),
    "redis_scale": Row("one Redis host more, and one less", scaled("redis_cluster", 4, 3)),
    "redis_scale-alone": Row(
        "one Redis host more; the pools leave it by redis_scale.yml alone; one less",
        (
            play("scale", "-e", "fleet_tier=redis_cluster", "-e", "fleet_count=4"),
            wait(5),
            play("redis_scale", "-e", "redis_scale_out=redis4"),
            wait(5),
            play("scale", "-e", "fleet_tier=redis_cluster", "-e", "fleet_count=3"),
        ),
    ),
    "resize": Row("app servers get more memory, and give it back", resized("app_servers")),
    "resize-mysql": Row(
        "databases get more memory and give it back, while they run",
        resized("mysql"),
        Rules(row_gap_seconds=1.5),
        ROWS_MIX,
    ),
    "resize-mysql-stopping": Row(
        "the same from a provider that stops machines: replicas, another primary, the former one",
        resized("mysql", "-e", STOPPING),
        Rules(row_gap_seconds=1.5),
        ROWS_MIX,
    ),
    "resize-redis": Row("Redis hosts get more memory and give it back, while they run", resized("redis_cluster")),
    "resize-redis-stopping": Row(
        "the same from a provider that stops machines: primaries are handed over first",
        resized("redis_cluster", "-e", STOPPING),
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
    "kill-taker": Row(
        "the balancer that takes the VIP from another one loses its power while that one still answers",
        (taker_killed(),),
        Rules(failed=None, unsafe=None),
        mix=LONG_MIX,
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
    "full-disk": Row(
        "a MySQL replica has no room left on its disk, and gets some",
        (small_disk(a_mysql_replica), full_disk()),
        Rules(row_gap_seconds=2),
        ROWS_MIX,
        closing=(usual_disk(),),
    ),
    "partition": Row(
        "the app servers lose the MySQL primary from sight, and nobody else does",
        (cut_off(the_mysql_primary, "app_servers"),),
        Rules(failed=None, unsafe=None, gap_seconds=4),
        ROWS_MIX,
    ),
}

ROWS: Mapping[str, Row] = {**VERBS, **FAULTS}
