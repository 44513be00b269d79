# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus on loopback with a history that was written into it, and where its programs come from."""

from __future__ import annotations

import base64
import datetime
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

from lab.bootstrap import tool
from plugins.module_utils.internal_ca import Request, ensure

USER, PASSWORD = "fleet", "only-for-this-test"
PASSWORD_HASH = "$2b$04$abcdefghijklmnopqrstuuksBkI1YOOqxWRoEu7YcL.Xb.fRlWgPa"

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[float, float]]


@dataclass(frozen=True)
class Server:
    """Where it answers, and the authority that its certificate is from."""

    url: str
    ca_file: Path


def write_history(folder: Path, series: Mapping[str, Mapping[Labels, Samples]]) -> None:
    """Make blocks in the folder of what the series held: metric → labels → (seconds since 1970, value)."""
    text = folder / "history.om"
    with text.open("w", encoding="ascii") as file:
        for metric, rows in series.items():
            file.write(f"# TYPE {metric} gauge\n")
            for labels, samples in rows.items():
                name = metric + "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}"
                file.writelines(f"{name} {value:.6g} {when:.0f}\n" for when, value in samples)
        file.write("# EOF\n")
    command = [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=24h", text, folder / "data"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Prometheus over the folder's blocks, with TLS and a login, as the fleet's own is behind nginx."""
    request = Request("localhost", ("localhost",), ("127.0.0.1",))
    ensure(folder / "pki", "tests", [request], datetime.datetime.now(datetime.UTC))
    pki = folder / "pki"
    (folder / "prometheus.yml").write_text("global: {}\n", encoding="ascii")
    (folder / "web.yml").write_text(
        f"tls_server_config: {{cert_file: {pki}/hosts/localhost.pem, key_file: {pki}/hosts/localhost.key}}\n"
        f"basic_auth_users: {{{USER}: '{PASSWORD_HASH}'}}\n",
        encoding="ascii",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            str(tool("prometheus")), f"--config.file={folder}/prometheus.yml", f"--web.config.file={folder}/web.yml",
            f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=90d",
        ],
        stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"),
    )  # fmt: skip
    found = Server(f"https://localhost:{port}", pki / "ca.pem")
    try:
        deadline = time.monotonic() + 60
        while not _answers(found):
            assert time.monotonic() < deadline and server.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
        yield found
    finally:
        server.terminate()
        server.wait(20)


def ask(server: Server, path: str) -> bytes:
    """The body of an answer of Prometheus."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    request = UrlRequest(server.url + path, headers={"Authorization": f"Basic {login}"})
    return bytes(urlopen(request, timeout=10, context=ssl.create_default_context(cafile=str(server.ca_file))).read())


def _answers(server: Server) -> bool:
    try:
        ask(server, "/-/ready")
    except OSError:
        return False
    return True
