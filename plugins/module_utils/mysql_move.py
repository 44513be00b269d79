# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who becomes primary, in a planned move (C(switchover)) and after a death (C(failover)), and what each server does for it.

Nothing here touches a server; C(mysql_mover) performs the steps, on all servers at once. Everything is decided from what the servers
say now, so that a move that was interrupted anywhere is finished by the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .mysql_plan import Cluster, PlanError, Server, State, Step, current_primary

PHASE = "move"


@dataclass(frozen=True)
class Move:
    """C(primary): who is primary afterwards. C(former): who was, empty when nobody knows. C(fence): who must be switched off first.
    Without steps the primary is right already, and what is left to do (attach, rejoin) is the ordinary plan's."""

    primary: str
    former: str
    why: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    fence: str = ""


@dataclass(frozen=True)
class Options:
    """What was asked for. ``to``: the server to promote, empty for the best. ``force`` and ``alone``: see C(failover)."""

    to: str = ""
    acknowledgements: int = 1
    drain_seconds: float = 0.4
    quiet_seconds: float = 30
    force: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Seen:
    """What others than its own host's SSH say of a server: whether it was reached, and by whom."""

    alive: bool = False
    writable: bool = False
    by: tuple[str, ...] = field(default_factory=tuple)


# -- the planned move ---------------------------------------------------------------------------------------------------


def switchover(cluster: Cluster, actual: Mapping[str, State], options: Options) -> Move:
    """Return the move to ``options.to``, or to the best replica. Raises PlanError where nothing should be moved now.

    Without a writable server an earlier run was interrupted between two primaries: then all of them must answer, and the move is
    finished.
    """
    servers, states = _taking_part(cluster, actual)
    _known(cluster, options.to, servers)
    silent = [f"{name} ({state.why})" for name, state in states.items() if not state.answers]
    writable = [name for name, state in states.items() if state.writable]
    if not writable and not silent and any(not state.empty for state in states.values()):
        return _finish_interrupted(cluster, servers, states, options)
    primary, _new = current_primary(cluster, tuple(servers.values()), states)
    if options.to == primary:
        return Move(primary, "", (f"{primary} is primary already",))
    ill = _ill(cluster, servers, states, primary)
    left_over = [name for name in ill if _never_attached(servers, states[name], primary)]
    if left_over and not options.to and len(left_over) == len(ill):
        only = f"{primary} is primary; an earlier move was interrupted, so this run only finishes it: {', '.join(left_over)}"
        return Move(primary, "", (only,))
    if ill:
        raise PlanError(
            f"cluster {cluster.name} is not well, so its primary {primary} stays where it is: "
            + "; ".join(f"{name} {why}" for name, why in ill.items())
            + ". Run site.yml, or mark a server that is gone fleet_state: down; if the primary is dead, run failover.yml"
        )
    candidates = [name for name in servers if name != primary and servers[name].state == "active"]
    if options.to and options.to not in candidates:
        raise PlanError(
            f"mysql_switchover_to: {options.to} is fleet_state: {servers[options.to].state}; only an active server becomes primary"
        )
    if not candidates:
        raise PlanError(f"cluster {cluster.name} has no active replica that {primary} could hand over to; add one")
    behind = {name: len(states[primary].executed.minus(states[name].held)) for name in candidates}
    chosen = options.to or min(candidates, key=lambda name: (behind[name], name))
    why = (
        f"{primary} hands over to {chosen}, which "
        + ("was asked for" if options.to else "misses least of " + ", ".join(candidates))
        + f" ({behind[chosen]} transaction(s) under way)",
    )
    return _handing_over(cluster, servers, primary, chosen, options, why=why)


