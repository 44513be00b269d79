# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service redis-cluster-spread: `python3 -m graphic_school_redis /etc/redis/spread.json`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from graphic_school_redis.redis_driver import tools_for
from graphic_school_redis.redis_spread import LOOK_SECONDS, Refusal, one_round


def nft(arguments: Sequence[str], text: str) -> tuple[int, str]:
    ended = subprocess.run(["/usr/sbin/nft", *arguments], input=text, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stderr


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tools = tools_for(config["user"], config["passwords"], 10)
    refusal, due, said = Refusal(nft), time.monotonic() + float(config["seconds"]), ""
    while True:
        sentences = [sentence] if (sentence := refusal.look(config, tools)) != said else []
        said = sentence
        if time.monotonic() >= due:
            sentences += one_round(config, tools)
            due = time.monotonic() + float(config["seconds"])
        for line in filter(None, sentences):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main()
