# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A MySQL server over a connection that is passed in: what it is, and the steps of C(mysql_plan) performed on it.

Any DB-API connection of PyMySQL will do. Nothing here prints or returns a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .mysql_gtid import GtidSet
from .mysql_settings import Asked, comparable, differing_settings
from .mysql_users import parse_grants, password_matches

SYSTEM_SCHEMAS = frozenset({"information_schema", "mysql", "ndbinfo", "performance_schema", "sys"})
READ_ONLY_VARIABLE = 1238
TOO_MANY_CLONES = 3634
CONNECTION_ERRORS = frozenset({2002, 2003, 2006, 2013, 2055})
# Table full, disk full: the transaction was rolled back, and is applied once there is room.
NO_ROOM_ERRORS = frozenset({1021, 1114})
# Practically for ever: a replica that lost its source asks again each second.
RETRIES = 100_000_000


class ClientError(RuntimeError):
    """A step that did not succeed; the message names what was tried, what the server said, and the cure where there is one."""


class Cursor(Protocol):
    description: Sequence[Sequence[Any]] | None

    def execute(self, query: str, args: Any = None) -> Any: ...

    def fetchall(self) -> Sequence[Any]: ...

    def close(self) -> None: ...


class Connection(Protocol):
    def cursor(self) -> Cursor: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Replication:
    """How replicas log in at their source. The three paths are empty when the servers have no certificates of the fleet."""

    user: str
    password: str
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def verified(self) -> bool:
        return bool(self.ca)


