# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's page in a real browser: its numbers are those of Prometheus, and a host that dies turns red within 15 s."""

from __future__ import annotations

import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.support.lab import Lab
from tests.e2e.support.waiting import until

SECONDS = 1000
RED_WITHIN_SECONDS = 15

# Test id of a number on the page → what Prometheus is asked for it.
FIGURES = {
    "figure-requests": "sum(fleet:requests:rate)",
    "figure-p95": "fleet:response_time_overall:p95_seconds",
    "figure-errors": "fleet:request_errors:ratio",
    "figure-jobs": "sum(fleet:queue_length:jobs)",
    "figure-budget": "fleet:database_budget_used:ratio",
    "figure-hosts": "sum(fleet:up:bool)",
    "rate-clients": "sum(fleet:requests:rate)",
    "rate-mysql": "sum(fleet:database_connections:count)",
}
# Beginning of the test id → the series, and the label whose value ends the id.
ROWS = {
    "cpu": ("fleet:cpu_used:ratio", "host"),
    "memory": ("fleet:memory_used:ratio", "host"),
    "disk": ("fleet:disk_used:ratio", "host"),
    "rate": ("fleet:requests:rate", "upstream"),
    "queue-length": ("fleet:queue_length:jobs", "queue"),
    "queue-age": ("fleet:queue_oldest_job_age:seconds", "queue"),
}
# Everything with a number, and the moment it belongs to, read at once: the page may not move on in between.
SNAPSHOT = """() => ({
  time: Number(document.body.dataset.time),
  numbers: Object.fromEntries([...document.querySelectorAll("[data-testid][data-value]")]
    .map((node) => [node.dataset.testid, {value: Number(node.dataset.value), text: node.textContent}])),
  lines: Object.fromEntries([...document.querySelectorAll(".plot[data-loaded]")].map((plot) => [plot.dataset.testid,
    [...plot.querySelectorAll(".lines .number[data-value]")].map((node) => Number(node.dataset.value))])),
})"""


@dataclass(frozen=True)
class Site:
    """Where the page is, and who may see it."""

    url: str
    user: str
    password: str


@pytest.fixture
def site(lab: Lab) -> Site:
    address = lab.address(lab.tier("monitoring")[0])
    return Site(f"https://{address}/fleet/", "fleet", str(lab.credentials["vault_monitoring_web_password"]))


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "no chromium on this machine: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        )
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser, site: Site, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def show(**options: Any) -> Page:
        login = {"username": site.user, "password": site.password}
        context = browser.new_context(
            **{
                "ignore_https_errors": True,
                "http_credentials": login,
                "viewport": {"width": 1360, "height": 900},
                **options,
            }
        )
        page = context.new_page()
        page.set_default_timeout(15 * SECONDS)
        pages.append(page)
        page.goto(site.url)
        page.wait_for_selector("body[data-time]")
        return page

    yield show
    folder = lab.folder / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(pages):
        page.screenshot(path=str(folder / f"{request.node.name}-{number}.png"), full_page=True)


@pytest.fixture
def page(show: Callable[..., Page]) -> Page:
    return show()


def ask(page: Page, site: Site, what: str, **parameters: Any) -> Any:
    answer = page.context.request.get(f"{site.url}api/v1/{what}", params=parameters)
    assert answer.ok, f"{what}: {answer.status} {answer.text()}"
    return answer.json()["data"]


def values(page: Page, site: Site, query: str, at: float) -> list[tuple[dict[str, str], float]]:
    rows = ask(page, site, "query", query=query, time=at)["result"]
    return [(row["metric"], float(row["value"][1])) for row in rows]


def same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def scroll_through(page: Page) -> None:
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        expect(plot).to_have_attribute("data-loaded", "yes")


# --- its numbers --------------------------------------------------------------------------------------------------


