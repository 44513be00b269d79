# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets are made once, completed later, and never changed."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import yaml

from lab.credentials import SECRETS, complete, laravel_key, write


def test_secrets_are_private_and_written_once(tmp_path: Path) -> None:
    path = tmp_path / "all" / "secrets.yml"
    assert write(path) is True
    first = path.read_text()
    assert write(path) is False
    assert path.read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(yaml.safe_load(first)) == set(SECRETS)


def test_a_missing_secret_is_added_and_the_others_stay() -> None:
    before = '---\nvault_app_key: "mine"\n'
    after = complete(before, {"vault_app_key": lambda: "new", "vault_other": lambda: "made"})
    assert after == before + 'vault_other: "made"\n'


def test_words_need_no_quoting_anywhere() -> None:
    made = yaml.safe_load(complete(""))
    assert all(value.isalnum() for name, value in made.items() if name != "vault_app_key")


def test_the_application_key_is_what_laravel_takes() -> None:
    kind, _colon, key = laravel_key().partition(":")
    assert (kind, len(base64.b64decode(key))) == ("base64", 32)
