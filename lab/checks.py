"""The tests, in the order of what they cost: check (every edit), sanity (the collection as it is built), proof (the fleet)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import autoscale, bootstrap, settings
from .privileges import become_root
from .shell import LabError, detail, run, say

# What the proof needs on this machine beyond what the demo does: a browser.
PROOF_PACKAGES = ("chromium",)
# What ansible-lint reads; by itself it would walk through every file of the checkout, which takes minutes.
LINTED = ("galaxy.yml", "inventories", "meta", "molecule", "playbooks", "roles")

# They build the collection, install it and run its playbooks.
PACKAGE_TESTS = "tests/unit/test_quality_package.py"

MOLECULE_SCENARIO = "pictures_are_shared"


@dataclass(frozen=True)
class Check:
    """A program that must end with 0."""

    name: str
    command: tuple[str, ...]


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def check() -> None:
    """Lint, types, unit tests; every failure shown, LabError when there was one.

    Two lanes that take about as long: ansible-lint costs as much as all the rest, and with more lanes than processors it would come last.
    """
    python_folders = [name for name in ("plugins", "lab", "tests") if (settings.ROOT / name).exists()]
    lanes = [
        [
            Check("ansible-lint", (_tool("ansible-lint"), "--nocolor", *LINTED)),
            Check("package tests", (_tool("pytest"), PACKAGE_TESTS)),
        ],
        [
            Check("ruff", (_tool("ruff"), "check", "--quiet", *python_folders)),
            Check("mypy", (_tool("mypy"), "--no-error-summary")),
            Check("unit tests", (_tool("pytest"), "tests/unit", f"--ignore={PACKAGE_TESTS}", "-m", "not slow")),
        ],
    ]
    with ThreadPoolExecutor(len(lanes)) as pool:
        failed = [name for names in pool.map(_run_lane, lanes) for name in names]
    if failed:
        raise LabError(f"make check: {', '.join(failed)} failed, see above")


def check_slow() -> None:
    """The unit tests that `make check` leaves out; LabError when one failed."""
    if not _run_check(Check("slow unit tests", (_tool("pytest"), "tests/unit", "-m", "slow"))):
        raise LabError("make check-slow: see above")


def _run_lane(lane: Sequence[Check]) -> list[str]:
    return [item.name for item in lane if not _run_check(item)]


def _run_check(item: Check, env: Mapping[str, str] | None = None) -> bool:
    start = time.monotonic()
    done = subprocess.run(
        item.command, cwd=settings.ROOT, env=env, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    good = done.returncode == 0
    last = done.stdout.strip().splitlines()[-1:] if "tests" in item.name else []
    say(f"{'ok  ' if good else 'FAIL'} {item.name:<14} {time.monotonic() - start:5.1f} s  {' '.join(last)}")
    if not good:
        say(done.stdout)
    return good


def sanity() -> None:
    """Build the collection, install it, and run `ansible-test sanity` on what was installed: what a user gets.

    ansible-test wants a git repository in an ansible_collections folder, makes a virtual environment for each linter, and
    fetches pip's own installer for them; the one that comes with Python serves as well and needs no further download.
    """
    work = settings.LAB / "sanity"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log = settings.LOGS / "sanity.log"
    log.unlink(missing_ok=True)
    start = time.monotonic()
    env = {
        **os.environ,
        "HOME": str(_sanity_home()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "ANSIBLE_NOCOLOR": "1",
    }
    run([_tool("ansible-galaxy"), "collection", "build", "--output-path", work], cwd=settings.ROOT, log=log)
    archive = next(work.glob("*.tar.gz"))
    run(
        [_tool("ansible-galaxy"), "collection", "install", "-p", work, "--offline", "--force", archive],
        cwd=work,
        log=log,
    )
    collection = work / "ansible_collections" / "graphic_school" / "scaling"
    run(["git", "init", "--quiet"], cwd=collection, log=log)
    run(["git", "add", "--all"], cwd=collection, log=log)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [_tool("ansible-test"), "sanity", "--venv", "--python", python, "--color", "no"]
    done = run(command, cwd=collection, env=env, log=log, check=False)
    said = log.read_text("utf-8", "replace").splitlines()
    if done.returncode:
        errors = [line for line in said if line.startswith(("ERROR:", "FATAL:"))]
        raise LabError("\n".join([*errors[-60:], f"ansible-test sanity failed (all of it: {log})"]))
    tests = sum(1 for line in said if line.startswith("Running sanity test"))
    say(f"ok   ansible-test   {time.monotonic() - start:5.1f} s  {tests} sanity tests, nothing skipped by us")


def _sanity_home() -> Path:
    """A home for ansible-test's caches, kept between runs."""
    home = settings.cache_dir() / "sanity"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    program = next(Path(sys.prefix).glob("lib/python3.*/site-packages/ansible_test/_internal/python_requirements.py"))
    for version in set(re.findall(r"pip='([0-9.]+)'", program.read_text("utf-8"))):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(
            "import ensurepip\nensurepip.bootstrap(upgrade=True, default_pip=True)\n", "ascii"
        )
    return home


def proof() -> None:
    """Every promise on the running fleet, seen from outside; before that, what needs a server of its own and no fleet."""
    become_root()
    if not settings.SUMMARY_FILE.exists():
        raise LabError(f"{settings.SUMMARY_FILE} is missing: the proof runs on the fleet that `make demo` makes")
    missing = bootstrap.missing_packages(PROOF_PACKAGES)
    if missing:
        bootstrap.install(missing)
    autoscale.ensure_java()
    autoscale.ensure_rulebook(Path(sys.prefix))
    # Molecule looks for ansible and pytest on the PATH
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    detail(f"one of the scenarios through Molecule, whose shape the others share: {MOLECULE_SCENARIO}")
    done = subprocess.run([_tool("molecule"), "test", "-s", MOLECULE_SCENARIO], cwd=settings.ROOT, env=env, check=False)
    if done.returncode:
        raise LabError(f"molecule test -s {MOLECULE_SCENARIO} failed, see above")
    left_out = "not self_test and not interrupts and not alerts and not quiet and not control_host"
    words = [_tool("pytest"), "tests/integration", "tests/e2e", "-m", left_out, "-v", "--durations=10"]
    done = subprocess.run(words, cwd=settings.ROOT, env=env, check=False)
    if done.returncode:
        raise LabError("the proof failed, see above")
