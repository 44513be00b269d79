# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four forms say the same, and nothing that a name holds leaves its place."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.report import Machine, MachineSize, Policy, Report, make_report
from plugins.module_utils.report_history import DAY, History
from plugins.module_utils.report_html import MOST_DRAWN, as_html
from plugins.module_utils.report_render import as_json, as_markdown, as_text, cell, headline
from tests.unit.support.report_world import BY_NAME, END, SIZES, Load, history, machine

NASTY = '<script>alert("1")</script>|`*_[x](y)\\&'
LOADS = {
    "app1": Load(),
    "app2": Load(cores=3.5),
    "app3": Load(hours=20),
    "app4": Load(state="standby"),
    "db1": Load(tiers=("mysql",), cores=0.5, data_mb=900),
}
NOW = {"app1": "large", "app2": "large", "app3": "medium", "app4": "medium", "db1": "large"}


def made(loads: dict[str, Load] | None = None, now: dict[str, str] | None = None) -> tuple[Report, History]:
    loads, now = loads or LOADS, now or NOW
    sizes = {name: BY_NAME[size] for name, size in now.items()}
    past = history(loads, sizes, Policy())
    times = [END - position * past.step for position in range(int(14 * DAY / past.step))][::-1]
    disks = {
        "disk_bytes": {("db1", "/dev/vda1", "/"): tuple((time, 50 * 2.0**30) for time in times)},
        "disk_free_bytes": {("db1", "/dev/vda1", "/"): tuple((time, (30 - 1.5 * (time - times[0]) / DAY) * 2.0**30) for time in times)},
    }
    past = History(past.start, past.end, past.step, {**past.series, **disks})
    return make_report([machine(name, load, sizes[name]) for name, load in loads.items()], past, SIZES, Policy()), past


class Page(HTMLParser):
    """Its elements, its text, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_headline() -> None:
    report, _past = made()
    assert headline(report) == (
        "2 hosts could be smaller, 1 host should be larger. That saves 29.20 USD a month: 204.40 in place of 233.60. "
        "Nothing is said of 1 host with too little history or none."
    )


def test_too_little_history_is_the_headline() -> None:
    report, _past = made({"app1": Load(hours=20)}, {"app1": "large"})
    assert headline(report) == "Nothing is suggested: no host has what it takes, report_history_hours is 168."


def test_every_form_tells_every_suggestion_and_every_refusal() -> None:
    report, past = made()
    assert len(report.suggestions) == 3 and len(report.refusals) == 1 and len(report.filling) == 1
    forms = [as_text(report), as_markdown(report).replace("\\", ""), json.dumps(json.loads(as_json(report)), ensure_ascii=False)]
    forms.append(Page(as_html(report, past)).words)
    for text in forms:
        for verdict in report.verdicts:
            assert verdict.reason in text
        for split in report.splits:
            assert split.reason in text
    for text in (forms[0], forms[1], forms[3]):
        assert "db1: / is full in 6 days: 9.0 GB are free, 1.5 GB a day come" in text
        assert "(0.08 - 0.02) USD x 730 h" in text


def test_json_is_what_the_report_is() -> None:
    report, _past = made()
    read = json.loads(as_json(report))
    assert read == report.as_dict()
    assert read["saving"] == pytest.approx(sum(row["saving"] for row in read["verdicts"] if row["then"]))
    assert read["made"] == "2025-11-25T00:00:00Z"


def tables(markdown: str) -> list[list[list[str]]]:
    """The tables of a Markdown text, as rows of cells; a cell ends at a bar that no backslash is before."""
    found: list[list[list[str]]] = []
    before = ""
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append(re.split(r"(?<!\\)\|", line)[1:-1])
        before = line
    return found


def nasty_report() -> tuple[Report, History]:
    size = MachineSize(NASTY, 4, 8192)
    past = history({NASTY: Load()}, {NASTY: size}, Policy())
    return make_report([Machine(NASTY, (NASTY, "app_servers"), "active", size)], past, SIZES, Policy()), past


@pytest.mark.parametrize("report", [made()[0], nasty_report()[0]], ids=["a fleet", "nasty names"])
def test_every_table_in_markdown_has_rows_of_one_width_and_a_rule_below_its_head(report: Report) -> None:
    found = tables(as_markdown(report))
    assert len(found) >= 3
    for rows in found:
        assert {len(row) for row in rows} == {len(rows[0])}
        assert set(rows[1]) == {"---"}


@given(st.text())
def test_a_cell_stays_in_its_cell(text: str) -> None:
    assert re.sub(r"\\.", "", cell(text)).count("|") == 0
    assert "\n" not in cell(text)


def test_names_are_text_in_html_never_elements() -> None:
    text = as_html(*nasty_report())
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert NASTY in page.words
    assert not any(name.startswith("on") for name, _value in page.attributes)


def test_the_page_needs_nothing_but_itself() -> None:
    report, past = made()
    text = as_html(report, past)
    page = Page(text)
    assert page.open == []
    assert set(page.tags).isdisjoint({"script", "img", "iframe", "link", "object", "embed", "use", "image"})
    assert not {name for name, _value in page.attributes} & {"src", "href", "xlink:href", "srcset", "action", "data"}
    assert not re.search(r"url\(|@import|https?://", text)


def test_every_plot_is_well_formed_and_inside_its_frame() -> None:
    report, past = made()
    plots = re.findall(r"<svg viewBox=\"0 0 (\d+) (\d+)\" role.*?</svg>", as_html(report, past), re.DOTALL)
    assert len(plots) == 3 * len([row for row in report.hosts if row.cpu]) + len([split for split in report.splits if not split.refused])
    for match in re.finditer(r"<svg viewBox=\"0 0 (\d+) (\d+)\" role.*?</svg>", as_html(report, past), re.DOTALL):
        plot = ElementTree.fromstring(match[0])
        for shape in plot.iter():
            for pair in shape.get("points", "").split():
                x, y = map(float, pair.split(","))
                assert 0 <= x <= int(match[1]) and 0 <= y <= int(match[2])


def test_no_line_is_drawn_over_a_gap() -> None:
    report, past = made({"app1": Load()}, {"app1": "large"})
    gap = tuple(point for point in past.of("cpu", "app1") if not 3 * DAY < END - point[0] < 6 * DAY)
    holed = History(past.start, past.end, past.step, {**past.series, "cpu": {("app1",): gap}})
    lines = [text.count('<polyline class="mean"') for text in (as_html(report, past), as_html(report, holed))]
    assert lines[1] == lines[0] + 1


def test_a_large_fleet_is_drawn_in_part_and_says_so() -> None:
    loads = {f"app{number:03}": Load(cores=3.9 if number == 99 else 0.1) for number in range(100)}
    report, past = made(loads, dict.fromkeys(loads, "large"))
    text = as_html(report, past)
    assert len(re.findall("<figure>", text)) == 3 * MOST_DRAWN + len(report.splits)
    assert f"{100 - MOST_DRAWN} more hosts are in the table above" in text
    assert "app099: CPU, p95" in text
