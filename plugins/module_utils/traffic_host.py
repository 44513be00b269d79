# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of one host: each keeps new work away from a tier, says what still runs there, and lets work in again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Protocol

from .handover import SETTINGS, UNIT, holds, shared_from, unaware
from .open_connections import connections
from .redis_client import RedisReplyError, info
from .redis_cluster import Instance, RedisClusterError
from .redis_driver import Tools, clients, hand_over_to_replica, holding, tools_for
from .redis_spread import local_instances, peers
from .traffic import (
    MARKS,
    REDIS_TABLE,
    TIERS,
    Mark,
    TrafficError,
    mark_text,
    parse_mark,
    ruleset,
    steps,
    summary,
)

# Loads the rule at boot while the mark is there; its stop removes the table (role traffic).
REFUSAL_UNIT = "graphic_school-traffic.service"
# A tier is idle once it was seen idle this often in a row: a request may be between two connections.
QUIET_LOOKS = 3
PAUSE = 0.2
# Within this time everybody who sends to the shared address has learned who holds it now.
ANNOUNCED_SECONDS = 0.5
# Answers are done, and their last bytes are on the way: a client that has vanished is not waited for any longer.
SENDING_SECONDS = 15
# Keeps clients from a Redis host that is out of traffic.
SPREAD_UNIT = "redis-cluster-spread.service"
# A client of Redis that has said nothing for so long is not waited for, and after so long none is.
CLIENT_IDLE_SECONDS = 15
CLIENT_SECONDS = 30


class Run(Protocol):
    """Run a command with optional standard input; returns its exit code, output and errors."""

    def __call__(self, command: Sequence[str], text: str = "") -> tuple[int, str, str]: ...


class Clock(Protocol):
    """Time, as far as waiting needs it."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class World:
    """What a gate needs of its host."""

    host: str
    run: Run
    clock: Clock
    marks: Path = MARKS
    proc: Path = Path("/proc/net")
    slow_start: float = 0.0
    handover: Path = SETTINGS

    def must(self, *command: str, text: str = "") -> str:
        """Run a command that has to succeed; returns its output. Raises TrafficError with what it said."""
        code, output, errors = self.run(command, text)
        if code:
            raise TrafficError(f"{self.host}: {' '.join(command)} ended with {code}: {(errors or output).strip()[-500:]}")
        return output

    def unit_runs(self, unit: str) -> bool:
        state = self.run(["/usr/bin/systemctl", "show", "--property", "ActiveState", "--value", unit])[1].strip()
        return state in ("active", "reloading", "activating", "deactivating")

    def stop_unit(self, unit: str) -> None:
        """Stop a unit whose condition forbids it to run now, and let systemd note that: a later look finds it as it should be."""
        self.must("/usr/bin/systemctl", "stop", unit)
        self.must("/usr/bin/systemctl", "start", unit)

    def remote_connections(self, ports: Iterable[int], *, sending: bool = False) -> tuple[str, ...]:
        tables = [path.read_text(encoding="ascii") for name in ("tcp", "tcp6") if (path := self.proc / name).exists()]
        return connections(tables, set(ports), sending=sending)

    def page(self, port: int, path: str, domain: str = "localhost") -> tuple[int, str]:
        """Return status and body of a page of this host. Raises OSError or HTTPException."""
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": domain, "X-Forwarded-Proto": "https", "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read(65536).decode(errors="replace")
        finally:
            connection.close()

    def page_is_ill(self, port: int, path: str, domain: str = "localhost") -> str:
        """Return what is wrong with a page that has to answer 200, "" when nothing is."""
        try:
            status = self.page(port, path, domain)[0]
        except (OSError, HTTPException) as error:
            return f"does not answer on port {port} ({error})"
        return "" if status == 200 else f"answers {status} for {path}"


class Gate:
    """One tier of one host. The mark is made before C(close) and removed after C(open)."""

    def __init__(self, world: World, settings: Mapping[str, Any]) -> None:
        self.world, self.given = world, settings

    def refuse(self) -> None:
        """Raise TrafficError when this host can't leave as things are; nothing has changed yet."""

    def part(self) -> None:
        """Say good-bye, before the mark is made; whatever this does has to end by itself when the run dies."""

    def close(self) -> None:
        """Keep new work away. Doing it again changes nothing."""

    def closed(self) -> bool:
        """Return whether new work is kept away."""
        return True

    def busy(self) -> str:
        """Return what still runs here, "" when nothing does."""
        return ""

    def open(self) -> None:
        """Let new work in."""

    def ill(self) -> str:
        """Return why this host would not do the tier's work although its gate is open, "" when it would."""
        return ""


