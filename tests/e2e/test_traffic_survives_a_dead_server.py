# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests through the VIP reach both app servers; losing one loses no GET, losing the balancer costs under 2 s."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest

from tests.e2e.support.lab import Lab
from tests.e2e.support.waiting import until
from tests.e2e.support.web import Visitor, served_by

REQUESTS = 500
AT_ONCE = 8


def servers_seen(visitor: Visitor, requests: int = 12) -> set[str]:
    return {served_by(visitor.get("/up")) for _turn in range(requests)}


def both_serve(visitor: Visitor, app_servers: list[str]) -> None:
    until(f"{app_servers} both serve", lambda: servers_seen(visitor) == set(app_servers), seconds=40)


def test_clients_are_spoken_to_in_http2(visitor: Visitor) -> None:
    assert visitor.get("/up").http_version == "HTTP/2"


def test_requests_reach_every_app_server(visitor: Visitor, app_servers: list[str]) -> None:
    both_serve(visitor, app_servers)


@contextmanager
def nginx_stopped(lab: Lab, host: str) -> Iterator[None]:
    with lab.stopped(host, "nginx"):
        yield


@contextmanager
def host_dead(lab: Lab, host: str) -> Iterator[None]:
    with lab.dead(host):
        yield


@pytest.mark.parametrize("lost", [nginx_stopped, host_dead], ids=["nginx_stopped", "host_dead"])
def test_losing_an_app_server_loses_no_get_of_500(
    lost: Callable[[Lab, str], AbstractContextManager[None]],
    lab: Lab,
    visit: Callable[..., Visitor],
    app_servers: list[str],
) -> None:
    visitor = visit(timeout=30, http2=False)  # httpx can't share one HTTP/2 connection between threads
    both_serve(visitor, app_servers)
    victim, others = app_servers[-1], set(app_servers[:-1])
    under_way = threading.Semaphore(0)

    def ask(number: int) -> tuple[int, int | str, str]:
        try:
            answer = visitor.get("/api/courses", params={"page": 1 + number % 3})
        except httpx.TransportError as error:
            return number, repr(error), ""
        finally:
            under_way.release()
        return number, answer.status_code, answer.headers.get("X-Served-By", "")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [pool.submit(ask, number) for number in range(REQUESTS)]
        for _turn in range(REQUESTS // 5):
            under_way.acquire()
        with lost(lab, victim):
            results = [answer.result() for answer in answers]
            late = [visitor.get("/up") for _turn in range(10)]
    assert Counter(status for _number, status, _server in results) == {200: REQUESTS}
    assert {server for _number, _status, server in results} == set(app_servers), "both have to serve before"
    assert {served_by(answer) for answer in late} == others, "only those that live answer"
    both_serve(visitor, app_servers)


RELOADS = 6


def workers_of_nginx(lab: Lab, host: str) -> set[str]:
    return set(lab.ssh(host, "pgrep -u www-data nginx").split())


def test_reloading_nginx_of_the_app_servers_costs_no_post(
    lab: Lab, visit: Callable[..., Visitor], app_servers: list[str]
) -> None:
    """nginx itself refuses these requests, so there are many of them, on connections that the balancers keep."""
    visitor = visit(timeout=30, http2=False)
    over = threading.Event()

    def post_until_it_is_over() -> Counter[int]:
        seen: Counter[int] = Counter()
        while not over.is_set():
            seen[visitor.post("/nothing.php", {}).status_code] += 1
        return seen

    before = {host: workers_of_nginx(lab, host) for host in app_servers}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        clients = [pool.submit(post_until_it_is_over) for _client in range(AT_ONCE)]
        try:
            for _turn in range(RELOADS):
                for host in app_servers:
                    lab.ssh(host, "systemctl reload nginx")
        finally:
            over.set()
    seen = sum((client.result() for client in clients), Counter[int]())
    assert {host for host in app_servers if workers_of_nginx(lab, host) & before[host]} == set(), "they did not reload"
    assert seen.total() > 100 * RELOADS
    assert set(seen) == {404}, seen


def holder_of_the_vip(lab: Lab) -> str:
    holders = [
        host
        for host in lab.tier("load_balancers")
        if f" {lab.vip}/" in lab.ssh(host, "ip -4 -o address show", check=False)
    ]
    assert len(holders) == 1, f"exactly one load balancer holds {lab.vip}, not: {holders}"
    return holders[0]


def test_the_next_load_balancer_answers_within_two_seconds(lab: Lab, visit: Callable[..., Visitor]) -> None:
    holder = until("one load balancer holds the VIP", lambda: holder_of_the_vip(lab), seconds=20)
    impatient = visit(timeout=0.25, keepalive=False)
    assert impatient.get("/up").status_code == 200
    tries: list[str] = []
    with lab.dead(holder):
        start = time.monotonic()

        def answered() -> bool:
            try:
                return impatient.get("/up").status_code == 200
            except httpx.TransportError as error:
                tries.append(f"{time.monotonic() - start:.2f} s {error!r}")
                return False

        until("the next load balancer answers", answered, seconds=20, every=0.02)
        gap = time.monotonic() - start
        assert gap < 2.0, f"{lab.vip} answered {gap:.2f} s after {holder} died:\n" + "\n".join(tries)
        assert holder_of_the_vip(lab) != holder
    until("one load balancer holds the VIP", lambda: holder_of_the_vip(lab), seconds=20)


def test_a_load_balancer_whose_nginx_is_ill_gives_the_vip_away(lab: Lab, visit: Callable[..., Visitor]) -> None:
    holder = until("one load balancer holds the VIP", lambda: holder_of_the_vip(lab), seconds=20)
    with lab.stopped(holder, "nginx"):
        until("the VIP left the host whose nginx is ill", lambda: holder_of_the_vip(lab) != holder, seconds=10)
        assert visit(timeout=5, keepalive=False).get("/up").status_code == 200
    until("one load balancer holds the VIP", lambda: holder_of_the_vip(lab), seconds=20)
