# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verb that was interrupted in the middle of any step is finished by running it again, and clients notice neither.

Long: `make interrupts VERB=deploy` runs one verb, STEPS=1-4 some of its trials. Each trial interrupts a step that changes something,
by Ctrl-C, by killing the run, or by cutting SSH to the hosts of the step, with and without mitogen.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lab import site
from tests.e2e.support.interrupts import (
    WAYS,
    Record,
    Step,
    Trial,
    Way,
    attempt,
    chosen,
    environment,
    interrupted,
    steps,
)
from tests.e2e.support.lab import ROOT, Lab, good
from tests.e2e.support.load import LightLoad
from tests.e2e.support.releases import current, nobody_is_out, releases, source
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor
from tests.e2e.support.witness import Witness

pytestmark = pytest.mark.interrupts

FAST = site.environment(Path(sys.prefix), accelerate=True)
# A verb of fewer steps than this has each of them interrupted in every way, and at several moments.
FEW = 4


def planned(found: list[Step]) -> list[tuple[Step, Way]]:
    """Which step is interrupted in which way: the ways take turns."""
    if len(found) > FEW:
        return [(step, WAYS[index % len(WAYS)]) for index, step in enumerate(found)]
    moments = (0.0, 0.25, 0.5, 0.8)
    return [
        (step, replace(way, part=moments[(index + turn) % len(moments)]))
        for turn, step in enumerate(found) for index, way in enumerate(WAYS)
    ]  # fmt: skip


def healthy(visitor: Visitor) -> bool:
    """The deep health page finds nothing wrong; what status.yml says is asked once, when all trials are over."""
    answer = visitor.get("/api/health")
    assert answer.status_code == 200, answer.text
    return True


def well(lab: Lab) -> None:
    """status.yml finds nothing wrong."""

    def clean() -> bool:
        # A busy machine takes its time to log in everywhere; that is not what is asked here.
        run = lab.play("playbooks/status.yml", "-e", "status_connect_seconds=30", env=FAST)
        assert run.code == 0, run.messages
        return True

    until("status.yml says that all is well", clean, seconds=60, every=2)


class Interruptions:
    """The trials of one verb, each printed as soon as it is over."""

    def __init__(self, lab: Lab, verb: str, visit: Callable[..., Visitor], witness: Witness) -> None:
        self.lab, self.verb, self.visit, self.witness = lab, verb, visit, witness
        self.folder = lab.folder / "e2e" / "interrupts" / verb
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trials: list[Trial] = []

    def record(self, name: str, *options: str) -> list[Step]:
        """The steps of a whole run, which is made unless only some trials are asked for and an earlier run has told them."""
        told = self.folder / f"{name}.record"
        if not (os.environ.get("STEPS") and "end" in (Record(told).rows() or [{}])[-1]):
            good(self.lab.play(f"playbooks/{self.verb}.yml", *options, env=environment(True, told)))
        return steps(Record(told).rows())

    def trial(self, number: int, step: Step, way: Way, options: list[str], finished: Callable[[LightLoad, float], object]) -> None:
        begin = time.time()
        with ExitStack() as stack:
            visitors = [self.visit(timeout=30, http2=False, keepalive=bool(turn)) for turn in range(2)]
            load = stack.enter_context(LightLoad(visitors, self.witness))
            went = "was not interrupted"

            def interrupt() -> None:
                nonlocal went
                went = interrupted(self.lab, self.verb, options, step, way=way, folder=self.folder / str(number))

            trouble = [attempt("it could not be interrupted there", interrupt)]
            time.sleep(2)
            again = time.time()
            trouble += [
                attempt("the next run failed", lambda: good(self.lab.play(f"playbooks/{self.verb}.yml", *options, env=FAST))),
                attempt("it is not finished", lambda: finished(load, again)),
                attempt("the fleet is not well", lambda: until("it is well", lambda: healthy(self.visit()), seconds=30)),
            ]
        trouble += [f"{len(load.failed)} requests failed: {load.failed[:3]}"] if load.failed else []
        told = tuple(filter(None, trouble))
        self.trials.append(Trial(number, step, way, went, time.time() - begin, len(load.answers), told))
        print(self.trials[-1], flush=True)

    def verdict(self) -> None:
        bad = [trial for trial in self.trials if trial.trouble]
        print(f"{self.verb}: {len(self.trials)} interruptions, {len(bad)} with trouble", flush=True)
        assert self.trials
        assert not bad, "\n".join(map(str, bad))
        well(self.lab)
        check = good(self.lab.play("playbooks/site.yml", "--check", env=FAST))
        assert check.changed == {}, "site.yml has nothing left to do"


MIGRATION = """\
<?php

use Illuminate\\Database\\Migrations\\Migration;
use Illuminate\\Support\\Facades\\DB;

return new class extends Migration
{
    // Long enough to be interrupted in.
    public function up(): void
    {
        DB::select('SELECT SLEEP(1)');
    }
};
"""


def source_with_a_migration(folder: Path) -> str:
    words = source(folder)
    (folder / f"database/migrations/2026_01_02_000000_interrupted_{uuid.uuid4().hex[:12]}.php").write_text(MIGRATION)
    return words


