# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What really makes each alert fire, and how that is undone: a table (CONDITIONS), and why some alerts are not in it (NOT_MADE).

What is done on a host is a unit there that undoes it when it is stopped, or by itself after LONGEST_SECONDS: nothing stays broken
when the test dies.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from tests.e2e.ledger.autoscale import Pressure
from tests.e2e.ledger.steps import (
    CUT,
    a_mysql_replica,
    a_worker,
    an_app_server,
    cut,
    mysql_roles,
    the_mysql_primary,
    the_store,
)
from tests.e2e.support.lab import Lab, good
from tests.e2e.support.redis_pools import host_of, nodes
from tests.e2e.support.waiting import until

LONGEST_SECONDS = 600
FOLDER = "/run/e2e-alerts"


class Act(Protocol):
    """Something that is so for a while. C(name) is a word of its own for each act of a condition."""

    def held(self, lab: Lab, name: str) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class On:
    """Shell on a host: C(make) makes it so (or holds it, with exec), C(undo) puts back what was before."""

    host: str
    make: str
    undo: str = "true"

    @contextmanager
    def held(self, lab: Lab, name: str) -> Iterator[None]:
        unit, folder = f"e2e-alerts-{name}", f"{FOLDER}/{name}"
        files = {"make": f"set -e\n{self.make}\nexec sleep infinity\n", "undo": f"{self.undo}\n"}
        write = "; ".join(f"printf %s {shlex.quote(text)} > {folder}/{file}" for file, text in files.items())
        properties = ("Type=exec", f"RuntimeMaxSec={LONGEST_SECONDS}", f"ExecStopPost=/bin/sh {folder}/undo")
        words = " ".join(f"--property={shlex.quote(one)}" for one in properties)
        # Not by SSH: what is made may be that nobody reaches the host.
        lab.inside(self.host, f"umask 077; mkdir -p {folder}; {write}")
        lab.inside(self.host, f"systemd-run --quiet --unit={unit} --collect {words} /bin/sh {folder}/make")
        try:
            time.sleep(1)
            self.check(lab, unit, "could not be made so")
            yield
            self.check(lab, unit, "did not stay so")
        finally:
            lab.inside(self.host, f"systemctl stop {unit} 2>/dev/null || true; rm -rf {folder}")

    def check(self, lab: Lab, unit: str, what: str) -> None:
        state = lab.inside(self.host, f"systemctl is-active {unit} || journalctl --unit {unit} --no-pager --lines=20 --output=cat")
        assert state.strip() == "active", f"{self.host} {what}: {state}"


@dataclass(frozen=True)
class Verb:
    """A playbook that makes it so, and one that takes it back."""

    make: tuple[str, ...]
    undo: tuple[str, ...]

    @contextmanager
    def held(self, lab: Lab, name: str) -> Iterator[None]:
        try:
            good(lab.play(f"playbooks/{self.make[0]}.yml", *self.make[1:]))
            yield
        finally:
            good(lab.play(f"playbooks/{self.undo[0]}.yml", *self.undo[1:]))


@dataclass(frozen=True)
class Requests:
    """Requests at a steady rate; with C(most) only so many. Whether they succeed is not what is asked here."""

    method: str
    path: str
    rate: float
    most: int = 1_000_000
    job: Mapping[str, object] | None = None

    def begin(self, lab: Lab) -> Pressure:
        key = f"alert-{time.time_ns()}"

        def body(number: int) -> bytes:
            return json.dumps({**self.job, "key": f"{key}-{number}"}).encode() if self.job else b""

        # No status is right: an answer is not looked into.
        pressure = Pressure(lab, self.method, self.path, self.rate, self.most, body, right=0)
        pressure.start()
        return pressure

    @contextmanager
    def held(self, lab: Lab, name: str) -> Iterator[None]:
        pressure = self.begin(lab)
        try:
            yield
        finally:
            pressure.stop()


@dataclass(frozen=True)
class Afterwards:
    """Requests that take it back."""

    requests: Requests

    @contextmanager
    def held(self, lab: Lab, name: str) -> Iterator[None]:
        try:
            yield
        finally:
            pressure = self.requests.begin(lab)
            until("they are sent", lambda: pressure.sent >= self.requests.most, seconds=60)
            pressure.stop()


