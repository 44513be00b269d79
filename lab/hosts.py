"""Single hosts, as a provider of machines makes and ends them: what `python -m lab host` does for the playbooks.

Every action takes rows and can be repeated; what is already so stays so. Only hosts of this lab are touched.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import fleet, settings
from .inventory import TIERS, Host
from .podman import Container, containers, end, images, podman
from .privileges import become_root, give_back
from .shell import LabError, say

Row = Mapping[str, Any]

FENCE_SECONDS = 20


def main(arguments: Sequence[str]) -> int:
    """Run `host <action> <rows>` alone; 0 when it worked, 1 with a sentence on stderr when it did not."""
    parser = argparse.ArgumentParser(prog="python -m lab host")
    add_arguments(parser)
    try:
        host(parser.parse_args(arguments[1:]))
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `host` takes."""
    parser.add_argument("action", choices=sorted(ACTIONS))
    parser.add_argument("rows", help="JSON: rows of name, and for create address, tiers, memory_mb and vcpus")


def host(options: argparse.Namespace) -> None:
    """What playbooks ask of the lab as a provider of machines: prints the hosts as JSON."""
    become_root()
    found = act(options.action, rows_from(options.rows))
    give_back()
    say(json.dumps(found))


def rows_from(text: str) -> list[Row]:
    """The rows of a JSON list; LabError when it is none."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise LabError(f"`python -m lab host` takes rows as a JSON list, not: {text} ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows):
        raise LabError(f"`python -m lab host` takes a list of rows that have a name, not: {text}")
    return rows


def act(action: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Do it, and tell what the hosts are afterwards and whether that is new; `list` without rows tells all."""
    names = [row["name"] for row in rows]
    # Only who makes a host has to know the others. A failover waits for this: each thing asked of Podman costs it a tenth of a second.
    here = {container.name: container for container in containers([] if action == "create" else names)}
    refusals = foreign(names, here, str(settings.CHECKOUT))
    if refusals:
        raise LabError("\n".join(refusals))
    ACTIONS[action](rows, here)
    after = {container.name: container for container in containers(names) if container.ours}
    names = names or sorted(after)
    stopping = {row["name"] for row in rows if row.get("resize_stops")}
    told = [_told(name, after.get(name), name in stopping) for name in names]
    return {"changed": told != [_told(name, here.get(name), name in stopping) for name in names], "hosts": told}


def foreign(names: Iterable[str], here: Mapping[str, Container], checkout: str) -> list[str]:
    """Why these names can't be touched: one sentence for each container that isn't of this lab."""
    found = []
    for name in names:
        container = here.get(name)
        if container is None:
            continue
        owner = container.labels.get(settings.CHECKOUT_LABEL, checkout)
        if not container.ours:
            found.append(f"A container called {name} exists that the lab did not make: it is left alone")
        elif owner != checkout:
            found.append(f"{name} belongs to the lab of checkout {owner}: it is left alone")
    return found


def host_from(row: Row) -> Host:
    """A row of `create` as a host of the lab; LabError that names what is missing."""
    missing = [key for key in ("address", "tiers", "memory_mb", "vcpus") if not row.get(key)]
    if missing:
        raise LabError(
            f"{row['name']} can't be made without {', '.join(missing)}: set fleet_memory_mb and fleet_vcpus (or fleet_size) "
            "and fleet_address_pool for its group"
        )
    tiers = {TIERS[group] for group in row["tiers"] if group in TIERS}
    return Host(
        name=row["name"],
        address=str(row["address"]),
        groups=tuple(row["tiers"]),
        tier=tiers.pop() if len(tiers) == 1 else "base",
        memory_mb=int(row["memory_mb"]),
        vcpus=int(row["vcpus"]),
    )


def image_of(tier: str, here: Iterable[Container], built: Mapping[str, str]) -> str:
    """The image for one more host of a tier: that of its neighbours, else one that was built; LabError when there is none."""
    for container in here:
        if container.ours and container.labels.get(settings.TIER_LABEL) == tier:
            return container.image
    prefix = f"{settings.IMAGE_PREFIX}/{tier}:"
    found = sorted(name for name in built if name.startswith(prefix))
    if not found:
        raise LabError(f"There is no image for tier {tier}: `python -m lab up` builds it")
    return found[-1]


def _told(name: str, container: Container | None, stops: bool = False) -> dict[str, Any]:
    if container is None:
        return {"name": name, "state": "absent"}
    return {
        "name": name,
        "state": container.state,
        "address": container.address,
        "memory_mb": container.memory_mb,
        "vcpus": container.vcpus,
        "most_vcpus": os.cpu_count() or 1,
        "online": not stops,  # `podman update` stops nobody
    }


def _create(rows: Sequence[Row], here: Mapping[str, Container]) -> None:
    wanted = [host_from(row) for row in rows]
    built = images()
    tags = {host.tier: image_of(host.tier, here.values(), built) for host in wanted}
    todo = fleet.plan(
        wanted, here.values(), tags, checkout=str(settings.CHECKOUT), cpus_here=os.cpu_count() or 1
    )  # fmt: skip
    fleet.apply(todo, wanted, tags)


def _destroy(rows: Sequence[Row], here: Mapping[str, Container]) -> None:
    fleet.remove([row["name"] for row in rows])


def _resize(rows: Sequence[Row], here: Mapping[str, Container]) -> None:
    absent = [row["name"] for row in rows if row["name"] not in here]
    if absent:
        raise LabError(f"{', '.join(absent)} can't be resized: there is no such host in the lab")
    for row in rows:
        stops = bool(row.get("resize_stops"))
        if stops and here[row["name"]].state == "running":
            podman("stop", "--time", "60", row["name"])
        if stops:
            podman("start", row["name"])
        # After the start: Podman forgets at each what it was told with `podman update`.
        fleet.resize(row["name"], int(row["memory_mb"]), int(row["vcpus"]))


def _fence(rows: Sequence[Row], here: Mapping[str, Container]) -> None:
    """Power off, and not before the kernel says that it is off."""
    found = [here[row["name"]] for row in rows if row["name"] in here]
    with ThreadPoolExecutor(max_workers=4) as pool:
        off = list(pool.map(lambda container: end(container, seconds=FENCE_SECONDS), found))
    left = [container.name for container, is_off in zip(found, off, strict=True) if not is_off]
    if left:
        raise LabError(f"{', '.join(left)} could not be fenced within {FENCE_SECONDS} s: the kernel still runs the first process there")


def _start(rows: Sequence[Row], here: Mapping[str, Container]) -> None:
    absent = [row["name"] for row in rows if row["name"] not in here]
    if absent:
        raise LabError(f"{', '.join(absent)} can't be started: there is no such host in the lab")
    for row in rows:
        state = here[row["name"]].state
        if state != "running":
            podman("unpause" if state == "paused" else "start", row["name"])
            # Podman forgets at each start what it was told with `podman update`.
            if row.get("memory_mb") and row.get("vcpus"):
                fleet.resize(row["name"], int(row["memory_mb"]), int(row["vcpus"]))


def _list(rows: Sequence[Row], here: Mapping[str, Container]) -> None:
    """Nothing to do: what there is is told anyway."""


ACTIONS: Mapping[str, Callable[[Sequence[Row], Mapping[str, Container]], None]] = {
    "create": _create,
    "destroy": _destroy,
    "fence": _fence,
    "list": _list,
    "resize": _resize,
    "start": _start,
}