def migrations(lab: Lab) -> int:
    """How many of them the database has."""
    return int(lab.sql(primaries(lab)[0], "SELECT COUNT(*) FROM school.migrations WHERE migration LIKE '%_interrupted_%'")[0][0])


@pytest.fixture
def home(lab: Lab) -> Iterator[str]:
    """The release that the fleet serves before and after: its own source's."""
    before = current(lab, lab.tier("app_servers")[0])
    yield before
    if releases(lab) != {before}:
        good(lab.play("playbooks/deploy.yml", "-e", "deploy_force=true", env=FAST))
    lab.sql(primaries(lab)[0], "DELETE FROM school.migrations WHERE migration LIKE '%_interrupted_%'")


def test_interrupted_deploy(lab: Lab, visit: Callable[..., Visitor], witness: Witness, home: str, tmp_path: Path) -> None:
    runs = Interruptions(lab, "deploy", visit, witness)
    plan = planned(runs.record("deploy", "-e", source_with_a_migration(tmp_path / "recorded")))
    for number in chosen(os.environ.get("STEPS", ""), len(plan)):
        before, migrated = releases(lab), migrations(lab)

        def finished(_load: LightLoad, _since: float, before: set[str] = before, migrated: int = migrated) -> None:
            assert len(releases(lab)) == 1
            assert releases(lab) != before
            assert migrations(lab) == migrated + 1
            nobody_is_out(lab)

        runs.trial(number, *plan[number - 1], ["-e", source_with_a_migration(tmp_path / str(number))], finished)
    good(lab.play("playbooks/deploy.yml", "-e", "deploy_force=true", env=FAST))
    runs.verdict()


def primaries(lab: Lab) -> list[str]:
    return [host for host in lab.tier("mysql") if lab.sql(host, "SELECT @@super_read_only")[0][0] == "0"]


@pytest.fixture
def home_primary(lab: Lab) -> Iterator[None]:
    """Who is primary before is it afterwards."""
    before = primaries(lab)
    yield
    if primaries(lab) != before:
        good(lab.play("playbooks/switchover.yml", "-e", f"mysql_switchover_to={before[0]}", env=FAST))


@pytest.mark.usefixtures("home_primary")
def test_interrupted_switchover(lab: Lab, visit: Callable[..., Visitor], witness: Witness) -> None:
    runs = Interruptions(lab, "switchover", visit, witness)

    def options() -> list[str]:
        """To the other one of two, so that each run has to move."""
        first, second = lab.tier("mysql")[:2]
        return ["-e", f"mysql_switchover_to={second if primaries(lab) == [first] else first}"]

    plan = planned(runs.record("switchover", *options()))
    for number in chosen(os.environ.get("STEPS", ""), len(plan)):
        words = options()
        wanted = words[1].partition("=")[2]

        def finished(_load: LightLoad, _since: float, wanted: str = wanted) -> None:
            assert primaries(lab) == [wanted]

        step, way = plan[number - 1]
        runs.trial(number, step, way, words, finished)
    runs.verdict()


def scaled(lab: Lab) -> Mapping[str, Mapping[str, object]]:
    path = ROOT / "inventories/lab/scaled.yml"
    groups = yaml.safe_load(path.read_text()) if path.exists() else {}
    return {name: row for group in groups.values() for name, row in group["hosts"].items()}


@pytest.fixture
def home_count(lab: Lab) -> Iterator[int]:
    """As many application servers before as afterwards."""
    usual = len(lab.tier("app_servers"))
    yield usual
    if f"app{usual + 1}" in lab.containers():
        good(lab.play("playbooks/scale.yml", "-e", "fleet_tier=app_servers", "-e", f"fleet_count={usual}", env=FAST))


def test_interrupted_scale(lab: Lab, visit: Callable[..., Visitor], witness: Witness, home_count: int) -> None:
    runs = Interruptions(lab, "scale", visit, witness)
    usual = home_count
    name = f"app{usual + 1}"

    def options(count: int) -> list[str]:
        return ["-e", "fleet_tier=app_servers", "-e", f"fleet_count={count}"]

    plans = {count: planned(runs.record(kind, *options(count))) for kind, count in (("more", usual + 1), ("less", usual))}

    def finished(load: LightLoad, since: float, count: int) -> None:
        assert (name in lab.containers()) == (count > usual)
        assert {host: row for host, row in scaled(lab).items() if "fleet_scaling" in row} == {}, "nobody is on the way any more"
        if count > usual:
            until(f"{name} serves", lambda: name in load.servers(since), seconds=30)
        else:
            assert scaled(lab) == {}
            moment = time.time()
            time.sleep(3)
            assert name not in load.servers(moment)

    # There and back in turns, so that no trial has to bring the fleet back first.
    turns = [
        (count, *plan[index]) for index in range(max(map(len, plans.values()))) for count, plan in plans.items() if index < len(plan)
    ]  # fmt: skip
    numbers = chosen(os.environ.get("STEPS", ""), len(turns))
    for number in numbers:
        count, step, way = turns[number - 1]
        here = usual + 1 if name in lab.containers() else usual
        if here == count:
            good(lab.play("playbooks/scale.yml", *options(usual if count > usual else usual + 1), env=FAST))
        runs.trial(number, step, way, options(count), lambda load, since, count=count: finished(load, since, count))
    good(lab.play("playbooks/scale.yml", *options(usual), env=FAST))
    runs.verdict()
