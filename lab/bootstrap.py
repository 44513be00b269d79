"""What the lab needs on this machine: packages from apt, and a virtual environment with Ansible."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import settings
from .shell import LabError, detail, run

HOST_PACKAGES = (
    "podman", "runc", "netavark", "aardvark-dns", "iptables", "nftables", "mmdebstrap", "uidmap", "lxcfs", "openssh-client",
)  # fmt: skip
# Programs that the unit tests run, and the Debian packages that they come in.
TOOL_PACKAGES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}
REQUIREMENTS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}


def installed_by_us_file() -> Path:
    """Where the names of the packages stand that the lab installed on this machine."""
    return settings.cache_dir() / "installed-packages"


def missing_packages(wanted: Iterable[str] = HOST_PACKAGES) -> list[str]:
    """Those that dpkg does not have installed."""
    names = list(wanted)
    answer = run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names], check=False
    ).stdout
    present = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in present]


def ensure_packages() -> None:
    """Install what the lab needs and this machine lacks."""
    missing = missing_packages([*HOST_PACKAGES, *_venv_package()])
    if missing:
        install(missing)


def install(names: Iterable[str]) -> None:
    """Install packages and record what came with them, so that `make demo-down` can say how to remove them."""
    detail(f"apt-get install {' '.join(names)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log = settings.LOGS / "apt.log"
    run(["apt-get", "update"], log=log, env=env)
    before = _installed()
    run(["apt-get", "install", "--yes", "--no-install-recommends", *names], log=log, env=env)
    record = installed_by_us_file()
    known = set(record.read_text("utf-8").split()) if record.exists() else set()
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("\n".join(sorted(known | (_installed() - before))) + "\n", "utf-8")


def _installed() -> set[str]:
    answer = run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"]).stdout
    return {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}


def _venv_package() -> list[str]:
    """Debian's Python comes without ensurepip; other interpreters bring it."""
    if (Path(sysconfig.get_path("stdlib")) / "ensurepip" / "__init__.py").exists():
        return []
    return [f"python3.{sys.version_info.minor}-venv"]


def tool(name: str) -> Path:
    """The program of that name for the tests: this machine's, or unpacked from Debian's package into the cache.

    Unpacked, not installed: the package would start a service here. Raises LabError when it can't be had.
    """
    if found := shutil.which(name):
        return Path(found)
    package = TOOL_PACKAGES[name]
    for cache in (settings.cache_dir(), settings.system_cache_dir()):
        path = cache / "tools" / name
        if path.exists():
            return path
    target = settings.cache_dir() / "tools" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    log = settings.LOGS / "apt.log"
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            run(["apt-get", "download", package], cwd=Path(folder), log=log)
            archive = next(Path(folder).glob("*.deb"))
            run(["dpkg-deb", "--extract", archive, f"{folder}/unpacked"], log=log)
        except (LabError, StopIteration) as error:
            raise LabError(
                f"{name} is missing, and Debian's package {package} could not be fetched: run `apt-get update` as root, "
                f"or install it ({error})"
            ) from error
        # Another run may do the same at this moment; either's is whole.
        os.replace(f"{folder}/unpacked/usr/bin/{name}", target)
    return target


def venv_key(kind: str, root: Path = settings.ROOT) -> str:
    """Changes with the requirements and the interpreter: the same key means the same environment."""
    texts = [(root / REQUIREMENTS["run"]).read_bytes()]
    if kind == "dev":
        texts.append((root / REQUIREMENTS["dev"]).read_bytes())
    texts.append(f"{sys.version_info[:3]} {sys.base_prefix}".encode())
    return f"{kind}-{hashlib.sha256(b'\0'.join(texts)).hexdigest()[:12]}"


def ensure_venv(kind: str) -> Path:
    """The virtual environment, shared by all checkouts with the same requirements; made where it is missing.

    A "dev" environment holds everything that "run" does, so it is taken for both where it exists.
    """
    caches = [settings.cache_dir(), settings.system_cache_dir()]
    link = settings.LAB / "venv"
    if link.is_symlink():
        # Made by the user who continues through sudo: root has a cache of its own, which may lack the tools of the tests.
        caches.insert(0, link.readlink().parent)
    for candidate in ("dev", kind):
        for cache in caches:
            path = cache / f"venv-{venv_key(candidate)}"
            if (path / "complete").exists():
                _link(path)
                return path
    return _make_venv(settings.cache_dir() / f"venv-{venv_key(kind)}", kind)


def _make_venv(path: Path, kind: str) -> Path:
    if _venv_package():
        raise LabError(
            f"{sys.executable} can't make virtual environments: `apt-get install {_venv_package()[0]}`, "
            "or run `make demo`, which does"
        )
    shutil.rmtree(path, ignore_errors=True)
    log = settings.LOGS / "pip.log"
    detail(f"pip install -r {REQUIREMENTS[kind]}, log in {log}")
    run([sys.executable, "-m", "venv", path], log=log)
    pip = [path / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    run([*pip, "-r", settings.ROOT / REQUIREMENTS[kind]], log=log)
    (path / "complete").touch()
    _link(path)
    return path


def _link(path: Path) -> None:
    link = settings.LAB / "venv"
    settings.LAB.mkdir(exist_ok=True)
    if not link.is_symlink() or link.readlink() != path:
        link.unlink(missing_ok=True)
        link.symlink_to(path)
