"""What things cost, measured: the demo by stage, a run with nothing to do, the filters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import bootstrap, podman, settings, site, summary
from .privileges import become_root
from .shell import LabError, say


def bench() -> None:
    """Print the figures."""
    become_root()
    content = summary.read()
    if not content:
        raise LabError(f"{settings.SUMMARY_FILE} is missing: make bench measures the fleet that `make demo` makes")
    venv = bootstrap.ensure_venv("dev")
    say("make demo from nothing")
    stages = content.get("stages_from_nothing", {})
    for name, seconds in stages.items():
        say(f"  {name:<10} {seconds:7.1f} s")
    if stages:
        say(f"  {'together':<10} {sum(stages.values()):7.1f} s   (aim: 720 s)")
    else:
        say("  not measured: this fleet was not made in one run (make demo-down, then make demo)")
    say()
    say(f"site.yml with nothing to do on {len(content['hosts'])} hosts")
    say(f"  {'':<12} {'wall':>8} {'CPU control':>12} {'CPU hosts':>10} {'tasks':>6} {'changed':>8}")
    names = list(content["hosts"])
    for title, accelerate, aim in (("accelerated", True, 15), ("plain", False, 36)):
        before = hosts_cpu_seconds(names)
        result = site.play(
            venv, "playbooks/site.yml", log=settings.LOGS / f"bench-{title}.log", accelerate=accelerate, quiet=True
        )
        hosts = hosts_cpu_seconds(names) - before
        say(
            f"  {title:<12} {result.seconds:6.1f} s {result.cpu_seconds:10.1f} s {hosts:8.1f} s {result.tasks:>6} "
            f"{sum(result.changed.values()):>8}   (aim: {aim} s)"
        )
    say()
    say("filters")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pytest")), "tests/benchmarks", "--benchmark-only", "-q",
         "--benchmark-columns=min,mean,rounds", "--benchmark-sort=name"],
        cwd=settings.ROOT, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 5):
        raise LabError("the benchmark of the filters failed, see above")


def hosts_cpu_seconds(names: Sequence[str]) -> float:
    """CPU time that these hosts have used since they started."""
    return sum(podman.cpu_seconds(name) for name in names)
