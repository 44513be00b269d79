"""The lab's autoscaler: ansible-rulebook on this machine, in the foreground."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from . import bootstrap, settings, site
from .shell import LabError, detail, run

REQUIREMENTS = "requirements-autoscaler.txt"
JAVA = "default-jre-headless"
PORT = 9095
TOKEN = "vault_autoscaler_token"
# Where ansible-rulebook reads the token: a command line can be read by everybody.
TOKEN_VARIABLE = "AUTOSCALER_TOKEN"
EDA = settings.ROOT / "extensions" / "eda"
FOLDER = settings.LAB / "secrets" / "autoscale"


def autoscale(options: argparse.Namespace) -> None:
    """Scale the demo by its signals until Ctrl-C."""
    ensure_java()
    venv = bootstrap.ensure_venv("run")
    rulebook = ensure_rulebook(venv)
    token = secret(settings.SECRETS_FILE)
    FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    values = variables(venv, options.interval, options.address, options.port, options.dry_run)
    file = FOLDER / "variables.json"
    file.write_text(json.dumps(values, indent=1), "utf-8")
    lock = FOLDER / "loop.lock"
    detail(f"listening on http://{options.address}:{options.port}/alerts, looking every {options.interval} s" + dry(options))
    if held(lock):
        detail("another loop runs: waiting until it ends")
    environment = {**site.environment(venv, accelerate=False), TOKEN_VARIABLE: token}
    words = command(rulebook, lock, file)
    sys.stdout.flush()
    os.chdir(settings.ROOT)
    os.execvpe(words[0], words, environment)


def ensure_java() -> None:
    """ansible-rulebook's rules run in Java, 17 or later. Raises LabError."""
    if shutil.which("java"):
        return
    if os.geteuid() != 0:
        # Through sudo everything from here on would be root's, also what scaling writes.
        raise LabError(f"Java is not installed: `sudo apt-get install {JAVA}`, then `make autoscale` again")
    bootstrap.install([JAVA])


def dry(options: argparse.Namespace) -> str:
    return "; dry run: decisions only" if options.dry_run else ""


def ensure_rulebook(venv: Path) -> Path:
    """ansible-rulebook in an environment of its own, so that the demo's stays as it is; made where it is missing."""
    key = hashlib.sha256((settings.ROOT / REQUIREMENTS).read_bytes() + sys.version.encode()).hexdigest()[:12]
    for cache in (settings.cache_dir(), settings.system_cache_dir()):
        if (cache / f"venv-rulebook-{key}" / "complete").exists():
            return cache / f"venv-rulebook-{key}" / "bin" / "ansible-rulebook"
    path = settings.cache_dir() / f"venv-rulebook-{key}"
    shutil.rmtree(path, ignore_errors=True)
    log = settings.LOGS / "pip.log"
    detail(f"pip install -r {REQUIREMENTS}, log in {log}")
    run([venv / "bin" / "python", "-m", "venv", path], log=log)
    pip = [path / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    run([*pip, "-r", settings.ROOT / REQUIREMENTS], log=log)
    (path / "complete").touch()
    return path / "bin" / "ansible-rulebook"


def secret(file: Path, name: str = TOKEN) -> str:
    """The token that Alertmanager shows. Raises LabError."""
    found = re.search(rf'^{name}: "?([^"\n]+)"?$', file.read_text("utf-8") if file.exists() else "", re.MULTILINE)
    if not found:
        raise LabError(f"{name} is not in {file}: run `make demo`, which makes it and gives it to Alertmanager")
    return found[1]


def gateway(subnet: str = settings.SUBNET) -> str:
    """This machine's own address in the lab's network."""
    return str(next(ipaddress.ip_network(subnet).hosts()))


def variables(venv: Path, interval: int, address: str, port: int, dry_run: bool) -> dict[str, Any]:
    """What the rulebook extensions/eda/rulebooks/autoscale.yml reads."""
    playbook = [str(venv / "bin" / "ansible-playbook"), "-i", str(settings.INVENTORY), "playbooks/autoscale.yml"]
    return {
        "autoscaler_listen_address": address,
        "autoscaler_listen_port": port,
        "autoscaler_interval_seconds": interval,
        "autoscaler_playbooks": str(EDA / "playbooks"),
        "autoscaler_command": playbook + (["-e", json.dumps({"autoscale_dry_run": True})] if dry_run else []),
        "autoscaler_directory": str(settings.ROOT),
        "autoscaler_seconds": 3600,
    }


def command(rulebook: Path, lock: Path, file: Path) -> list[str]:
    """ansible-rulebook, which holds the lock for as long as it lives: a second one waits."""
    return [
        "flock", "--no-fork", str(lock),
        str(rulebook), "--rulebook", str(EDA / "rulebooks" / "autoscale.yml"), "--inventory", str(EDA / "inventory.yml"),
        "--env-vars", TOKEN_VARIABLE, "--vars", str(file),
    ]  # fmt: skip


def held(lock: Path) -> bool:
    """Whether somebody holds the lock."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print and write decisions only")
    parser.add_argument("--interval", type=int, default=20, metavar="SECONDS", help="between two looks without an alert")
    parser.add_argument("--address", default=gateway(), help="address to listen on")
    parser.add_argument("--port", type=int, default=PORT)
