# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person in a real browser: log in, put a course in the basket, see it from the other server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.support.lab import Lab
from tests.e2e.support.waiting import until

SECONDS = 1000


@pytest.fixture
def page(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Page]:
    chromium = shutil.which("chromium")
    assert chromium, "no chromium on this machine: apt install chromium"
    with sync_playwright() as playwright:
        # The other tests check the certificate; Chromium keeps authorities in a database of its own.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=[f"--host-resolver-rules=MAP {lab.domain} {lab.vip}", "--no-sandbox"]
        )
        page = browser.new_context(ignore_https_errors=True, viewport={"width": 1200, "height": 900}).new_page()
        page.set_default_timeout(15 * SECONDS)
        yield page
        folder = lab.folder / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"{request.node.name}.png"), full_page=True)
        browser.close()


def test_log_in_fill_the_basket_and_see_it_from_the_other_server(lab: Lab, page: Page, app_servers: list[str]) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(lab.url)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_test_id("user-name")).to_have_text("Ada")
    page.get_by_role("button", name="Put in basket").first.click()
    expect(page.get_by_test_id("basket-item")).to_have_count(1)
    course = page.get_by_test_id("basket-item").inner_text()

    seen = set()
    for _turn in range(20):
        page.get_by_role("link", name="Ask again").click()
        expect(page.get_by_test_id("basket-item")).to_have_text(course)
        expect(page.get_by_test_id("user-name")).to_have_text("Ada")
        seen.add(page.get_by_test_id("served-by").inner_text())
        if seen == set(app_servers):
            break
    assert seen == set(app_servers), "the basket has to be seen from both servers"
    assert complaints == []


def test_the_page_shows_what_is_behind_it(lab: Lab, page: Page, databases: dict[str, Any]) -> None:
    page.goto(lab.url)
    assert page.get_by_test_id("write-server").inner_text() == databases["uuid"][databases["primary"]]
    assert page.get_by_test_id("read-server").inner_text() in {
        databases["uuid"][host] for host in databases["replicas"]
    }
    for queue in ("payments", "default", "emails", "notifications"):
        assert page.get_by_test_id(f"queue-{queue}").inner_text().isdigit()
    picture = page.locator("img#picture")

    def stored() -> bool:
        page.reload()
        return picture.is_visible()

    until("the scheduler stored the page's picture", stored, seconds=90, every=2)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
