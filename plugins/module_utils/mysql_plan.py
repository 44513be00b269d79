# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a MySQL cluster should be, what its servers say they are, and the steps between the two.

Nothing here touches a server. The module C(mysql_state) reads what is, the filter C(mysql_plan) asks C(plan) for the steps,
and the module C(mysql_replication) performs those of its own host, in rounds: C(primary), then C(replicas), then C(restart), one
replica after the other, then C(finish) on the primary.

The inventory only says where a cluster starts. Who is primary now is whoever is writable, so a promotion stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .mysql_gtid import GtidSet
from .mysql_users import FoundUser, UserChange, WantedUser, user_changes

PHASES = ("primary", "replicas", "restart", "finish")


class PlanError(ValueError):
    """A cluster on which no step is safe; the message names the servers and the cure."""


@dataclass(frozen=True)
class Server:
    name: str
    address: str
    state: str = "active"


@dataclass(frozen=True)
class Cluster:
    """``primary`` names the server where a new cluster starts; ``servers`` are all of them, sorted by name."""

    name: str
    primary: str
    servers: tuple[Server, ...]
    port: int = 3306


@dataclass(frozen=True)
class Channel:
    """Where a replica reads from, and whether its two halves run."""

    source_host: str
    source_port: int
    receiver: str = "ON"
    applier: str = "ON"
    error: str = ""
    as_wanted: bool = True
    # What arrived since the channel was set up, applied or not.
    received: GtidSet = field(default_factory=lambda: GtidSet({}))


@dataclass(frozen=True)
class State:
    """What one server said. ``answers`` false: nothing is known but ``why``. ``installed`` false: nothing is there yet."""

    answers: bool = True
    installed: bool = True
    why: str = ""
    uuid: str = ""
    read_only: bool = True
    super_read_only: bool = True
    read_only_persisted: bool | None = None
    executed: GtidSet = field(default_factory=lambda: GtidSet({}))
    purged: GtidSet = field(default_factory=lambda: GtidSet({}))
    channel: Channel | None = None
    semi_sync_source: bool = False
    semi_sync_replicas: int = 0
    databases: frozenset[str] = frozenset()
    users: Mapping[str, FoundUser] = field(default_factory=dict)
    settings_online: Mapping[str, Any] = field(default_factory=dict)
    settings_restart: Mapping[str, Any] = field(default_factory=dict)
    settings_kept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> GtidSet:
        """All transactions that are here, those too that were received and wait to be applied."""
        return self.executed.plus(self.channel.received) if self.channel is not None else self.executed

    @property
    def empty(self) -> bool:
        """Whether nothing was ever stored here: such a server may be overwritten."""
        return not (self.executed or self.databases or self.channel)

    @property
    def writable(self) -> bool:
        return self.answers and not self.read_only and not self.empty and not self.receiving

    @property
    def receiving(self) -> bool:
        return self.channel is not None and (self.channel.receiver != "OFF" or self.channel.applier == "ON")


@dataclass(frozen=True)
class Wanted:
    """What the cluster should hold. ``acknowledgements``: replicas that must have a transaction before it counts."""

    users: tuple[WantedUser, ...] = ()
    databases: tuple[str, ...] = ()
    acknowledgements: int = 1
    restart_primary: bool = False
    # Transactions of its own that a server may hold and still be copied over, once they are saved.
    rejoin_transactions: int = 0


@dataclass(frozen=True)
class Step:
    """One thing to do on one host; ``text`` is how a person reads it, ``arguments`` how the module does."""

    host: str
    phase: str
    action: str
    text: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    primary: str
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    # Host → why this host alone cannot be brought to its state.
    refused: Mapping[str, str] = field(default_factory=dict)

    def of(self, host: str) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.host == host)