class AppServer(Gate):
    """New connections are refused, so the balancer asks the next server; answers on open ones say that they are the last."""

    @property
    def ports(self) -> list[int]:
        return [int(port) for port in self.given["ports"]]

    def close(self) -> None:
        if not self.closed():
            # A slow start that was interrupted has left the unit running with a share for the host.
            self.world.must("/usr/bin/systemctl", "restart", REFUSAL_UNIT)

    def closed(self) -> bool:
        code, rules, _errors = self.world.run(["/usr/sbin/nft", "list", "table", "inet", "graphic_school_traffic"])
        return code == 0 and "reject with tcp reset" in rules and "numgen" not in rules

    def busy(self) -> str:
        ends = self.world.remote_connections(self.ports)
        return summary(ends) if ends else ""

    def open(self) -> None:
        for share, pause in steps(self.world.slow_start):
            self.world.must("/usr/sbin/nft", "-f", "-", text=ruleset(self.ports, share))
            self.world.clock.sleep(pause)
        self.world.must("/usr/bin/systemctl", "stop", REFUSAL_UNIT)
        # The table may be there without the unit: somebody loaded it by hand, or nftables was restarted.
        self.world.run(["/usr/sbin/nft", "delete", "table", "inet", "graphic_school_traffic"])

    def ill(self) -> str:
        return self.world.page_is_ill(self.ports[0], str(self.given["live_path"]), str(self.given["domain"]))


class Service(Gate):
    """A unit that takes work by itself: it is stopped, and its condition keeps it from starting while the mark is there."""

    @property
    def unit(self) -> str:
        return str(self.given["unit"])

    def refuse(self) -> None:
        code, text, _errors = self.world.run(["/usr/bin/systemctl", "cat", self.unit])
        if code == 0 and str(MARKS) not in text:
            raise TrafficError(f"{self.world.host}: {self.unit} does not know yet how to stay out; run site.yml for this host first")

    def close(self) -> None:
        if not self.closed():
            self.world.stop_unit(self.unit)

    def busy(self) -> str:
        return "" if self.closed() else f"{self.unit} still runs"

    def closed(self) -> bool:
        return not self.world.unit_runs(self.unit)

    def open(self) -> None:
        if self.enabled():
            self.world.must("/usr/bin/systemctl", "start", self.unit)

    def enabled(self) -> bool:
        """Return whether this host should run the unit at all."""
        return self.world.run(["/usr/bin/systemctl", "is-enabled", self.unit])[0] == 0

    def ill(self) -> str:
        return f"does not run {self.unit}" if self.enabled() and not self.world.unit_runs(self.unit) else ""


