"""`python -m lab <command>`; the Makefile calls nothing else, playbooks call `host`."""

from __future__ import annotations

import sys

# A failover waits for `host`: it loads no more than it needs.
if sys.argv[1:2] == ["host"]:
    from .hosts import main
else:
    from .commands import main

sys.exit(main(sys.argv[1:]))
