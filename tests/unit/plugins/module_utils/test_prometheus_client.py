# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from plugins.module_utils.prometheus_client import Prometheus, PrometheusError, Series


def answering(body: Any, asked: list[str] | None = None) -> Prometheus:
    def fetch(url: str) -> bytes:
        if asked is not None:
            asked.append(url)
        return body if isinstance(body, bytes) else json.dumps(body).encode()

    return Prometheus("https://mon1.example.com/fleet/", fetch)


def test_points_by_the_labels_that_are_wanted() -> None:
    asked: list[str] = []
    rows = [
        {"metric": {"host": "app1", "job": "node"}, "values": [[0, "0.5"], [60, "NaN"], [120, "+Inf"], [180, "0.25"]]},
        {"metric": {"host": "app2"}, "values": [[0, "NaN"]]},
    ]
    prometheus = answering({"status": "success", "data": {"resultType": "matrix", "result": rows}}, asked)
    assert prometheus.query_range('up{job="node"}', 0, 180, 60, ("host",)) == {("app1",): ((0.0, 0.5), (180.0, 0.25))}
    assert asked == ["https://mon1.example.com/fleet/api/v1/query_range?query=up%7Bjob%3D%22node%22%7D&start=0&end=180&step=60"]


def answer(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


@pytest.mark.parametrize(
    ("body", "series"),
    [
        pytest.param(answer("scalar", [12.5, "3"]), [Series({}, ((12.5, 3.0),))], id="a number"),
        pytest.param(
            answer("vector", [{"metric": {"host": "app1"}, "value": [1, "0.5"]}]), [Series({"host": "app1"}, ((1.0, 0.5),))], id="a vector"
        ),
        pytest.param(
            answer("matrix", [{"metric": {"queue": "emails"}, "values": [[1, "2"], [6, "+Inf"]]}]),
            [Series({"queue": "emails"}, ((1.0, 2.0), (6.0, float("inf"))))],
            id="a matrix",
        ),
        pytest.param(answer("matrix", []), [], id="nothing"),
    ],
)
def test_an_expression_now(body: Any, series: list[Series]) -> None:
    asked: list[str] = []
    assert answering(body, asked).query("up == 1") == series
    assert asked == ["https://mon1.example.com/fleet/api/v1/query?query=up+%3D%3D+1"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param({"status": "error", "error": "parse error: unexpected end"}, "refuses up: parse error: unexpected end", id="refused"),
        pytest.param(b"<html>Welcome</html>", "is not Prometheus' API, it said: '<html>Welcome</html>'", id="somebody else"),
        pytest.param({"data": 1}, "is not Prometheus' API", id="other JSON"),
        pytest.param({"status": "success"}, "is not Prometheus' API", id="half an answer"),
        pytest.param(b"", "is not Prometheus' API", id="nothing"),
    ],
)
def test_an_answer_that_is_none(body: Any, words: str) -> None:
    with pytest.raises(PrometheusError, match=words.replace("'", ".")):
        answering(body).query_range("up", 0, 60, 60, ("host",))
    with pytest.raises(PrometheusError, match=words.replace("'", ".")):
        answering(body).query("up")
