"""The lab's view of Podman: typed answers from its JSON, and how a host is started on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from . import settings
from .shell import run

LXCFS = Path("/var/lib/lxcfs")
LXCFS_PID_FILE = Path("/run/graphic-school-lab-lxcfs.pid")  # only when the lab started it, not systemd or anyone else
LXCFS_FILES = ("cpuinfo", "meminfo", "stat", "uptime", "loadavg", "diskstats", "swaps")


@dataclass(frozen=True)
class Container:
    """A container as Podman has it."""

    name: str
    state: str  # running, exited, created, paused …
    labels: dict[str, str]
    image: str
    address: str
    memory_mb: int
    vcpus: float
    process: int = 0  # its first one, as this machine numbers it; 0 when there is none
    cgroup: str = ""
    networks: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """True when the lab made it. Its images carry the first label too, and whatever anybody starts from them inherits it."""
        return self.labels.get(settings.LABEL) == settings.NAME and settings.CHECKOUT_LABEL in self.labels


@cache
def engine() -> tuple[str, ...]:
    """The Podman command with the runtime that this kernel can use.

    crun 1.8 refuses hybrid cgroups ("drop all controllers from cgroupv2"), so cgroup v1 means runc.
    """
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return ("podman",) if v2 else ("podman", "--runtime", "runc")


def podman(*words: str | Path, log: Path | None = None, stdin: str | None = None, check: bool = True) -> str:
    """Run Podman and return what it printed."""
    return run([*engine(), *words], log=log, stdin=stdin, check=check).stdout


def containers(names: Sequence[str] = ()) -> list[Container]:
    """Every container on this machine, ours and others', by name; with names, those of them that are here."""
    ids = list(names) or podman("ps", "--all", "--quiet", "--no-trunc").split()
    if not ids:
        return []
    # one that somebody else removes meanwhile must not end us
    done = run([*engine(), "inspect", "--type", "container", *ids], check=False)
    return sorted((_container(item) for item in json.loads(done.stdout or "[]")), key=lambda found: found.name)


def _container(item: dict[str, Any]) -> Container:
    networks = item.get("NetworkSettings", {}).get("Networks") or {}
    host, state = item["HostConfig"], item["State"]
    labels = item["Config"].get("Labels") or {}
    addresses = [labels.get(settings.ADDRESS_LABEL, "")]  # a stopped container has no other
    addresses += [network.get("IPAddress", "") for network in networks.values()]
    memory_mb = host["Memory"] // 1024**2
    vcpus = host["NanoCpus"] / 1e9 or (host["CpuQuota"] / host["CpuPeriod"] if host["CpuPeriod"] else 0.0)
    if state["Running"]:  # `podman update` reaches the kernel, not what `inspect` says
        memory_mb, vcpus = limits(state.get("CgroupPath", ""), memory_mb, vcpus)
    return Container(
        name=item["Name"],
        state=state["Status"],
        labels=labels,
        image=item["ImageName"],
        address=next((address for address in addresses if address), ""),
        memory_mb=memory_mb,
        vcpus=vcpus,
        process=state.get("Pid", 0),
        cgroup=state.get("CgroupPath", ""),
        networks=tuple(networks),
    )


def end(container: Container, *, seconds: float, root: Path = Path("/sys/fs/cgroup")) -> bool:
    """End a container as a power switch would; False when the kernel still has its first process after that time.

    Straight at its processes: Podman's own ways cost seconds on a busy machine. All of a frozen one's are told before it
    is woken, so that none of them runs again.
    """
    if not container.process:
        return True
    with contextlib.suppress(ProcessLookupError):
        if container.state == "paused":
            controller = root if (root / "cgroup.controllers").exists() else root / "freezer"
            for listed in (controller / container.cgroup.lstrip("/")).rglob("cgroup.procs"):
                for process in listed.read_text("ascii").split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
        os.kill(container.process, signal.SIGKILL)
    if container.state == "paused":
        run([*engine(), "unpause", container.name], check=False)
    return wait_until(lambda: not Path(f"/proc/{container.process}").exists(), seconds=seconds, every=0.02)


