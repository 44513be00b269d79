"""Root where it is needed, and the files back to the user afterwards."""

from __future__ import annotations

import os
import sys

from . import settings
from .shell import detail


def become_root() -> None:
    """Start again through sudo when this is not root: networks and containers with limits need it."""
    if os.geteuid() != 0:
        detail("continuing through sudo")
        names = [name for name in os.environ if name.startswith(("LAB_", "PIP_"))]
        os.execvp("sudo", ["sudo", f"--preserve-env={','.join(names)}", sys.executable, "-m", "lab", *sys.argv[1:]])


def give_back() -> None:
    """Files made through sudo belong to the user who asked: Ansible must be able to read the key."""
    owner = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() != 0 or owner[0] is None or owner[1] is None:
        return
    uid, gid = int(owner[0]), int(owner[1])
    paths = [settings.SECRETS_FILE, settings.GENERATED_FILE, settings.LAB, *settings.LAB.rglob("*")]
    for path in paths:
        if path.exists() or path.is_symlink():
            os.chown(path, uid, gid, follow_symlinks=False)