Labels = Callable[[Lab], Mapping[str, str]]


@dataclass(frozen=True)
class Condition:
    """What is done, which alerts that makes fire with at least which labels, and how long that and their end may take."""

    alerts: Mapping[str, Labels]
    acts: Callable[[Lab], Sequence[Act]]
    fire_seconds: float = 120
    end_seconds: float = 120

    def __str__(self) -> str:
        return "+".join(self.alerts)

    @contextmanager
    def held(self, lab: Lab) -> Iterator[None]:
        acts = self.acts(lab)
        with ExitStack() as stack:
            for number, act in enumerate(acts, 1):
                stack.enter_context(act.held(lab, str(number)))
            yield


# --- whom it meets ------------------------------------------------------------------------------------------------


def anyone(lab: Lab) -> dict[str, str]:
    return {}


def at(choose: Callable[[Lab], str], **labels: str) -> Labels:
    return lambda lab: {"host": choose(lab), **labels}


def a_balancer(lab: Lab) -> str:
    return lab.tier("load_balancers")[-1]


def the_watcher(lab: Lab) -> str:
    return lab.tier("monitoring")[0]


def shard_of_the_cache(lab: Lab) -> list[tuple[str, int]]:
    """Host and port of every instance that holds the slots of one primary, replicas first: nobody is left to take over."""
    seen = nodes(lab, "cache")
    primary = next(node for node in seen if node.is_primary and node.slots)
    replicas = [node for node in seen if node.primary_id == primary.id]
    return [(host_of(lab, node), node.port) for node in [*replicas, primary]]


# --- how it is made -----------------------------------------------------------------------------------------------


def stopped(host: str, unit: str) -> On:
    return On(host, f"systemctl stop {unit}", f"systemctl start {unit}")


def python(host: str, code: str) -> On:
    """A program that makes it so for as long as it runs."""
    return On(host, f"exec python3 -c {shlex.quote(code)}")


def held_sql(host: str, code: str) -> On:
    """The same with root's connections to MySQL on its host."""
    return python(host, CONNECT + code)


