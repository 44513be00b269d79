# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each line of nginx' log is counted once, for the server that answered, through rotation, and given in Prometheus' words."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from plugins.module_utils.balancer_log import Attempt, Meter, Request, request_from, status_class
from plugins.module_utils.exposition import Histograms, gauge, listen_from, options_from, server, text
from plugins.module_utils.follow import Follower


def line(
    status: int, addresses: str = "192.0.2.21:80", statuses: str = "200", seconds: str = "0.030", served_by: str = ""
) -> str:
    row = {"status": status, "upstream_addr": addresses, "upstream_status": statuses, "upstream_seconds": seconds}
    return json.dumps(row | ({"served_by": served_by} if served_by else {}))


@pytest.mark.parametrize(
    ("written", "request_"),
    [
        pytest.param(line(200), Request(200, (Attempt("192.0.2.21", 200, 0.03),)), id="one server answered"),
        pytest.param(
            line(200, "192.0.2.21:80, 192.0.2.22:80", "502, 200", "0.001, 0.030"),
            Request(200, (Attempt("192.0.2.21", 502, 0.001), Attempt("192.0.2.22", 200, 0.03))), id="the second one answered",
        ),
        pytest.param(
            line(200, "192.0.2.21:80 : 192.0.2.22:80", "502 : 200", "0.001 : 0.030"),
            Request(200, (Attempt("192.0.2.21", 502, 0.001), Attempt("192.0.2.22", 200, 0.03))), id="after an internal redirect",
        ),
        pytest.param(
            line(499, "192.0.2.21:80", "-", "1.500"), Request(499, (Attempt("192.0.2.21", 0, 1.5),)), id="the client left first"
        ),
        pytest.param(line(502, "app", "502", "0.000"), Request(502, ()), id="nobody was there to ask"),
        pytest.param(line(301, "", "", ""), Request(301, ()), id="the balancer answered itself"),
        pytest.param(line(200, "[2001:db8::1]:80"), Request(200, (Attempt("2001:db8::1", 200, 0.03),)), id="an IPv6 address"),
        pytest.param("127.0.0.1 - - [25/Nov/2026]", None, id="a line of another form"),
        pytest.param("[]", None, id="JSON, but no request"),
    ],
)  # fmt: skip
def test_a_line_is_read_as_nginx_documents_it(written: str, request_: Request | None) -> None:
    assert request_from(written) == request_


@pytest.mark.parametrize(("status", "kind"), [(204, "2xx"), (301, "3xx"), (499, "4xx"), (502, "5xx"), (0, "5xx")])
def test_a_status_has_a_class_and_none_is_an_error(status: int, kind: str) -> None:
    assert status_class(status) == kind


def test_requests_and_attempts_are_counted_by_the_name_of_the_server() -> None:
    meter = Meter()
    meter.count([
        line(200, served_by="app1"),
        line(200, "192.0.2.21:80, 192.0.2.22:80", "502, 200", "4.0, 3.0", served_by="app2"),
        line(301, "", "", ""),
        "nonsense",
    ])  # fmt: skip
    told = text(meter.families()).splitlines()
    assert 'balancer_requests_total{upstream="app1",class="2xx"} 1' in told
    assert 'balancer_requests_total{upstream="app2",class="2xx"} 1' in told
    assert 'balancer_requests_total{upstream="none",class="3xx"} 1' in told
    # 0.03 s and, the attempt that failed, 4 s
    assert 'balancer_upstream_seconds_bucket{upstream="app1",class="5xx",le="5"} 1' in told
    assert 'balancer_upstream_seconds_bucket{upstream="app1",class="2xx",le="0.05"} 1' in told
    # A client waited for both attempts: 7 s.
    assert 'balancer_response_seconds_bucket{le="5"} 1' in told
    assert 'balancer_response_seconds_bucket{le="10"} 2' in told
    assert "balancer_log_strange_lines 1" in told


