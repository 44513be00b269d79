# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab from outside: its summary, SSH, faults at the level of machines, playbook runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.support.niceness import without_privilege
from tests.e2e.support.waiting import until

ROOT = Path(__file__).resolve().parents[3]
CHECKOUT_LABEL = "graphic_school.scaling.checkout"


@dataclass(frozen=True)
class Run:
    """One run of a playbook: its exit code, the plays it began, what each host counted, every task with its results."""

    code: int
    plays: list[str]
    stats: dict[str, dict[str, int]]
    tasks: list[tuple[str, dict[str, dict[str, Any]]]]
    output: str

    @property
    def trouble(self) -> dict[str, dict[str, int]]:
        """Hosts that failed or could not be reached."""
        return {host: s for host, s in self.stats.items() if s["failures"] or s["unreachable"]}

    @property
    def changed(self) -> dict[str, list[str]]:
        """Host → the names of the tasks that changed something there."""
        found: dict[str, list[str]] = {}
        for task, results in self.tasks:
            for host, result in results.items():
                if result.get("changed"):
                    found.setdefault(host, []).append(task)
        return found

    @property
    def messages(self) -> str:
        """Everything that failed tasks said."""
        failed = [r for _task, results in self.tasks for r in results.values() if r.get("failed")]
        return "\n".join(str(result.get("msg", "")) for result in failed)

    def diffs(self, host: str) -> list[dict[str, Any]]:
        """Every file difference that the run reported for the host: `before`, `after`, `after_header`."""
        found: list[dict[str, Any]] = []
        for _task, results in self.tasks:
            for result in [results.get(host, {}), *results.get(host, {}).get("results", [])]:
                diff = result.get("diff") or []
                found += [d for d in (diff if isinstance(diff, list) else [diff]) if d]
        return found


def good(run: Run) -> Run:
    """The run, which must have ended well."""
    assert run.code == 0, f"{run.trouble}: {run.messages or run.output[-3000:]}"
    return run


