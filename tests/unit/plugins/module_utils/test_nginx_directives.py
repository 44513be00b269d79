# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.nginx_directives import NginxDirectiveError, nginx_directives


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        pytest.param({"sendfile": True, "etag": False}, ["sendfile on;", "etag off;"], id="booleans become on and off"),
        pytest.param({"keepalive_timeout": "65s"}, ["keepalive_timeout 65s;"], id="a string stands as it is"),
        pytest.param({"gzip_comp_level": 5}, ["gzip_comp_level 5;"], id="numbers stand as they are"),
        pytest.param(
            {"allow": ["192.0.2.1", None, "192.0.2.2"]}, ["allow 192.0.2.1;", "allow 192.0.2.2;"], id="a list repeats"
        ),
        pytest.param({"gzip": None}, [], id="null leaves the directive out"),
        pytest.param(
            {"add_header": "Alt-Svc 'h3=\":443\"; ma=86400' always"},
            ["add_header Alt-Svc 'h3=\":443\"; ma=86400' always;"],
            id="a quoted semicolon is no end",
        ),
        pytest.param({"set": '$a "${host}x"'}, ['set $a "${host}x";'], id="a variable in braces opens no block"),
        pytest.param({"return": "200 ${host}x"}, ["return 200 ${host}x;"], id="nor does one outside quotes"),
    ],
)
def test_data_becomes_directives(options: dict[str, Any], lines: list[str]) -> None:
    assert list(nginx_directives(options)) == lines


@pytest.mark.parametrize(
    "value",
    ["on; return 200", "x { y", "}", 'a "b', "'", "a # b", "", "  ", "\\"],
)
def test_a_value_that_would_leave_its_directive_is_refused_by_name(value: str) -> None:
    with pytest.raises(NginxDirectiveError, match="nginx directive gzip has the value"):
        list(nginx_directives({"gzip": value}))


@pytest.mark.parametrize("name", ["Gzip", "gzip on", "gzip;", "", "1x"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(NginxDirectiveError, match="is no nginx directive"):
        list(nginx_directives({name: True}))


def test_a_block_is_refused() -> None:
    with pytest.raises(NginxDirectiveError, match="gzip is a dictionary"):
        list(nginx_directives({"gzip": {"types": "text/css"}}))


def structure(line: str) -> list[str]:
    """The characters that nginx's parser gives a meaning, outside quotes, escapes and ${...}."""
    found, quote, position = [], "", 0
    while position < len(line):
        letter = line[position]
        if letter == "\\":
            position += 1
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "$" and line[position + 1 : position + 2] == "{":
            position = line.index("}", position)
        elif letter in ";{}#":
            found.append(letter)
        position += 1
    return [*found, *(["open quote"] if quote else [])]


@given(st.text(alphabet="ab1 ;{}#\"'\\$\n", max_size=20))
def test_whatever_is_let_through_is_one_directive(value: str) -> None:
    try:
        (line,) = nginx_directives({"gzip": value})
    except NginxDirectiveError:
        return
    assert structure(line) == [";"]
