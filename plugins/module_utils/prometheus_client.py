# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask Prometheus' HTTP API. How a URL is fetched is passed in, so login, authority and time limits are the caller's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

Points = tuple[tuple[float, float], ...]


class PrometheusError(RuntimeError):
    """Prometheus did not answer, or not the question; one sentence: the thing, the value, the cure."""


@dataclass(frozen=True)
class Prometheus:
    """C(url) is what stands before C(/api/v1); C(fetch) returns the body of a URL, also of an answer that is an error of the API."""

    url: str
    fetch: Callable[[str], bytes]

    def query_range(
        self, expr: str, start: float, end: float, step: float, labels: tuple[str, ...]
    ) -> Mapping[tuple[str, ...], Points]:
        """Points (seconds since 1970, value) by the values of C(labels); without those that are no finite number.

        Raises PrometheusError.
        """
        question = urlencode({"query": expr, "start": f"{start:.0f}", "end": f"{end:.0f}", "step": f"{step:.0f}"})
        found: dict[tuple[str, ...], Points] = {}
        for row in self._ask(f"query_range?{question}", expr).get("result", []):
            key = tuple(str(row["metric"].get(label, "")) for label in labels)
            points = tuple((float(time), float(value)) for time, value in row["values"] if math.isfinite(float(value)))
            if points:
                found[key] = points
        return found

    def _ask(self, path: str, expr: str) -> dict[str, Any]:
        where = f"{self.url.rstrip('/')}/api/v1/"
        body = self.fetch(where + path)
        try:
            answer = json.loads(body)
            if answer["status"] != "success":
                raise PrometheusError(f"Prometheus at {where} refuses {expr}: {answer.get('error', answer['status'])}")
            return dict(answer["data"])
        except (ValueError, KeyError, TypeError) as error:
            said = body[:80].decode("utf-8", "replace").strip()
            cure = "set the URL to what stands before /api/v1"
            raise PrometheusError(f"{where} is not Prometheus' API, it said: {said!r}; {cure}") from error