def named(*lines: str) -> dict[str, str]:
    """Address to name, after these lines."""
    meter = Meter()
    meter.count(lines)
    return meter.names


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        pytest.param([line(200)], {"192.0.2.21": "192.0.2.21"}, id="one that does not say its name goes by its address"),
        pytest.param([line(502, statuses="502"), line(200, served_by="app1")], {"192.0.2.21": "app1"}, id="until it says it"),
        pytest.param([line(200, served_by="app1"), line(502, statuses="502")], {"192.0.2.21": "app1"}, id="it is remembered"),
        pytest.param(
            [line(200, served_by="app1"), line(404, statuses="404", served_by="app9")], {"192.0.2.21": "app9"},
            id="another host at the address has a name of its own",
        ),
        pytest.param(
            [line(200, statuses="502", served_by="app9")], {"192.0.2.21": "192.0.2.21"},
            id="a page that was kept for when the server fails bears the name of who gave it",
        ),
        pytest.param(
            [line(200, statuses="304", served_by="app9"), line(304, statuses="304", served_by="app9")], {"192.0.2.21": "192.0.2.21"},
            id="and so does one of which the server has nothing newer",
        ),
        pytest.param([line(200, "", "", "", served_by="app9")], {}, id="a page from the cache names nobody"),
        pytest.param(
            [line(200, served_by='app1"}\n'), line(200, served_by="app1, app2")], {"192.0.2.21": "192.0.2.21"}, id="what is no name is none"
        ),
    ],
)  # fmt: skip
def test_a_server_is_called_as_its_own_answers_call_it(lines: list[str], names: dict[str, str]) -> None:
    assert named(*lines) == names


def test_a_server_begins_at_zero_so_that_its_first_error_shows() -> None:
    meter = Meter()
    assert 'balancer_requests_total{upstream="none",class="5xx"} 0' in text(meter.families())
    meter.count([line(200, served_by="app3")])
    assert 'balancer_requests_total{upstream="app3",class="5xx"} 0' in text(meter.families())
    meter.count([line(404, "192.0.2.24:80", "404")])
    assert 'balancer_requests_total{upstream="192.0.2.24",class="5xx"} 0' in text(meter.families())


# -- the follower -----------------------------------------------------------------------------------------------------


def test_only_what_comes_after_the_start_is_read_and_a_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("old\n")
    follower = Follower(log)
    assert list(follower.lines()) == []
    with log.open("a") as out:
        out.write("one\ntw")
        out.flush()
        assert list(follower.lines()) == ["one"]
        out.write("o\n")
        out.flush()
        assert list(follower.lines()) == ["two"]


def test_nothing_is_lost_or_doubled_when_the_log_is_rotated_while_nginx_still_writes_to_the_old_one(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("")
    follower = Follower(log)
    assert list(follower.lines()) == []
    with log.open("a") as old:
        old.write("1\n")
        old.flush()
        log.rename(tmp_path / "access.log.1")
        log.write_text("3\n")
        old.write("2\n")
        old.flush()
        assert sorted(follower.lines()) == ["1", "2", "3"]
        assert list(follower.lines()) == []


def test_a_log_that_is_cut_short_or_comes_late_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    follower = Follower(log)
    assert list(follower.lines()) == []
    log.write_text("first\nsecond\n")
    assert list(follower.lines()) == ["first", "second"]
    log.write_text("new\n")
    assert list(follower.lines()) == ["new"]


# -- the words and the web server -------------------------------------------------------------------------------------


def test_a_value_on_a_bound_belongs_below_it_and_labels_are_escaped() -> None:
    histogram = Histograms("seconds", "How long.", (1.0, 2.0))
    histogram.observe({"job": 'a"b\\c\nd'}, 1.0)
    told = text([histogram.family()])
    assert 'seconds_bucket{job="a\\"b\\\\c\\nd",le="1"} 1\n' in told
    assert 'seconds_sum{job="a\\"b\\\\c\\nd"} 1\n' in told


def test_a_metric_without_samples_is_left_out() -> None:
    assert text([gauge("nothing", "Nothing.", [])]) == ""


@pytest.mark.parametrize(
    ("listen", "place"),
    [("192.0.2.11:9251", ("192.0.2.11", 9251)), ("[2001:db8::1]:9251", ("2001:db8::1", 9251)), (":9251", ("0.0.0.0", 9251))],
)
def test_an_address_is_read_as_other_exporters_take_it(listen: str, place: tuple[str, int]) -> None:
    assert listen_from(listen) == place
    started = options_from([f"--web.listen-address={listen}", "--config=/x"], {"EXPORTER_PASSWORD": "p", "EXPORTER_USER": "u"}, "")
    assert (started.address, started.port, started.config, started.user, started.password) == (*place, "/x", "u", "p")


def test_who_does_not_log_in_learns_nothing() -> None:
    web = server("127.0.0.1", 0, lambda: "secret 1\n", "prometheus", "pässword")
    threading.Thread(target=web.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{web.server_address[1]}"
    manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    manager.add_password(None, url, "prometheus", "pässword")
    logged_in = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/metrics", timeout=5)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        logged_in.open(f"{url}/", timeout=5)
    assert logged_in.open(f"{url}/metrics", timeout=5).read() == b"secret 1\n"
    web.shutdown()
