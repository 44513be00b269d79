"""The lab's commands."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import (
    autoscale,
    bench,
    bootstrap,
    checks,
    credentials,
    fleet,
    hosts,
    images,
    inventory,
    kernel,
    machine,
    outside,
    podman,
    settings,
    site,
    summary,
)
from .inventory import Host
from .privileges import become_root, give_back
from .shell import LabError, Progress, detail, say
from .teardown import down as tear_down


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 when it worked, 1 with a sentence on stderr when it did not."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the same command continues from here.\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="The demo fleet of inventories/lab.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=(run.__doc__ or "").splitlines()[0])
        made.set_defaults(run=run)
        return made

    demo_parser = command("demo", demo)
    demo_parser.add_argument("--accelerate", action="store_true", help="with mitogen")
    for name, run in (("up", up), ("prune", prune)):
        command(name, run).add_argument(
            "--inventory", "-i", type=Path, action="append", default=[], metavar="FILE",
            help="a further inventory, laid over inventories/lab",
        )  # fmt: skip
    command("recreate", recreate).add_argument("host", nargs="*", help="these hosts only")
    command("status", status).add_argument("--json", action="store_true")
    command("down", down).add_argument("--keep-images", action="store_true")
    for name, test in (
        ("check", checks.check),
        ("check-slow", checks.check_slow),
        ("sanity", checks.sanity),
        ("proof", checks.proof),
        ("bench", bench.bench),
    ):
        command(name, test).set_defaults(run=lambda _options, test=test: test())
    autoscale.add_arguments(command("autoscale", autoscale.autoscale))
    command("venv", venv).add_argument("kind", choices=sorted(bootstrap.REQUIREMENTS))
    hosts.add_arguments(command("host", hosts.host))
    return parser


@dataclass(frozen=True)
class Made:
    """A fleet of running hosts."""

    venv: Path
    listing: dict[str, Any]
    hosts: list[Host]
    changes: int


def bring_up(progress: Progress, extra: Sequence[Path] = ()) -> Made:
    """Machine check, packages, environment, images, containers."""
    with progress.stage("machine", "can the lab live here?"):
        reasons = machine.refusals(machine.probe())
        if reasons:
            raise LabError("\n".join(reasons))
        become_root()
    with progress.stage("packages", "Podman and what the images are made with"):
        bootstrap.ensure_packages()
    with progress.stage("venv", "Ansible in a virtual environment"):
        venv_path = bootstrap.ensure_venv("run")
    with progress.stage("images", "a Debian system for every tier"):
        credentials.write()
        mirror = images.host_mirror()
        credentials.write_generated({"lab_debian_mirror": mirror.archive})
        listing = inventory.read(venv_path, extra)
        wanted_hosts = inventory.hosts(listing)
        wanted = images.recipes(inventory.packages(listing, wanted_hosts, venv_path), mirror)
        tags = {tier: recipe.name for tier, recipe in wanted.items()}
        todo = fleet.plan(wanted_hosts, podman.containers(), tags, checkout=str(settings.CHECKOUT), cpus_here=os.cpu_count() or 1)
        if todo.refusals:
            raise LabError("\n".join(todo.refusals))
        images.build_missing({tier: wanted[tier] for tier in {host.tier for host in todo.create}})
    with progress.stage("fleet", f"{len(wanted_hosts)} hosts"):
        kernel.raise_limits()
        if not podman.start_lxcfs():
            detail("lxcfs does not run: hosts will see this machine's memory and CPUs instead of their own")
        fleet.apply(todo, wanted_hosts, tags)
        kernel.weigh_hosts(len(wanted_hosts))
        images.forget_old(set(tags.values()))
        if todo.outdated:
            detail(
                f"made from an older image (fine; `python -m lab recreate` makes them afresh): {', '.join(todo.outdated)}"
            )
        if todo.orphans:
            detail(f"no longer in the inventory (`make demo-prune` removes them): {', '.join(todo.orphans)}")
    return Made(venv_path, listing, wanted_hosts, todo.changes)


def demo(options: argparse.Namespace) -> None:
    """Everything: an empty machine becomes a fleet that serves, checked from outside."""
    progress = Progress()
    before = summary.read()
    made = bring_up(progress)
    with progress.stage("site", "playbooks/site.yml"):
        result = site.play(
            made.venv, "playbooks/site.yml", log=settings.LOGS / "site.log", accelerate=options.accelerate
        )
        changed = {host: count for host, count in result.changed.items() if count}
        said = ", ".join(f"{host} {count}" for host, count in sorted(changed.items()))
        detail(f"{result.tasks} tasks; changed: {said or 'nothing'}")
    vip = inventory.vip(made.listing)
    ca_file = settings.LAB / "secrets" / "pki" / "ca.pem"
    with progress.stage("check", f"from outside, https://{vip}"):
        servers = {host.name for host in made.hosts if "app_servers" in host.groups and host.state == "active"}
        for line in outside.check(str(vip), ca_file, servers):
            detail(line)
    from_nothing = made.changes == len(made.hosts)
    content = summary.data(
        made.hosts,
        vip=vip,
        ca_file=ca_file,
        stages=progress.seconds,
        first_stages=progress.seconds if from_nothing else before.get("stages_from_nothing", {}),
    )
    summary.write(content)
    give_back()
    states = {container.name: container.state for container in podman.containers() if container.ours}
    for line in summary.closing(content, summary.table(made.hosts, states)):
        say(line)
    say(f"It took {sum(progress.seconds.values()):.0f} s.")


def up(options: argparse.Namespace) -> None:
    """Make the containers match the inventory, and stop there."""
    bring_up(Progress(), [path.resolve() for path in options.inventory])
    give_back()


def recreate(options: argparse.Namespace) -> None:
    """Throw hosts away and make them afresh: what was on them is gone."""
    become_root()
    ours = [container.name for container in podman.containers() if container.ours]
    unknown = sorted(set(options.host) - set(ours))
    if unknown:
        raise LabError(f"{', '.join(unknown)} is no host of the lab: it has {', '.join(ours) or 'none'}")
    fleet.remove(options.host or ours)
    up(argparse.Namespace(inventory=[]))


def prune(options: argparse.Namespace) -> None:
    """Remove hosts that the lab made and the inventory no longer has."""
    become_root()
    venv_path = bootstrap.ensure_venv("run")
    names = {host.name for host in inventory.hosts(inventory.read(venv_path, options.inventory))}
    gone = [container.name for container in podman.containers() if container.ours and container.name not in names]
    fleet.remove(gone)
    detail(f"removed {', '.join(gone)}" if gone else "every host is in the inventory")


def status(options: argparse.Namespace) -> None:
    """Print the fleet as a table."""
    become_root()
    found = [container for container in podman.containers() if container.ours]
    if options.json:
        say(json.dumps({c.name: {"address": c.address, "state": c.state, "memory_mb": c.memory_mb} for c in found}))
        return
    for container in found:
        size = f"{container.memory_mb} MB, {container.vcpus:g} CPU"
        say(f"{container.name:<10} {container.address:<15} {size:<16} {container.state}")
    if not found:
        say("No host of the lab is here: make demo makes thirteen.")


def down(options: argparse.Namespace) -> None:
    """Remove everything the lab made, and nothing else."""
    become_root()
    tear_down(keep_images=options.keep_images)


def venv(options: argparse.Namespace) -> None:
    """Make the virtual environment and print its path."""
    settings.LAB.mkdir(exist_ok=True)
    say(str(bootstrap.ensure_venv(options.kind)))