def plan(cluster: Cluster, actual: Mapping[str, State], wanted: Wanted) -> Plan:
    """Return the steps that bring ``cluster`` to its state. Raises PlanError where none is safe.

    Servers in state down take no part. A server that does not answer is left alone, unless the answer could decide who
    is primary.
    """
    servers = [server for server in cluster.servers if server.state != "down"]
    states = {server.name: actual.get(server.name, State(answers=False, why="it was not asked")) for server in servers}
    primary, new = current_primary(cluster, servers, states)
    by_name = {server.name: server for server in servers}
    replicas = [server for server in servers if server.name != primary]
    if replicas and wanted.acknowledgements > len(replicas):
        raise PlanError(
            f"cluster {cluster.name} has {len(replicas)} replica(s), so mysql_semi_sync_acknowledgements: "
            f"{wanted.acknowledgements} can never be met; lower it or add servers"
        )
    steps: list[Step] = []
    warnings: list[str] = []
    refused: dict[str, str] = {}
    steps += _primary_steps(by_name[primary], states[primary], wanted, replicated=bool(replicas))
    donor = _donor(primary, replicas, states, cluster.port, by_name[primary].address)
    for server in replicas:
        own, refusal = _replica_steps(
            server,
            states[server.name],
            cluster=cluster,
            primary=by_name[primary],
            primary_state=states[primary],
            donor=by_name[donor],
            wanted=wanted,
        )
        steps += own
        if refusal:
            refused[server.name] = refusal
    if not replicas:
        warnings.append(
            f"cluster {cluster.name} is {primary} alone: semi-synchronous replication is off, and what it acknowledges one "
            f"machine holds"
        )
    for name, state in states.items():
        if state.settings_kept:
            warnings.append(
                ", ".join(
                    f"{name} keeps {setting} = {values[1]} though my.cnf says {values[0]}"
                    for setting, values in sorted(state.settings_kept.items())
                )
                + ": MySQL limits or rounds it, and a restart would change nothing; say in mysql_settings what it keeps, or change "
                "what limits it"
            )
        if state.settings_restart and name == primary and not wanted.restart_primary and not new:
            warnings.append(
                f"{name} is primary and is not restarted: "
                + ", ".join(
                    f"{setting} stays {values[1]}" for setting, values in sorted(state.settings_restart.items())
                )
                + "; switch over first, or set mysql_restart_primary_enabled: true"
            )
    order = {phase: number for number, phase in enumerate(PHASES)}
    return Plan(primary, tuple(sorted(steps, key=lambda step: order[step.phase])), tuple(warnings), refused)


def current_primary(cluster: Cluster, servers: Sequence[Server], states: Mapping[str, State]) -> tuple[str, bool]:
    """Return the name of the server that is primary, and whether the cluster is only about to begin.

    Of several writable servers one is primary beyond doubt when it holds all that the others hold and nothing replicates from
    those: a former primary that came back. Raises PlanError in every other case of two writable servers, when none is
    writable in a cluster that holds data, and when a server that does not answer could be the one.
    """
    silent = [f"{name} ({state.why})" for name, state in states.items() if not state.answers]
    writable = [name for name, state in states.items() if state.writable]
    followed = {
        server.name
        for server in servers
        for state in states.values()
        if state.channel is not None and state.receiving and state.channel.source_host == server.address
    }
    certain = [
        name
        for name in writable
        if all(
            other not in followed and states[other].executed.within(states[name].executed)
            for other in writable
            if other != name
        )
    ]
    if len(certain) == 1:
        return certain[0], False
    if writable:
        raise PlanError(
            f"cluster {cluster.name} has {len(writable)} writable servers: "
            + ", ".join(f"{name} ({len(states[name].executed)} transactions)" for name in writable)
            + "; nothing was changed. Run SET PERSIST super_read_only = ON on those that must not be primary, then run this again"
        )
    if silent:
        raise PlanError(
            f"cluster {cluster.name}: no server that answers is writable, and one that does not answer could be the primary: "
            f"{', '.join(silent)}; nothing was changed. Bring it back, or mark it fleet_state: down once it is certain to stay off"
        )
    holding = [name for name, state in states.items() if not state.empty]
    if not holding:
        if cluster.primary not in states:
            raise PlanError(
                f"cluster {cluster.name} is to begin on {cluster.primary}, which is fleet_state: down; "
                f"set mysql_primary: true on another server"
            )
        return cluster.primary, True
    if holding == [cluster.primary] and states[cluster.primary].channel is None:
        return cluster.primary, False
    raise PlanError(
        f"cluster {cluster.name} holds data and has no writable server: "
        + ", ".join(f"{name} ({len(states[name].executed)} transactions)" for name in holding)
        + "; nothing was changed. Promote the one with the most: STOP REPLICA; RESET REPLICA ALL; "
        "SET PERSIST super_read_only = OFF; SET PERSIST read_only = OFF (or run the failover playbook), then run this again"
    )


