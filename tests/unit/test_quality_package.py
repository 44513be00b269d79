# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that people install: it holds what it should, nothing it should not, and its playbooks run by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.unit.support.render import ROOT

BIN = Path(sys.executable).parent
INVENTORY = ROOT / "inventories" / "example"


def run(*words: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    run(BIN / "ansible-galaxy", "collection", "build", "--output-path", folder, cwd=ROOT)
    [built] = folder.glob("graphic_school-scaling-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def elsewhere(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing of the checkout but the installed archive."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(BIN / "ansible-galaxy", "collection", "install", "--offline", "-p", folder / "collections", archive, cwd=folder)
    return folder


def test_the_archive_holds_no_secret_and_no_leftovers(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    roots = {name.split("/")[0] for name in names}
    assert roots & {".lab", ".venv", ".git", ".collections", ".ansible", ".hypothesis", ".mypy_cache"} == set()
    assert [name for name in names if name.endswith(("secrets.yml", "generated.yml", ".key", ".pyc"))] == []
    assert {
        "README.md",
        "COPYING",
        "meta/runtime.yml",
        "playbooks/site.yml",
        "roles/app/defaults/main.yml",
    } <= (set(names))


def test_every_playbook_runs_by_its_name_from_anywhere(elsewhere: Path) -> None:
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    listed = run(
        BIN / "ansible-playbook",
        *(f"graphic_school.scaling.{name}" for name in names),
        "-i",
        INVENTORY,
        "--check",
        "--list-tasks",
        cwd=elsewhere,
        ANSIBLE_COLLECTIONS_PATH=str(elsewhere / "collections"),
    )
    parts = re.split(r"^playbook: ", listed, flags=re.MULTILINE)[1:]
    assert [Path(part.split()[0]).stem for part in parts] == names
    assert all(part.startswith(str(elsewhere)) for part in parts), "the installed ones, not the checkout's"
    assert [part.split()[0] for part in parts if part.count("TAGS:") < 2] == [], "no task was listed"


def test_the_example_inventory_passes_the_checks_that_come_first(elsewhere: Path) -> None:
    run(
        BIN / "ansible-playbook",
        "graphic_school.scaling.preflight",
        "-i",
        INVENTORY,
        "--check",
        cwd=elsewhere,
        ANSIBLE_COLLECTIONS_PATH=str(elsewhere / "collections"),
    )
