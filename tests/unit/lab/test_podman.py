from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import hosts, podman, settings
from lab.podman import Container, end
from lab.shell import LabError


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Something that runs, and that somebody takes note of when it ends, as Podman does of a container."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    watcher = threading.Thread(target=child.wait)
    watcher.start()
    yield child
    child.kill()
    watcher.join()


def container(process: int, state: str = "running", cgroup: str = "") -> Container:
    labels = {settings.LABEL: settings.NAME, settings.CHECKOUT_LABEL: str(settings.CHECKOUT)}
    return Container("db1", state, labels, "mysql:1", "198.18.10.31", 1024, 2.0, process, cgroup)


def test_a_host_that_is_off_needs_no_end() -> None:
    assert end(container(0, "exited"), seconds=0)


def test_the_end_is_told_when_the_kernel_has_it(process: subprocess.Popen[bytes]) -> None:
    assert end(container(process.pid), seconds=10)
    assert not Path(f"/proc/{process.pid}").exists()


def test_a_process_that_ended_meanwhile_is_no_error(process: subprocess.Popen[bytes]) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert end(container(gone.pid), seconds=1)
    assert process.poll() is None


def test_every_process_of_a_frozen_host_is_ended_before_it_is_woken(
    process: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "freezer" / "libpod-1" / "system.slice"
    inner.mkdir(parents=True)
    (inner / "cgroup.procs").write_text(f"{process.pid}\n", "ascii")
    first = subprocess.Popen(["true"])
    first.wait()
    woken: list[object] = []

    def wake(words: list[str], **_more: object) -> None:
        process.wait(10)
        woken.append(words[-2:])

    monkeypatch.setattr(podman, "run", wake)
    assert end(container(first.pid, "paused", "/libpod-1"), seconds=1, root=tmp_path)
    assert woken == [["unpause", "db1"]]


def test_a_host_that_does_not_end_is_no_fenced_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "end", lambda container, seconds: container.name != "db1")
    with pytest.raises(LabError, match=r"^db1 could not be fenced within 20 s"):
        hosts.ACTIONS["fence"]([{"name": "db1"}, {"name": "db9"}], {"db1": container(1)})


@pytest.mark.parametrize(
    ("address", "commands"),
    [
        pytest.param("1a:e5:3c:ad:5a:8d", [["ip", "link", "set", "dev", "podman7", "address", "02:00:c6:12:0a:01"]], id="of a port"),
        pytest.param("02:00:c6:12:0a:01", [], id="its own"),
    ],
)
def test_the_bridge_has_an_address_of_its_own(
    address: str, commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "podman7").mkdir()
    (tmp_path / "podman7" / "address").write_text(f"{address}\n")
    network = '[{"network_interface": "podman7", "subnets": [{"subnet": "198.18.10.0/24", "gateway": "198.18.10.1"}]}]'
    monkeypatch.setattr(podman, "podman", lambda *words: network)
    done: list[list[str]] = []
    monkeypatch.setattr(podman, "run", done.append)
    podman.keep_bridge_address(tmp_path)
    assert done == commands