def _primary_steps(server: Server, state: State, wanted: Wanted, *, replicated: bool) -> list[Step]:
    """The primary's own steps. While its writes wait for an acknowledgement that cannot come (semi-sync is on and too few
    replicas are attached), what writes is put off until the replicas are back."""
    name = server.name
    steps: list[Step] = []

    def add(phase: str, action: str, text: str, **arguments: Any) -> None:
        steps.append(Step(name, phase, action, text, arguments))

    if state.semi_sync_source and not replicated:
        add("primary", "semi_sync_off", "turn semi-synchronous replication off: there is no replica")
    if state.channel is not None:
        add("primary", "forget_source", f"forget the former source {state.channel.source_host}")
    if state.read_only or state.super_read_only or state.read_only_persisted is not False:
        add("primary", "make_writable", "be writable, also after a restart")
    if state.settings_online:
        add("primary", "set", _settings_text(state.settings_online), settings=_wanted_values(state.settings_online))
    waits = state.semi_sync_source and replicated and state.semi_sync_replicas < wanted.acknowledgements
    writes = "finish" if waits else "primary"
    for database in wanted.databases:
        if database not in state.databases:
            add(writes, "create_database", f"create the database {database}", name=database)
    for change in user_changes(wanted.users, state.users):
        add(writes, "user", _user_text(change), **_user_arguments(change))
    if replicated and not state.semi_sync_source:
        add(
            "finish",
            "semi_sync_on",
            f"acknowledge a transaction once {wanted.acknowledgements} replica(s) hold it",
            acknowledgements=wanted.acknowledgements,
        )
    if state.settings_restart and wanted.restart_primary:
        add("finish", "restart", _restart_text(state.settings_restart))
    return steps


def _replica_steps(
    server: Server, state: State, *, cluster: Cluster, primary: Server, primary_state: State, donor: Server, wanted: Wanted
) -> tuple[list[Step], str]:
    """A replica's steps, and why it cannot be brought all the way, if so. Data that only this server holds is never touched."""
    name = server.name
    steps: list[Step] = []
    refusal = ""

    def add(action: str, text: str, **arguments: Any) -> None:
        steps.append(Step(name, "restart" if action == "restart" else "replicas", action, text, arguments))

    if not state.answers:
        return [], f"{name} does not answer: {state.why}; see journalctl -u mysql and /var/log/mysql/error.log there"
    source: dict[str, Any] = {"host": primary.address, "port": cluster.port}
    channel = state.channel
    attached = channel is not None and (channel.source_host, channel.source_port) == (primary.address, cluster.port)
    if state.semi_sync_source:
        add("semi_sync_off", "stop waiting for acknowledgements: it is a replica")
    if state.installed and (not (state.super_read_only and state.read_only) or state.read_only_persisted is not None):
        add("make_read_only", "refuse writes, also after a restart")
    if state.settings_online:
        add("set", _settings_text(state.settings_online), settings=_wanted_values(state.settings_online))
    if state.empty or _left_behind(state, primary_state, attached=attached):
        why = "it is empty" if state.empty else f"{primary.name} no longer keeps the binary logs that it needs"
        add("clone", f"copy {donor.name} by CLONE: {why}", host=donor.address, port=cluster.port)
        add("attach", f"replicate from {primary.name}", **source, verify=False)
        return steps, ""
    # What a running receiver brings may be ahead of what the primary said a moment earlier; only a stopped one can be judged.
    stopped = channel is None or not attached or channel.receiver == "OFF"
    errant = state.executed.minus(primary_state.executed) if stopped else GtidSet({})
    if errant and len(errant) <= wanted.rejoin_transactions and not errant.minus(errant.minus(state.purged)):
        add("save", f"save {len(errant)} transaction(s) that {primary.name} never had ({errant})", gtids=str(errant))
        add("clone", f"copy {donor.name} by CLONE: it holds transactions of its own", host=donor.address, port=cluster.port)
        add("attach", f"replicate from {primary.name}", **source, verify=False)
        return steps, ""
    if errant:
        refusal = (
            f"{name} holds {len(errant)} transaction(s) that the primary {primary.name} never had ({errant}); its data was left as "
            f"it is. See them with mysqlbinlog --include-gtids='{errant}' and enter them on {primary.name} if they matter; then "
            f"stop mysql on {name}, move /var/lib/mysql away, and run this again: it arrives anew by CLONE"
        )
    elif channel is None or not attached:
        add("attach", f"replicate from {primary.name}", **source, verify=True)
    elif not channel.as_wanted:
        add("attach", f"replicate from {primary.name} with the settings and the password of now", **source, verify=True)
    elif channel.error:
        refusal = (
            f"{name} has stopped replicating from {primary.name}: {channel.error}; its data was left as it is. Mend the cause, then "
            f"START REPLICA there"
        )
    elif channel.receiver == "OFF" or channel.applier != "ON":
        add("start", f"go on replicating from {primary.name}")
    if state.settings_restart and not refusal:
        add("restart", _restart_text(state.settings_restart))
    return steps, refusal


