# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Grafana dashboards say what is recorded, all of it and nothing else, in a form that Grafana reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from plugins.module_utils.grafana import WIDTH, dashboards, expression, title_of, unit_of
from plugins.module_utils.series import SERIES
from plugins.module_utils.series_groups import FURTHER, group_of, grouped
from tests.unit.support.scripts import script

ROOT = Path(__file__).resolve().parents[4]
BOARDS = dashboards(SERIES)

# What Grafana's documentation of its JSON model says of the parts that are used here. Closed, so that a misspelt key shows.
TARGET = {
    "type": "object",
    "required": ["datasource", "expr", "legendFormat", "refId", "instant", "range", "editorMode"],
    "additionalProperties": False,
    "properties": {
        "datasource": {"const": {"type": "prometheus", "uid": "${datasource}"}},
        "expr": {"type": "string", "minLength": 1},
        "legendFormat": {"type": "string"},
        "refId": {"type": "string", "pattern": "^[A-Z]$"},
        "instant": {"type": "boolean"},
        "range": {"type": "boolean"},
        "editorMode": {"enum": ["code", "builder"]},
        "format": {"enum": ["time_series", "table", "heatmap"]},
    },
}
PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos", "datasource", "fieldConfig", "options", "targets"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "type": {"enum": ["timeseries", "state-timeline", "stat", "table"]},
        "title": {"type": "string", "minLength": 1},
        "description": {"type": "string"},
        "datasource": {"const": {"type": "prometheus", "uid": "${datasource}"}},
        "gridPos": {
            "type": "object",
            "required": ["h", "w", "x", "y"],
            "additionalProperties": False,
            "properties": {
                "h": {"type": "integer", "minimum": 1},
                "w": {"type": "integer", "minimum": 1, "maximum": 24},
                "x": {"type": "integer", "minimum": 0, "maximum": 23},
                "y": {"type": "integer", "minimum": 0},
            },
        },
        "fieldConfig": {
            "type": "object",
            "required": ["defaults", "overrides"],
            "additionalProperties": False,
            "properties": {"defaults": {"type": "object"}, "overrides": {"type": "array"}},
        },
        "options": {"type": "object"},
        "targets": {"type": "array", "minItems": 1, "items": TARGET},
        "transformations": {"type": "array", "items": {"type": "object", "required": ["id", "options"]}},
    },
}
DASHBOARD = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"],
    "properties": {
        "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
        "id": {"type": "null"},
        "title": {"type": "string", "minLength": 1},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "graphTooltip": {"enum": [0, 1, 2]},
        "panels": {"type": "array", "minItems": 1, "items": PANEL},
        "templating": {
            "type": "object",
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "type", "label", "query"],
                        "properties": {"type": {"enum": ["datasource", "query"]}, "refresh": {"enum": [0, 1, 2]}},
                    },
                }
            },
        },
        "time": {"type": "object", "required": ["from", "to"]},
    },
}


@dataclass(frozen=True)
class Row:
    name: str
    about: str = "what it is"
    labels: tuple[str, ...] = ()


def expressions(value: Any) -> Iterator[str]:
    """Every query in a dashboard, those of its variables too."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in {"expr", "query"} and isinstance(item, str):
                yield item
            else:
                yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)


def names_in(board: dict[str, Any]) -> set[str]:
    return {name for text in expressions(board) for name in re.findall(r"\w+:\w+:\w+", text)}


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_has_the_form_that_grafana_reads(name: str) -> None:
    jsonschema.validate(BOARDS[name], DASHBOARD)


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_their_own_place_and_number(name: str) -> None:
    panels = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {(grid["x"] + dx, grid["y"] + dy) for dx in range(grid["w"]) for dy in range(grid["h"])}
        assert max(x for x, _y in cells) < WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_names_only_series_that_are_recorded(name: str) -> None:
    assert names_in(BOARDS[name]) <= {series.name for series in SERIES}


def test_every_recorded_series_is_in_the_dashboard_of_its_heading() -> None:
    shown = {name: names_in(board) for name, board in BOARDS.items() if name != "fleet"}
    for heading, members in grouped(SERIES):
        board = shown[f"fleet-{heading.lower().replace(' ', '-')}"]
        assert {series.name for series in members} <= board


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_that_is_used_is_defined(name: str) -> None:
    text = json.dumps(BOARDS[name])
    used = set(re.findall(r"\$(tier|host)\b", text)) | set(re.findall(r"\$\{(\w+)\}", text))
    assert used <= {variable["name"] for variable in BOARDS[name]["templating"]["list"]}


def test_no_two_dashboards_share_a_name() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


def test_every_recorded_series_has_a_heading() -> None:
    assert [series.name for series in SERIES if group_of(series.name) == FURTHER] == []


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            Row("fleet:queue_length:jobs", labels=("queue",)), "fleet:queue_length:jobs", id="a queue is not chosen"
        ),
        pytest.param(Row("fleet:x:ratio", labels=("host",)), 'fleet:x:ratio{host=~"$host"}', id="hosts are chosen"),
        pytest.param(
            Row("fleet:x:ratio", labels=("host", "tier")),
            'fleet:x:ratio{tier=~"$tier", host=~"$host"}',
            id="tiers before hosts",
        ),
        pytest.param(Row("fleet:x:ratio"), "fleet:x:ratio", id="one number for the fleet stays one"),
    ],
)
def test_a_series_is_narrowed_by_the_labels_that_it_has(row: Row, expected: str) -> None:
    assert expression(row) == expected


@pytest.mark.parametrize(
    ("name", "title", "unit"),
    [
        ("fleet:response_time:p95_seconds", "Response time, p95", "seconds"),
        ("fleet:slow_queries:per_minute", "Slow queries per minute", "per_minute"),
        ("fleet:cpu_used:ratio", "CPU used", "ratio"),
        ("fleet:fpm_busy:ratio", "FPM busy", "ratio"),
    ],
)
def test_titles_and_units_follow_from_the_name(name: str, title: str, unit: str) -> None:
    assert (title_of(name), unit_of(name)) == (title, unit)


def test_a_series_that_nobody_foresaw_gets_a_dashboard_too() -> None:
    boards = dashboards([Row("fleet:coffee_left:count", labels=("host",))])
    assert names_in(boards["fleet-further"]) == {"fleet:coffee_left:count", "fleet:up:bool"}


def test_the_files_are_current() -> None:
    module = script("docs/generate_dashboards.py")
    written = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "extras" / "grafana").glob("*.json")}
    assert written == module.files(), "run: python docs/generate_dashboards.py"
