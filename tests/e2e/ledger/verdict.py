# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run may show, and the sentences that say where it didn't keep to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e.ledger.book import Missing

# Above this the client itself came too late to say anything about the fleet.
CLIENT_LATE_MS = 1000.0


@dataclass(frozen=True)
class Rules:
    """How much may be seen; None means any. Nothing of the ledger may ever be missing."""

    failed: int | None = 0
    # POSTs that were sent and got no usable answer.
    unsafe: int | None = 0
    # Failures of both kinds before the command began and after all of it was over.
    failed_outside: int | None = 0
    # Seconds without any success, without a successful write, without a new row in the database.
    gap_seconds: float | None = 2.0
    write_gap_seconds: float | None = None
    row_gap_seconds: float | None = None
    # From the moment that a command begins until the first new row.
    row_after_command_seconds: float | None = None
    # How often a MySQL server may take writes after another has begun to; None: nobody looks.
    two_primaries: int | None = None
    # A command that has to fail, such as a deploy of a release that isn't well.
    command_fails: bool = False


def breaches(
    rules: Rules,
    phases: Mapping[str, Mapping[str, Any]],
    missing: Sequence[Missing],
    *,
    deleted: int,
    exit_codes: Sequence[int],
    client_late_ms: float,
    rows_after_commands: Sequence[float] = (),
    two_primaries: Sequence[str] = (),
) -> list[str]:
    """One sentence for each rule that the run broke; none means that it kept its promises."""
    found = []
    everything = phases["all"]
    failed, unsafe = (sum(everything[name].values()) for name in ("failed", "unsafe_to_retry"))
    outside = sum(sum(phases[p][name].values()) for p in ("before", "after") for name in ("failed", "unsafe_to_retry"))
    for what, count, limit in (
        ("requests failed", failed, rules.failed),
        ("POSTs were sent and got no answer that says what became of them", unsafe, rules.unsafe),
        ("requests failed before or after the command", outside, rules.failed_outside),
    ):
        if limit is not None and count > limit:
            found.append(f"{count} {what}, {limit} may")
    for name, what, seconds in (
        ("all", "nothing succeeded", rules.gap_seconds),
        ("writes", "no write succeeded", rules.write_gap_seconds),
        ("rows", "no new row was written", rules.row_gap_seconds),
    ):
        gap = everything["longest_gap"][name]
        if seconds is not None and gap["seconds"] > seconds:
            found.append(f"{what} for {gap['seconds']:.2f} s (from second {gap['since']:.1f}), {seconds:g} s may pass")
    if (limit_seconds := rules.row_after_command_seconds) is not None:
        slow = [seconds for seconds in rows_after_commands if seconds > limit_seconds]
        found += [f"the first new row came {max(slow):.2f} s after a command began, {limit_seconds:g} s may pass"] if slow else []
    if rules.two_primaries is not None and len(two_primaries) > rules.two_primaries:
        found.append(f"two servers took writes at once: {'; '.join(two_primaries[:3])}")
    if missing:
        found.append(f"{len(missing)} acknowledged things are missing or went back: {'; '.join(map(str, missing[:3]))}")
    if deleted:
        found.append(f"{deleted} answers came from a release that was deleted")
    if rules.command_fails and not any(exit_codes):
        found.append("the command ended with 0, and should have failed")
    if not rules.command_fails and any(exit_codes):
        found.append(f"the command ended with {next(code for code in exit_codes if code)}")
    if client_late_ms > CLIENT_LATE_MS:
        found.append(f"the client itself was late (p99 {client_late_ms:.0f} ms): this run says nothing, repeat it")
    if not everything["requests"]:
        found.append("no request was sent")
    return found
