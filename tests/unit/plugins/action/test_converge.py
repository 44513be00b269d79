# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role computes is laid before what its task says."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.action.converge import with_parts
from plugins.module_utils.converge import ConvergeError


def test_parts_come_before_the_tasks_own_in_their_order() -> None:
    parts = [{"packages": ["a"], "services": [{"name": "one"}]}, {"packages": ["b"]}]
    own = {"component": "x", "packages": ["c"], "users": [{"name": "u"}]}
    assert with_parts({**own, "parts": parts}) == {
        "component": "x",
        "packages": ["a", "b", "c"],
        "services": [{"name": "one"}],
        "users": [{"name": "u"}],
    }


def test_without_parts_the_arguments_are_as_they_were() -> None:
    assert with_parts({"packages": ["a"]}) == {"packages": ["a"]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param({"package": ["a"]}, "converge has no option 'package'", id="an option that is none"),
        pytest.param({"parts": [{"links": {}}]}, "parts has the unknown key 'links'; known are: packages,", id="a part that can't be one"),
    ],
)
def test_what_converge_does_not_know_is_refused_by_name(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConvergeError, match=sentence):
        with_parts(arguments)
