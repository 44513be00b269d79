# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that move a primary, performed on all servers at once; each server does its own and watches the others.

Nobody needs rights on another server: they meet in user locks, which anybody who may log in can see and which vanish with the
process that holds them. C(HAND) on a server: its part of the move runs there. C(TOKEN) on the former primary: whoever holds
it decides who is primary; the former primary gives it away only once it takes no writes, and takes writes again only once it has it
back. C(TAKEN) on the candidate: it has the token, so the others may follow it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .mysql_client import ClientError, Connection, Performer, error_number, rows, text
from .mysql_gtid import GtidSet

HAND = "graphic_school hand"
TOKEN = "graphic_school token"
TAKEN = "graphic_school taken"
STILL = "graphic_school still"
POLL = 0.01
# The candidate is this close behind before the primary stops anything for it.
CLOSE_SECONDS = 30.0
# A router that was told hands out nothing more once its event loop has turned.
SETTLE_SECONDS = 0.03
# Most clients connect, write and leave within this time.
GRACE_SECONDS = 0.05
# Statements that were under way when writes were refused have this long to end.
END_SECONDS = 0.1
LOCK_SECONDS = 1
LOCK_WAIT_TIMEOUT = 1205
SAVED_FOLDER = "/var/lib/graphic_school/mysql-saved"
SAVED_GTID = re.compile(r"^SET @@SESSION\.GTID_NEXT= ?'([0-9a-f-]{36}:[^']+)'", re.MULTILINE)
# Connections of the fleet itself.
SYSTEM_USERS = frozenset({"mysql_health", "root", "event_scheduler", "system user"})

SESSIONS = """
SELECT t.processlist_id AS id, t.processlist_user AS user, t.processlist_command AS command,
  (SELECT MAX(s.event_id) FROM performance_schema.events_statements_current s WHERE s.thread_id = t.thread_id) AS statement,
  EXISTS (SELECT 1 FROM performance_schema.events_transactions_current x
           WHERE x.thread_id = t.thread_id AND x.state = 'ACTIVE' AND x.autocommit = 'NO') AS open,
  COALESCE(t.processlist_time, 0) AS seconds
FROM performance_schema.threads t
WHERE t.type = 'FOREGROUND' AND t.processlist_id IS NOT NULL AND t.processlist_id <> CONNECTION_ID()
  AND t.processlist_command NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID')
"""

CONNECTING = """
SELECT c.host AS host, c.port AS port FROM performance_schema.replication_connection_configuration c
JOIN performance_schema.replication_connection_status s USING (channel_name)
WHERE channel_name = '' AND c.host <> '' AND s.service_state = 'CONNECTING'
"""


@dataclass(frozen=True)
class Session:
    """A client's connection. ``statement`` changes with each statement; ``open``: a transaction has begun and not ended."""

    id: int
    statement: int
    busy: bool
    open: bool
    seconds: int = 0

    @property
    def idle(self) -> bool:
        return not self.busy and not self.open


def sessions_from(found: Sequence[Mapping[str, Any]], system_users: frozenset[str]) -> dict[int, Session]:
    """Return the clients' connections of the rows of C(SESSIONS), without those of the fleet itself."""
    return {
        int(row["id"]): Session(
            int(row["id"]),
            int(row["statement"] or 0),
            busy=text(row["command"]) != "Sleep",
            open=bool(int(row["open"] or 0)),
            seconds=int(row["seconds"] or 0),
        )
        for row in found
        if text(row["user"]) not in system_users
    }


def may_stop(sessions: Mapping[int, Session], passed: float) -> bool:
    """Return whether a primary that hands over may refuse writes now, C(passed) seconds after the last new connection could come.

    At once when nobody is connected. Else clients get a moment to finish what they came for; then it is enough that no transaction
    and no statement is under way, since a client whose connection ends between two statements opens another one.
    """
    return not sessions or (passed >= GRACE_SECONDS and all(session.idle for session in sessions.values()))


