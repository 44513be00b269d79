"""The images that hosts start from: a Debian base, and for each tier the base with that tier's packages.

An image's tag is a hash of everything that goes into it, so an image is built once and found again until its inputs change.
No image holds an identity: host keys, machine id and data directories are made for each host.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import settings
from .podman import containers, engine, image_exists, images, podman, ulimits
from .shell import LabError, detail, run, tail

BASE_PACKAGES = (
    "ca-certificates", "curl", "dbus", "iproute2", "iputils-ping", "nftables", "openssh-server", "openssl", "procps",
    "python3", "python3-apt", "sudo", "systemd", "systemd-sysv", "systemd-timesyncd", "tzdata", "udev",
)  # fmt: skip

# Units that can't do their work in a container; masked so that "degraded" means something.
MASKED_UNITS = (
    "apt-daily-upgrade.timer", "apt-daily.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
    "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-modules-load.service",
    "systemd-networkd-wait-online.service", "systemd-udev-trigger.service", "systemd-udevd.service",
)  # fmt: skip

# For the lab's throw-away hosts: no fsync per file, no manual pages and translations.
DPKG_SETTINGS = """\
force-unsafe-io
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
"""

# The kernel's messages are this machine's, not one host's: a dozen journals need not copy them.
JOURNALD_SETTINGS = "[Journal]\nReadKMsg=no\n"

# What a service left behind while its package was installed, and what must differ between hosts.
FORGET = (
    "/etc/ssh/ssh_host_*", "/var/lib/dbus/machine-id", "/var/lib/mysql/*", "/var/lib/mysql-files/*", "/var/lib/redis/*",
    "/var/log/mysql/*", "/etc/mysql/debian.cnf", "/var/lib/systemd/random-seed", "/etc/ssl/private/ssl-cert-snakeoil.key",
)  # fmt: skip


@dataclass(frozen=True)
class Mirror:
    """Where this machine gets Debian from."""

    archive: str
    security: str | None


@dataclass(frozen=True)
class Recipe:
    """One image: its name carries the hash of what is in it."""

    tier: str
    base: Recipe | None  # None: this is the base itself
    packages: tuple[str, ...]
    from_unstable: tuple[str, ...]
    mirror: Mirror

    @property
    def parent(self) -> str | None:
        """Name of the image that this one stands on."""
        return self.base.name if self.base else None

    @property
    def name(self) -> str:
        """Repository and tag."""
        inputs = json.dumps(
            [
                self.tier, self.parent, self.packages, self.from_unstable, self.mirror.archive, self.mirror.security,
                MASKED_UNITS, JOURNALD_SETTINGS, DPKG_SETTINGS, FORGET, RECIPE_VERSION,
            ]
        )  # fmt: skip
        return f"{settings.IMAGE_PREFIX}/{self.tier}:{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


RECIPE_VERSION = 1


def find_mirror(texts: Iterable[str], codename: str) -> Mirror:
    """The Debian archive among the contents of apt's source files (both formats). LabError when there is none."""
    archive = security = None
    for uri, suites in (entry for text in texts for entry in _entries(text)):
        if security is None and f"{codename}-security" in suites:
            security = uri
        if archive is None and {codename, "stable", "oldstable", "testing", "unstable", "sid"} & set(suites):
            archive = uri
    if archive is None:
        raise LabError(
            f"No source in /etc/apt/sources.list or /etc/apt/sources.list.d offers Debian {codename}: "
            f"add the line `deb <your mirror> {codename} main`, then `apt-get update`"
        )
    return Mirror(archive.rstrip("/"), security.rstrip("/") if security else None)


def _entries(text: str) -> list[tuple[str, list[str]]]:
    """(URI, suites) of every binary source in one file."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line)
        if match:
            found.append((match[1], [match[2]]))
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", paragraph, flags=re.MULTILINE))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
            found += [(uri, fields.get("Suites", "").split()) for uri in fields.get("URIs", "").split()]
    return found


def host_mirror() -> Mirror:
    """The mirror of this machine's own apt sources."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [path.read_text("utf-8") for path in files if path.suffix in (".list", ".sources") and path.exists()]
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text("utf-8"), flags=re.MULTILINE))
    return find_mirror(texts, release.get("VERSION_CODENAME", "stable"))


