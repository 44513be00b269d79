# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control host in the lab, made for a test: the collection, the fleet's inventory and what it needs of the secrets, as somebody would put
them there, and the role autoscaler over it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import settings
from tests.e2e.support.lab import ROOT, Lab, Run, fresh_folder, good
from tests.e2e.support.niceness import without_privilege

NAME, ADDRESS = "control1", "198.18.10.81"
ROW = {"name": NAME, "address": ADDRESS, "tiers": ["control"], "memory_mb": 1536, "vcpus": 2}
PORT = 9095
FOLDER = "/srv/fleet"
UNIT = "fleet-autoscaler"
SHOWN = "/var/lib/graphic_school/fleet/decisions.json"
USER = "autoscaler"
WHEELS = "/srv/wheels"
PLAYBOOK = "tests/e2e/support/autoscaler.yml"
# How the fleet is reached from there; the key and the host keys come from the role.
CONNECTION = {"ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3", "fleet_secrets_dir": f"{FOLDER}/secrets"}


@dataclass(frozen=True)
class ControlHost:
    lab: Lab

    def ssh(self, command: str, *, check: bool = True) -> str:
        return self.lab.ssh(NAME, command, address=ADDRESS, check=check)

    def install(self, **variables: Any) -> Run:
        """Run the role there."""
        given = {
            "autoscaler_ssh_key": self.lab.ssh_key.read_text("utf-8"),
            "autoscaler_known_hosts": (self.lab.ssh_key.parent / "known_hosts").read_text("utf-8"),
            "autoscaler_token": self.lab.credentials["vault_autoscaler_token"],
            "autoscaler_pip_options": ["--no-index", "--find-links", WHEELS],
            # The clock shall not hide whether an alert makes it look.
            "autoscaler_interval_seconds": 3600,
            "autoscaler_dry_run": True,
            **variables,
        }
        host = {"ansible_host": ADDRESS, "ansible_python_interpreter": "/usr/bin/python3", **given}
        # Secrets in a file that only its owner reads, not on a command line.
        inventory = self.lab.inventory_with(NAME, {"control": {"hosts": {NAME: host}}})
        inventory.chmod(0o600)
        try:
            options = ("-u", "root", "--private-key", str(self.lab.ssh_key))
            known = {"ANSIBLE_SSH_EXTRA_ARGS": f"-o UserKnownHostsFile={self.lab.ssh_key.parent / 'known_hosts'}"}
            return good(self.lab.play(PLAYBOOK, *options, inventories=[inventory], env=known))
        finally:
            inventory.unlink()

    def put(self, folder: Path, target: str, owner: str = "root") -> None:
        """A folder's content into a folder there."""
        archive = folder.parent / f"{folder.name}.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(folder, arcname=".")
        unpack = f"mkdir -p {target} && tar -x --no-same-owner -C {target} && chown -R {owner}: {target}"
        with archive.open("rb") as source:
            words = without_privilege(["podman", "exec", "-i", NAME, "sh", "-c", unpack])
            subprocess.run(words, stdin=source, check=True, capture_output=True, timeout=120)
        archive.unlink()

    # --- what it does -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, str]:
        said = self.ssh(f"systemctl show {UNIT} --property=ActiveState,SubState,MainPID,NRestarts")
        return dict(line.partition("=")[::2] for line in said.splitlines())

    def journal(self) -> str:
        return self.ssh(f"journalctl --unit {UNIT} --no-pager --output=cat")

    def post(self, payload: Mapping[str, Any], token: str) -> int:
        """What the autoscaler answers to an alert from the host that watches."""
        curl = (
            f"curl --silent --max-time 10 --output /dev/null --write-out '%{{http_code}}' --header @- "
            f"--data '{json.dumps(payload)}' http://{ADDRESS}:{PORT}/alerts"
        )
        watcher = self.lab.tier("monitoring")[0]
        words = self.lab.ssh_words(watcher, curl)
        done = subprocess.run(words, input=f"Authorization: Bearer {token}\n", capture_output=True, text=True, timeout=30, check=False)
        return int(done.stdout or 0)

    def decisions(self) -> list[dict[str, Any]]:
        """Newest first."""
        text = self.ssh(f"cat {FOLDER}/secrets/autoscale/decisions.json", check=False)
        rows: list[dict[str, Any]] = json.loads(text) if text else []
        return rows

    def exposure(self) -> float:
        """What `systemd-analyze security` says: 0 is closed, 10 is open."""
        said = self.ssh(f"systemd-analyze security --no-pager {UNIT}.service | tail -n 1")
        found = re.search(r"(\d+\.\d)", said)
        assert found, said
        return float(found[1])


def wheels(folder: Path) -> Path:
    """What the role installs with pip, as files: a host of the lab need not reach this machine's package index."""
    requirements = yaml.safe_load((ROOT / "roles/autoscaler/defaults/main.yml").read_text("utf-8"))["autoscaler_requirements"]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
             "--python-version=3.13", "--dest", str(folder), *requirements]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def collection(folder: Path) -> Path:
    """The collection as it is built and unpacked."""
    program = Path(sys.executable).with_name("ansible-galaxy")
    build = [str(program), "collection", "build", "--output-path", str(folder.parent)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    archive = next(folder.parent.glob("graphic_school-scaling-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    return folder


def fleet_folder(lab: Lab, folder: Path) -> Path:
    """The inventory of the lab, and of its secrets what deciding takes, as the control host keeps them."""
    files = {
        "ansible.cfg": (ROOT / "ansible.cfg").read_text("utf-8").replace(".collections", "collections"),
        "secrets/pki/ca.pem": lab.ca_file.read_text("utf-8"),
    }
    inventory = settings.INVENTORY
    files |= {f"inventory/{path.relative_to(inventory)}": path.read_text("utf-8") for path in inventory.rglob("*.yml")}
    files["inventory/group_vars/all/connection.yml"] = yaml.safe_dump(CONNECTION)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
        (folder / name).chmod(0o600)
    return folder


@contextmanager
def control_host(lab: Lab) -> Iterator[ControlHost]:
    """A host with the autoscaler in a dry run; gone afterwards, and what it decided too."""
    work = fresh_folder(lab.folder / "e2e" / NAME)
    host = ControlHost(lab)
    watcher = lab.tier("monitoring")[0]
    lab.lab("host", "create", json.dumps([ROW]))
    try:
        # A new control host goes on from what the page shows: this one has nothing to go on from.
        lab.ssh(watcher, f"[ ! -e {SHOWN} ] || mv {SHOWN} {SHOWN}.before")
        host.put(wheels(fresh_folder(work / "wheels")), WHEELS)
        # As the role's README says: the first run makes the user, whose folder is filled before the service starts.
        host.install(autoscaler_enabled=False)
        host.put(fleet_folder(lab, fresh_folder(work / "fleet")), FOLDER, USER)
        host.put(collection(fresh_folder(work / "collection")), f"{FOLDER}/collections/ansible_collections/graphic_school/scaling", USER)
        host.install()
        yield host
    finally:
        lab.lab("host", "destroy", json.dumps([{"name": NAME}]))
        lab.ssh(watcher, f"rm -f {SHOWN}; [ ! -e {SHOWN}.before ] || mv {SHOWN}.before {SHOWN}")
        fresh_folder(work).rmdir()