CONNECT = """\
import pymysql, threading, time
def connect():
    return pymysql.connect(unix_socket="/run/mysqld/mysqld.sock", user="root", autocommit=True)
def ask(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()
"""
# Below everything else of the host, which goes on watching.
BURN = """\
for _ in $(seq $(grep -c ^processor /proc/cpuinfo)); do
    nice -n 19 timeout 300 sh -c 'while :; do :; done' &
done
exec sleep infinity
"""
# The kernel ends this program first, should it come to that.
EAT = """\
import time
def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith(name + ":"))
open("/proc/self/oom_score_adj", "w").write("1000")
held = []
while kilobytes("MemAvailable") > 0.08 * kilobytes("MemTotal") and len(held) < 200:
    held.append(b"x" * (4 << 20))
time.sleep(900)
"""
# A host of the lab has this machine's disk, so it gets a small one of its own. Of an overlay, because tmpfs is no disk to node_exporter;
# which starts again, because in a container (unlike on a machine) a service with mounts of its own sees no later ones.
SMALL_DISK = f"""\
mkdir -p {FOLDER}/disk /srv/e2e-alerts
mount -t tmpfs -o size=8m tmpfs {FOLDER}/disk
mkdir {FOLDER}/disk/lower {FOLDER}/disk/upper {FOLDER}/disk/work
mount -t overlay -o lowerdir={FOLDER}/disk/lower,upperdir={FOLDER}/disk/upper,workdir={FOLDER}/disk/work overlay /srv/e2e-alerts
head -c 7500000 /dev/zero > /srv/e2e-alerts/ballast
systemctl restart prometheus-node-exporter
"""
NO_SMALL_DISK = f"umount /srv/e2e-alerts; umount {FOLDER}/disk; rmdir /srv/e2e-alerts; systemctl restart prometheus-node-exporter"
# MySQL reads it when it starts, or is told to; the key is the same.
CERTIFICATE = f"""\
cd /etc/mysql/tls
cp -p server.pem {FOLDER}/server.pem
openssl req -x509 -key server.key -days 3 -subj /CN=e2e-alerts -out {FOLDER}/short.pem
cat {FOLDER}/short.pem > server.pem
"""
USUAL_CERTIFICATE = f"cat {FOLDER}/server.pem > /etc/mysql/tls/server.pem; rm {FOLDER}/*.pem"
# The same release under another name.
ANOTHER_RELEASE = f"""\
cd /srv/school
readlink current > {FOLDER}/release
ln -sfn "$(readlink -f current)" releases/e2e-alerts
ln -s releases/e2e-alerts current.e2e
mv -T current.e2e current
"""
USUAL_RELEASE = f"cd /srv/school; ln -s \"$(cat {FOLDER}/release)\" current.e2e && mv -T current.e2e current; rm releases/e2e-alerts"
MANY_CONNECTIONS = """\
most = int(ask(connect(), "SELECT @@max_connections")[0][0])
used = int(ask(connect(), "SHOW STATUS LIKE 'Threads_connected'")[0][1])
held = [connect() for _ in range(int(0.9 * most) - used)]
time.sleep(900)
"""
# As the application opens them, through the router, of which each replica gets a part.
MANY_CLIENTS = """\
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\\Contracts\\Console\\Kernel::class)->bootstrap();
$row = config('database.connections.mysql');
$most = (int) Illuminate\\Support\\Facades\\DB::selectOne('SELECT @@max_connections AS most')->most;
for ($held = []; count($held) < 0.85 * $most;) {
    $name = 'e2e' . count($held);
    config(["database.connections.$name" => $row]);
    $held[] = Illuminate\\Support\\Facades\\DB::connection($name)->getReadPdo();
}
sleep(900);
"""
SLOW_QUERIES = """\
seconds = 1.2 * float(ask(connect(), "SELECT @@long_query_time")[0][0])
def again():
    connection = connect()
    while True:
        ask(connection, f"SELECT SLEEP({seconds})")
for _ in range(4):
    threading.Thread(target=again, daemon=True).start()
time.sleep(900)
"""
# The table is made on the primary and locked on a replica, which then can't apply what the primary goes on writing into it.
TABLE = "CREATE TABLE IF NOT EXISTS school.e2e_alerts (id INT PRIMARY KEY, n INT)"
NO_TABLE = "DROP TABLE IF EXISTS school.e2e_alerts"
LOCKED = """\
connection = connect()
while not ask(connection, "SHOW TABLES FROM school LIKE 'e2e_alerts'"):
    time.sleep(0.1)
ask(connection, "LOCK TABLES school.e2e_alerts READ")
time.sleep(900)
"""
MANY_WRITES = """\
def write(number, times, pause=0):
    connection = connect()
    for n in range(times):
        ask(connection, f"REPLACE INTO school.e2e_alerts VALUES ({number}, {n})")
        time.sleep(pause)
threads = [threading.Thread(target=write, args=(number, 1600)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
write(9, 900, 1)
"""


def sql(host: str, make: str, undo: str) -> On:
    return On(host, *(f"mysql --execute {shlex.quote(statement)}" for statement in (make, undo)))


def job(seconds: float) -> dict[str, object]:
    return {"queue": "default", "seconds": seconds}