def rows(connection: Connection, sql: str, arguments: Sequence[Any] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a statement as dictionaries with lower-case names."""
    cursor = connection.cursor()
    try:
        cursor.execute(sql, arguments)
        names = [str(column[0]).lower() for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else []
    finally:
        cursor.close()


def text(value: Any) -> str:
    return value.decode() if isinstance(value, (bytes, bytearray)) else str(value or "")


def identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def grant_object(on: str) -> str:
    """Return C(school.*) as GRANT writes it. An underscore in the database's name is no wildcard."""
    database, _dot, table = on.partition(".")
    escaped = "*" if database == "*" else identifier(database.replace("_", "\\_") if table == "*" else database)
    return f"{escaped}.{'*' if table == '*' else identifier(table)}"


# -- what is ----------------------------------------------------------------------------------------------------------


def read_server(
    connection: Connection,
    users: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    replication: Replication,
    asked: Asked,
) -> dict[str, Any]:
    """Return what one server is, as plain data that C(mysql_plan.state_from) takes."""
    variables = {
        row["variable_name"]: text(row["variable_value"])
        for row in rows(connection, "SELECT variable_name, variable_value FROM performance_schema.global_variables")
    }
    persisted = {
        row["variable_name"]: text(row["variable_value"])
        for row in rows(
            connection,
            "SELECT variable_name, variable_value FROM performance_schema.persisted_variables "
            "WHERE variable_name IN ('read_only', 'super_read_only')",
        )
    }
    status = {
        row["variable_name"]: text(row["variable_value"])
        for row in rows(
            connection,
            "SELECT variable_name, variable_value FROM performance_schema.global_status WHERE variable_name LIKE 'Rpl_semi_sync%%'",
            (),
        )
    }
    apart = _settings(connection, differing_settings(settings, variables), asked)
    return {
        "installed": True,
        "answers": True,
        "version": variables["version"],
        "uuid": variables["server_uuid"],
        "read_only": variables["read_only"] == "ON",
        "super_read_only": variables["super_read_only"] == "ON",
        "read_only_persisted": None if not persisted else set(persisted.values()) != {"OFF"} or len(persisted) < 2,
        "gtid_executed": variables["gtid_executed"].replace("\n", ""),
        "gtid_purged": variables["gtid_purged"].replace("\n", ""),
        "channel": read_channel(connection, replication),
        "semi_sync_source": variables.get("rpl_semi_sync_source_enabled") == "ON",
        "semi_sync_replicas": int(status.get("Rpl_semi_sync_source_clients") or 0),
        "databases": sorted(
            name
            for name in (
                row["schema_name"] for row in rows(connection, "SELECT schema_name FROM information_schema.schemata")
            )
            if name not in SYSTEM_SCHEMAS
        ),
        "users": _users(connection, users),
        **apart,
    }


def read_channel(connection: Connection, replication: Replication) -> dict[str, Any] | None:
    """Return where this server replicates from and how it goes, or None when it has no source."""
    found = rows(
        connection,
        "SELECT c.host, c.port, c.user, c.auto_position, c.ssl_allowed, c.ssl_ca_file, c.ssl_certificate, c.ssl_key, "
        "c.ssl_verify_server_certificate, c.connection_retry_count, s.service_state AS receiver, "
        "s.received_transaction_set AS received, s.last_error_number AS receiver_errno, "
        "s.last_error_message AS receiver_error, a.service_state AS applier "
        "FROM performance_schema.replication_connection_configuration c "
        "JOIN performance_schema.replication_connection_status s USING (channel_name) "
        "JOIN performance_schema.replication_applier_status a USING (channel_name) WHERE channel_name = ''",
    )
    if not found or not found[0]["host"]:
        return None
    channel = found[0]
    secret = rows(connection, "SELECT user_password FROM mysql.slave_master_info WHERE channel_name = ''")
    wished = {
        "user": replication.user,
        "auto_position": "1",
        "ssl_allowed": "YES",
        "ssl_ca_file": replication.ca,
        "ssl_certificate": replication.certificate,
        "ssl_key": replication.key,
        "ssl_verify_server_certificate": "YES" if replication.verified else "NO",
        "connection_retry_count": str(RETRIES),
    }
    return {
        "source_host": channel["host"],
        "source_port": int(channel["port"]),
        "receiver": channel["receiver"],
        "applier": channel["applier"],
        "error": _channel_error(connection, channel),
        "received": text(channel["received"]).replace("\n", ""),
        "as_wanted": all(text(channel[name]) == value for name, value in wished.items())
        and bool(secret)
        and text(secret[0]["user_password"]) == replication.password,
    }


def _channel_error(connection: Connection, channel: Mapping[str, Any]) -> str:
    """What stopped the channel, if anything that starting it again does not mend. A receiver that goes on asking for its source has not
    stopped, and one that was told to stop while it could not reach its source only has to be started again; so has an applier
    that found the disk full."""
    if channel["receiver"] == "OFF" and int(channel["receiver_errno"] or 0) not in {0, *CONNECTION_ERRORS}:
        return f"receiver, error {channel['receiver_errno']}: {channel['receiver_error']}"
    if channel["applier"] == "ON":
        return ""
    for table in ("replication_applier_status_by_worker", "replication_applier_status_by_coordinator"):
        for row in rows(
            connection,
            f"SELECT last_error_number, last_error_message FROM performance_schema.{table} WHERE last_error_number > 0",
        ):
            if int(row["last_error_number"]) in NO_ROOM_ERRORS:
                return ""
            return f"applier, error {row['last_error_number']}: {row['last_error_message']}"
    return ""


def _settings(
    connection: Connection, differing: Mapping[str, tuple[Any, str]], asked: Asked
) -> dict[str, dict[str, list[Any]]]:
    """What runs otherwise than my.cnf says, apart in what can be set online, what needs a restart, and what the server keeps
    though it was asked for what my.cnf says: it limits or rounds some values, and a restart would change nothing.

    Whether a variable can be set is asked by setting it to the value that it has.
    """
    # Who is writable and who waits for whom is the plan's to say, not my.cnf's.
    ours = {"super_read_only", "read_only", "rpl_semi_sync_source_enabled"}
    names = sorted(set(differing) - ours)
    sources = _sources(connection, names)
    apart: dict[str, dict[str, list[Any]]] = {"settings_online": {}, "settings_restart": {}, "settings_kept": {}}
    for name in names:
        wanted, running = differing[name]
        kind = "settings_kept"
        if not asked.kept(name, wanted, *sources.get(name, ("", 0.0))):
            kind = "settings_online"
            try:
                rows(connection, f"SET GLOBAL {identifier(name)} = @@GLOBAL.{identifier(name)}")
            except Exception as error:
                if error_number(error) in CONNECTION_ERRORS:
                    raise
                kind = "settings_kept" if asked.same(name, wanted) else "settings_restart"
        apart[kind][name] = [wanted, running]
    return apart


def _sources(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Where each variable's value comes from, and when it was set, in seconds since 1970."""
    if not names:
        return {}
    found = rows(
        connection,
        "SELECT variable_name, variable_source, UNIX_TIMESTAMP(set_time) AS set_at FROM performance_schema.variables_info "
        f"WHERE variable_name IN ({', '.join(['%s'] * len(names))})",
        names,
    )
    return {row["variable_name"]: (text(row["variable_source"]), float(row["set_at"] or 0)) for row in found}


def _users(connection: Connection, users: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for user in users:
        name, host = str(user["name"]), str(user.get("host") or "%")
        found = rows(
            connection,
            "SELECT plugin, authentication_string, ssl_type FROM mysql.user WHERE user = %s AND host = %s",
            (name, host),
        )
        if not found:
            continue
        row = found[0]
        stored = row["authentication_string"]
        stored = stored if isinstance(stored, (bytes, bytearray)) else text(stored).encode()
        grants = rows(connection, "SHOW GRANTS FOR %s@%s", (name, host))
        result[f"{name}@{host}"] = {
            "plugin": row["plugin"],
            "password_matches": row["plugin"] == "auth_socket"
            or password_matches(str(user.get("password") or ""), bytes(stored)),
            "privileges": {
                on: sorted(privileges)
                for on, privileges in parse_grants(text(next(iter(grant.values()))) for grant in grants).items()
            },
            "tls": {"": "none", "ANY": "any", "X509": "x509"}.get(text(row["ssl_type"]), "other"),
        }
    return result


def error_number(error: BaseException) -> int:
    """Return MySQL's number of an error that PyMySQL raised, 0 when it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


# -- what is to be done -----------------------------------------------------------------------------------------------


@dataclass
class Performer:
    """Performs the steps of one host. ``connect`` opens a connection to its server that waits so many seconds for an answer;
    ``ask_source`` takes an address and a port and returns the GTID set of the server there; ``restart`` restarts the service;
    ``clock`` and ``sleep`` are time.monotonic and time.sleep."""

    connect: Callable[[float], Connection]
    ask_source: Callable[[str, int], str]
    restart: Callable[[], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    replication: Replication
    users: Sequence[Mapping[str, Any]]
    wait_seconds: float = 60
    clone_seconds: float = 3600

    def perform(self, action: str, arguments: Mapping[str, Any]) -> None:
        """Perform one step. Raises ClientError, and what PyMySQL raises."""
        getattr(self, f"_do_{action}")(**arguments)

    def _run(self, *statements: str, arguments: Sequence[Any] | None = None) -> None:
        connection = self.connect(self.wait_seconds)
        try:
            for statement in statements:
                rows(connection, statement, arguments)
        finally:
            connection.close()

    def _ask(self, sql: str) -> dict[str, Any]:
        connection = self.connect(self.wait_seconds)
        try:
            found = rows(connection, sql)
            return found[0] if found else {}
        finally:
            connection.close()

    def _until(self, what: str, seconds: float, check: Callable[[], str]) -> None:
        """Wait until ``check`` returns an empty text; what it returns last is part of the error."""
        end = self.clock() + seconds
        while True:
            missing = check()
            if not missing:
                return
            if self.clock() > end:
                raise ClientError(f"{what}: not within {seconds:g} s: {missing}")
            # A moving primary waits for its first replica.
            self.sleep(0.02)

    def _do_make_writable(self) -> None:
        self._run("SET PERSIST super_read_only = OFF", "SET PERSIST read_only = OFF")

    def _do_make_read_only(self) -> None:
        self._run(
            "SET GLOBAL super_read_only = ON",
            "RESET PERSIST IF EXISTS super_read_only",
            "RESET PERSIST IF EXISTS read_only",
        )

    def _do_set(self, settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            literal = str(value)
            try:
                # my.cnf's suffixes (256M) are no SQL, so numbers go as numbers and the rest as text.
                number = _as_number(literal)
                self._run(
                    f"SET GLOBAL {identifier(name)} = {'%s' if number is None else number}",
                    arguments=(literal,) if number is None else None,
                )
            except Exception as error:
                raise ClientError(
                    f"mysql_settings: {name} = {value} was refused by the running server: {error}"
                ) from error

    def _do_restart(self) -> None:
        self.restart()
        self._until("mysql did not come back after its restart", self.wait_seconds, self._silent)
        if self._ask("SELECT host FROM performance_schema.replication_connection_configuration WHERE host <> ''"):
            self._until("replication did not resume after the restart", self.wait_seconds, self._not_replicating)

    def _silent(self) -> str:
        try:
            self._ask("SELECT 1")
        except Exception as error:
            return str(error)
        return ""

    def _do_create_database(self, name: str) -> None:
        self._run(f"CREATE DATABASE IF NOT EXISTS {identifier(name)} CHARACTER SET utf8mb4")

    def _do_user(self, kind: str, account: str, on: str, privileges: Sequence[str]) -> None:
        user = next(row for row in self.users if f"{row['name']}@{row.get('host') or '%'}" == account)
        name, host = str(user["name"]), str(user.get("host") or "%")
        if kind in ("grant", "revoke"):
            way = "TO" if kind == "grant" else "FROM"
            plain = [privilege for privilege in privileges if privilege != "GRANT OPTION"]
            option = " WITH GRANT OPTION" if kind == "grant" and "GRANT OPTION" in privileges else ""
            listed = ", ".join(plain if kind == "grant" else privileges) or "USAGE"
            self._run(f"{kind.upper()} {listed} ON {grant_object(on)} {way} %s@%s{option}", arguments=(name, host))
            return
        verb = "CREATE USER IF NOT EXISTS" if kind == "create" else "ALTER USER"
        require = {"none": "NONE", "any": "SSL", "x509": "X509"}[str(user.get("tls") or "none")]
        if user.get("plugin") == "auth_socket":
            self._run(f"{verb} %s@%s IDENTIFIED WITH auth_socket REQUIRE {require}", arguments=(name, host))
        else:
            self._run(
                f"{verb} %s@%s IDENTIFIED WITH caching_sha2_password BY %s REQUIRE {require}",
                arguments=(name, host, str(user.get("password") or "")),
            )

    def _do_forget_source(self) -> None:
        self._run("STOP REPLICA", "RESET REPLICA ALL")

    def _do_semi_sync_off(self) -> None:
        self._run(
            "SET GLOBAL rpl_semi_sync_source_enabled = OFF", "RESET PERSIST IF EXISTS rpl_semi_sync_source_enabled"
        )

    def _do_semi_sync_on(self, acknowledgements: int) -> None:
        """Switched on only once enough replicas listen, or the next write would wait for ever."""

        def check() -> str:
            found = self._ask(
                "SELECT variable_value AS clients FROM performance_schema.global_status "
                "WHERE variable_name = 'Rpl_semi_sync_source_clients'"
            )
            clients = int(text(found.get("clients")) or 0)
            return "" if clients >= acknowledgements else f"{clients} of {acknowledgements} replica(s) attached"

        self._until("too few replicas for semi-synchronous replication", self.wait_seconds, check)
        self._run("SET PERSIST rpl_semi_sync_source_enabled = ON")

    def _do_clone(self, host: str, port: int) -> None:
        """Copy another server over this one. The server restarts itself afterwards, which its unit allows (Restart=on-failure)."""
        end = self.clock() + self.clone_seconds
        while True:
            connection = self.connect(self.clone_seconds)
            try:
                # CLONE needs it; read_only stays, and keeps clients out.
                rows(connection, "SET GLOBAL super_read_only = OFF")
                rows(connection, "SET GLOBAL clone_valid_donor_list = %s", (f"{host}:{port}",))
                rows(
                    connection,
                    "CLONE INSTANCE FROM %s@%s:" + str(int(port)) + " IDENTIFIED BY %s REQUIRE SSL",
                    (self.replication.user, host, self.replication.password),
                )
                break
            except Exception as error:
                number = error_number(error)
                if number in CONNECTION_ERRORS:
                    break
                busy = number == TOO_MANY_CLONES or "concurrent clone" in str(error).lower()
                if not busy or self.clock() > end:
                    raise ClientError(
                        f"the copy from {host}:{port} failed with error {number}: {error}; this server holds no data now and is "
                        f"tried again by the next run"
                    ) from error
                self.sleep(2)
            finally:
                connection.close()
        self._until(f"the copy from {host}:{port} did not come up", self.clone_seconds, self._cloning)

    def _cloning(self) -> str:
        try:
            found = self._ask("SELECT state, error_no, error_message FROM performance_schema.clone_status")
        except Exception as error:
            return str(error)
        if found.get("state") == "Failed":
            raise ClientError(f"the copy failed with error {found['error_no']}: {found['error_message']}")
        return "" if found.get("state") == "Completed" else f"clone_status says {found.get('state')}"

    def _do_attach(self, host: str, port: int, verify: bool) -> None:
        self._run("STOP REPLICA", *([] if verify else ["RESET REPLICA ALL"]))
        if verify:
            ours = GtidSet.parse(text(self._ask("SELECT @@GLOBAL.gtid_executed AS executed")["executed"]))

            def errant() -> str:
                # A replica may hold what its source is about to commit, so a difference gets a few seconds to vanish.
                return str(ours.minus(GtidSet.parse(self.ask_source(host, port))))

            self._until(f"this server holds transactions that {host} never had, so it was not attached", 5, errant)
        self._change_source(host, port, ", SOURCE_AUTO_POSITION = 1")
        self._do_start()

    def _change_source(self, host: str, port: int, more: str = "") -> None:
        connection = self.connect(self.wait_seconds)
        tls = ", SOURCE_SSL_CA = %s, SOURCE_SSL_CERT = %s, SOURCE_SSL_KEY = %s, SOURCE_SSL_VERIFY_SERVER_CERT = 1"
        replication = self.replication
        try:
            rows(
                connection,
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s, "
                "SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = %s, SOURCE_SSL = 1, GET_SOURCE_PUBLIC_KEY = 0"
                + (tls if replication.verified else ", SOURCE_SSL_VERIFY_SERVER_CERT = 0")
                + more,
                (host, port, replication.user, replication.password, RETRIES)
                + ((replication.ca, replication.certificate, replication.key) if replication.verified else ()),
            )
        finally:
            connection.close()

    def _do_start(self) -> None:
        self._run("START REPLICA")
        self._until("replication did not start", self.wait_seconds, self._not_replicating)

    def _not_replicating(self) -> str:
        connection = self.connect(self.wait_seconds)
        try:
            channel = read_channel(connection, self.replication)
            if channel is None:
                return "there is no source"
            if channel["receiver"] == "ON" and channel["applier"] == "ON":
                return ""
            last = rows(
                connection,
                "SELECT last_error_number AS number, last_error_message AS message "
                "FROM performance_schema.replication_connection_status WHERE channel_name = ''",
            )
        finally:
            connection.close()
        why = channel["error"] or (
            f"error {last[0]['number']}: {last[0]['message']}" if last and last[0]["number"] else ""
        )
        return f"receiver {channel['receiver']}, applier {channel['applier']} {why}".strip()


def _as_number(value: str) -> str | None:
    """Return a number, or a size such as C(256M) in bytes, as SQL writes it; None for anything else."""
    plain = value if re.fullmatch(r"\d+(\.\d+)?", value) else comparable(value)
    return plain if re.fullmatch(r"\d+(\.\d+)?", plain) else None
