"""Remove what the lab made, by its label, and say what stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import bootstrap, kernel, settings
from .podman import LXCFS_PID_FILE, containers, engine, images, network_exists, podman, remove
from .shell import LabError, detail, run, say

# What `make demo` writes into the checkout. The environment and the logs live in .lab as well.
GENERATED = (settings.SECRETS_FILE, settings.GENERATED_FILE, settings.INVENTORY / "scaled.yml")


def down(*, keep_images: bool) -> None:
    """Containers, network, images and files of the lab, whatever of them is there."""
    if shutil.which("podman"):
        found = containers()
        others = [container.name for container in found if not container.ours and settings.NETWORK in container.networks]
        if others:
            raise LabError(
                f"Network {settings.NETWORK} is used by {', '.join(others)}, which the lab did not make: nothing was removed. "
                f"Remove them (podman rm --force {' '.join(others)}), then run `make demo-down` again."
            )
        ours = [container.name for container in found if container.ours]
        if ours:
            remove(ours)
            detail(f"removed {len(ours)} hosts: {', '.join(ours)}")
        if network_exists():
            podman("network", "rm", settings.NETWORK)
            detail(f"removed network {settings.NETWORK}")
        if not keep_images:
            _remove_images()
    stop_lxcfs()
    kernel.restore()
    removed = [path for path in GENERATED if path.exists()]
    for path in removed:
        path.unlink()
    if settings.LAB.exists():
        shutil.rmtree(settings.LAB)
        removed.append(settings.LAB)
    if removed:
        detail("removed " + ", ".join(str(path.relative_to(settings.ROOT)) for path in removed))
    _say_what_stays(keep_images)


def _remove_images() -> None:
    names = images()
    # tiers stand on the base, so it goes last
    for name in sorted(names, key=lambda name: "/base:" in name):
        podman("rmi", "--force", name)
    if names:
        detail(f"removed {len(names)} images")


def stop_lxcfs() -> None:
    """End lxcfs if the lab started it and nobody else's containers use it."""
    if not LXCFS_PID_FILE.exists():
        return
    if shutil.which("podman") and run([*engine(), "ps", "--quiet"]).stdout.strip():
        detail("lxcfs keeps running: other containers may use it")
        return
    pid = int(LXCFS_PID_FILE.read_text("ascii"))
    if Path(f"/proc/{pid}/comm").exists() and Path(f"/proc/{pid}/comm").read_text("ascii").strip() == "lxcfs":
        os.kill(pid, 15)
        detail("stopped lxcfs")
    LXCFS_PID_FILE.unlink()


def _say_what_stays(keep_images: bool) -> None:
    stays = []
    cache = settings.cache_dir()
    record = bootstrap.installed_by_us_file()
    packages = " ".join(record.read_text("utf-8").split()) if record.exists() else ""
    if keep_images:
        stays.append(("the images", "make demo-down"))
    if packages:
        stays.append(("packages that the lab installed on this machine", f"apt-get purge {packages}"))
    if cache.exists():
        stays.append((f"downloads and the Python environment in {cache}", f"rm -r {cache}"))
    if stays:
        say("What stays, and how to remove it too:")
    for what, how in stays:
        say(f"   {what}:\n      {how}")