CONDITIONS: tuple[Condition, ...] = (
    Condition(
        {"HostDown": at(a_worker)},
        lambda lab: [On(a_worker(lab), cut("drop", "meta iif lo accept", "meta oif lo accept"), f"nft delete table inet {CUT}")],
    ),
    Condition({"CpuHigh": at(the_watcher), "CpuSaturated": at(the_watcher)}, lambda lab: [On(the_watcher(lab), BURN)]),
    Condition({"MemoryHigh": at(a_worker)}, lambda lab: [python(a_worker(lab), EAT)]),
    Condition({"DiskFull": at(a_worker)}, lambda lab: [On(a_worker(lab), SMALL_DISK, NO_SMALL_DISK)]),
    Condition(
        {"CertificateEnding": at(a_mysql_replica), "CertificateEndsSoon": at(a_mysql_replica)},
        lambda lab: [On(a_mysql_replica(lab), CERTIFICATE, USUAL_CERTIFICATE)],
    ),
    Condition({"HealthRed": at(an_app_server)}, lambda lab: [stopped(an_app_server(lab), "php8.4-fpm")]),
    # More at once than all PHP-FPM children of two servers.
    Condition(
        {"ResponseTimeHigh": anyone, "FpmSaturated": anyone}, lambda lab: [Requests("GET", "/api/slow?seconds=8", rate=6)]
    ),
    Condition(
        {"ErrorsHigh": anyone},
        lambda lab: [stopped(the_store(lab), "swift-proxy"), Requests("GET", "/api/pictures/e2e-alerts", rate=5)],
    ),
    Condition(
        {"OutOfTrafficLong": at(an_app_server, of="app_servers")},
        lambda lab: [
            Verb(("drain", "-e", f"fleet_host={an_app_server(lab)}"), ("undrain", "-e", f"fleet_host={an_app_server(lab)}"))
        ],
    ),
    Condition(
        {"ReleasesDiffer": at(a_worker, release="e2e-alerts")}, lambda lab: [On(a_worker(lab), ANOTHER_RELEASE, USUAL_RELEASE)]
    ),
    # A job has to wait for five minutes until it waits too long: no limit is changed here.
    Condition(
        {"QueueLong": lambda lab: {"queue": "default"}, "QueueOld": lambda lab: {"queue": "default"}},
        lambda lab: [
            *(stopped(host, "supervisor") for host in lab.tier("queue_workers")),
            Requests("POST", "/api/jobs", rate=40, most=1200, job=job(0)),
        ],
        fire_seconds=420,
        end_seconds=240,
    ),
    # What was long counts for five minutes; many short ones afterwards make it the exception.
    Condition(
        {"JobsSlow": lambda lab: {"queue": "default"}},
        lambda lab: [
            Afterwards(Requests("POST", "/api/jobs", rate=20, most=240, job=job(0))),
            Requests("POST", "/api/jobs", rate=5, most=8, job=job(50)),
        ],
        fire_seconds=240,
        end_seconds=400,
    ),
    Condition({"DatabaseConnectionsHigh": at(a_mysql_replica)}, lambda lab: [held_sql(a_mysql_replica(lab), MANY_CONNECTIONS)]),
    Condition(
        {"DatabaseBudgetHigh": anyone},
        lambda lab: [
            On(a_worker(lab), f"cd /srv/school/current; exec runuser -u app -- php -r {shlex.quote(MANY_CLIENTS)}")
        ],
    ),
    Condition({"SlowQueries": at(a_mysql_replica)}, lambda lab: [held_sql(a_mysql_replica(lab), SLOW_QUERIES)], end_seconds=240),
    Condition(
        {"MysqlPrimaryMissing": anyone},
        lambda lab: [sql(the_mysql_primary(lab), "SET GLOBAL read_only = ON", "SET GLOBAL read_only = OFF")],
    ),
    Condition(
        {"ReplicationBroken": at(a_mysql_replica)},
        lambda lab: [sql(a_mysql_replica(lab), "STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD")],
    ),
    Condition(
        {"ReplicationLag": at(a_mysql_replica), "GtidGap": at(a_mysql_replica)},
        lambda lab: [
            sql(the_mysql_primary(lab), TABLE, NO_TABLE),
            held_sql(a_mysql_replica(lab), LOCKED),
            held_sql(the_mysql_primary(lab), MANY_WRITES),
        ],
        fire_seconds=240,
        end_seconds=180,
    ),
    Condition(
        {"SemiSyncLost": at(the_mysql_primary)},
        lambda lab: [sql(host, "STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD") for host in mysql_roles(lab)[1]],
    ),
    Condition(
        {"RedisSlotsUncovered": lambda lab: {"pool": "cache"}},
        lambda lab: [stopped(host, f"redis-cluster@cache-{port}") for host, port in shard_of_the_cache(lab)],
    ),
    Condition(
        {"ExporterDown": at(a_balancer, job="nginx")}, lambda lab: [stopped(a_balancer(lab), "prometheus-nginx-exporter")]
    ),
)

NOT_MADE: Mapping[str, str] = {
    "OpcacheFull": "it takes a hundred megabytes of code that PHP-FPM compiles, and a restart of every server to get rid of them",
    "AutoscaleOut": "make e2e VERB=autoscale makes it, and looks at what follows",
    "AutoscaleIn": "make e2e VERB=autoscale makes it, and looks at what follows",
}
