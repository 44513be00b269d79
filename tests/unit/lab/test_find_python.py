# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""lab/find-python takes an interpreter that runs, wherever it is, or says in one sentence what it tried."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.settings import ROOT


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH with nothing but what the script itself needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "ls", "sort"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


def find(bin_folder: Path, pyenv_root: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(bin_folder), "PYENV_ROOT": str(pyenv_root), "HOME": "/nonexistent"}
    return subprocess.run([ROOT / "lab" / "find-python"], env=env, capture_output=True, text=True, check=False)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_shim_that_fails_is_passed_over_for_a_pyenv_version(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    version = tmp_path / "pyenv" / "versions" / "3.12.1" / "bin" / "python3"
    program(version, f'exec {sys.executable} "$@"')
    done = find(bin_folder, tmp_path / "pyenv")
    assert (done.returncode, done.stdout.strip()) == (0, str(version))


def test_an_old_python_alone_is_refused_by_one_sentence(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder / "python3", "exit 1")  # as 3.11 answers the question for 3.12
    done = find(bin_folder, tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    for part in (
        "No Python 3.12 or later",
        f"{bin_folder}/python3",
        "apt-get install python3.13",
        "pyenv install 3.13",
    ):
        assert part in done.stderr
