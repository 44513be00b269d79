"""`python -m lab <command>`; the Makefile calls nothing else."""

from __future__ import annotations

import sys

from .commands import main

sys.exit(main(sys.argv[1:]))
