# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs on a host print becomes data; what is missing or broken becomes data too."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.module_utils import host_status as ask

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def certificate(end: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "school.example.com")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(end - timedelta(days=900)).not_valid_after(end)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("end", [NOW + timedelta(days=30), NOW - timedelta(days=2), datetime(2051, 3, 4, tzinfo=UTC)])
def test_a_certificate_tells_its_end_in_this_century_and_the_next_notation(end: datetime) -> None:
    assert ask.certificate_end(ssl.PEM_cert_to_DER_cert(certificate(end).decode())) == end


def test_only_files_with_certificates_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(certificate(NOW + timedelta(days=30, hours=1)))
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n", encoding="ascii")
    (tmp_path / "broken.pem").write_text(f"{ask.PEM_BEGIN}\nAAAA\n{ask.PEM_END}\n", encoding="ascii")
    paths = [str(tmp_path / name) for name in ("a.pem", "key.pem", "broken.pem", "missing.pem")]
    found = ask.certificates(paths, NOW)
    assert {Path(row["path"]).name: row.get("days_left", row.get("error")) for row in found} == {
        "a.pem": 30,
        "broken.pem": "not a certificate",
    }


def test_what_converge_remembers_is_read_and_strange_files_are_passed_over(tmp_path: Path) -> None:
    row = {"paths": ["/etc/nginx/nginx.conf"], "owed": [], "held": {}, "services": ["nginx.service"]}
    (tmp_path / "nginx_lb.json").write_text(json.dumps(row), encoding="utf-8")
    (tmp_path / "earlier.json").write_text(json.dumps({"paths": [], "owed": [], "held": {}}), encoding="utf-8")
    (tmp_path / "half.json").write_text("{", encoding="utf-8")
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    assert ask.components(tmp_path) == {"nginx_lb": row, "earlier": {"paths": [], "owed": [], "held": {}, "services": []}}


def test_marks_that_keep_tiers_out_of_traffic_are_told_and_a_broken_one_counts(tmp_path: Path) -> None:
    folder = tmp_path / "out-of-traffic"
    assert ask.out_of_traffic(folder) == {}
    folder.mkdir()
    (folder / "app_servers").write_text('{"by": "drain"}', encoding="utf-8")
    (folder / "mysql").write_text("", encoding="utf-8")
    (folder / "scheduler").write_text("[1]", encoding="utf-8")
    assert ask.out_of_traffic(folder) == {
        "app_servers": {"by": "drain"},
        "mysql": {"reason": "unreadable"},
        "scheduler": {"reason": "[1]"},
    }


def test_a_release_is_current_only_when_it_is_there(tmp_path: Path) -> None:
    assert ask.release(tmp_path) is None
    (tmp_path / "releases" / "aaa").mkdir(parents=True)
    (tmp_path / "releases" / ".bbb.partial").mkdir()
    assert ask.release(tmp_path) == {"current": "", "named": "", "releases": ["aaa"]}
    (tmp_path / "current").symlink_to("releases/bbb")
    assert ask.release(tmp_path) == {"current": "", "named": "bbb", "releases": ["aaa"]}
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("releases/aaa")
    assert ask.release(tmp_path) == {"current": "aaa", "named": "aaa", "releases": ["aaa"]}


def test_units_are_told_apart_in_the_order_they_were_asked() -> None:
    printed = "Id=a.service\nActiveState=active\nSubState=running\nResult=success\nNRestarts=0\n\n"
    printed += "Id=b.service\nActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=4\n\n"
    printed += "Id=c.service\nType=oneshot\nActiveState=inactive\nSubState=dead\nResult=success\nNRestarts=0\n"
    assert ask.services(lambda command: printed, ["a.service", "b.service", "c.service"]) == {
        "a.service": {"state": "active", "result": "success", "restarts": "0"},
        "b.service": {"state": "failed", "result": "exit-code", "restarts": "4"},
        "c.service": {"state": "done", "result": "success", "restarts": "0"},
    }
    assert ask.services(lambda command: pytest.fail("nothing to ask"), []) == {}


def test_processes_of_supervisor_are_counted_by_state() -> None:
    printed = "main:main_00  RUNNING  pid 1, uptime 0:01\nmain:main_01  FATAL  Exited too quickly\nunix:///x no such file\n"
    assert ask.worker_states(printed) == {"RUNNING": 1, "FATAL": 1}


def test_a_router_tells_the_servers_that_it_would_use() -> None:
    csv = "# pxname,svname,status,weight\nprimary,db1,UP,1\nprimary,db2,DOWN,1\nprimary,BACKEND,UP,1\nreplicas,db2,UP 1/2,1\n"
    assert ask.router_servers(csv) == {"primary": ["db1"], "replicas": ["db2"]}
    assert ask.router_servers("") == {}


def test_versions_come_without_an_epoch_and_only_of_what_is_installed() -> None:
    printed = "installed nginx 1.26.3-3+deb13u1\ninstalled redis-server 5:8.0.2-3\nnot-installed haproxy \n"
    assert ask.versions(lambda command: printed, "8.4") == {"nginx": "1.26.3-3+deb13u1", "redis-server": "8.0.2-3"}


def test_memory_is_counted_in_megabytes() -> None:
    assert ask.memory("MemTotal:  2048000 kB\nMemAvailable: 1024000 kB\n") == {"total_mb": 2000, "available_mb": 1000}