@dataclass
class Mover(Performer):
    """A performer that can also move the primary. ``connect_to`` logs in at another server as replicas do; ``give_up`` ends this host's
    attempts to connect to an address and port that nobody has answered; ``signal`` writes (true) or removes the file that tells this
    host's health service of the handover; ``not_told`` asks that service which routers have not heard of it yet; ``save_events``
    writes the events of a GTID set from this server's binary logs to a file and returns its text."""

    connect_to: Callable[[str, int], Connection] = field(kw_only=True)
    give_up: Callable[[str, int], None] = field(kw_only=True)
    signal: Callable[[bool], None] = field(kw_only=True)
    not_told: Callable[[], list[str]] = field(kw_only=True)
    save_events: Callable[[str, str], str] = field(kw_only=True)
    log: list[str] = field(default_factory=list, kw_only=True)
    # Held until this host's steps are done; the locks in them with them.
    held: list[Connection] = field(default_factory=list, kw_only=True)

    # -- small things ---------------------------------------------------------------------------------------------------

    def _note(self, what: str) -> None:
        self.log.append(f"{self.clock():.3f} {what}")

    def _poll(self, what: str, seconds: float, check: Callable[[], str]) -> None:
        end = self.clock() + seconds
        while missing := check():
            if self.clock() > end:
                raise ClientError(f"{what}: not within {seconds:g} s: {missing}")
            self.sleep(POLL)

    def _hold(self, *locks: str, patience: float = 0) -> Connection:
        """Hold these locks on this server until the steps of this host are done. A statement may take C(patience) seconds."""
        connection = self.connect(patience + self.wait_seconds)
        self.held.append(connection)
        for lock in locks:
            if not self._lock(connection, lock):
                raise ClientError("another run moves this cluster's primary at this moment; wait for it, then run this again")
        return connection

    @staticmethod
    def _lock(connection: Connection, name: str) -> bool:
        return bool(int(rows(connection, "SELECT GET_LOCK(%s, 0) AS got", (name,))[0]["got"] or 0))

    @staticmethod
    def _is_held(connection: Connection, name: str) -> bool:
        return rows(connection, "SELECT IS_USED_LOCK(%s) AS id", (name,))[0]["id"] is not None

    def _remote(self, host: str, port: int, seconds: float) -> Connection:
        found: list[Connection] = []

        def check() -> str:
            try:
                found.append(self.connect_to(host, port))
            except Exception as error:
                return str(error)
            return ""

        self._poll(f"cannot log in at {host}:{port} as {self.replication.user}", seconds, check)
        self.held.append(found[0])
        return found[0]

    def release(self) -> None:
        """Let go of everything that was held. Called when the steps of this host are done, or have failed."""
        while self.held:
            with suppress(Exception):
                self.held.pop().close()
        self.signal(False)

    @staticmethod
    def _one(connection: Connection, expression: str) -> str:
        return text(rows(connection, f"SELECT {expression} AS value")[0]["value"])

    def _read_only(self, connection: Connection) -> bool:
        return self._one(connection, "@@GLOBAL.super_read_only") == "1"

    # -- the former primary ---------------------------------------------------------------------------------------------

    def _do_hand_over(
        self, host: str, port: int, others: Sequence[str], drain_seconds: float, quiet_seconds: float
    ) -> None:
        """Take no more writes and let ``host`` become primary; writable again if that does not happen."""
        local = self._hold(HAND, TOKEN)
        candidate = self._remote(host, port, self.wait_seconds)
        remotes = {host: candidate} | {other: self._remote(other, port, self.wait_seconds) for other in others}
        self._poll(
            "nothing was changed: the other servers did not begin their part",
            self.wait_seconds,
            lambda: ", ".join(name for name, remote in remotes.items() if not self._is_held(remote, HAND)),
        )

        def sessions() -> dict[int, Session]:
            return sessions_from(rows(local, SESSIONS), SYSTEM_USERS | {self.replication.user})

        # It begins at a moment without long transactions, since those that do not end in time are rolled back.
        self._poll(
            "nothing was changed: transactions or statements run on the primary for longer than a second",
            quiet_seconds,
            lambda: ", ".join(f"connection {s.id} for {s.seconds} s" for s in sessions().values() if not s.idle and s.seconds > 1),
        )
        was_read_only = self._read_only(local)
        self._note("begin")
        try:
            if not was_read_only:
                self.signal(True)
                self._drain(sessions, drain_seconds)
                self._refuse_writes(local, sessions)
                self._note("read-only")
            rows(local, "SELECT RELEASE_LOCK(%s)", (TOKEN,))
            self._poll(
                f"{host} did not become primary",
                self.wait_seconds,
                lambda: self._not_taken(candidate, self._is_held(candidate, HAND)),
            )
        except Exception:
            if not was_read_only:
                self._take_back(local, candidate)
            raise
        self._note("handed over")
        rows(local, "RESET PERSIST IF EXISTS super_read_only")
        rows(local, "RESET PERSIST IF EXISTS read_only")
        self._end(local, list(sessions()))

    def _drain(self, sessions: Callable[[], dict[int, Session]], seconds: float) -> None:
        self._poll("the routers did not take notice", 2.0, lambda: ", ".join(self._not_told_yet()))
        self._note("routers told")
        self.sleep(SETTLE_SECONDS)
        begun = self.clock()
        while not may_stop(found := sessions(), self.clock() - begun):
            if self.clock() - begun > seconds:
                self._note(f"{sum(not session.idle for session in found.values())} connection(s) still at work")
                return
            self.sleep(POLL)
        self._note("quiet")

    def _refuse_writes(self, local: Connection, sessions: Callable[[], dict[int, Session]]) -> None:
        """From here on nobody commits. Only then connections are ended: before, one could end between a commit and its answer, and a
        client that repeats what failed would write twice.

        C(read_only) before C(super_read_only): what it says, Laravel takes as a lost connection, so it connects again and repeats.
        """
        rows(local, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        try:
            rows(local, "SET GLOBAL read_only = ON")
        except Exception as error:
            if error_number(error) != LOCK_WAIT_TIMEOUT:
                raise
            self._end(local, [id for id, session in sessions().items() if not session.idle])
            rows(local, "SET GLOBAL read_only = ON")
        self._note("refuses writes")
        end = self.clock() + END_SECONDS
        while found := sessions():
            over = self.clock() > end
            self._end(local, [id for id, session in found.items() if over or session.idle or session.open])
            if over:
                break
            self.sleep(POLL)
        rows(local, "SET GLOBAL super_read_only = ON")

    def _not_told_yet(self) -> list[str]:
        self.signal(True)
        return self.not_told()

    @staticmethod
    def _end(local: Connection, ids: Sequence[int]) -> None:
        for id in ids:
            # It may have ended by itself in between.
            with suppress(Exception):
                rows(local, f"KILL {int(id)}")

    def _not_taken(self, candidate: Connection, at_work: bool) -> str:
        self.signal(True)
        if not self._read_only(candidate):
            return ""
        if not at_work:
            raise ClientError("its part of the move ended before it was primary")
        return "it is read-only"

    def _take_back(self, local: Connection, candidate: Connection) -> None:
        """Be writable again, unless the candidate decides that (it holds the token) or has decided (it is writable)."""
        self._poll("the candidate still holds the token, so this server stays read-only", self.wait_seconds, lambda: (
            "" if self._lock(local, TOKEN) else "held"
        ))
        # A last statement of the candidate's may be under way.
        self.sleep(1.0)
        if self._read_only(candidate):
            rows(local, "SET GLOBAL super_read_only = OFF")
            rows(local, "SET GLOBAL read_only = OFF")
        self.signal(False)

    # -- the candidate --------------------------------------------------------------------------------------------------

    def _do_take_over(self, host: str, port: int, acknowledgements: int) -> None:
        """Become primary once ``host`` has handed over, with everything that it committed."""
        local = self.connect(self.wait_seconds)
        self.held.append(local)
        source = self._remote(host, port, self.wait_seconds)
        self._catch_up(local, source, CLOSE_SECONDS)
        if not self._lock(local, HAND):
            raise ClientError("another run moves this cluster's primary at this moment; wait for it, then run this again")
        self._poll(f"{host} did not begin", self.wait_seconds, lambda: "" if self._is_held(source, TOKEN) else "waiting")
        end = self.clock() + 2 * self.wait_seconds
        while not self._lock(source, TOKEN):
            self.signal(True)
            if not self._is_held(source, HAND) and not self._read_only(source):
                raise ClientError(f"{host} ended its part of the move and stays primary")
            if self.clock() > end:
                raise ClientError(f"{host} did not hand over within {2 * self.wait_seconds:g} s")
            self.sleep(POLL)
        if not self._read_only(source):
            raise ClientError(f"{host} let go of its token while it takes writes; it stays primary")
        self._note("token")
        self._lock(local, TAKEN)
        self._catch_up(local, source, self.wait_seconds)
        self._note("caught up")
        self._become_primary(local, acknowledgements, lambda: self._is_held(source, TOKEN))
        self.signal(False)
        self._note("writable")

    def _catch_up(self, local: Connection, source: Connection, seconds: float) -> None:
        wanted = self._one(source, "@@GLOBAL.gtid_executed").replace("\n", "")
        found = rows(local, "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late", (wanted, seconds))
        if int(found[0]["late"] or 0):
            missing = GtidSet.parse(wanted).minus(GtidSet.parse(self._one(local, "@@GLOBAL.gtid_executed")))
            raise ClientError(f"{len(missing)} transaction(s) of its source did not arrive within {seconds:g} s")

    @staticmethod
    def _become_primary(local: Connection, acknowledgements: int, may: Callable[[], bool]) -> None:
        rows(local, "STOP REPLICA")
        # First this, so that no write is acknowledged that no replica holds.
        if acknowledgements:
            rows(local, "SET PERSIST rpl_semi_sync_source_enabled = ON")
        else:
            rows(local, "SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        if not may():
            raise ClientError("the former primary took its token back")
        rows(local, "SET PERSIST super_read_only = OFF")
        rows(local, "SET PERSIST read_only = OFF")

    # -- everybody else -------------------------------------------------------------------------------------------------

    def _do_follow(self, host: str, port: int) -> None:
        """Replicate from ``host`` as soon as it takes over."""
        if not self.held:
            self._wait_for_nobody(self._hold(HAND))
        candidate = self._remote(host, port, self.wait_seconds)
        begun = self.clock()

        def check() -> str:
            if self._is_held(candidate, TAKEN) or not self._read_only(candidate):
                return ""
            if self.clock() - begun > self.wait_seconds and not self._is_held(candidate, HAND):
                raise ClientError(f"{host} ended its part of the move before it was primary")
            return "it has not taken over"

        # It first applies what it received, however long that takes.
        self._poll(f"{host} did not become primary", self.clone_seconds + self.wait_seconds, check)
        self._note("follow")
        # A new source is the receiver's affair alone: to stop the applier too takes long while it has work. What the candidate lacks of
        # what is here, it fetches or has checked before it becomes primary.
        if self._ask("SELECT host FROM performance_schema.replication_connection_configuration WHERE host <> '' AND auto_position"):
            self._run("STOP REPLICA IO_THREAD")
            self._change_source(host, port)
            self._do_start()
        else:
            self._do_attach(host, port, verify=True)
        self._note("attached")

    # -- a former primary that comes back -------------------------------------------------------------------------------

    def _do_save(self, gtids: str) -> None:
        """Keep the events of transactions that are about to be overwritten. Raises ClientError unless all of them are in the file."""
        self._run("STOP REPLICA")
        path = f"{SAVED_FOLDER}/{re.sub('[^0-9a-z-]+', '_', gtids)[:120]}.sql"
        saved = self.save_events(gtids, path)
        wanted = GtidSet.parse(gtids)
        found = GtidSet.parse(",".join(SAVED_GTID.findall(saved)))
        if missing := wanted.minus(found):
            raise ClientError(
                f"{path} lacks {len(missing)} of {len(wanted)} transaction(s): {missing}; this server's data was left as it is"
            )

    # -- after the primary's death --------------------------------------------------------------------------------------

    def _do_stand_still(self) -> None:
        """Receive nothing more, and apply what was received: what this server holds is then final."""
        local = self._hold(HAND, patience=self.clone_seconds)
        self._wait_for_nobody(local)
        # A receiver that is connecting to a dead host notices only after two seconds that it should stop.
        for row in rows(local, CONNECTING):
            self.give_up(text(row["host"]), int(row["port"]))
        rows(local, "STOP REPLICA IO_THREAD")
        self._note("receives nothing more")
        received = rows(
            local,
            "SELECT s.received_transaction_set AS received FROM performance_schema.replication_connection_status s "
            "JOIN performance_schema.replication_connection_configuration c USING (channel_name) "
            "WHERE channel_name = '' AND c.host <> ''",
        )
        if received:
            wanted = text(received[0]["received"]).replace("\n", "")
            late = rows(local, "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late", (wanted, self.clone_seconds))
            if int(late[0]["late"] or 0):
                raise ClientError(f"what was received was not applied within {self.clone_seconds:g} s; run this again")
        self._lock(local, STILL)
        self._note("stands still")

    @staticmethod
    def _wait_for_nobody(local: Connection) -> None:
        """A replica that was primary once may still want each transaction acknowledged, also those that it applies: it would hang."""
        if int(rows(local, "SELECT @@GLOBAL.rpl_semi_sync_source_enabled AS wanted")[0]["wanted"]):
            rows(local, "SET GLOBAL rpl_semi_sync_source_enabled = OFF")

    def _moves(self, remote: Connection, begun: float) -> str:
        """Why a server does not stand still yet. Raises ClientError when it has ended its part, or never began it."""
        if self._is_held(remote, STILL):
            return ""
        if self.clock() - begun > self.wait_seconds and not self._is_held(remote, HAND):
            raise ClientError("nothing was promoted: its part of the move ended, or did not begin")
        return "it applies what it received"

    def _do_promote(self, port: int, others: Sequence[str], acknowledgements: int, force: bool) -> None:
        """Become primary once all ``others`` stand still and none of them holds more than this server."""
        local = self._hold(TAKEN)
        ours = GtidSet.parse(self._one(local, "@@GLOBAL.gtid_executed"))
        for other in others:
            remote = self._remote(other, port, self.wait_seconds)
            self._poll(f"{other} did not stand still", self.clone_seconds, partial(self._moves, remote, self.clock()))
            more = GtidSet.parse(self._one(remote, "@@GLOBAL.gtid_executed")).minus(ours)
            if more and not force:
                raise ClientError(
                    f"{other} holds {len(more)} transaction(s) that this server has not ({more}); nothing was promoted, run this again"
                )
        self._become_primary(local, acknowledgements, lambda: True)
        self._note("writable")
        rows(local, "RESET REPLICA ALL")