# Not in Debian's stable release: MySQL (Debian carries MariaDB there).
FROM_UNSTABLE = re.compile(r"mysql-|libmysqlclient")


def recipes(tiers: Mapping[str, Iterable[str]], mirror: Mirror) -> dict[str, Recipe]:
    """A recipe for the base and one per tier; `tiers`: tier → packages of its roles, the base among them."""
    base = Recipe("base", None, tuple(sorted({*BASE_PACKAGES, *tiers.get("base", ())})), (), mirror)
    found = {"base": base}
    for tier in sorted(set(tiers) - {"base"}):
        wanted = sorted(set(tiers[tier]) - set(base.packages))
        unstable = tuple(package for package in wanted if FROM_UNSTABLE.match(package))
        stable = tuple(package for package in wanted if package not in unstable)
        found[tier] = Recipe(tier, base, stable, unstable, mirror) if wanted else base
    return found


def build_missing(wanted: Mapping[str, Recipe]) -> None:
    """Build the images that are not here yet: the base first, then the tiers two at a time."""
    todo = [recipe for recipe in set(wanted.values()) if not image_exists(recipe.name)]
    bases = {recipe for recipe in todo if recipe.parent is None}
    bases |= {recipe.base for recipe in todo if recipe.base and not image_exists(recipe.base.name)}
    for recipe in bases:
        _timed(recipe)
    tiers = [recipe for recipe in todo if recipe.parent is not None]
    # the ones with most packages first: the last to end is then a short one
    tiers.sort(key=lambda recipe: -len(recipe.packages) - 10 * len(recipe.from_unstable))
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(_timed, tiers))


def forget_old(current: set[str]) -> None:
    """Remove images of ours that no recipe names any more and no host uses."""
    found = images()
    keep = current | {container.image for container in containers()}
    for name in sorted(set(found) - keep, key=lambda name: "/base:" in name):
        # a base stays while an image that is kept stands on it: Podman refuses, and that is fine
        run([*engine(), "rmi", name], check=False)


def _timed(recipe: Recipe) -> None:
    start = time.monotonic()
    (_build_base if recipe.parent is None else _build_tier)(recipe)
    detail(f"image {recipe.tier:<6} {time.monotonic() - start:5.1f} s  {len(recipe.packages)} packages")


def _apt_cache(tier: str) -> Path:
    """Downloaded packages of one image: its own folder, since apt locks it and builds run side by side."""
    path = settings.cache_dir() / "apt" / tier
    path.mkdir(parents=True, exist_ok=True)
    return path


def sources(mirror: Mirror, release: str = settings.DEBIAN_RELEASE) -> str:
    """The hosts' /etc/apt/sources.list."""
    lines = [f"deb {mirror.archive} {suite} main" for suite in (release, f"{release}-updates")]
    if mirror.security:
        lines.append(f"deb {mirror.security} {release}-security main")
    return "\n".join(lines) + "\n"


