# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana dashboards from the list of recorded series: one for each heading, and an overview.

The form is Grafana's classic one (schemaVersion 39, as Grafana 11 writes it; 10 reads it, 12 and later convert it), with the data
source as a variable, so that a dashboard can be imported by hand and provisioned from a file alike.
Source: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .series_groups import grouped

SCHEMA_VERSION = 39
WIDTH = 24
HEIGHT = 8
STAT_HEIGHT = 4
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# The unit that ends a series' name → (Grafana's name for it, decimals or None).
UNITS: Mapping[str, tuple[str, int | None]] = {
    "ratio": ("percentunit", None),
    "seconds": ("s", None),
    "rate": ("ops", None),
    "per_minute": ("opm", None),
    "days": ("d", 0),
    "jobs": ("short", 0),
    "count": ("short", 0),
    "transactions": ("short", 0),
}
SPELLED = {"cpu": "CPU", "fpm": "FPM", "opcache": "OPcache", "gtid": "GTID", "mysql": "MySQL", "redis": "Redis"}

# What the overview shows as numbers: name of the panel, expression over recorded series, unit.
FIGURES: tuple[tuple[str, str, str], ...] = (
    ("Hosts that do not answer", "sum(1 - fleet:up:bool)", "count"),
    ("Requests", "sum(fleet:requests:rate)", "rate"),
    ("Response time, p95", "fleet:response_time_overall:p95_seconds", "seconds"),
    ("Answers with an error", "fleet:request_errors:ratio", "ratio"),
    ("Waiting jobs", "sum(fleet:queue_length:jobs)", "jobs"),
    ("Connection budget used", "fleet:database_budget_used:ratio", "ratio"),
)
# What the overview plots beneath them.
OVERVIEW = (
    "fleet:requests:rate",
    "fleet:response_time:p95_seconds",
    "fleet:cpu_used:ratio",
    "fleet:memory_used:ratio",
    "fleet:queue_length:jobs",
    "fleet:replication_lag:seconds",
    "fleet:up:bool",
    "fleet:release:info",
)


class Recorded(Protocol):
    """What is needed of a recorded series."""

    @property
    def name(self) -> str: ...
    @property
    def about(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Panel:
    """A panel without its place: what Grafana calls it, its height in grid units, and the rest."""

    height: int
    body: Mapping[str, Any]


def unit_of(name: str) -> str:
    """The unit that ends the name: C(fleet:response_time:p95_seconds) → C(seconds)."""
    return re.sub(r"^p\d+_", "", name.rpartition(":")[2])


def title_of(name: str) -> str:
    """The name for people: C(fleet:response_time:p95_seconds) → C(Response time, p95)."""
    subject, last = name.split(":")[1:]
    words = " ".join(SPELLED.get(word, word) for word in subject.split("_"))
    quantile = re.match(r"p\d+", last)
    ending = f", {quantile[0]}" if quantile else " per minute" if last == "per_minute" else ""
    return words[0].upper() + words[1:] + ending


def expression(series: Recorded) -> str:
    """The series with the dashboard's choice of tiers and hosts, as far as it carries these labels."""
    chosen = [f'{label}=~"${label}"' for label in ("tier", "host") if label in series.labels]
    return series.name + (f"{{{', '.join(chosen)}}}" if chosen else "")


def _legend(series: Recorded) -> str:
    # A host's tier follows from its name.
    shown = [label for label in series.labels if label != "tier" or "host" not in series.labels]
    return " ".join("{{" + label + "}}" for label in shown) or title_of(series.name)


def _target(expr: str, legend: str, *, instant: bool = False) -> dict[str, Any]:
    form = {"format": "table"} if instant else {}
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend,
        "instant": instant,
        "range": not instant,
        "refId": "A",
        **form,
    }


def _defaults(unit: str, **more: Any) -> dict[str, Any]:
    grafana_unit, decimals = UNITS.get(unit, ("short", None))
    fraction = {"decimals": decimals} if decimals is not None else {}
    return {"unit": grafana_unit, **fraction, "mappings": [], **more}