def test_the_numbers_on_the_page_are_those_of_prometheus(page: Page, site: Site, lab: Lab) -> None:
    def equal() -> bool:
        seen = page.evaluate(SNAPSHOT)
        wanted = {
            name: found[0][1] for name, query in FIGURES.items() if (found := values(page, site, query, seen["time"]))
        }
        for beginning, (series, label) in ROWS.items():
            rows = {row[label]: value for row, value in values(page, site, series, seen["time"])}
            if label == "upstream":
                # What a balancer answered itself has no place in the picture of hosts. Servers that left stay in its counts.
                left = {name: value for name, value in rows.items() if name not in {*lab.hosts, "none"}}
                assert not any(left.values()), left
                rows = {name: value for name, value in rows.items() if name in lab.hosts}
            wanted |= {f"{beginning}-{name}": value for name, value in rows.items()}
        assert {"figure-requests", "figure-p95", "figure-hosts", "queue-length-default"} <= set(wanted)
        different = {
            name: (seen["numbers"].get(name), value)
            for name, value in wanted.items()
            if not math.isnan(value) and not (name in seen["numbers"] and same(seen["numbers"][name]["value"], value))
        }
        assert different == {}
        return True

    # More than once, because a rule may be at work in the very moment that the page asked about.
    until("page and API say the same", equal, seconds=30, every=2)


def test_numbers_are_written_for_people(page: Page) -> None:
    numbers = page.evaluate(SNAPSHOT)["numbers"]
    shares = [row for name, row in numbers.items() if re.match(r"(cpu|memory|disk)-", name)]
    assert shares
    for row in shares:
        percent = row["value"] * 100
        assert row["text"].endswith(" %")
        assert abs(float(row["text"].removesuffix(" %").removeprefix("< ")) - percent) <= 0.5, row
    for name, row in numbers.items():
        if name.startswith("queue-length-"):
            assert row["text"].replace("\u202f", "") == f"{round(row['value'])}"


def test_every_recorded_series_is_plotted_with_the_last_hour(page: Page, site: Site) -> None:
    names = [
        name for name in page.context.request.get(f"{site.url}series.json").json() if not name["name"].endswith(":info")
    ]
    assert page.locator(".plot").count() == len(names) > 20
    scroll_through(page)

    def equal() -> bool:
        seen = page.evaluate(SNAPSHOT)
        assert len(seen["lines"]) == len(names)
        for series in (
            "fleet:cpu_used:ratio",
            "fleet:response_time_overall:p95_seconds",
            "fleet:database_connections:count",
        ):
            shown = sorted(seen["lines"][f"plot-{series}"])
            recorded = sorted(
                value for _labels, value in values(page, site, series, seen["time"]) if not math.isnan(value)
            )
            assert len(shown) == min(len(recorded), 16), series
            assert len(recorded) > 16 or all(map(same, shown, recorded)), (series, shown, recorded)
        return True

    page.locator('[data-testid="plot-fleet:cpu_used:ratio"]').scroll_into_view_if_needed()
    until("each plot's newest values are those of Prometheus", equal, seconds=60, every=2)


# --- what is where ------------------------------------------------------------------------------------------------


def test_every_host_is_in_the_picture_and_the_primary_is_marked(
    page: Page, lab: Lab, databases: dict[str, Any]
) -> None:
    drawn = {node.get_attribute("data-testid"): node for node in page.locator("svg a.host").all()}
    assert set(drawn) == {f"host-{host}" for host in lab.hosts}
    primaries = [name for name, node in drawn.items() if node.get_attribute("data-role") == "primary"]
    assert primaries == [f"host-{databases['primary']}"]
    for name, node in drawn.items():
        assert node.get_attribute("data-state") in {"ok", "busy"}, (name, node.get_attribute("aria-label"))


def test_alerts_and_decisions_are_shown_as_they_are(page: Page, site: Site) -> None:
    def equal() -> bool:
        firing = sorted(a["labels"]["alertname"] for a in ask(page, site, "alerts")["alerts"] if a["state"] == "firing")
        shown = page.locator("#alerts > li:not([data-level=pending])").all()
        names = [
            str(node.get_attribute("data-testid")).removeprefix("alert-")
            for node in shown
            for _mark in range(int(str(node.get_attribute("data-count"))))
        ]
        assert sorted(names) == firing
        assert page.locator("#no-alerts").is_visible() == (not firing)
        return True

    until("the alerts that fire are shown", equal, seconds=30, every=1)
    written = page.context.request.get(f"{site.url}data/decisions.json")
    if written.status == 404:
        expect(page.locator("#no-decisions")).to_have_text("No autoscaler writes decisions here.")
    elif written.json():
        newest = {decision["tier"]: decision for decision in reversed(written.json())}
        for tier, decision in newest.items():
            expect(page.get_by_test_id(f"decision-{tier}").locator(".reason")).to_have_text(decision["reason"])
    else:
        expect(page.locator("#no-decisions")).to_have_text("The autoscaler has decided nothing yet.")