class LoadBalancer(Gate):
    """keepalived's check fails while the mark is there, so another balancer takes the address.

    New connections come to that one from then on. Those that are open stay here, passed on by it (handover.py), until nginx has ended each
    after its answer.
    """

    def __init__(self, world: World, settings: Mapping[str, Any]) -> None:
        super().__init__(world, settings)
        self.answered = world.clock.monotonic()
        self.came_back = False

    def refuse(self) -> None:
        if not self.given["address"]:
            raise TrafficError(
                f"{self.world.host} shares no address with another balancer (fleet_vip is not set): take it out of your DNS or your "
                "provider's balancer"
            )
        if not self._holds():
            return
        if self.world.run(["/usr/bin/systemctl", "cat", UNIT])[0]:
            raise TrafficError(f"{self.world.host} does not know yet how to give its address away; run site.yml for the balancers first")
        if behind := unaware(shared_from(json.loads(self.world.handover.read_text(encoding="utf-8")))):
            raise TrafficError(
                f"{self.world.host} can't give {self.given['address']} away: {' and '.join(behind)} would cut what is being answered; run "
                "site.yml for the balancers first"
            )

    def _holds(self) -> bool:
        return holds(self.world.must("/usr/sbin/ip", "-oneline", "address", "show"), str(self.given["address"]))

    def _connections(self, *, sending: bool = False) -> tuple[str, ...]:
        return self.world.remote_connections([int(port) for port in self.given["ports"]], sending=sending)

    def part(self) -> None:
        if self._holds():
            # Before the mark: with it keepalived's check fails, and the address moves by itself.
            self.world.must("/usr/bin/systemctl", "start", UNIT)

    def closed(self) -> bool:
        return not self._holds()

    def close(self) -> None:
        if not self.closed():
            self.world.must("/usr/bin/systemctl", "start", UNIT)
            # Its last advert says that it goes: another one takes over within a fraction of a second instead of after failed checks.
            self.world.must("/usr/bin/systemctl", "restart", "keepalived.service")
            self.world.clock.sleep(ANNOUNCED_SECONDS)
        self._end_connections()

    def _end_connections(self) -> None:
        if self._connections():
            # Its workers end: idle connections at once, the others after their answer.
            self.world.must("/usr/bin/systemctl", "reload", "nginx.service")

    def busy(self) -> str:
        if self._holds():
            # It came back because whoever had taken it died: the next one to take it is told too whose connections they are.
            self.world.must("/usr/bin/systemctl", "start", UNIT)
            self.came_back = True
            return f"it still holds {self.given['address']}"
        if self.came_back:
            self.came_back = False
            self.world.clock.sleep(ANNOUNCED_SECONDS)
            self._end_connections()
        now = self.world.clock.monotonic()
        if self._connections():
            self.answered = now
        ends = self._connections(sending=now - self.answered < SENDING_SECONDS)
        return summary(ends) if ends else ""

    def ill(self) -> str:
        if not self.world.unit_runs("keepalived.service"):
            return "does not run keepalived"
        return self.world.page_is_ill(int(self.given["check_port"]), str(self.given["check_path"]))


class Mysql(Gate):
    """The health service answers 404 for reads while the mark is there, so that routers send no new ones and let running ones end."""

    def _rows(self, statement: str) -> list[list[str]]:
        printed = self.world.must("/usr/bin/mysql", "--batch", "--skip-column-names", "--execute", statement)
        return [line.split("\t") for line in printed.splitlines()]

    def refuse(self) -> None:
        if self._rows("SELECT @@read_only") == [["0"]]:
            raise TrafficError(f"{self.world.host} takes the writes: make another one primary first (switchover.yml)")

    def closed(self) -> bool:
        with contextlib.suppress(OSError, HTTPException):
            return self.world.page(int(self.given["health_port"]), "/replica")[0] != 200
        return True

    def busy(self) -> str:
        if not self.closed():
            return "its health service still offers it for reads"
        # Local users, and replicas that read its binary log, are no clients.
        clients = self._rows(
            "SELECT p.id, p.command, t.trx_id IS NOT NULL FROM performance_schema.processlist p"
            " LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id"
            " WHERE p.host <> '' AND p.host NOT LIKE 'localhost%' AND p.command NOT LIKE 'Binlog Dump%'"
            " AND p.user NOT IN ('system user', 'event_scheduler', 'unauthenticated user')"
        )
        for thread, command, in_transaction in clients:
            # One that waits for its client's next statement: ended here, the client connects again, to another server.
            if command == "Sleep" and in_transaction == "0":
                self.world.run(["/usr/bin/mysql", "--execute", f"KILL {int(thread)}"])
        return f"{len(clients)} client connection{'' if len(clients) == 1 else 's'}" if clients else ""

    def ill(self) -> str:
        return self.world.page_is_ill(int(self.given["health_port"]), "/replica")


