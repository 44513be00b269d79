# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx directives as data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

Scalar: TypeAlias = "str | int | float | bool | None"
Value: TypeAlias = "Scalar | list[Scalar]"

NAME = re.compile(r"[a-z][a-z0-9_]*")
# A quoted string, a variable in braces, or a run of characters that mean nothing to nginx's parser.
WORDS = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\$\{\w+\}|\\.|[^"'\\;{}#])+""", re.DOTALL)


class NginxDirectiveError(ValueError):
    """A directive that would not stay one directive; the message names it and the cure."""


def argument(name: str, value: Scalar) -> str:
    """C(value) as nginx writes it: on and off for booleans. Raises NginxDirectiveError when it holds more than arguments."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value).strip()
    if not text or not WORDS.fullmatch(text):
        raise NginxDirectiveError(
            f"nginx directive {name} has the value {text!r}; quote what holds ; {{ }} or #, and close every quote"
        )
    return text


def nginx_directives(options: Mapping[str, Value]) -> Iterator[str]:
    """Yield one line for each directive, in the order given; a list repeats its directive, None leaves it out."""
    for name, value in options.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise NginxDirectiveError(f"{name!r} is no nginx directive; names are lower case letters, digits and _")
        if isinstance(value, Mapping):
            raise NginxDirectiveError(f"nginx directive {name} is a dictionary; blocks can't be given as options")
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield f"{name} {argument(name, item)};"
