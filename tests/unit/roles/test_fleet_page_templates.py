# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's page as it reaches a host: whole, closed against other servers, and naming only series that are recorded."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from plugins.module_utils.fleet import TIERS
from plugins.module_utils.series import SERIES
from tests.unit.support.render import ROOT, Fleet

ROLE = ROOT / "roles" / "fleet_page"
SITE = "/usr/share/graphic_school/fleet/"
SOURCE = ROLE / "templates" / SITE.strip("/")
OWN = sorted(path for path in SOURCE.iterdir() if path.suffix in {".js", ".html", ".css", ".svg"})
PROGRAMS = [path for path in OWN if path.suffix == ".js"]


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    """Name below the page's path → content, as the role writes it."""
    files = Fleet().render_role("fleet_page")
    assert all(path.startswith(SITE) for path in files)
    return {path.removeprefix(SITE): text for path, text in files.items()}


def text_of(paths: list[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


# --- what is on the host ------------------------------------------------------------------------------------------


def test_everything_the_page_asks_for_is_there(site: dict[str, str]) -> None:
    asked = re.findall(r'(?:src|href)="([^"#]+)"', site["index.html"])
    asked += [name for path in PROGRAMS for name in re.findall(r'from "\./([^"]+)"', site[path.name])]
    asked += re.findall(r'get\("([\w.]+)"\)', site["api.js"])
    assert sorted(set(asked) - set(site)) == []
    assert {"main.js", "fleet.css", "vendor/uPlot.iife.min.js", "series.json"} <= set(asked)


def test_every_file_reaches_the_host_as_it_is_here(site: dict[str, str]) -> None:
    files = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".j2"]
    changed = [
        path.name for path in files if site[path.relative_to(SOURCE).as_posix()] != path.read_text(encoding="utf-8")
    ]
    assert changed == []


def test_the_page_gets_the_one_list_of_series(site: dict[str, str]) -> None:
    rows = json.loads(site["series.json"])
    assert {(row["name"], row["about"]) for row in rows} == {(series.name, series.about) for series in SERIES}
    assert all(row["group"] for row in rows)


def test_a_fleet_of_ones_own_series_can_be_shown() -> None:
    mine = [{"name": "fleet:mine:count", "about": "mine", "group": "Mine"}]
    files = Fleet(vars={"fleet_page_series": mine}).render_role("fleet_page")
    assert json.loads(files[f"{SITE}series.json"]) == mine


# --- what the page says -------------------------------------------------------------------------------------------


def test_the_page_names_only_series_that_are_recorded() -> None:
    named = set(re.findall(r'"(fleet:\w+:\w+)"', text_of(PROGRAMS)))
    assert len(named) > 10
    assert sorted(named - {series.name for series in SERIES}) == []


def test_every_unit_in_a_name_has_its_way_to_be_written() -> None:
    known = re.search(r"const UNITS = \{\n(.*?)\n\};", (SOURCE / "format.js").read_text(encoding="utf-8"), re.DOTALL)
    assert known is not None
    units = set(re.findall(r"^  (\w+):", known[1], re.MULTILINE)) | {"info"}
    assert sorted({series.name.rpartition(":")[2] for series in SERIES} - units) == []


def test_every_tier_has_its_place_in_the_picture() -> None:
    model = (SOURCE / "model.js").read_text(encoding="utf-8")
    known = re.search(r"export const TIERS = \{\n(.*?)\n\};", model, re.DOTALL)
    assert known is not None
    assert set(TIERS) <= set(re.findall(r"^  (\w+):", known[1], re.MULTILINE))


# --- what the page keeps out --------------------------------------------------------------------------------------


def test_the_policy_lets_in_nothing_but_the_pages_own_files(site: dict[str, str]) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', site["index.html"])
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules.pop("default-src") == "'none'"
    assert set(rules.values()) <= {"'self'", "'none'"}
    assert {"script-src", "style-src", "connect-src", "base-uri", "form-action"} <= set(rules)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"<script(?![^>]*\bsrc=)", "a script within the page"),
        (r"<style\b|\sstyle=", "a style within the page"),
        (r"\son\w+=\"", "a handler within the page"),
        (r"\beval\(|new Function\(", "text that is run"),
        (r"\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|document\.write", "text that becomes markup"),
        (r"(?:src|href|url\(|from |import\(|fetch\()\s*[\"'(]?https?:", "something from another server"),
    ],
    ids=lambda value: value if " " in value and "\\" not in value else "",
)
def test_the_page_does_without(pattern: str, what: str) -> None:
    assert [path.name for path in OWN if re.search(pattern, path.read_text(encoding="utf-8"))] == [], what


# --- what others wrote --------------------------------------------------------------------------------------------


def test_the_charting_library_is_the_one_that_was_pinned() -> None:
    told = (ROLE / "THIRD-PARTY.md").read_text(encoding="utf-8")
    sums = dict(re.findall(r"^\| `([\w.]+)` \| `[\w./]+` \| `([0-9a-f]{64})` \|$", told, re.MULTILINE))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (SOURCE / "vendor").iterdir()}
    assert files == sums
    version = re.search(r"`uplot@([\d.]+)`, integrity `sha512-[A-Za-z0-9+/]{86}==`", told)
    assert version is not None
    assert f"(v{version[1]})" in (SOURCE / "vendor/uPlot.iife.min.js").read_text(encoding="utf-8").splitlines()[0]


def test_the_licence_of_the_library_comes_with_it() -> None:
    licence = (SOURCE / "vendor/uPlot.LICENSE.txt").read_text(encoding="utf-8")
    told = (ROLE / "THIRD-PARTY.md").read_text(encoding="utf-8")
    quoted = [line.removeprefix(">").strip() for line in told.splitlines() if line.startswith(">")]
    assert quoted == [line.strip() for line in licence.splitlines()]
    assert quoted[0] == "The MIT License (MIT)"