class Redis(Gate):
    """Its primaries are handed to replicas on other hosts, then new clients are refused, so that they ask the next host.

    The service redis-cluster-spread does the second, and takes no primary back meanwhile.
    """

    def __init__(self, world: World, settings: Mapping[str, Any]) -> None:
        super().__init__(world, settings)
        self.refused_since: float | None = None

    @property
    def config(self) -> dict[str, Any]:
        path = Path(str(self.given["settings"]))
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrafficError(f"{self.world.host}: {path} can't be read ({error}); run site.yml for this host first") from error
        return data

    def _tools(self) -> Tools:
        return tools_for(self.config["user"], self.config["passwords"], 20)

    def _instances(self) -> dict[Instance, str]:
        return {instance: f"{pool} {instance.port}" for instance, pool in local_instances(self.config).items()}

    def _held(self) -> list[str]:
        instances = self._instances()
        return [instances[instance] for instance in holding(instances, self._tools())]

    def refuse(self) -> None:
        shown = self.world.run(["/usr/bin/systemctl", "show", "--property", "AmbientCapabilities", "--value", SPREAD_UNIT])[1]
        if self.world.unit_runs(SPREAD_UNIT) and "cap_net_admin" not in shown:
            raise TrafficError(f"{self.world.host} does not know yet how to send clients away; run site.yml for it first")

    def _refuses(self) -> bool:
        return self.world.run(["/usr/sbin/nft", "list", "table", "inet", REDIS_TABLE])[0] == 0

    def close(self) -> None:
        tools, instances = self._tools(), self._instances()
        for instance in holding(instances, tools):
            try:
                hand_over_to_replica(instance.address, instance.port, f"{self.world.host}: {instances[instance]}", tools)
            except (OSError, RedisReplyError, RedisClusterError) as error:
                raise TrafficError(f"{self.world.host}: {instances[instance]} could not be handed over: {error}") from error

    def closed(self) -> bool:
        return not self._held()

    def busy(self) -> str:
        if held := self._held():
            return f"it is still primary of {', '.join(held)}"
        if not self.world.unit_runs(SPREAD_UNIT):
            # redis_cluster_spread_seconds is 0: clients go on coming.
            return ""
        if not self._refuses():
            return f"it does not refuse new clients yet (see the journal of {SPREAD_UNIT})"
        return self._clients()

    def _clients(self) -> str:
        """Return who is connected from outside the tier and has said something lately: it may be in the middle of a request.

        Whoever asks for a key is sent to the primary, and leaves by himself. Nobody is cut off: phpredis 6.2 crashes when it can't
        connect again.
        """
        now = self.world.clock.monotonic()
        self.refused_since = now if self.refused_since is None else self.refused_since
        if now - self.refused_since >= CLIENT_SECONDS:
            return ""
        own, tools, found = {*peers(self.config), "127.0.0.1", "::1"}, self._tools(), []
        for instance in self._instances():
            with contextlib.suppress(OSError, RedisReplyError):
                found += [address for address, idle in clients(instance, tools) if idle < CLIENT_IDLE_SECONDS and address not in own]
        return summary([f"{address}:" for address in found]) if found else ""

    def open(self) -> None:
        # The service does it too, within a second.
        self.world.run(["/usr/sbin/nft", "delete", "table", "inet", REDIS_TABLE])

    def ill(self) -> str:
        tools = self._tools()
        for instance, name in self._instances().items():
            try:
                connection = tools.connect(instance.address, instance.port)
                try:
                    state = info(connection.command("CLUSTER", "INFO")).get("cluster_state")
                finally:
                    connection.close()
            except (OSError, RedisReplyError) as error:
                return f"does not answer as {name} ({error})"
            if state != "ok":
                return f"says that the cluster of {name} is {state}"
        return "still refuses clients" if self._refuses() else ""


GATES: Mapping[str, Callable[[World, Mapping[str, Any]], Gate]] = {
    "load_balancers": LoadBalancer,
    "app_servers": AppServer,
    "queue_workers": Service,
    "scheduler": Service,
    "redis_cluster": Redis,
    "mysql": Mysql,
}


