# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: what the fleet acknowledged, and what of it is missing afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was acknowledged and isn't there, isn't whole, or went back."""

    what: str
    which: str
    found: str

    def __str__(self) -> str:
        return f"{self.what} {self.which}: {self.found}"


@dataclass(slots=True)
class Session:
    """One visitor's cookie, and the least that the fleet has to remember of him."""

    number: int
    cookies: dict[str, str] = field(default_factory=dict)
    identity: str = ""
    hits: int = 0
    basket: set[int] = field(default_factory=set)
    busy: bool = False

    def counted(self, identity: str, hits: int) -> Missing | None:
        """Take in an answer of the counter. It grows with each answer (by more than 1 where one got lost on its way)."""
        went_back = None
        if self.identity and identity != self.identity:
            went_back = Missing("session", str(self.number), f"another session answered: {identity}, not {self.identity}")
        elif hits <= self.hits:
            went_back = Missing("session", str(self.number), f"its counter went from {self.hits} to {hits}")
        self.identity, self.hits = identity, hits
        return went_back

    def shown(self, courses: Iterable[int]) -> Missing | None:
        """Take in an answer of the basket: all that was put in has to be there."""
        lost = self.basket - set(courses)
        if not lost:
            return None
        self.basket -= lost
        return Missing("basket", str(self.number), f"lost course {', '.join(map(str, sorted(lost)))}")


@dataclass
class Book:
    """Everything that was acknowledged, by the id under which the fleet has to know it."""

    prefix: str
    sessions: list[Session] = field(default_factory=list)
    enrolments: dict[int, str] = field(default_factory=dict)
    jobs: dict[int, str] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    # POSTs without an answer: they may have been carried out or not, and both is right.
    unsure: dict[str, list[str]] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    # What could not be asked for afterwards: it may be there, and nobody has seen it.
    unasked: list[str] = field(default_factory=list)

    def note(self, missing: Missing | None) -> None:
        if missing is not None and missing not in self.missing:
            self.missing.append(missing)


def missing_enrolments(
    acknowledged: Mapping[int, str], rows: Iterable[tuple[int, str]], where: str
) -> list[Missing]:
    """Acknowledged ids without their row, rows under another key, and keys that have two rows."""
    by_id: dict[int, str] = {}
    ids_of: dict[str, list[int]] = {}
    for row_id, key in rows:
        by_id[row_id] = key
        ids_of.setdefault(key, []).append(row_id)
    found = []
    for row_id, key in acknowledged.items():
        if row_id not in by_id:
            found.append(Missing("enrolment", f"{row_id} ({key})", f"acknowledged, but not in {where}"))
        elif by_id[row_id] != key:
            found.append(Missing("enrolment", f"{row_id} ({key})", f"in {where} it is {by_id[row_id]}"))
    found += [
        Missing("enrolment", key, f"is twice in {where}: {sorted(ids)}") for key, ids in ids_of.items() if len(ids) > 1
    ]
    return found


@dataclass(frozen=True, slots=True)
class JobRow:
    id: int
    state: str
    attempts: int


def missing_jobs(acknowledged: Mapping[int, str], rows: Iterable[JobRow], waited: float) -> list[Missing]:
    """Acknowledged jobs that weren't done at least once, after all waiting."""
    states = {row.id: row.state for row in rows}
    found = []
    for job, key in acknowledged.items():
        state = states.get(job)
        if state is None:
            found.append(Missing("job", f"{job} ({key})", "acknowledged, but its row is gone"))
        elif state != "done":
            found.append(Missing("job", f"{job} ({key})", f"is {state} {waited:.0f} s after the last request"))
    return found