def limits(cgroup: str, memory_mb: int, vcpus: float, root: Path = Path("/sys/fs/cgroup")) -> tuple[int, float]:
    """Memory (MB) and CPUs that the kernel grants a cgroup; the given values where it can't be read."""
    path = cgroup.lstrip("/")
    try:
        if (root / "cgroup.controllers").exists():
            memory_mb = int((root / path / "memory.max").read_text()) // 1024**2
            quota, period = (root / path / "cpu.max").read_text().split()
        else:
            memory_mb = int((root / "memory" / path / "memory.limit_in_bytes").read_text()) // 1024**2
            quota, period = ((root / "cpu" / path / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return memory_mb, int(quota) / int(period)
    except (OSError, ValueError):
        return memory_mb, vcpus


def remove(names: Sequence[str]) -> None:
    """Remove containers, running or not. On a busy machine a killed system takes longer to die than Podman waits: try again."""
    left = list(names)
    for attempt in range(10):
        if not left:
            return
        if attempt:
            time.sleep(2)
        run([*engine(), "rm", "--force", "--time", "0", "--volumes", *left], check=False)
        here = {container.name for container in containers()}
        left = [name for name in left if name in here]
    podman("rm", "--force", "--time", "0", "--volumes", *left)


def cpu_seconds(name: str, root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPU time that a container has used since it started; 0 where the kernel does not say."""
    path = podman("inspect", "--type", "container", "--format", "{{.State.CgroupPath}}", name).strip().lstrip("/")
    v1, v2 = root / "cpuacct" / path / "cpuacct.usage", root / path / "cpu.stat"
    try:
        if v1.exists():
            return int(v1.read_text("ascii")) / 1e9
        fields = dict(line.split() for line in v2.read_text("ascii").splitlines())
        return int(fields["usage_usec"]) / 1e6
    except (OSError, KeyError):
        return 0.0


def images() -> dict[str, str]:
    """Name → id of the images that the lab built."""
    listed = podman("images", "--filter", f"label={settings.LABEL}={settings.NAME}", "--format", "json")
    return {name: item["Id"] for item in json.loads(listed or "[]") for name in item.get("Names") or []}


def image_exists(name: str) -> bool:
    """True when this image is here, whoever made it."""
    return run([*engine(), "image", "exists", name], check=False).returncode == 0


def network_exists() -> bool:
    """True when the lab's network is here."""
    return run([*engine(), "network", "exists", settings.NETWORK], check=False).returncode == 0


def ulimits() -> list[str]:
    """Limits for the hosts, at or below our own hard ones: without CAP_SYS_RESOURCE they can't be raised."""
    words = []
    for name, kind, wanted in (
        ("nofile", resource.RLIMIT_NOFILE, 65536),
        ("nproc", resource.RLIMIT_NPROC, 30000),
    ):
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        words += ["--ulimit", f"{name}={value}:{value}"]
    return words


def lxcfs_mounts() -> list[str]:
    """Mounts that make a host see its own memory and CPUs; none when lxcfs does not run."""
    words = []
    for name in LXCFS_FILES:
        source = LXCFS / "proc" / name
        if source.exists():
            words += ["--volume", f"{source}:/proc/{name}:ro"]
    return words


def lxcfs_running() -> bool:
    """True when lxcfs is mounted and answers (a mount whose process died raises OSError)."""
    try:
        return bool((LXCFS / "proc" / "meminfo").read_bytes())
    except OSError:
        return False


def start_lxcfs() -> bool:
    """Make sure lxcfs runs: by systemd where that is in charge, as a plain daemon elsewhere. False when it can't."""
    if lxcfs_running():
        return True
    if Path("/run/systemd/system").exists():
        run(["systemctl", "start", "lxcfs.service"], check=False)
    else:
        run(["umount", "-l", LXCFS], check=False)
        LXCFS.mkdir(parents=True, exist_ok=True)
        settings.LOGS.mkdir(parents=True, exist_ok=True)
        with (settings.LOGS / "lxcfs.log").open("ab") as log:
            # By its CPU quota: a host with one CPU of this machine's two would never look more than half busy.
            process = subprocess.Popen(
                ["lxcfs", "--enable-cfs", str(LXCFS)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        LXCFS_PID_FILE.write_text(f"{process.pid}\n", "ascii")
    return wait_until(lxcfs_running, seconds=10)


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.1) -> bool:
    """Poll a condition; False when it did not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def mac_address(address: str) -> str:
    """A locally administered MAC address that belongs to the IPv4 address.

    A machine keeps its network card when it restarts; a container would come back with a new one, and its neighbours
    would send to the old one for some seconds (five, the kernel's delay_first_probe_time).
    """
    return "02:00:" + ":".join(f"{part:02x}" for part in ipaddress.IPv4Address(address).packed)


def keep_bridge_address(sys_class_net: Path = Path("/sys/class/net")) -> None:
    """Give this machine's end of the lab's network a MAC address that stays. It is there while a host runs.

    A bridge takes the lowest address of its ports: when the host with that port died, hosts answered this machine at an address that was
    nobody's any more, again for five seconds.
    """
    (network,) = json.loads(podman("network", "inspect", settings.NETWORK))
    bridge, wanted = network["network_interface"], mac_address(network["subnets"][0]["gateway"])
    if (sys_class_net / bridge / "address").read_text("ascii").strip() != wanted:
        run(["ip", "link", "set", "dev", bridge, "address", wanted])


def create_words(
    name: str, *, address: str, memory_mb: int, vcpus: int, image: str, tier: str, cpus_here: int | None = None
) -> Sequence[str]:
    """The arguments of `podman create` for one host."""
    cpus = min(vcpus, cpus_here or os.cpu_count() or 1)
    return [
        "create",
        "--name", name, "--hostname", name,
        "--network", settings.NETWORK, "--ip", address, "--mac-address", mac_address(address),
        "--memory", f"{memory_mb}m", "--cpus", str(cpus),
        "--systemd=always", "--privileged", "--stop-signal", "SIGRTMIN+3", "--stop-timeout", "20",
        "--label", f"{settings.LABEL}={settings.NAME}",
        "--label", f"{settings.CHECKOUT_LABEL}={settings.CHECKOUT}",
        "--label", f"{settings.TIER_LABEL}={tier}",
        "--label", f"{settings.ADDRESS_LABEL}={address}",
        *ulimits(),
        *lxcfs_mounts(),
        image, "/sbin/init",
    ]  # fmt: skip
