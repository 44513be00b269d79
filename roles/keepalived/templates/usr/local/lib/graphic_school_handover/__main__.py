# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a shared address away, and end when its connections have: `python3 -m graphic_school_handover /etc/graphic_school/handover.json`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from graphic_school_handover.handover import WORD_SECONDS, Giver, say, shared_from, sockets, why_it_ends


def ready() -> None:
    """Tell systemd that the first word is out (sd_notify(3))."""
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"READY=1", path.replace("@", "\0", 1) if path.startswith("@") else path)


def run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    shared = shared_from(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    signal.signal(signal.SIGTERM, lambda *_details: sys.exit(0))
    giver, ends = Giver(shared, run), sockets(shared)
    began, left, why = time.monotonic(), None, ""
    with giver.accepting():
        say(ends)
        ready()
        while not why:
            time.sleep(WORD_SECONDS)
            say(ends)
            look = giver.look(time.monotonic())
            if left is None and not look.held:
                left = look.at
            why = why_it_ends(began, left, look, shared.seconds)
    sys.stdout.write(f"{why}\n")


if __name__ == "__main__":
    main()