def _handing_over(
    cluster: Cluster, servers: Mapping[str, Server], former: str, chosen: str, options: Options, *, why: tuple[str, ...]
) -> Move:
    source, target = servers[former].address, servers[chosen].address
    others = [name for name in servers if name not in (former, chosen)]
    steps = [
        Step(
            former,
            PHASE,
            "hand_over",
            f"take no more writes, and let {chosen} become primary",
            {
                "host": target,
                "port": cluster.port,
                "others": [servers[name].address for name in others],
                "drain_seconds": options.drain_seconds,
                "quiet_seconds": options.quiet_seconds,
            },
        ),
        Step(former, PHASE, "semi_sync_off", "stop waiting for acknowledgements: it is a replica"),
        _attach(former, chosen, target, cluster.port),
        Step(
            chosen,
            PHASE,
            "take_over",
            f"become primary with everything that {former} committed",
            {"host": source, "port": cluster.port, "acknowledgements": options.acknowledgements},
        ),
        Step(chosen, PHASE, "forget_source", f"forget the former source {former}"),
    ]
    steps += [_follow(name, chosen, target, cluster.port) for name in others]
    return Move(chosen, former, why, tuple(steps))


def _finish_interrupted(
    cluster: Cluster, servers: Mapping[str, Server], states: Mapping[str, State], options: Options
) -> Move:
    """Nobody is writable and everybody answers: a move ended between two primaries. Who holds everything finishes it."""
    full = [name for name, state in states.items() if _holds_all(state, states.values())]
    sources = [name for name in full if states[name].channel is None]
    if not full:
        raise PlanError(
            f"cluster {cluster.name} has no writable server and none that holds everything: {_counts(states)}; nothing was changed. "
            f"See which transactions differ, then run failover.yml with mysql_failover_to and mysql_failover_force"
        )
    # The former primary has no source; a candidate that holds all has none any more or still replicates.
    former = next((name for name in sources if name != options.to), "")
    chosen = options.to or next((name for name in sorted(servers) if name in full and name != former), former or full[0])
    why = f"no server takes writes: an earlier run was interrupted; {chosen} becomes primary"
    if not former or chosen == former:
        return _standing_still(cluster, servers, list(servers), chosen, options, former="", why=(why,))
    return _handing_over(cluster, servers, former, chosen, options, why=(why,))


def _ill(
    cluster: Cluster, servers: Mapping[str, Server], states: Mapping[str, State], primary: str
) -> dict[str, str]:
    """Server → what is wrong with it as a replica of the primary."""
    source = (servers[primary].address, cluster.port)
    found: dict[str, str] = {}
    for name, state in states.items():
        channel = state.channel
        if name == primary:
            continue
        if not state.answers:
            found[name] = f"does not answer: {state.why}"
        elif channel is None or (channel.source_host, channel.source_port) != source:
            found[name] = f"does not replicate from {primary}"
        elif channel.receiver != "ON" or channel.applier != "ON" or channel.error:
            found[name] = f"has stopped replicating: {channel.error or f'receiver {channel.receiver}, applier {channel.applier}'}"
    return found


def _never_attached(servers: Mapping[str, Server], state: State, primary: str) -> bool:
    """Whether this is how an interrupted move leaves a server: without a source, or with the former one."""
    channel = state.channel
    return state.answers and (channel is None or channel.source_host != servers[primary].address)


# -- after a death ------------------------------------------------------------------------------------------------------