class Lab:
    """The running fleet, as `.lab/summary.json` tells it."""

    def __init__(self, summary: Path) -> None:
        self.folder = summary.parent
        self.data: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
        self.vip: str = self.data["vip"]
        # Clients come under the name, which the lab has no DNS for.
        self.domain = "school.example.com"
        self.url = f"https://{self.domain}"
        self.ca_file = Path(self.data["ca_file"])
        self.ssh_key = Path(self.data["ssh_key"])
        self.credentials: dict[str, Any] = yaml.safe_load(
            Path(self.data["credentials_file"]).read_text(encoding="utf-8")
        )

    def address(self, host: str) -> str:
        return str(self.data["hosts"][host]["address"])

    def tier(self, group: str) -> list[str]:
        """The hosts of a group, in the order of their names."""
        return sorted(name for name, host in self.data["hosts"].items() if group in host["groups"])

    @property
    def hosts(self) -> list[str]:
        return sorted(self.data["hosts"])

    # --- on the hosts ---------------------------------------------------------------------------------------------

    def ssh_words(self, host: str, command: str, *, address: str | None = None) -> list[str]:
        """The words that run a shell command on a host as root."""
        known_hosts = self.ssh_key.parent / "known_hosts"
        # No connection is shared: one to a host that was killed would hang long after the host is back.
        options = [
            "BatchMode=yes",
            "ConnectTimeout=5",
            "ControlPath=none",
            "LogLevel=ERROR",
            "IdentitiesOnly=yes",
            "ServerAliveInterval=5",
            f"UserKnownHostsFile={known_hosts}",
        ]
        words = ["ssh", "-i", str(self.ssh_key), *[word for option in options for word in ("-o", option)]]
        return [*words, f"root@{address or self.address(host)}", command]

    def ssh(self, host: str, command: str, *, address: str | None = None, check: bool = True) -> str:
        """Run a shell command on a host as root and return what it printed."""
        done = subprocess.run(
            self.ssh_words(host, command, address=address),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"{host}: `{command}` ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def inside(self, host: str, command: str) -> str:
        """Run a shell command in a host's container: the way in when the network is cut."""
        assert host in self.containers(), f"{host} is no host of the lab"
        words = without_privilege(["podman", "exec", host, "sh", "-c", command])
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout

    def sql(self, host: str, statement: str, *, address: str | None = None) -> list[list[str]]:
        """Rows of a statement that root ran on a MySQL host through its socket."""
        quoted = statement.replace("'", "'\"'\"'")
        printed = self.ssh(host, f"mysql --batch --skip-column-names --execute '{quoted}'", address=address)
        return [line.split("\t") for line in printed.splitlines()]

    def collect_logs(self, folder: Path) -> None:
        """The journal of every host, into a folder."""
        folder.mkdir(parents=True, exist_ok=True)

        def journal(host: str) -> None:
            command = ["podman", "exec", host, "journalctl", "--no-pager", "--lines=2000", "--since=-20min"]
            # A host that doesn't answer is often why logs are wanted: the others' must not wait for it.
            with (folder / f"{host}.log").open("wb") as sink, suppress(subprocess.TimeoutExpired):
                subprocess.run(command, stdout=sink, stderr=subprocess.STDOUT, timeout=30, check=False)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(journal, self.containers()))

    def balancers_said(self) -> str:
        """What keepalived of every balancer wrote in the last ten minutes about the address, and about being late."""
        show = "journalctl --unit keepalived --since=-10min --output=short-iso --no-pager | grep -E 'STATE|expired|Script' | tail -n 20"
        said = (
            subprocess.run(["podman", "exec", host, "sh", "-c", show], capture_output=True, text=True, timeout=30, check=False).stdout
            for host in self.tier("load_balancers")
        )
        return "".join(said) or "nothing"

    # --- the machines themselves ----------------------------------------------------------------------------------

    def containers(self) -> list[str]:
        """The containers of the lab, which are called like their hosts. Nothing else on this machine is touched, not even what was
        started from the lab's images."""
        command = ["podman", "ps", "--all", "--filter", f"label={CHECKOUT_LABEL}", "--format", "{{.Names}}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def podman(self, verb: str, host: str) -> None:
        assert host in self.containers(), f"{host} is no host of the lab"
        subprocess.run(without_privilege(["podman", verb, host]), capture_output=True, text=True, check=True, timeout=60)

    @contextmanager
    def dead(self, host: str) -> Iterator[None]:
        """The host lost its power: killed at once, and started again afterwards, up to a finished boot."""
        self.podman("kill", host)
        try:
            yield
        finally:
            self.podman("start", host)
            self.wait_for_boot(host)

    def wait_for_boot(self, host: str) -> None:
        def booted() -> bool:
            state = self.ssh(host, "systemctl is-system-running; true", check=False).strip()
            assert state in {"running", "degraded"}, f"{host} is {state or 'not reachable'}"
            return True

        until(f"{host} has booted", booted, seconds=60, every=0.5)

    @contextmanager
    def stopped(self, host: str, service: str) -> Iterator[None]:
        """A service of the host is stopped, and started again afterwards."""
        self.ssh(host, f"systemctl stop {service}")
        try:
            yield
        finally:
            self.ssh(host, f"systemctl start {service}")

    # --- playbooks ------------------------------------------------------------------------------------------------

    def inventory_with(self, name: str, data: Mapping[str, Any]) -> Path:
        """Write an inventory that is laid over the lab's, and return its path."""
        path = self.folder / "e2e" / f"{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(data)), encoding="utf-8")
        return path

    def play(
        self,
        playbook: str,
        *options: str,
        inventories: Sequence[Path] = (ROOT / "inventories/lab",),
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """Run a playbook as a person would, and return what it did."""
        program = Path(sys.executable).with_name("ansible-playbook")
        sources = [word for path in inventories for word in ("-i", str(path))]
        settings = {
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "0",
            "PYTHONUNBUFFERED": "1",
        }
        done = subprocess.run(
            [str(program), *sources, playbook, *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, **settings, **(env or {})},
            timeout=1500,
            check=False,
        )
        output = done.stdout + done.stderr
        start = done.stdout.find("{\n")
        try:
            told = json.loads(done.stdout[start:]) if start >= 0 else {"plays": [], "stats": {}}
        except json.JSONDecodeError as error:
            raise AssertionError(f"{playbook} ended with {done.returncode} and printed no JSON:\n{output}") from error
        tasks = [(task["task"]["name"], task["hosts"]) for play in told["plays"] for task in play["tasks"]]
        return Run(done.returncode, [play["play"]["name"] for play in told["plays"]], told["stats"], tasks, output)

    def lab(self, *words: str) -> str:
        """Run the lab's own program, as `python -m lab <words>`."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"python -m lab {' '.join(words)} ended with {done.returncode}:\n" + (
            done.stdout + done.stderr
        )
        return done.stdout


@contextmanager
def begun(playbook: str, *options: str, env: Mapping[str, str] | None = None, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A verb in its own process group, as in somebody's terminal; what is left of it at the end is killed."""
    marker = uuid.uuid4().hex
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/lab", f"playbooks/{playbook}.yml", *options]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "PYTHONUNBUFFERED": "1"}
    with (log or Path(os.devnull)).open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **settings, **(env or {}), "E2E_RUN": marker}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        for pid in marked(marker):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def marked(marker: str) -> list[int]:
    """The programs of a run, which all have its marker in their environment; Ansible's workers leave its process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if b"ansible-playbook" in words and marker.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def fresh_folder(path: Path) -> Path:
    """An empty folder at the path."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