# --- when something breaks ----------------------------------------------------------------------------------------


def red(page: Page, host: str) -> bool:
    fill = page.locator(f'[data-testid="host-{host}"] .edge').evaluate("node => getComputedStyle(node).fill")
    r, g, b = (int(part) for part in re.findall(r"\d+", fill)[:3])
    return r > 150 and r > 2 * g and r > 2 * b


def test_a_killed_host_turns_red_within_15_seconds(page: Page, lab: Lab, app_servers: list[str], capsys: Any) -> None:
    host = app_servers[-1]
    node = page.get_by_test_id(f"host-{host}")
    until(f"{host} is well on the page", lambda: node.get_attribute("data-state") in {"ok", "busy"}, seconds=60)
    assert not red(page, host)
    with lab.dead(host):
        begun = time.monotonic()
        until(f"{host} is red on the page", lambda: red(page, host), seconds=RED_WITHIN_SECONDS, every=0.1)
        took = time.monotonic() - begun
        with capsys.disabled():
            print(f" red after {took:.1f} s", end="")
        # Not by colour alone.
        expect(node).to_have_attribute("aria-label", f"{host}, not answering")
        expect(page.get_by_test_id(f"row-{host}")).to_contain_text("not answering")
        expect(page.get_by_test_id("verdict")).to_contain_text(f"{host} does not answer")
    until(f"{host} is well again", lambda: node.get_attribute("data-state") in {"ok", "busy"}, seconds=60)


def test_the_page_says_that_prometheus_does_not_answer_and_how_old_its_data_are(page: Page, lab: Lab) -> None:
    banner = page.get_by_test_id("banner")
    expect(banner).to_be_hidden()
    monitor = lab.tier("monitoring")[0]
    with lab.stopped(monitor, "prometheus"):
        expect(banner).to_contain_text(
            re.compile(r"Prometheus does not answer \(.+\)\. What you see is \d+ s old\."), timeout=15 * SECONDS
        )
        expect(page.get_by_test_id("verdict")).to_have_text("the state of the fleet is not known", timeout=30 * SECONDS)
        expect(page.get_by_test_id(f"host-{monitor}")).to_have_attribute("data-state", "unknown")
    expect(banner).to_be_hidden(timeout=60 * SECONDS)
    expect(page.get_by_test_id(f"host-{monitor}")).to_have_attribute(
        "data-state", re.compile("ok|busy"), timeout=60 * SECONDS
    )


def test_the_address_that_everybody_knows_leads_to_the_page(show: Callable[..., Page], lab: Lab, site: Site) -> None:
    address = f"https://{lab.vip}/fleet/"
    page = show()
    page.goto(address)
    page.wait_for_selector("body[data-time]")
    assert page.url == site.url


# --- who may see it, and what it asks -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "main.js", "series.json", "api/v1/query?query=up", "data/fleet.json"])
def test_without_login_nothing_is_shown(browser: Browser, site: Site, path: str) -> None:
    context = browser.new_context(ignore_https_errors=True)
    assert context.request.get(f"{site.url}{path}").status == 401
    context.close()


def test_the_page_asks_no_other_server_and_breaks_no_rule_of_its_own(
    show: Callable[..., Page], site: Site, browser: Browser
) -> None:
    complaints: list[str] = []
    asked: set[str] = set()
    login = {"username": site.user, "password": site.password}
    page = browser.new_context(ignore_https_errors=True, http_credentials=login).new_page()
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.add(request.url))
    page.goto(site.url)
    page.wait_for_selector("body[data-time]")
    scroll_through(page)
    assert [url for url in asked if not url.startswith(site.url)] == []
    # A fleet without an autoscaler has no decisions.json.
    assert [text for text in complaints if "404" not in text] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(show: Callable[..., Page], scheme: str) -> None:
    page = show(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.wait_for_selector("svg a.host")
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert (sum(light) > 600) == (scheme == "light")