def _build_base(recipe: Recipe) -> None:
    cache = _apt_cache("base")
    work = settings.LAB / "build" / "base"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "sources.list").write_text(sources(recipe.mirror))
    (work / "journald.conf").write_text(JOURNALD_SETTINGS)
    (work / "dpkg.cfg").write_text(DPKG_SETTINGS)
    setup = work / "setup"
    setup.write_text(
        "#!/bin/sh\nset -eu\n"
        f"cp {work}/sources.list \"$1/etc/apt/sources.list\"\n"
        "rm -f \"$1\"/etc/apt/sources.list.d/*\n"
        f"cp {work}/dpkg.cfg \"$1/etc/dpkg/dpkg.cfg.d/lab\"\n"
        "mkdir -p \"$1/etc/systemd/journald.conf.d\"\n"
        f"cp {work}/journald.conf \"$1/etc/systemd/journald.conf.d/lab.conf\"\n"
        f"chroot \"$1\" systemctl mask {' '.join(MASKED_UNITS)}\n"
        "chroot \"$1\" systemctl enable ssh.service\n"
        f"cd \"$1\" && for path in {' '.join('.' + path for path in FORGET)}; do rm -rf \"$path\"; done\n"
        ": > etc/machine-id\n"
        "rm -f etc/hostname etc/resolv.conf\n"
    )  # fmt: skip
    setup.chmod(0o755)
    mmdebstrap = [
        "mmdebstrap", "--variant=minbase", f"--include={','.join(recipe.packages)}",
        "--aptopt=Acquire::Languages \"none\"", *(f"--dpkgopt={line}" for line in DPKG_SETTINGS.splitlines()),
        "--skip=download/empty", "--skip=essential/unlink", "--skip=cleanup/apt/lists",
        f"--setup-hook=mkdir -p {cache} \"$1\"/var/cache/apt/archives/",
        f"--setup-hook=sync-in {cache} /var/cache/apt/archives/",
        f"--customize-hook=sync-out /var/cache/apt/archives {cache}",
        f"--customize-hook={setup} \"$1\"",
        settings.DEBIAN_RELEASE, "-", *sources(recipe.mirror).splitlines(),
    ]  # fmt: skip
    log = settings.LOGS / "image-base.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        maker = subprocess.Popen(mmdebstrap, stdout=subprocess.PIPE, stderr=sink)
        importer = subprocess.run(
            [*engine(), "import", "--change", f"LABEL {settings.LABEL}={settings.NAME}", "-", recipe.name],
            stdin=maker.stdout, stdout=sink, stderr=sink, check=False,
        )  # fmt: skip
        if maker.stdout:
            maker.stdout.close()
        made = maker.wait()
    if made or importer.returncode:
        run([*engine(), "rmi", "--force", recipe.name], check=False)
        raise LabError(
            f"The base image could not be built:\n{tail(log.read_text('utf-8', 'replace'))}\n(all of it: {log})"
        )
    shutil.rmtree(work)


def _build_tier(recipe: Recipe) -> None:
    work = settings.LAB / "build" / recipe.tier
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "install").write_text(install_script(recipe))
    (work / "Containerfile").write_text(
        f"FROM {recipe.parent}\nLABEL {settings.LABEL}={settings.NAME}\nCOPY install /tmp/install\nRUN sh /tmp/install\n"
    )
    podman(
        "build", "--network", "host", "--layers=false", *ulimits(),
        "--volume", f"{_apt_cache(recipe.tier)}:/var/cache/apt/archives",
        "--tag", recipe.name, work,
        log=settings.LOGS / f"image-{recipe.tier}.log",
    )  # fmt: skip
    shutil.rmtree(work)


def install_script(recipe: Recipe) -> str:
    """The shell script that turns the base into this tier's image."""
    apt = (
        "apt-get install --yes --no-install-recommends -o APT::Keep-Downloaded-Packages=true "
        "-o Dpkg::Use-Pty=0 -o Acquire::Languages=none"
    )
    lines = [
        "set -eu",
        "export DEBIAN_FRONTEND=noninteractive",
        # nothing starts while it is installed
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d",
        "systemctl list-unit-files --state=enabled --no-legend | awk '{print $1}' | sort > /tmp/units.before",
    ]
    if recipe.packages:
        lines.append(f"{apt} {' '.join(recipe.packages)}")
    if recipe.from_unstable:
        lines += [
            f"echo 'deb [check-valid-until=no] {recipe.mirror.archive} unstable main' > /etc/apt/sources.list.d/lab.list",
            "printf 'Package: *\\nPin: release a=unstable\\nPin-Priority: 100\\n' > /etc/apt/preferences.d/lab",
            "apt-get update",
            f"{apt} --target-release unstable {' '.join(recipe.from_unstable)}",
            "rm /etc/apt/sources.list.d/lab.list /etc/apt/preferences.d/lab",
        ]
    lines += [
        # the roles enable what they need: a host must not start with a service that no role set up
        "systemctl list-unit-files --state=enabled --no-legend | awk '{print $1}' | sort > /tmp/units.after",
        "comm -13 /tmp/units.before /tmp/units.after | grep -v '@\\.' | xargs --no-run-if-empty systemctl disable",
        f"rm -rf {' '.join(FORGET)}",
        ": > /etc/machine-id",
        "rm -f /usr/sbin/policy-rc.d /tmp/install /tmp/units.*",
    ]
    return "\n".join(lines) + "\n"