def _left_behind(state: State, primary: State, *, attached: bool) -> bool:
    """Whether the primary has dropped binary logs that the replica still needs, and the replica holds nothing of its own."""
    return (
        not primary.purged.within(state.executed)
        and state.executed.within(primary.executed)
        and not (attached and state.channel is not None and state.channel.receiver == "ON")
    )


def _donor(
    primary: str, replicas: Iterable[Server], states: Mapping[str, State], port: int, primary_address: str
) -> str:
    """Return who gives a copy: a replica that replicates from the primary now, else the primary."""
    for server in replicas:
        state = states[server.name]
        channel = state.channel
        if (
            state.answers
            and channel is not None
            and (channel.source_host, channel.source_port) == (primary_address, port)
            and channel.receiver == "ON"
            and channel.applier == "ON"
            and not channel.error
            and not state.settings_restart
        ):
            return server.name
    return primary


def _wanted_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[0] for name, values in settings.items()}


def _settings_text(settings: Mapping[str, Any]) -> str:
    return "set " + ", ".join(f"{name} = {new} (was {old})" for name, (new, old) in sorted(settings.items()))


def _restart_text(settings: Mapping[str, Any]) -> str:
    return "restart for " + ", ".join(f"{name} = {new} (was {old})" for name, (new, old) in sorted(settings.items()))


def _user_text(change: UserChange) -> str:
    if change.kind in ("grant", "revoke"):
        way = "to" if change.kind == "grant" else "from"
        return f"{change.kind} {', '.join(change.privileges)} on {change.on} {way} {change.account}"
    return f"{change.kind} the user {change.account}: {change.why}"


def _user_arguments(change: UserChange) -> dict[str, Any]:
    return {"kind": change.kind, "account": change.account, "on": change.on, "privileges": list(change.privileges)}


# -- plain data, as modules and filters hand it over ------------------------------------------------------------------


def cluster_from(name: str, data: Mapping[str, Any], port: int) -> Cluster:
    """Return the cluster of a row of C(fleet.mysql_clusters). Raises PlanError when it has no hosts or no primary."""
    servers = tuple(
        Server(str(row["name"]), str(row["address"]), str(row.get("state") or "active"))
        for row in data.get("hosts") or ()
    )
    primary = data.get("primary")
    start = str(primary["name"] if isinstance(primary, Mapping) else primary or "")
    if start not in {server.name for server in servers}:
        names = ", ".join(server.name for server in servers) or "none"
        raise PlanError(f"cluster {name} starts on {start or 'no server'}, which is not one of its hosts: {names}")
    return Cluster(name, start, tuple(sorted(servers, key=lambda server: server.name)), port)


def state_from(data: Mapping[str, Any]) -> State:
    """Return the state that the module mysql_state returned for one server."""
    if not data.get("installed"):
        return State(installed=False)
    if not data.get("answers"):
        return State(answers=False, why=str(data.get("why") or "no answer"))
    channel = data.get("channel")
    return State(
        uuid=data["uuid"],
        read_only=data["read_only"],
        super_read_only=data["super_read_only"],
        read_only_persisted=data["read_only_persisted"],
        executed=GtidSet.parse(data["gtid_executed"]),
        purged=GtidSet.parse(data["gtid_purged"]),
        channel=Channel(**{**channel, "received": GtidSet.parse(channel.get("received") or "")}) if channel else None,
        semi_sync_source=data["semi_sync_source"],
        semi_sync_replicas=data["semi_sync_replicas"],
        databases=frozenset(data["databases"]),
        users={
            account: FoundUser(
                user["plugin"],
                user["password_matches"],
                {on: frozenset(privileges) for on, privileges in user["privileges"].items()},
                user["tls"],
            )
            for account, user in data["users"].items()
        },
        settings_online={name: tuple(values) for name, values in data["settings_online"].items()},
        settings_restart={name: tuple(values) for name, values in data["settings_restart"].items()},
        settings_kept={name: tuple(values) for name, values in data.get("settings_kept", {}).items()},
    )


def plan_data(found: Plan) -> dict[str, Any]:
    """Return a plan as plain data: C(primary), C(warnings), C(refused), and C(steps) by host and phase."""
    steps: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for step in found.steps:
        rows = steps.setdefault(step.host, {phase: [] for phase in PHASES})
        rows[step.phase].append({"action": step.action, "text": step.text, "arguments": dict(step.arguments)})
    return {
        "primary": found.primary,
        "warnings": list(found.warnings),
        "refused": dict(found.refused),
        "steps": steps,
    }
