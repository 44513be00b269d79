# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: where packages come from, and when an image is built again."""

from __future__ import annotations

import pytest

from lab.images import Mirror, find_mirror, install_script, recipes, sources
from lab.shell import LabError

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example.com/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example.com/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
# deb http://old.example.com/debian bookworm main
deb [arch=amd64 signed-by=/x.gpg] http://mirror.example.com/debian bookworm main contrib
deb-src http://source.example.com/debian bookworm main
deb http://mirror.example.com/debian-security bookworm-security main
"""
STRANGERS = "deb https://cloud.example.com/apt cloud-sdk-bookworm main\n"
MIRROR = Mirror("http://mirror.example.com/debian", "http://mirror.example.com/debian-security")


@pytest.mark.parametrize("text", [pytest.param(DEB822, id="deb822"), pytest.param(ONE_LINE, id="one line each")])
def test_the_mirror_is_the_machines_own(text: str) -> None:
    assert find_mirror([STRANGERS, text], "bookworm") == MIRROR


@pytest.mark.parametrize(
    "text", [pytest.param(STRANGERS, id="only strangers"), pytest.param(DEB822.replace("Types", "Enabled: no\nTypes"), id="off")]
)  # fmt: skip
def test_a_machine_without_a_debian_mirror_is_told_what_to_add(text: str) -> None:
    with pytest.raises(LabError, match="add the line `deb <your mirror> bookworm main`"):
        find_mirror([text], "bookworm")


def test_hosts_get_updates_and_security_too() -> None:
    assert sources(MIRROR, "trixie").splitlines() == [
        "deb http://mirror.example.com/debian trixie main",
        "deb http://mirror.example.com/debian trixie-updates main",
        "deb http://mirror.example.com/debian-security trixie-security main",
    ]


def test_an_image_is_built_again_when_its_packages_change_and_only_then() -> None:
    tiers = {"base": ["acl"], "lb": ["nginx"], "app": ["php8.4-fpm"]}
    first = recipes(tiers, MIRROR)
    assert {tier: recipe.name for tier, recipe in recipes(tiers, MIRROR).items()} == {
        tier: recipe.name for tier, recipe in first.items()
    }
    lb_changed = recipes({**tiers, "lb": ["nginx", "keepalived"]}, MIRROR)
    assert lb_changed["lb"].name != first["lb"].name
    assert (lb_changed["app"].name, lb_changed["base"].name) == (first["app"].name, first["base"].name)
    base_changed = recipes({**tiers, "base": ["acl", "rsync"]}, MIRROR)
    assert {base_changed[tier].name for tier in tiers}.isdisjoint({first[tier].name for tier in tiers})


def test_only_mysql_comes_from_unstable() -> None:
    mysql = recipes({"mysql": ["mysql-server-core", "python3-pymysql"]}, MIRROR)["mysql"]
    assert (mysql.packages, mysql.from_unstable) == (("python3-pymysql",), ("mysql-server-core",))
    script = install_script(mysql)
    assert "--target-release unstable mysql-server-core" in script
    assert "Pin-Priority: 100" in script


def test_a_tier_without_packages_of_its_own_is_the_base() -> None:
    made = recipes({"base": ["acl"], "lb": ["acl"]}, MIRROR)
    assert made["lb"] == made["base"]