def failover(cluster: Cluster, actual: Mapping[str, State], seen: Mapping[str, Seen], options: Options) -> Move:
    """Return the move to the replica that holds most, after the primary's death. ``seen``: what was heard of those that did not
    answer over SSH.

    Every acknowledged transaction is on at least ``acknowledgements`` replicas. So those that answer hold all of them when fewer
    than that many replicas are missing; then so does the one among them that holds what all others hold.

    ``force`` permits what may lose acknowledged writes, or moves them away from a primary that lives; ``alone`` permits a primary
    without enough replicas to acknowledge, which then waits for none.
    Raises PlanError, naming what would have to be permitted.
    """
    servers, states = _taking_part(cluster, actual)
    _known(cluster, options.to, servers)
    answering = {name: state for name, state in states.items() if state.answers}
    writable = [name for name, state in answering.items() if state.writable]
    if writable and not options.force:
        return _alive(cluster, servers, states, options)
    if writable:
        # Told to: it counts as dead, and is switched off.
        dead, _new = current_primary(cluster, tuple(servers.values()), states)
        if dead == options.to:
            raise PlanError(f"mysql_failover_to: {dead} is the primary that is to be replaced; nothing was changed")
        del answering[dead]
    else:
        dead = _former_primary(cluster, servers, states)
    if dead and seen.get(dead, Seen()).alive and not options.force:
        raise PlanError(
            f"the primary {dead} is alive: {', '.join(seen[dead].by)} reached it, only this run cannot log in there; nothing was changed. "
            f"If it must be replaced nevertheless, say -e mysql_failover_force=true: it is switched off first"
        )
    holding = {name: state for name, state in answering.items() if not state.empty}
    if not holding:
        raise PlanError(f"cluster {cluster.name}: no server answers that holds data: {_silent(states)}; nothing was changed")
    missing = [name for name in states if name not in answering and name != dead]
    if len(missing) >= options.acknowledgements and not options.force:
        raise PlanError(
            f"cluster {cluster.name}: {', '.join(missing)} may alone hold acknowledged transactions, since "
            f"{options.acknowledgements} replica(s) acknowledge each and {len(missing)} cannot be asked: {_silent(states)}; nothing was "
            f"changed. Bring one back, or say -e mysql_failover_force=true to do without what only they hold"
        )
    chosen, why = _most_advanced(cluster, servers, holding, options)
    replicas = [name for name in holding if name != chosen]
    if len(replicas) < options.acknowledgements and not options.alone:
        raise PlanError(
            f"cluster {cluster.name}: {chosen} would have {len(replicas)} replica(s), and {options.acknowledgements} must acknowledge each "
            f"write; nothing was changed. Bring a replica back, or say -e mysql_failover_alone=true: then it acknowledges what it "
            f"alone holds"
        )
    told = (
        f"{dead or 'no server'} was primary and does not answer" if dead else "no server takes writes",
        *why,
        f"asked were {', '.join(answering)}" + (f", not to be had were {', '.join(missing)}" if missing else ""),
    )
    return _standing_still(cluster, servers, list(holding), chosen, options, former=dead, why=told)


def _alive(
    cluster: Cluster, servers: Mapping[str, Server], states: Mapping[str, State], options: Options
) -> Move:
    primary, _new = current_primary(cluster, tuple(servers.values()), states)
    if options.to not in ("", primary):
        raise PlanError(
            f"the primary {primary} is alive and takes writes, so {options.to} was not promoted; to move it, run switchover.yml "
            f"-e mysql_switchover_to={options.to}"
        )
    ill = _ill(cluster, servers, states, primary)
    if not ill:
        raise PlanError(
            f"the primary {primary} is alive and takes writes, and all replicas follow it: there is nothing to fail over; nothing was "
            f"changed. To move it, run switchover.yml"
        )
    return Move(
        primary,
        "",
        (
            f"{primary} is alive and primary, so nothing is promoted",
            "what can be brought back is: " + "; ".join(f"{name} {why}" for name, why in ill.items()),
        ),
    )


def _former_primary(cluster: Cluster, servers: Mapping[str, Server], states: Mapping[str, State]) -> str:
    """Return the silent server that the others replicate from, or the only silent one when nobody replicates any more."""
    by_address = {(server.address, cluster.port): name for name, server in servers.items()}
    sources = [
        by_address.get((state.channel.source_host, state.channel.source_port), "")
        for state in states.values()
        if state.answers and state.channel is not None
    ]
    silent = [name for name in sources if name and not states[name].answers]
    return max(sorted(set(silent)), key=silent.count, default="")


def _most_advanced(
    cluster: Cluster, servers: Mapping[str, Server], states: Mapping[str, State], options: Options
) -> tuple[str, tuple[str, ...]]:
    fit = [name for name in states if servers[name].state == "active"] or list(states)
    full = [name for name in fit if _holds_all(states[name], states.values())]
    if options.to:
        if options.to not in states:
            raise PlanError(f"mysql_failover_to: {options.to} does not answer, or holds no data; nothing was changed")
        lacks = {
            name: len(state.held.minus(states[options.to].held))
            for name, state in states.items()
            if not state.held.within(states[options.to].held)
        }
        if lacks and not options.force:
            raise PlanError(
                f"mysql_failover_to: {options.to} lacks transactions: "
                + ", ".join(f"{count} that {name} holds" for name, count in lacks.items())
                + "; nothing was changed. Choose one that holds them, or say -e mysql_failover_force=true to do without them"
            )
        return options.to, (f"{options.to} becomes primary, as was asked for: {_counts(states)}",)
    if not full and not options.force:
        raise PlanError(
            f"cluster {cluster.name}: no server holds what all others hold: {_counts(states)}; nothing was changed. Name one "
            f"(mysql_failover_to) and say -e mysql_failover_force=true to do without what only others hold"
        )
    # Of several that hold everything, the one with least left to apply.
    chosen = min(
        full or fit,
        key=lambda name: (-len(states[name].held), len(states[name].held.minus(states[name].executed)), name),
    )
    return chosen, (f"{chosen} becomes primary: it holds what all others hold ({_counts(states)})",)


