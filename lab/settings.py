"""Where the lab keeps things and what it calls them: one home for every name."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / ".lab"
# The checkout whose lab this is. A second working tree of the repository that links to the first one's .lab uses its hosts.
CHECKOUT = LAB.resolve().parent
INVENTORY = ROOT / "inventories" / "lab"
SECRETS_FILE = INVENTORY / "group_vars" / "all" / "secrets.yml"
GENERATED_FILE = INVENTORY / "group_vars" / "all" / "generated.yml"
SUMMARY_FILE = LAB / "summary.json"
LOGS = LAB / "logs"
STRATEGIES = ROOT / "lab" / "strategy"
SSH_KEY = LAB / "ssh" / "id_ed25519"
KNOWN_HOSTS = LAB / "ssh" / "known_hosts"
HOST_KEYS = LAB / "ssh" / "hosts"

# Everything the lab makes in Podman carries this label; what does not carry it is never touched.
LABEL = "graphic_school.scaling.lab"
NAME = "demo"
CHECKOUT_LABEL = "graphic_school.scaling.checkout"
TIER_LABEL = "graphic_school.scaling.tier"
ADDRESS_LABEL = "graphic_school.scaling.address"
NETWORK = "graphic-school-lab"
SUBNET = "198.18.10.0/24"  # inside 198.18.0.0/15, the range kept for benchmarks (RFC 2544): nobody's LAN
IMAGE_PREFIX = "localhost/graphic-school-lab"

# What the thirteen hosts of inventories/lab and the control node need; tests/unit/lab holds them against the inventory.
MEMORY_NEEDED_MB = 7500
DISK_NEEDED_MB = 12000
CONTAINER_STORAGE = Path("/var/lib/containers")

DEBIAN_RELEASE = "trixie"


def cache_dir() -> Path:
    """Downloads and virtual environments that outlive one checkout: system-wide for root, the user's otherwise."""
    if os.geteuid() == 0:
        return Path("/var/cache/graphic_school_scaling")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphic_school_scaling"


def system_cache_dir() -> Path:
    """The cache that root's runs of the lab fill; anyone may read it."""
    return Path("/var/cache/graphic_school_scaling")
