# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions of a configuration file to the settings that differ, in the words of its own format. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

SECRET_NAME = re.compile(
    r"passw|passphrase|requirepass|(?<!proxy_)(?<!fastcgi_)(?<![a-z])pass$|auth_pass|masterauth|secret|token\b|credential|private|"
    r"(^|[._-])key$",
    re.IGNORECASE,
)
HIDDEN = "(secret)"

Pair = tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """One setting: what it is now and what it would be; None where it is missing."""

    name: str
    now: str | None
    then: str | None


def parse_ini(text: str) -> list[Pair]:
    """Sections and C(key = value), as in my.cnf, php.ini, FPM pools, supervisor, systemd; a lone key is on."""
    section, found = "", []
    for line in _lines(text, "#;"):
        if line.startswith("[") and line.endswith("]"):
            section = f"{line[1:-1]}."
            continue
        key, equals, value = line.partition("=")
        found.append((section + key.strip(), value.strip() if equals else "on"))
    return found


def parse_words(text: str) -> list[Pair]:
    """C(key value) on each line, as in redis.conf, sshd_config, sysctl.d (with =)."""
    found = []
    for line in _lines(text, "#"):
        key, value = re.match(r"(\S+?)\s*(?:=|\s|$)\s*(.*)", line).groups()  # type: ignore[union-attr]
        found.append((key, value))
    return found


def parse_sections(text: str) -> list[Pair]:
    """Sections that begin at the line's start and indented directives, as in haproxy.cfg."""
    section, found = "", []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            section = line.strip()
            continue
        key, _space, value = line.strip().partition(" ")
        found.append((f"{section}: {key}", value.strip()))
    return found


def parse_braces(text: str) -> list[Pair]:
    """Nginx: directives that end with a semicolon within blocks; comments left out, quotes respected."""
    found: list[Pair] = []
    path: list[str] = []
    word = ""
    for token in re.findall(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|#[^\n]*|[{};]|[^\s{};\"'#]+|\s+", text):
        if token.startswith("#"):
            continue
        if token == "{":
            path.append(" ".join(word.split()))
            word = ""
        elif token == "}":
            path = path[:-1]
            word = ""
        elif token == ";":
            key, value = re.match(r"(\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*'|\S*)\s*(.*)", " ".join(word.split())).groups()  # type: ignore[union-attr]
            found.append((": ".join([" / ".join(path), key]) if path else key, value or "on"))
            word = ""
        else:
            word += token
    return found


def _lines(text: str, comments: str) -> Iterator[str]:
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and stripped[0] not in comments:
            yield stripped


# The first pattern that a path matches names its format.
FORMATS: Sequence[tuple[str, Callable[[str], list[Pair]]]] = (
    (r"/etc/nginx/.*\.conf", parse_braces),
    (r"/etc/haproxy/.*\.cfg", parse_sections),
    (r"/etc/php/.*\.(ini|conf)", parse_ini),
    (r"/etc/mysql/.*\.cnf", parse_ini),
    (r"/etc/supervisor/.*\.conf|/etc/swift/.*\.conf", parse_ini),
    (r"/etc/systemd/.*|/etc/default/.*|/etc/apt/preferences\.d/.*", parse_ini),
    (r"/etc/redis/.*\.conf|/etc/ssh/.*|/etc/sysctl\.d/.*|/etc/security/limits\.d/.*", parse_words),
)


def differences(path: str, before: str, after: str) -> list[Difference] | None:
    """The settings that differ, in the order of the new file; None when the format isn't known, or only comments differ.

    A setting that is there several times (nginx's C(server) in an upstream) is compared line by line. Values whose name sounds
    like a secret are hidden.
    """
    parse = next((parse for pattern, parse in FORMATS if re.fullmatch(pattern, path)), None)
    if parse is None:
        return None
    old, new = parse(before), parse(after)
    sections = {key.partition(".")[0] for key, _value in [*old, *new]}
    if parse is parse_ini and len(sections) == 1 and re.search(r"^\s*\[", before + after, re.MULTILINE):
        old, new = ([(key.partition(".")[2], value) for key, value in pairs] for pairs in (old, new))
    found: list[Difference] = []
    for name in dict.fromkeys([*(key for key, _value in new), *(key for key, _value in old)]):
        was = [value for key, value in old if key == name]
        will = [value for key, value in new if key == name]
        if was == will:
            continue
        if len(was) <= 1 and len(will) <= 1:
            found.append(Difference(name, was[0] if was else None, will[0] if will else None))
            continue
        gone, come = Counter(was) - Counter(will), Counter(will) - Counter(was)
        found += [Difference(name, value, None) for value in gone.elements()]
        found += [Difference(name, None, value) for value in come.elements()]
        if not gone and not come:
            found.append(Difference(name, "its lines", "the same in another order"))
    return [hidden(difference) for difference in found] or None


def hidden(difference: Difference) -> Difference:
    """The difference without its values when its name sounds like a secret."""
    if not SECRET_NAME.search(difference.name):
        return difference
    return Difference(
        difference.name,
        None if difference.now is None else HIDDEN,
        None if difference.then is None else HIDDEN,
    )


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """How many lines go and how many come."""
    old, new = Counter(before.splitlines()), Counter(after.splitlines())
    return sum((old - new).values()), sum((new - old).values())
