"""The lab's commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import bootstrap, credentials, fleet, images, inventory, machine, podman, settings
from .inventory import Host
from .shell import LabError, Progress, detail, say


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 when it worked, 1 with a sentence on stderr when it did not."""
    parser = argparse.ArgumentParser(prog="lab", description="The demo fleet of inventories/lab on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="make the containers match the inventory").set_defaults(run=up)
    commands.add_parser("status", help="print the fleet as a table").set_defaults(run=status)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the same command continues from here.\n")
        return 130


def up(options: argparse.Namespace) -> None:
    """Everything up to running, reachable hosts."""
    bring_up(Progress())


def bring_up(progress: Progress) -> tuple[dict[str, object], list[Host]]:
    """Machine check, packages, environment, images, containers; the inventory and its hosts."""
    with progress.stage("machine", "can the lab live here?"):
        become_root()
        reasons = machine.refusals(machine.probe())
        if reasons:
            raise LabError("\n".join(reasons))
    with progress.stage("packages", "Podman and what the images are made with"):
        bootstrap.ensure_packages()
    with progress.stage("venv", "Ansible in a virtual environment"):
        venv, _ = bootstrap.ensure_venv("run")
    credentials.write()
    mirror = images.host_mirror()
    credentials.write_generated({"lab_debian_mirror": mirror.archive})
    listing = inventory.read(venv)
    hosts = inventory.hosts(listing)
    with progress.stage("images", "a Debian system for every tier"):
        wanted = images.recipes({host.tier: {} for host in hosts}, mirror)
        images.build_missing(wanted)
    with progress.stage("fleet", f"{len(hosts)} hosts"):
        if not podman.start_lxcfs():
            detail("lxcfs does not run: hosts will see this machine's memory and CPUs instead of their own")
        tags = {tier: recipe.name for tier, recipe in wanted.items()}
        todo = fleet.plan(
            hosts, podman.containers(), tags, checkout=str(settings.ROOT), cpus_here=os.cpu_count() or 1
        )
        fleet.apply(todo, hosts, tags)
    return listing, hosts


def become_root() -> None:
    """Start again through sudo when this is not root: networks and containers with limits need it."""
    if os.geteuid() != 0:
        detail("continuing through sudo")
        keep = "--preserve-env=" + ",".join(name for name in os.environ if name.startswith(("LAB_", "ACCELERATE", "PIP_")))
        os.execvp("sudo", ["sudo", keep, sys.executable, "-m", "lab", *sys.argv[1:]])


def status(options: argparse.Namespace) -> None:
    """The fleet as a table."""
    for container in podman.containers():
        if container.ours:
            say(f"{container.name:<10} {container.address:<16} {container.memory_mb:>6} MB {container.vcpus:g} {container.state}")
