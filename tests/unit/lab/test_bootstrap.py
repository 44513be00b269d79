# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which virtual environment a command takes, also when it continues through sudo."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import bootstrap, settings


def test_what_continues_through_sudo_keeps_the_environment_that_the_user_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root_s, user_s, checkout = tmp_path / "var", tmp_path / "home", tmp_path / "checkout"
    made = {kind: cache / f"venv-{bootstrap.venv_key(kind)}" for kind, cache in (("run", root_s), ("dev", user_s))}
    for path in made.values():
        path.mkdir(parents=True)
        (path / "complete").touch()
    checkout.mkdir()
    (checkout / "venv").symlink_to(made["dev"])
    monkeypatch.setattr(settings, "LAB", checkout)
    monkeypatch.setattr(settings, "cache_dir", lambda: root_s)
    monkeypatch.setattr(settings, "system_cache_dir", lambda: root_s)

    assert bootstrap.ensure_venv("run") == made["dev"]
    assert (checkout / "venv").readlink() == made["dev"]