@dataclass
class Host:
    """All gates of one host, and the marks they follow."""

    world: World
    settings: Mapping[str, Mapping[str, Any]]
    done: list[str] = field(default_factory=list)

    def gates(self, tiers: Iterable[str]) -> list[tuple[str, Gate]]:
        wanted = set(tiers)
        return [(tier, GATES[tier](self.world, self.settings[tier])) for tier in TIERS if tier in wanted]

    def mark(self, tier: str) -> Mark | None:
        """Return the mark of a tier, None when it is in traffic."""
        try:
            return parse_mark((self.world.marks / tier).read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return None

    def marked(self) -> list[str]:
        """Return the tiers that are out."""
        return [tier for tier in TIERS if self.mark(tier) is not None]

    def _write_mark(self, tier: str, mark: Mark) -> None:
        self.world.marks.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = self.world.marks / f".{tier}.new"
        fresh.write_text(mark_text(mark), encoding="utf-8")
        os.replace(fresh, self.world.marks / tier)

    def _remove_mark(self, tier: str) -> None:
        (self.world.marks / tier).unlink(missing_ok=True)
        # Gone with the last mark, and not before.
        with contextlib.suppress(OSError):
            self.world.marks.rmdir()

    def leave(self, tiers: Iterable[str], mark: Mark, patience: float) -> None:
        """Take this host out of new work in C(tiers), and wait until nothing runs there any more, C(patience) seconds at most.

        A mark that is there already stays: it says who took the host out first.
        """
        gates = self.gates(tiers)
        for _tier, gate in gates:
            gate.refuse()
        for tier, gate in gates:
            if self.mark(tier) is None:
                gate.part()
                self._write_mark(tier, mark)
                self.done.append(f"mark {tier}")
            if not gate.closed():
                self.done.append(f"close {tier}")
            gate.close()
        deadline = self.world.clock.monotonic() + patience
        for tier, gate in gates:
            self._wait(tier, gate, deadline, patience)

    def _wait(self, tier: str, gate: Gate, deadline: float, patience: float) -> None:
        quiet = 0
        while True:
            seen = gate.busy()
            quiet = 0 if seen else quiet + 1
            if quiet >= QUIET_LOOKS:
                return
            if seen and self.world.clock.monotonic() >= deadline:
                raise TrafficError(
                    f"{self.world.host} takes no new work in {tier}, but was not idle within {patience:g} s: {seen}; wait and run again, "
                    "give it more time (traffic_patience_seconds), or bring it back with undrain.yml"
                )
            self.world.clock.sleep(PAUSE)

    def join(self, tiers: Iterable[str], patience: float, by: str = "") -> None:
        """Let new work in again, as far as this host can do it: one that is ill stays out, and is named.

        With C(by), only what the verb of this name took out: what a person drained stays out.
        """
        gates = [(tier, gate) for tier, gate in self.gates(tiers) if (mark := self.mark(tier)) and by in ("", mark.by)]
        for tier, gate in gates:
            if tier in ("app_servers",):
                self._wait_until_well(tier, gate, patience)
        for tier, gate in reversed(gates):
            if tier in ("app_servers",):
                # Its mark goes last: a slow start that is interrupted, or a reboot within it, leaves the host out.
                gate.open()
                self._remove_mark(tier)
                self.world.run(["/usr/bin/systemctl", "start", REFUSAL_UNIT])
            else:
                self._remove_mark(tier)
                gate.open()
                self._wait_until_well(tier, gate, patience)
            self.done.append(f"open {tier}")

    def _wait_until_well(self, tier: str, gate: Gate, patience: float) -> None:
        deadline = self.world.clock.monotonic() + patience
        while seen := gate.ill():
            if self.world.clock.monotonic() >= deadline:
                raise TrafficError(f"{self.world.host} can't do the work of {tier}: it {seen}, for {patience:g} s; see its journal")
            self.world.clock.sleep(PAUSE)

    def tell(self, tiers: Iterable[str]) -> dict[str, dict[str, str | bool]]:
        """Return for each tier whether it is out, why, and what ails it otherwise."""
        told: dict[str, dict[str, str | bool]] = {}
        for tier, gate in self.gates(tiers):
            mark = self.mark(tier)
            ill = "" if mark else gate.ill()
            told[tier] = {"out": mark is not None, "ill": ill}
            if mark:
                told[tier] |= {"since": mark.since, "by": mark.by, "reason": mark.reason}
        return told
