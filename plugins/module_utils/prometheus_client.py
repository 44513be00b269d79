# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus' HTTP API. How a URL is fetched is passed in (C(fetcher) is one way), so tests need no server."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import open_url

Fetch = Callable[[str], bytes]
Points = tuple[tuple[float, float], ...]
T = TypeVar("T")


class PrometheusError(RuntimeError):
    """Prometheus did not answer, or not the question; one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Series:
    """One series: its labels, and its values as (seconds since 1970, value), oldest first."""

    labels: Mapping[str, str]
    points: Points


def fetcher(user: str, password: str, ca_file: str | None, seconds: float, verb: str) -> Fetch:
    """Fetch a URL with a login (none without C(user)) and an authority. Raises PrometheusError, whose cure names the variables of C(verb).

    Prometheus stands in the fleet's own network, so no proxy is asked.
    """
    login = {"url_username": user, "url_password": password, "force_basic_auth": True} if user else {}

    def fetch(url: str) -> bytes:
        where = url.partition("?")[0]
        try:
            return bytes(open_url(url, timeout=seconds, ca_path=ca_file or None, use_proxy=False, use_netrc=False, **login).read())
        except HTTPError as error:
            # Prometheus says itself what is wrong with a question.
            if error.code in (400, 422, 503) and error.headers.get_content_type() == "application/json":
                return bytes(error.read())
            cure = f"check {verb}_user and {verb}_password" if error.code in (401, 403) else f"check {verb}_url"
            raise PrometheusError(f"Prometheus at {where} answers {error.code} {error.reason}: {cure}") from error
        except Exception as error:
            why = error.reason if isinstance(error, URLError) else error
            cure = f"check {verb}_url and {verb}_ca_file, and that the host with Prometheus runs (status.yml)"
            raise PrometheusError(f"Prometheus at {where} can't be asked: {why}; {cure}") from error

    return fetch


@dataclass(frozen=True)
class Prometheus:
    """C(url) is what stands before C(/api/v1); C(fetch) returns the body of a URL, also of an answer that is an error of the API."""

    url: str
    fetch: Fetch

    def query(self, expr: str) -> list[Series]:
        """The series of an expression now, whatever its kind; a number has no labels. Raises PrometheusError."""

        def series(data: Mapping[str, Any]) -> list[Series]:
            rows = data["result"]
            if data["resultType"] == "scalar":
                return [Series({}, (_point(rows),))]
            return [
                Series(
                    {str(key): str(value) for key, value in row["metric"].items()},
                    tuple(map(_point, row.get("values") or [row["value"]])),
                )
                for row in rows
            ]

        return self._ask(f"query?{urlencode({'query': expr})}", expr, series)

    def query_range(
        self, expr: str, start: float, end: float, step: float, labels: tuple[str, ...]
    ) -> Mapping[tuple[str, ...], Points]:
        """Points (seconds since 1970, value) by the values of C(labels); without those that are no finite number.

        Raises PrometheusError.
        """
        question = urlencode({"query": expr, "start": f"{start:.0f}", "end": f"{end:.0f}", "step": f"{step:.0f}"})

        def points(data: Mapping[str, Any]) -> dict[tuple[str, ...], Points]:
            found: dict[tuple[str, ...], Points] = {}
            for row in data.get("result", []):
                finite = tuple(point for point in map(_point, row["values"]) if math.isfinite(point[1]))
                if finite:
                    found[tuple(str(row["metric"].get(label, "")) for label in labels)] = finite
            return found

        return self._ask(f"query_range?{question}", expr, points)

    def _ask(self, path: str, expr: str, read: Callable[[Mapping[str, Any]], T]) -> T:
        where = f"{self.url.rstrip('/')}/api/v1/"
        body = self.fetch(where + path)
        try:
            answer = json.loads(body)
            if answer["status"] != "success":
                raise PrometheusError(f"Prometheus at {where} refuses {expr}: {answer.get('error', answer['status'])}")
            return read(answer["data"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = body[:80].decode("utf-8", "replace").strip()
            cure = "set the URL to what stands before /api/v1"
            raise PrometheusError(f"{where} is not Prometheus' API, it said: {said!r}; {cure}") from error


def _point(row: Sequence[Any]) -> tuple[float, float]:
    return float(row[0]), float(row[1])
