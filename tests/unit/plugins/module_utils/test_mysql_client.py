# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the difference between my.cnf and what a server runs with. The server is a table of what it would say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from plugins.module_utils.mysql_client import _channel_error, _settings
from plugins.module_utils.mysql_settings import Asked, differing_settings

STARTED = 1_000_000.0
READ_ONLY = "innodb_page_cleaners"
SETTABLE = "table_open_cache"


class Server:
    """A connection to a server whose variables have these sources and times, and of which some can be set."""

    def __init__(self, sources: Mapping[str, tuple[str, float]]) -> None:
        self.sources = sources
        self.description: Sequence[Sequence[Any]] | None = None
        self.answer: list[tuple[Any, ...]] = []
        self.probed: list[str] = []

    def cursor(self) -> Server:
        return self

    def close(self) -> None:
        pass

    def execute(self, query: str, args: Any = None) -> None:
        self.description, self.answer = None, []
        if query.startswith("SET GLOBAL "):
            self.probed.append(query.split("`")[1])
            if READ_ONLY in query:
                raise RuntimeError(1238, "Variable is a read only variable")
            return
        assert query.count("%s") == len(args)
        self.description = [("variable_name",), ("variable_source",), ("set_at",)]
        self.answer = [(name, *self.sources[name]) for name in args if name in self.sources]

    def fetchall(self) -> Sequence[Any]:
        return self.answer


@pytest.mark.parametrize(
    ("name", "source", "set_at", "asked", "kind"),
    [
        pytest.param(READ_ONLY, "GLOBAL", 0.5, {READ_ONLY: "1"}, "restart", id="my.cnf has a new value since the start"),
        pytest.param(READ_ONLY, "COMPILED", 0.5, {}, "restart", id="my.cnf names it since the start"),
        pytest.param(READ_ONLY, "GLOBAL", 0.5, {READ_ONLY: "64"}, "kept", id="it was started with this value and limits it"),
        pytest.param(READ_ONLY, "GLOBAL", 0.5, {READ_ONLY: "0x40"}, "restart", id="another spelling is another value"),
        pytest.param(READ_ONLY, "PERSISTED", 0.5, {READ_ONLY: "64"}, "kept", id="a persisted value that no restart changes"),
        pytest.param(SETTABLE, "GLOBAL", 0.5, {SETTABLE: "400"}, "online", id="what can be set has a new value"),
        pytest.param(SETTABLE, "GLOBAL", 0.5, {SETTABLE: "64"}, "kept", id="what can be set was limited at the start"),
        pytest.param(SETTABLE, "DYNAMIC", -0.01, {SETTABLE: "64"}, "kept", id="what was set by us was limited"),
        pytest.param(SETTABLE, "DYNAMIC", 0.9, {SETTABLE: "64"}, "kept", id="the record is written just after the SET"),
        pytest.param(SETTABLE, "DYNAMIC", 5, {SETTABLE: "64"}, "online", id="somebody has set it by hand since"),
        pytest.param(SETTABLE, "PERSISTED", 0.5, {SETTABLE: "64"}, "online", id="somebody has persisted another value"),
        pytest.param(SETTABLE, "GLOBAL", 0.5, {}, "online", id="a server that left no record"),
        pytest.param("server_uuid2", "", 0, {}, "online", id="a variable of which the server tells no source"),
    ],
)
def test_a_restart_is_wanted_only_for_what_the_server_was_not_asked_yet(
    name: str, source: str, set_at: float, asked: dict[str, str], kind: str
) -> None:
    server = Server({name: (source, STARTED + set_at)} if source else {})
    apart = _settings(server, {name: ("64", "8")}, Asked(asked, STARTED))
    assert apart == {
        f"settings_{one}": {name: ["64", "8"]} if one == kind else {} for one in ("online", "restart", "kept")
    }
    assert kind != "kept" or name == READ_ONLY or server.probed == [], "a SET would look like somebody's own"


def test_who_is_writable_is_not_my_cnfs_to_say() -> None:
    server = Server({})
    differing = differing_settings({"super_read_only": "ON"}, {"super_read_only": "OFF"})
    assert differing and not any(_settings(server, differing, Asked()).values())


@pytest.mark.parametrize(
    ("receiver", "errno", "said"),
    [
        pytest.param("ON", 0, "", id="it receives"),
        pytest.param("CONNECTING", 2003, "", id="it goes on asking for its source"),
        pytest.param("OFF", 0, "", id="it was told to stop"),
        pytest.param("OFF", 2003, "", id="it was told to stop while its source was away"),
        pytest.param("OFF", 13114, "receiver, error 13114: purged", id="its source no longer has what it needs"),
    ],
)
def test_only_what_starting_again_does_not_mend_is_an_error_of_the_receiver(receiver: str, errno: int, said: str) -> None:
    channel = {"receiver": receiver, "receiver_errno": errno, "receiver_error": "purged", "applier": "ON"}
    assert _channel_error(Server({}), channel) == said


@pytest.mark.parametrize(
    ("errno", "said"),
    [
        pytest.param(1062, "applier, error 1062: why", id="a row that is there already"),
        pytest.param(1114, "", id="it found the disk full"),
    ],
)
def test_an_applier_that_found_no_room_only_has_to_be_started_again(errno: int, said: str) -> None:
    class Workers(Server):
        def execute(self, query: str, args: Any = None) -> None:
            self.description, self.answer = [("last_error_number",), ("last_error_message",)], [(errno, "why")]

    assert _channel_error(Workers({}), {"receiver": "ON", "receiver_errno": 0, "applier": "OFF"}) == said
