# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: what the fleet promises, shown from outside on the fleet that `make demo` made.

Every test puts back what it broke and waits, with a deadline, until the fleet is whole again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

# What holds a plan against a run says what differs, as a test does.
pytest.register_assert_rewrite("tests.e2e.support.plans")

from tests.e2e.support.lab import ROOT, Lab
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor, visiting
from tests.e2e.support.witness import Witness, witness

# Promises that only look come before promises that break something, and the second run of site.yml comes last:
# it has to find nothing to do after all that happened.
ORDER = [
    "bad_inventories_are_refused",
    "one_verb_at_a_time",
    "redis_is_covered_and_closed",
    "monitoring",
    "pictures_are_shared",
    "page_works_in_a_browser",
    "fleet_page",
    "reads_come_from_replicas",
    "jobs_finish",
    "sessions_follow_the_client",
    "traffic_survives_a_dead_server",
    "deploys_lose_nothing",
    "drained_hosts_get_no_work",
    "status_agrees_with_reality",
    "open_slots_are_healed",
    "new_replicas_are_cloned",
    "servers_come_and_go",
    "plan_equals_the_run",
    "site_is_idempotent",
]


STALLS = "e2e/stalls.jsonl"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        promise = item.path.stem.removeprefix("test_")
        return ORDER.index(promise) if promise in ORDER else -1

    items.sort(key=place)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and lab is not None:
        folder = lab.folder / "artifacts" / item.name.replace("/", "_").replace("[", "-").strip("]")[:100]
        lab.collect_logs(folder)
        report.sections.append(("logs of the hosts", str(folder)))
        report.sections.append(("who held the address, and when they were late", lab.balancers_said()))
        machine = Witness(lab.folder / STALLS).stalls[-20:]
        report.sections.append(("when the machine stood still", ", ".join(map(str, machine)) or "never"))


@pytest.fixture(scope="session")
def lab() -> Lab:
    summary = Path(os.environ.get("GRAPHIC_SCHOOL_SUMMARY", ROOT / ".lab" / "summary.json"))
    if not summary.is_file():
        pytest.fail(f"{summary} is missing: the proof runs on the fleet that `make demo` makes", pytrace=False)
    return Lab(summary)


@pytest.fixture(scope="session", name="witness")
def _witness(lab: Lab) -> Iterator[Witness]:
    with witness(lab.folder / STALLS) as watching:
        yield watching


@pytest.fixture
def visit(lab: Lab) -> Iterator[Callable[..., Visitor]]:
    """Makes clients of the application, each with its own cookies."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(visiting(lab.url, lab.vip, lab.ca_file, **options))


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    return visit()


@pytest.fixture
def app_servers(lab: Lab) -> list[str]:
    return lab.tier("app_servers")


@pytest.fixture
def databases(lab: Lab) -> dict[str, Any]:
    """Who is primary and who replicates, asked from the servers: `primary`, `replicas`, `uuid` by host."""
    answers = {host: lab.sql(host, "SELECT @@super_read_only, @@server_uuid")[0] for host in lab.tier("mysql")}
    primaries = [host for host, (read_only, _uuid) in answers.items() if read_only == "0"]
    assert len(primaries) == 1, f"one server may take writes, not: {primaries}"
    return {
        "primary": primaries[0],
        "replicas": [host for host in answers if host not in primaries],
        "uuid": {host: uuid for host, (_read_only, uuid) in answers.items()},
    }


@pytest.fixture(autouse=True)
def healthy(request: pytest.FixtureRequest) -> None:
    """Each test that asks the application starts on a fleet whose every part answers."""
    if not {"visit", "visitor", "databases"} & set(request.fixturenames):
        return
    visitor: Visitor = request.getfixturevalue("visit")()

    def well() -> bool:
        answer = visitor.get("/api/health")
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        return True

    until("GET /api/health answers 200", well, seconds=60, every=0.5)
