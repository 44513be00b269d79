# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest

from plugins.module_utils.internal_ca import InternalCaError, Request, ensure

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DB1 = Request("db1", ("db1", "db1.example.com"), ("192.0.2.31", "2001:db8::31"))


def test_the_second_run_makes_nothing(tmp_path: Path) -> None:
    assert ensure(tmp_path / "pki", "CA", [DB1], NOW) == ["ca", "db1"]
    assert ensure(tmp_path / "pki", "CA", [DB1], NOW) == []


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    ensure(tmp_path / "pki", "CA", [DB1], NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "pki").rglob("*.key")}
    assert modes == {"ca.key": 0o600, "db1.key": 0o600}


@pytest.mark.parametrize(
    ("request_", "later", "made"),
    [
        pytest.param(Request("db1", ("db1",), ("192.0.2.31",)), 0, ["db1"], id="changed names"),
        pytest.param(DB1, 700, [], id="well before its end"),
        pytest.param(DB1, 796, ["db1"], id="less than 30 days before its end"),
    ],
)
def test_a_certificate_is_issued_again_when_needed(
    tmp_path: Path, request_: Request, later: int, made: list[str]
) -> None:
    ensure(tmp_path, "CA", [DB1], NOW)
    assert ensure(tmp_path, "CA", [request_], NOW + datetime.timedelta(days=later)) == made


def test_a_dry_run_names_what_it_would_make_and_writes_nothing(tmp_path: Path) -> None:
    assert ensure(tmp_path / "pki", "CA", [DB1], NOW, dry_run=True) == ["ca", "db1"]
    assert not (tmp_path / "pki").exists()


def test_openssl_trusts_the_chain(tmp_path: Path) -> None:
    ensure(tmp_path, "CA", [DB1], datetime.datetime.now(datetime.UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "hosts/db1.pem", tmp_path / "hosts/db1.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    left = client.wrap_bio(to_client, to_server, server_hostname="192.0.2.31")
    right = server.wrap_bio(to_server, to_client, server_side=True)
    for _round in range(4):
        for side in (left, right):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert left.version() == "TLSv1.3"


def test_half_an_authority_is_refused(tmp_path: Path) -> None:
    ensure(tmp_path, "CA", [], NOW)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(InternalCaError, match=r"only one of ca\.pem and ca\.key; restore the other from your backup"):
        ensure(tmp_path, "CA", [DB1], NOW)


@pytest.mark.parametrize(
    ("name", "ip", "sentence"),
    [
        pytest.param("../db1", "192.0.2.1", "must be a host's name, not: '../db1'", id="a name that climbs"),
        pytest.param(
            "db1",
            "db1.example.com",
            "must be an IP address, not: 'db1.example.com'; names belong in dns",
            id="a name as an address",
        ),
    ],
)
def test_a_wrong_request_is_refused_by_name(name: str, ip: str, sentence: str) -> None:
    with pytest.raises(InternalCaError, match=sentence):
        Request(name, (), (ip,))
