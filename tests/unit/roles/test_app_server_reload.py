# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx of an application server reloads only after the connections that balancers held have had their last answer."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.support.render import Fleet

PROGRAM = "/usr/local/lib/graphic_school/after-last-answers"
CODE = Path("/usr/local/lib/graphic_school/open_connections.py")
MARK = "/run/nginx-last-answers"
DROP_IN = "/etc/systemd/system/nginx.service.d/graphic_school.conf"


class Balancer:
    """One connection to this host as the kernel tells of it, and the program that waits for its end."""

    def __init__(self, folder: Path, patience: int) -> None:
        self.mark, self.table = folder / "mark", folder / "tcp"
        self.tell("01")
        files = Fleet("inventories/lab", vars={"app_server_reload_patience_seconds": patience}).render_role("app_server", host="app1")
        assert f'"{MARK}"' in files[PROGRAM]
        (folder / CODE.name).write_text(files[str(CODE)])
        self.program = folder / "program"
        self.program.write_text(files[PROGRAM].replace(MARK, str(self.mark)).replace("/proc/net", str(folder)))

    def tell(self, state: str) -> None:
        """198.18.10.11 is connected to 198.18.10.21:80, in this state of include/net/tcp_states.h."""
        head = "  sl  local_address rem_address   st tx_queue rx_queue"
        self.table.write_text(f"{head}\n   0: 150A12C6:0050 0B0A12C6:D431 {state} 00000000:00000000\n")

    def run(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-B", str(self.program), *command], stderr=subprocess.PIPE, text=True)

    def let_go(self) -> None:
        self.tell("06")


@pytest.fixture
def balancer(tmp_path: Path, request: pytest.FixtureRequest) -> Balancer:
    return Balancer(tmp_path, getattr(request, "param", 30))


def test_it_waits_for_the_balancer_to_let_go_and_marks_that_it_does(balancer: Balancer, tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = balancer.run("cp", str(balancer.mark), str(done))
    time.sleep(1)
    assert balancer.mark.exists()
    assert not done.exists()
    balancer.let_go()
    assert program.wait(10) == 0
    assert done.exists(), "the mark was still there while the command ran"
    assert not balancer.mark.exists()


@pytest.mark.parametrize("balancer", [1], indirect=True)
def test_it_goes_on_when_a_connection_does_not_end_and_says_so(balancer: Balancer) -> None:
    program = balancer.run("true")
    assert program.communicate(timeout=10)[1].strip() == "after 1 s 1 of 1 connections are still open: going on"
    assert program.returncode == 0


def test_it_hands_on_how_the_command_ended(balancer: Balancer) -> None:
    balancer.let_go()
    program = balancer.run("false")
    program.communicate(timeout=10)
    assert program.returncode == 1
    assert not balancer.mark.exists()


def test_nginx_uses_it_to_reload_and_to_stop_and_answers_by_its_mark() -> None:
    files = Fleet("inventories/lab").render_role("app_server", host="app1")
    commands = re.findall(r"^(ExecReload|ExecStop)=-?/usr/bin/python3 -B (\S+) .*(reload|QUIT)", files[DROP_IN], re.MULTILINE)
    assert commands == [("ExecReload", PROGRAM, "reload"), ("ExecStop", PROGRAM, "QUIT")]
    assert f"if (-f {MARK}) {{" in files["/etc/nginx/conf.d/app.conf"]
