# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a thousand hosts in a real browser: drawn in seconds, kept up to date, and what is amiss is seen at a glance.

Needs Chromium, and no fleet: `pytest tests/integration/test_page_of_a_large_fleet.py`, half a minute.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.integration.page_fleet import MadeFleet, serving
from tests.unit.support.render import Fleet

SECONDS = 1000
DRAWN_WITHIN_SECONDS = 5
LONGEST_PAUSE_SECONDS = 1
SITE = "/usr/share/graphic_school/fleet/"
FLEET = MadeFleet(alerts=(("HostDown", "critical", "app137"), *(("CpuHigh", "warning", f"app{number}") for number in range(20, 34))))
# How long the page did not answer its user, in ms, each time.
WATCH_PAUSES = """() => {
  window.pauses = [];
  new PerformanceObserver((list) => window.pauses.push(...list.getEntries().map((one) => one.duration))).observe({type: "longtask"});
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "no chromium on this machine: apt install chromium"
    files = {path.removeprefix(SITE): text for path, text in Fleet().render_role("fleet_page").items()}
    with serving(FLEET, files) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"])
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.set_default_timeout(15 * SECONDS)
        page.goto(url)
        yield page
        browser.close()


def test_a_thousand_hosts_are_drawn_within_seconds(page: Page) -> None:
    # Once more, now that the browser itself has started.
    begun = time.monotonic()
    page.reload()
    expect(page.locator("svg a.host[data-state]")).to_have_count(len(FLEET.hosts), timeout=15 * SECONDS)
    took = time.monotonic() - begun
    assert len(FLEET.hosts) == 1000
    assert took < DRAWN_WITHIN_SECONDS, f"{took:.1f} s"


def test_it_goes_on_answering_while_it_is_kept_up_to_date(page: Page) -> None:
    page.evaluate(WATCH_PAUSES)
    for _turn in range(2):
        seen = page.locator("body").get_attribute("data-time")
        expect(page.locator("body")).not_to_have_attribute("data-time", str(seen), timeout=15 * SECONDS)
    pauses = page.evaluate("window.pauses")
    assert max(pauses, default=0) < LONGEST_PAUSE_SECONDS * SECONDS, pauses


def test_what_is_amiss_is_said_in_words(page: Page) -> None:
    expect(page.get_by_test_id("verdict")).to_have_text("app137 does not answer")
    expect(page.get_by_test_id("figure-hosts")).to_have_text(re.compile(r"^999 of 1\s000$"))
    counts = "1 not answering, 1 unhealthy, 2 out of traffic, 2 busy, 894 ok"
    expect(page.get_by_test_id("counts-app_servers")).to_have_text(counts)
    expect(page.get_by_test_id("host-app137")).to_have_attribute("data-state", "down")


def test_a_storm_of_alerts_leaves_the_picture_on_the_screen(page: Page) -> None:
    expect(page.locator("#alerts > li")).to_have_count(2)
    expect(page.get_by_test_id("alert-CpuHigh")).to_contain_text("14 times: app20, app21, app22 and 11 more")
    top = page.get_by_test_id("picture").bounding_box()
    assert top is not None and top["y"] < 500


def test_everything_has_its_room(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 1360
    cut_off = """() => [...document.querySelectorAll(".figure, .picture .small.name")].filter((node) => node.ownerSVGElement
      ? node.getBBox().width > node.parentNode.querySelector(".face").getBBox().width - 8
      : node.scrollWidth > node.clientWidth).map((node) => node.textContent)"""
    assert page.evaluate(cut_off) == []


def test_a_host_is_found_by_what_its_row_says_and_by_its_dot(page: Page) -> None:
    shown = page.locator("#hosts tbody tr:not([hidden])")
    page.get_by_test_id("wanted").fill("app servers not answering")
    expect(shown).to_have_count(1)
    expect(shown.first).to_contain_text("app137")
    page.get_by_test_id("wanted").fill("mysql")
    expect(shown).to_have_count(12)
    page.get_by_test_id("host-app300").click()
    expect(page.get_by_test_id("row-app300")).to_be_in_viewport()


def test_of_a_thousand_lines_those_that_are_unlike_the_others_are_plotted(page: Page) -> None:
    plot = page.get_by_test_id("plot-fleet:up:bool")
    plot.scroll_into_view_if_needed()
    expect(plot).to_have_attribute("data-loaded", "yes")
    expect(plot.locator(".strip")).to_have_count(24)
    expect(plot.get_by_role("img", name="app137: now no")).to_have_count(1)
    expect(plot).to_contain_text("The 24 that changed most")