def _standing_still(
    cluster: Cluster,
    servers: Mapping[str, Server],
    taking_part: Sequence[str],
    chosen: str,
    options: Options,
    *,
    former: str,
    why: tuple[str, ...],
) -> Move:
    """The steps that promote ``chosen`` when no server takes writes."""
    target = servers[chosen].address
    others = [name for name in taking_part if name != chosen]
    still = "receive nothing more from the former primary, and apply what was received"
    alone = len(others) < options.acknowledgements
    steps = [
        Step(chosen, PHASE, "stand_still", still),
        Step(
            chosen,
            PHASE,
            "promote",
            "become primary" + (", waiting for no replica" if alone else ""),
            {
                "port": cluster.port,
                "others": [servers[name].address for name in others],
                "acknowledgements": 0 if alone else options.acknowledgements,
                "force": options.force,
            },
        ),
    ]
    for name in others:
        steps += [Step(name, PHASE, "stand_still", still), _follow(name, chosen, target, cluster.port)]
    return Move(chosen, former, why, tuple(steps), fence=former)


# -- shared -------------------------------------------------------------------------------------------------------------


def _taking_part(cluster: Cluster, actual: Mapping[str, State]) -> tuple[dict[str, Server], dict[str, State]]:
    servers = {server.name: server for server in cluster.servers if server.state != "down"}
    silent = State(answers=False, why="it was not asked")
    return servers, {name: actual.get(name, silent) for name in servers}


def _known(cluster: Cluster, name: str, servers: Mapping[str, Server]) -> None:
    if name and name not in servers:
        raise PlanError(f"{name} is no server of cluster {cluster.name} that could be primary; it has {', '.join(servers)}")


def _holds_all(state: State, states: Iterable[State]) -> bool:
    return not state.empty and all(other.held.within(state.held) for other in states)


def _counts(states: Mapping[str, State]) -> str:
    return ", ".join(f"{name} {len(state.held)}" for name, state in states.items()) + " transactions"


def _silent(states: Mapping[str, State]) -> str:
    return ", ".join(f"{name} ({state.why})" for name, state in states.items() if not state.answers)


def _attach(name: str, primary: str, address: str, port: int) -> Step:
    return Step(
        name, PHASE, "attach", f"replicate from {primary}", {"host": address, "port": port, "verify": True}
    )


def _follow(name: str, primary: str, address: str, port: int) -> Step:
    return Step(name, PHASE, "follow", f"replicate from {primary}", {"host": address, "port": port})


def move_data(move: Move) -> dict[str, Any]:
    """Return a move as plain data: C(primary), C(former), C(why), C(fence), and C(steps) by host."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for step in move.steps:
        steps.setdefault(step.host, []).append(
            {"action": step.action, "text": step.text, "arguments": dict(step.arguments)}
        )
    return {
        "primary": move.primary,
        "former": move.former,
        "why": list(move.why),
        "fence": move.fence,
        "steps": steps,
    }


def seen_from(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Seen]:
    """Return who heard of each server: the control node (C(seen) of M(graphic_school.scaling.mysql_survey)), and the other servers
    (C(reached) of their state)."""
    found: dict[str, Seen] = {}
    for name, result in states.items():
        seen = result.get("seen") or {}
        health = seen.get("health") or {}
        by = ["the control node"] if health.get("uuid") else []
        by += [
            asker
            for asker, other in sorted(states.items())
            if seen.get("address") in ((other.get("server") or {}).get("reached") or ())
        ]
        found[name] = Seen(bool(by), bool(health.get("writable")), tuple(by))
    return found


__all__ = ["Move", "Options", "PlanError", "Seen", "failover", "move_data", "seen_from", "switchover"]
