from __future__ import annotations

from dataclasses import replace

import pytest

from lab import hosts, settings
from lab.podman import Container
from lab.shell import LabError

LABELS = {settings.LABEL: settings.NAME, settings.CHECKOUT_LABEL: "/here", settings.TIER_LABEL: "app"}
RUNNING = Container("app1", "running", LABELS, "app:1", "198.18.10.21", 1024, 2.0)


@pytest.mark.parametrize(
    ("container", "words"),
    [
        pytest.param(replace(RUNNING, labels={}), "the lab did not make", id="somebody else's"),
        pytest.param(
            replace(RUNNING, labels={settings.LABEL: settings.NAME}), "the lab did not make", id="started by hand from an image of the lab"
        ),
        pytest.param(
            replace(RUNNING, labels={**LABELS, settings.CHECKOUT_LABEL: "/there"}), "checkout /there", id="another checkout's"
        ),
    ],
)
def test_a_container_that_is_not_of_this_lab_is_left_alone(container: Container, words: str) -> None:
    (refusal,) = hosts.foreign(["app1"], {"app1": container}, "/here")
    assert words in refusal


def test_own_hosts_and_hosts_that_are_not_there_are_not_foreign() -> None:
    assert hosts.foreign(["app1", "app9"], {"app1": RUNNING}, "/here") == []


@pytest.mark.parametrize("text", ["app1", '{"name": "app1"}', '["app1"]', "[{}]"])
def test_what_is_no_list_of_rows_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="rows"):
        hosts.rows_from(text)


def test_a_host_without_a_size_is_refused_by_name() -> None:
    with pytest.raises(LabError, match="app3 can't be made without memory_mb, vcpus"):
        hosts.host_from({"name": "app3", "address": "198.18.10.23", "tiers": ["app_servers"]})


def test_a_new_host_gets_the_image_of_its_neighbours() -> None:
    built = {f"{settings.IMAGE_PREFIX}/app:2": "2", f"{settings.IMAGE_PREFIX}/app:1": "1", f"{settings.IMAGE_PREFIX}/mysql:9": "9"}
    assert hosts.image_of("app", [RUNNING], built) == "app:1"
    assert hosts.image_of("app", [], built) == f"{settings.IMAGE_PREFIX}/app:2"
    with pytest.raises(LabError, match="no image for tier redis"):
        hosts.image_of("redis", [RUNNING], built)


@pytest.mark.parametrize(
    ("row", "calls"),
    [
        pytest.param({}, ["update"], id="while it runs"),
        pytest.param({"resize_stops": True}, ["stop", "start", "update"], id="stopped, where a provider of machines is wanted"),
    ],
)
def test_a_host_gets_another_size(row: dict[str, bool], calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hosts, "podman", lambda *words: asked.append(words[0]) or "")
    monkeypatch.setattr(hosts.fleet, "resize", lambda *_size: asked.append("update"))
    hosts.ACTIONS["resize"]([{"name": "app1", "memory_mb": 2048, "vcpus": 2, **row}], {"app1": RUNNING})
    assert asked == calls