def _lines(series: Recorded) -> Panel:
    unit = unit_of(series.name)
    custom = {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never",
        "spanNulls": False, "axisSoftMin": 0, "stacking": {"mode": "none", "group": "A"},
    }  # fmt: skip
    return Panel(HEIGHT, {
        "type": "timeseries",
        "fieldConfig": {"defaults": _defaults(unit, custom=custom, color={"mode": "palette-classic"}), "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [_target(expression(series), _legend(series))],
    })  # fmt: skip


def _states(series: Recorded) -> Panel:
    # Whether "1" is good depends on the series, and colours must not claim what is not known: two calm ones.
    options = {"0": {"text": "no", "color": "orange", "index": 0}, "1": {"text": "yes", "color": "blue", "index": 1}}
    return Panel(HEIGHT, {
        "type": "state-timeline",
        "fieldConfig": {
            "defaults": {
                "custom": {"fillOpacity": 70, "lineWidth": 0}, "color": {"mode": "thresholds"},
                "mappings": [{"type": "value", "options": options}],
                "thresholds": {"mode": "absolute", "steps": [{"color": "text", "value": None}]},
            },
            "overrides": [],
        },
        "options": {
            "mergeValues": True, "showValue": "never", "alignValue": "left", "rowHeight": 0.85,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        "targets": [_target(expression(series), _legend(series))],
    })  # fmt: skip


def _table(series: Recorded) -> Panel:
    hidden = {"Time": True, "Value": True, "__name__": True, "job": True, "instance": True}
    return Panel(HEIGHT, {
        "type": "table",
        "fieldConfig": {"defaults": {"custom": {"align": "auto"}, "mappings": []}, "overrides": []},
        "options": {"showHeader": True, "cellHeight": "sm"},
        "targets": [_target(expression(series), "", instant=True)],
        "transformations": [{"id": "organize", "options": {"excludeByName": hidden, "indexByName": {}, "renameByName": {}}}],
    })  # fmt: skip


def _panel(series: Recorded) -> Panel:
    kinds = {"bool": _states, "info": _table}
    panel = kinds.get(unit_of(series.name), _lines)(series)
    return Panel(panel.height, {"title": title_of(series.name), "description": series.about, **panel.body})


def _figure(title: str, expr: str, unit: str) -> Panel:
    return Panel(STAT_HEIGHT, {
        "title": title, "description": "", "type": "stat",
        "fieldConfig": {"defaults": _defaults(unit, color={"mode": "fixed", "fixedColor": "text"}), "overrides": []},
        "options": {
            "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
        "targets": [_target(expr, title)],
    })  # fmt: skip


def _placed(panels: Iterable[Panel], per_row: int, top: int = 0, first_id: int = 1) -> list[dict[str, Any]]:
    width = WIDTH // per_row
    placed = []
    for place, panel in enumerate(panels):
        x, y = (place % per_row) * width, top + (place // per_row) * panel.height
        grid = {"h": panel.height, "w": width, "x": x, "y": y}
        placed.append({"id": first_id + place, "gridPos": grid, "datasource": DATASOURCE, **panel.body})
    return placed


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "type": "query", "name": name, "label": label, "datasource": DATASOURCE,
        "query": {"query": query, "refId": name}, "refresh": 2, "sort": 7, "includeAll": True, "multi": True, "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [], "hide": 0, "regex": "",
    }  # fmt: skip


def _variables(labels: set[str]) -> list[dict[str, Any]]:
    source = {
        "type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "current": {}, "options": [],
        "hide": 0, "refresh": 1, "regex": "", "includeAll": False, "multi": False,
    }  # fmt: skip
    variables = [source]
    if "tier" in labels:
        variables.append(_choice("tier", "Tier", "label_values(fleet:up:bool, tier)"))
    if "host" in labels:
        of_tier = '{tier=~"$tier"}' if "tier" in labels else ""
        variables.append(_choice("host", "Host", f"label_values(fleet:up:bool{of_tier}, host)"))
    return variables


def _dashboard(uid: str, title: str, panels: list[dict[str, Any]], labels: set[str]) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": title,
        "description": "Generated from the list of recorded series (plugins/module_utils/series.py).",
        "tags": ["graphic_school.scaling"],
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [{
            "title": "Fleet", "type": "dashboards", "tags": ["graphic_school.scaling"], "asDropdown": True, "includeVars": True,
            "keepTime": True, "icon": "external link", "targetBlank": False, "tooltip": "", "url": "",
        }],
        "liveNow": False,
        "panels": panels,
        "refresh": "10s",
        "schemaVersion": SCHEMA_VERSION,
        "templating": {"list": _variables(labels)},
        "annotations": {"list": []},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "version": 1,
        "weekStart": "",
    }  # fmt: skip


def _labels(series: Iterable[Recorded]) -> set[str]:
    return {label for one in series for label in one.labels}


def _overview(series: Sequence[Recorded]) -> dict[str, Any]:
    by_name = {one.name: one for one in series}
    shown = [by_name[name] for name in OVERVIEW if name in by_name]
    figures = _placed([_figure(*figure) for figure in FIGURES], len(FIGURES))
    plots = _placed([_panel(one) for one in shown], 2, top=STAT_HEIGHT, first_id=len(figures) + 1)
    return _dashboard("gss-fleet", "Fleet", [*figures, *plots], _labels(shown))


def dashboards(series: Sequence[Recorded]) -> dict[str, dict[str, Any]]:
    """Name of a file without its ending → a dashboard: C(fleet), and one for each heading, such as C(fleet-queues)."""
    found = {"fleet": _overview(series)}
    for heading, members in grouped(series):
        slug = heading.lower().replace(" ", "-")
        panels = _placed([_panel(one) for one in members], 2)
        found[f"fleet-{slug}"] = _dashboard(f"gss-{slug}"[:40], f"Fleet: {heading}", panels, _labels(members))
    return found
