# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to the fleet while it serves: commands, and machines that lose their power."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from lab import site
from tests.e2e.ledger.book import Book
from tests.e2e.support.lab import ROOT, Lab
from tests.e2e.support.niceness import without_privilege
from tests.e2e.support.redis_pools import durable_primaries, pools_are_whole
from tests.e2e.support.releases import source
from tests.e2e.support.waiting import until
from tests.e2e.support.web import visiting


@dataclass
class Stage:
    """What a step works with."""

    lab: Lab
    book: Book
    log: Path
    arguments: str = ""
    hold_seconds: float = 20.0
    command_seconds: float = 1200.0
    interrupted: threading.Event = field(default_factory=threading.Event)
    exit_codes: list[int] = field(default_factory=list)

    def shell(self, command: str) -> int:
        """Run a command as a person would, its output to the log; bounded in time."""
        with self.log.open("ab") as sink:
            sink.write(f"$ {command}\n".encode())
            sink.flush()
            process = subprocess.Popen(
                without_privilege(["sh", "-c", command]),
                cwd=ROOT,
                env=site.environment(Path(sys.prefix), accelerate=False),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
            deadline = time.monotonic() + self.command_seconds
            while process.poll() is None:
                if self.interrupted.wait(0.1) or time.monotonic() > deadline:
                    # As Ctrl-C would: the whole group, so that Ansible can say good-bye.
                    os.killpg(process.pid, signal.SIGINT)
                    try:
                        process.wait(30)
                    except subprocess.TimeoutExpired:
                        os.killpg(process.pid, signal.SIGKILL)
                        process.wait()
                    sink.write(b"\nended by the ledger: interrupted, or out of time\n")
        self.exit_codes.append(process.returncode)
        return process.returncode

    def note(self, line: str) -> None:
        with self.log.open("a", encoding="utf-8") as sink:
            sink.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def hold(self, seconds: float | None = None) -> None:
        self.interrupted.wait(self.hold_seconds if seconds is None else seconds)


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[[Stage], object]


# --- commands -----------------------------------------------------------------------------------------------------


def command(words: str) -> Step:
    """A shell command, from the checkout's root."""
    return Step(words, lambda stage: stage.shell(words))


def play(playbook: str, *options: str) -> Step:
    """A playbook on the lab; the run's own ARGS come last, so they win."""
    words = f"ansible-playbook -i inventories/lab playbooks/{playbook}.yml {shlex.join(options)}".rstrip()
    return Step(words, lambda stage: stage.shell(f"{words} {stage.arguments}".rstrip()))


def play_at(choose: Callable[[Lab], str], *playbooks: str, pause_seconds: float = 5.0) -> Step:
    """Playbooks one after another for a host that is chosen when the first begins."""

    def run(stage: Stage) -> None:
        host = choose(stage.lab)
        for playbook in playbooks:
            stage.shell(f"ansible-playbook -i inventories/lab playbooks/{playbook}.yml -e fleet_host={host} {stage.arguments}".rstrip())
            stage.hold(pause_seconds)

    return Step(f"{', '.join(playbooks)} {words(choose)}", run)


def another_release() -> Step:
    """Deploy the demo's application with a line that no release before had."""

    def run(stage: Stage) -> None:
        folder = stage.log.parent / "source"
        shutil.rmtree(folder, ignore_errors=True)
        play("deploy", "-e", source(folder)).run(stage)

    return Step("deploy another release", run)


def wait(seconds: float | None = None) -> Step:
    return Step("wait", lambda stage: stage.hold(seconds))


# --- whom it meets: asked at the moment, never taken from the inventory -----------------------------------------------


def an_app_server(lab: Lab) -> str:
    return lab.tier("app_servers")[-1]


def a_worker(lab: Lab) -> str:
    return lab.tier("queue_workers")[0]


def the_store(lab: Lab) -> str:
    return lab.tier("object_storage")[0]


def holder_of_the_vip(lab: Lab) -> str:
    for host in lab.tier("load_balancers"):
        if f" {lab.vip}/" in lab.ssh(host, "ip -4 -o address show", check=False):
            return host
    raise AssertionError(f"no load balancer holds {lab.vip}")


def mysql_roles(lab: Lab) -> tuple[str, list[str]]:
    """The server that takes writes, and those that don't; servers that don't answer are in neither."""
    writable: list[str] = []
    others: list[str] = []
    for host in lab.tier("mysql"):
        try:
            read_only = lab.sql(host, "SELECT @@super_read_only")[0][0]
        except (AssertionError, subprocess.TimeoutExpired):
            continue
        (writable if read_only == "0" else others).append(host)
    assert len(writable) == 1, f"one MySQL server may take writes, not: {', '.join(writable) or 'none'}"
    return writable[0], others


def replicas_follow(lab: Lab) -> bool:
    """Every replica receives and applies, and they hold what the primary held when it was asked."""
    primary, replicas = mysql_roles(lab)
    assert len(replicas) == len(lab.tier("mysql")) - 1, f"{primary} is primary, of the others only {replicas} answer"
    held = lab.sql(primary, "SELECT REPLACE(@@gtid_executed, CHAR(10), SPACE(0))")[0][0]
    for host in replicas:
        found = lab.sql(
            host,
            "SELECT s.service_state, a.service_state FROM performance_schema.replication_connection_status s "
            "JOIN performance_schema.replication_applier_status a USING (channel_name)",
        )
        assert found == [["ON", "ON"]], f"{host}: receiver and applier are {found or 'not there'}"
        late = lab.sql(host, f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{held}', 10)")
        assert late == [["0"]], f"{host} does not hold what {primary} held 10 s ago"
    return True


def the_mysql_primary(lab: Lab) -> str:
    return mysql_roles(lab)[0]


def a_mysql_replica(lab: Lab) -> str:
    return mysql_roles(lab)[1][-1]


def a_redis_primary(lab: Lab) -> str:
    return sorted(durable_primaries(lab).values())[-1]


# --- machines -----------------------------------------------------------------------------------------------------


def _during(choose: Callable[[Lab], str], what: str, fault: Callable[[Stage, str], AbstractContextManager[None]]) -> Step:
    """A fault at a host that is chosen when it happens; it lasts the stage's hold time, and ends with a whole fleet."""

    def run(stage: Stage) -> None:
        host = choose(stage.lab)
        stage.note(f"{what} {host}")
        with fault(stage, host):
            stage.hold()
        wait_until_whole(stage)

    return Step(f"{what} {words(choose)}", run)


def killed(choose: Callable[[Lab], str]) -> Step:
    """The host loses its power for a while."""
    return _during(choose, "kill", lambda stage, host: stage.lab.dead(host))


def taker_killed() -> Step:
    """The balancer with the VIP gives it away, and who takes it loses its power while the giver still answers what it has."""

    def run(stage: Stage) -> None:
        giver = holder_of_the_vip(stage.lab)
        with ThreadPoolExecutor(1) as beside:
            draining = beside.submit(play("drain", "-e", f"fleet_host={giver}").run, stage)
            taker = until("another balancer has the address", lambda: _another_holder(stage.lab, giver), seconds=60)
            stage.note(f"kill {taker}, which took the address from {giver}")
            with stage.lab.dead(taker):
                stage.hold()
            draining.result()
        play("undrain", "-e", f"fleet_host={giver}").run(stage)
        wait_until_whole(stage)

    return Step("drain the balancer with the VIP, kill who takes it, undrain", run)


def _another_holder(lab: Lab, giver: str) -> str:
    holder = holder_of_the_vip(lab)
    return "" if holder == giver else holder


def hanging(choose: Callable[[Lab], str]) -> Step:
    """The host stands still for a while: its connections stay open, and nothing answers."""

    @contextmanager
    def paused(stage: Stage, host: str) -> Iterator[None]:
        stage.lab.podman("pause", host)
        try:
            yield
        finally:
            stage.lab.podman("unpause", host)

    return _during(choose, "pause", paused)


def rebooted(choose: Callable[[Lab], str]) -> Step:
    """The host reboots by itself; nobody helps it."""

    @contextmanager
    def restarted(stage: Stage, host: str) -> Iterator[None]:
        stage.lab.podman("restart", host)
        stage.lab.wait_for_boot(host)
        yield

    return _during(choose, "reboot", restarted)


CUT = "ledger"


def cut(policy: str, coming: str, going: str) -> str:
    """The shell command that lays a rule for what comes to a host and one for what leaves it into a table of their own."""
    rules = f"add table inet {CUT}\n" + "".join(
        f"add chain inet {CUT} {hook} {{ type filter hook {hook} priority -300; policy {policy}; }}\nadd rule inet {CUT} {hook} {rule}\n"
        for hook, rule in (("input", coming), ("output", going))
    )
    return f"printf '%s' {shlex.quote(rules)} | nft -f -"


def cut_off(choose: Callable[[Lab], str], tier: str) -> Step:
    """The hosts of a tier reach the host no more, nor it them; everybody else does."""

    @contextmanager
    def partitioned(stage: Stage, host: str) -> Iterator[None]:
        peers = ", ".join(stage.lab.address(name) for name in stage.lab.tier(tier))
        stage.lab.ssh(host, cut("accept", f"ip saddr {{ {peers} }} drop", f"ip daddr {{ {peers} }} drop"))
        try:
            yield
        finally:
            stage.lab.ssh(host, f"nft delete table inet {CUT}")

    return _during(choose, f"cut off {tier} from", partitioned)


# Room that is left on the small disk, in MB: enough to work with, little enough to fill at once.
SPARE_MB = 200


def small_disk(choose: Callable[[Lab], str]) -> Step:
    """MySQL's data on a file system of its own that can be filled: hosts of the lab have this machine's whole disk otherwise.

    A loop device of this machine, because the hosts have nothing to make a file system with.
    """

    def run(stage: Stage) -> None:
        host = choose(stage.lab)
        stage.note(f"small disk for {host}")
        held = int(stage.lab.ssh(host, "systemctl stop mysql; du -sm /var/lib/mysql | cut -f1"))
        image = stage.log.parent / "small.img"
        with image.open("wb") as file:
            file.truncate((held + SPARE_MB) << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, timeout=60)
        words = ["losetup", "--find", "--show", str(image)]
        device = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
        stage.lab.ssh(
            host,
            f"set -e; mount {device} /mnt; cp -a /var/lib/mysql/. /mnt/; umount /mnt; mount {device} /var/lib/mysql; "
            f"chown mysql:mysql /var/lib/mysql; systemctl start mysql",
        )
        wait_until_whole(stage)

    return Step(f"a small disk for {words(choose)}", run)


def full_disk() -> Step:
    """Not a byte is left on the small disk, for as long as a fault lasts; then somebody makes room, and nothing else."""

    def run(stage: Stage) -> None:
        host = with_small_disk(stage.lab)
        stage.note(f"fill the disk of {host}")
        stage.lab.ssh(host, "cat /dev/zero > /var/lib/mysql/ballast 2>/dev/null; df --output=avail /var/lib/mysql")
        stage.hold()
        state = stage.shell("ansible-playbook -i inventories/lab playbooks/status.yml")
        stage.exit_codes.pop()
        if state == 0:
            raise AssertionError(f"status.yml called the fleet healthy while the disk of {host} was full")
        stage.lab.ssh(host, "rm /var/lib/mysql/ballast")
        stage.note(f"{host} has room again")
        # The receiver goes on by itself within a minute; an applier that found no room has stopped, and is started again.
        play("site").run(stage)
        wait_until_whole(stage)

    return Step("fill that disk", run)


def usual_disk() -> Step:
    """MySQL's data back on the host's own disk, and the small one gone."""

    def run(stage: Stage) -> None:
        image = stage.log.parent / "small.img"
        found = [host for host in stage.lab.tier("mysql") if _has_small_disk(stage.lab, host)]
        for host in found:
            stage.lab.ssh(
                host,
                "set -e; systemctl stop mysql; rm -rf /var/lib/mysql/lost+found /var/lib/mysql/ballast; "
                "cp -a /var/lib/mysql /var/lib/mysql-back; umount /var/lib/mysql; rm -rf /var/lib/mysql; "
                "mv /var/lib/mysql-back /var/lib/mysql",
            )
        for line in subprocess.run(["losetup", "--associated", str(image)], check=True, capture_output=True, text=True).stdout.splitlines():
            subprocess.run(["losetup", "--detach", line.partition(":")[0]], check=True, timeout=60)
        image.unlink(missing_ok=True)
        for host in stage.lab.tier("mysql"):
            stage.lab.ssh(host, "systemctl start mysql")
        wait_until_whole(stage)

    return Step("the usual disk again", run)


def _has_small_disk(lab: Lab, host: str) -> bool:
    return lab.ssh(host, "mountpoint --quiet /var/lib/mysql && echo yes; true").strip() == "yes"


def with_small_disk(lab: Lab) -> str:
    found = [host for host in lab.tier("mysql") if _has_small_disk(lab, host)]
    assert len(found) == 1, f"one MySQL host may have a small disk, not: {', '.join(found) or 'none'}"
    return found[0]


def lost(choose: Callable[[Lab], str], how: str) -> Step:
    """The host is gone for good: it loses its power (`kill`), stands still (`pause`), or nobody reaches it any more while it goes on
    (`cut off`). `everything_started` is for a later step.
    """

    def run(stage: Stage) -> None:
        host = choose(stage.lab)
        stage.note(f"{how} {host}")
        if how == "cut off":
            stage.lab.inside(host, cut("drop", "meta iif lo accept", "meta oif lo accept"))
        else:
            stage.lab.podman(how, host)

    return Step(f"{how} {words(choose)}", run)


def everything_started() -> Step:
    """Power for every host that has none, up to a finished boot."""

    def run(stage: Stage) -> None:
        running = subprocess.run(
            ["podman", "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
        ).stdout.split()
        for host in stage.lab.containers():
            if host not in running:
                stage.lab.podman("start", host)
                if host in stage.lab.hosts:
                    stage.lab.wait_for_boot(host)

    return Step("start what is off", run)


def whole() -> Step:
    """Until everything is as it should be."""
    return Step("wait until the fleet is whole", wait_until_whole)


def wait_until_whole(stage: Stage, seconds: float = 120) -> None:
    wait_until_lab_is_whole(stage.lab, seconds)


def wait_until_lab_is_whole(lab: Lab, seconds: float = 120) -> None:
    """Deep health, every app server serving, every Redis instance linked, every MySQL replica running."""

    def well() -> bool:
        with visiting(lab.url, lab.vip, lab.ca_file, timeout=5) as visitor:
            answer = visitor.get("/api/health")
            assert answer.status_code == 200, f"GET /api/health: {answer.status_code} {answer.text[:300]}"
        return True

    def patient() -> bool:
        try:
            return well()
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error

    until("the fleet is well", patient, seconds=seconds, every=1)
    until("Redis' pools are whole", lambda: pools_are_whole(lab), seconds=seconds, every=1)
    until("MySQL's replicas follow", lambda: replicas_follow(lab), seconds=seconds, every=1)


def words(choose: Callable[[Lab], str]) -> str:
    return choose.__name__.replace("_", " ")
