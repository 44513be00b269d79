# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet remembers of its releases, and what follows: which one may be deployed, kept, or gone back to."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from .release import ReleaseError

# verified: it served and passed its checks. failed: it didn't pass them. withdrawn: it passed, but somebody went back from it.
VERDICTS = ("verified", "failed", "withdrawn")
BAD = ("failed", "withdrawn")


@dataclass(frozen=True)
class Verdict:
    """What is known of one release: since when (ISO 8601, UTC) and why."""

    state: str
    at: str
    why: str = ""

    @property
    def bad(self) -> bool:
        return self.state in BAD


@dataclass(frozen=True)
class Seen:
    """What one host has: the release in service ("" for none), those that are unpacked, and what it remembers."""

    current: str
    releases: tuple[str, ...]
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True)
class Choice:
    """The release that a run works on, and why it isn't the one that was asked for ("" when it is)."""

    release: str
    why: str = ""


def parse(text: str) -> dict[str, Verdict]:
    """Return the verdicts of a host's file, by release. A file that can't be read counts as empty: it only remembers."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(data, dict):
        return {}
    return {
        str(name): Verdict(str(row["state"]), str(row.get("at", "")), str(row.get("why", "")))
        for name, row in data.items()
        if isinstance(row, dict) and row.get("state") in VERDICTS
    }


def text(verdicts: Mapping[str, Verdict]) -> str:
    """Return the content of a host's file."""
    return json.dumps({name: asdict(verdict) for name, verdict in verdicts.items()}, indent=1, sort_keys=True) + "\n"


def merged(hosts: Collection[Seen]) -> dict[str, Verdict]:
    """Return what all hosts together know: of two verdicts on a release the later one holds, of two at one time the bad one."""
    known: dict[str, Verdict] = {}
    for host in hosts:
        for name, verdict in host.verdicts.items():
            if name not in known or (verdict.at, verdict.bad) > (known[name].at, known[name].bad):
                known[name] = verdict
    return known


def describe(release: str, verdict: Verdict) -> str:
    """Return what is held against a release, as part of a sentence."""
    what = "failed" if verdict.state == "failed" else "was withdrawn"
    return f"release {release} {what} on {verdict.at}: {verdict.why or 'no reason was kept'}"


def last_good(verdicts: Mapping[str, Verdict], available: Collection[str], besides: Collection[str] = ()) -> str:
    """Return the release verified last among C(available), without those C(besides); "" when there is none."""
    good = [
        (verdict.at, name)
        for name, verdict in verdicts.items()
        if verdict.state == "verified" and name in available and name not in besides
    ]
    return max(good)[1] if good else ""


def choose(wanted: str, seen: Seen, known_bad: str) -> Choice:
    """Return the release that a run works on when its source makes C(wanted).

    C(known_bad) says what becomes of one that is known to be bad: V(take) it all the same, V(refuse) it (ReleaseError), or V(stay)
    with what is in service, and is good: a run of site.yml undoes no rollback.
    """
    verdict = seen.verdicts.get(wanted)
    if verdict is None or not verdict.bad or known_bad == "take":
        return Choice(wanted)
    said = describe(wanted, verdict)
    if known_bad == "refuse":
        raise ReleaseError(f"{said}; change app_source, or insist with -e deploy_force=true")
    current = seen.verdicts.get(seen.current)
    if seen.current and not (current and current.bad):
        return Choice(seen.current, said)
    good = last_good(seen.verdicts, seen.releases)
    if good:
        return Choice(good, said)
    raise ReleaseError(f"{said}, and no other release is known to be good; change app_source, or deploy with -e deploy_force=true")


def rollback_target(named: str, hosts: Mapping[str, Seen]) -> str:
    """Return the release to go back to: C(named), or the last that is known to be good.

    A rollback that was interrupted goes on to the same release: what it withdrew is bad already, and what hosts have gone back to
    is what it wanted. Raises ReleaseError by name for a release that failed, isn't on every host, or is all there is.
    """
    if not hosts:
        raise ReleaseError("no host could be asked for its releases; nothing was changed")
    verdicts = merged(hosts.values())
    if named:
        missing = sorted(name for name, seen in hosts.items() if named not in seen.releases)
        if missing:
            have = sorted(set.intersection(*(set(seen.releases) for seen in hosts.values())))
            raise ReleaseError(
                f"release {named} is not on {', '.join(missing)}; all hosts have: {', '.join(have) or 'none in common'}; to bring it back, "
                "deploy its source"
            )
        verdict = verdicts.get(named)
        if verdict and verdict.state == "failed":
            raise ReleaseError(f"{describe(named, verdict)}; a rollback never goes there: deploy it with -e deploy_force=true if you must")
        if verdict is None:
            raise ReleaseError(f"release {named} was never in service, so nobody knows whether it is good; deploy it instead")
        return named
    available = set.intersection(*(set(seen.releases) for seen in hosts.values()))
    current = {seen.current for seen in hosts.values() if seen.current}
    unfinished = any(verdicts[name].bad for name in current if name in verdicts)
    target = last_good(verdicts, available, () if unfinished else current)
    if not target:
        states = ", ".join(f"{name} {verdict.state}" for name, verdict in sorted(verdicts.items())) or "nothing is known of any"
        raise ReleaseError(f"there is no earlier release that is known to be good and still on every host ({states}); deploy a good one")
    return target


def check_serial(serial: str, serving: Collection[str]) -> bool:
    """Return whether a batch of C(serial) hosts (a number or a percentage) is taken out of traffic while it changes.

    One server alone changes in place: there is nobody to take over. Raises ReleaseError when a batch would be all that serves.
    """
    value = str(serial).strip()
    digits = value.removesuffix("%")
    if not digits.isdecimal() or not int(digits):
        raise ReleaseError(f"deploy_serial must be a number of hosts or a percentage such as 25%, not: {serial}")
    count = max(1, len(serving) * int(digits) // 100) if value.endswith("%") else int(digits)
    if len(serving) > 1 and count >= len(serving):
        raise ReleaseError(
            f"deploy_serial {value} would take all that serve out at once ({', '.join(sorted(serving))}); "
            f"set it to {len(serving) - 1} or less"
        )
    return len(serving) > 1
