# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers is told apart from who accepts a connection and says nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from plugins.module_utils.mysql_probe import probe


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A server on loopback that gives everybody the same answer, or none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.sendall(answer)
                    # Not closed: what the client has sent and nobody has read would reset the connection before it could read.
                    connection.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def nobody() -> int:
    """A port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_server_that_answers_is_told_from_a_frozen_one_and_from_none() -> None:
    well = b'HTTP/1.0 200 OK\r\n\r\n{"alive": true}'
    with listening(b"SSH-2.0-test\r\n") as ssh, listening(None) as frozen, listening(well) as health:
        began = time.monotonic()
        found = {name: probe("127.0.0.1", port, health, 2) for name, port in (("db1", ssh), ("db2", frozen), ("db3", nobody()))}
        assert time.monotonic() - began < 10
    assert {name: row["ssh"] for name, row in found.items()} == {"db1": True, "db2": False, "db3": False}
    assert found["db1"]["health"] == {"alive": True}


def test_a_health_service_that_says_something_else_says_nothing() -> None:
    with listening(b"HTTP/1.0 200 OK\r\n\r\nhello") as health:
        assert probe("127.0.0.1", nobody(), health, 2)["health"] is None
