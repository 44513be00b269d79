# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/variables.md from the roles' argument_specs: `python docs/generate_variables.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "variables.md"

# Every key the `fleet` filter knows; a test holds this against the filter.
FLEET_KEYS = {
    "fleet_state": "`active`, `draining` (no new traffic), `standby` (ready, not used) or `down` (gone); default `active`",
    "fleet_weight": "share of the traffic against the other servers of the pool; default 1",
    "fleet_address": "address that the other hosts use; default `ansible_host`",
    "fleet_size": "name of a size in `fleet_sizes`",
    "fleet_sizes": "sizes by name: `{medium: {vcpus: 4, memory_mb: 8192, storage: nvme}}`",
    "fleet_vcpus": "cores; default: the size's, else what the host reports",
    "fleet_memory_mb": "memory in MB; default: the size's, else what the host reports",
    "fleet_storage": "`ssd`, `nvme` or `hdd`; default: the size's, else `ssd`",
    "fleet_vip": "address that clients use and keepalived moves; set it for the load balancers",
    "fleet_interface": "network interface that carries the VIP; default `eth0`",
    "fleet_groups": "names of your groups, where they differ: `{app_servers: web, queue_workers: null}`; null means none",
    "fleet_provider": "who makes hosts: `standby` (default: nobody, hosts wait in the inventory), `podman` (the lab) or `aws`",
    "fleet_provider_options": "what that provider needs to know; see the role provider",
    "fleet_provider_tasks": "folder with task files of a provider of your own, see [adding a provider](adding-a-provider.md)",
    "fleet_address_pool": "addresses for new hosts of a group: a range, a network, or a list of these; empty: the provider gives them",
    "fleet_minimum": "fewest active hosts that `scale.yml` leaves in a group; default 1, 2 for MySQL",
    "fleet_maximum": "most active hosts that `scale.yml` brings a group to; default 10",
    "fleet_scaled": "written by `scale.yml`: it made this host, and may destroy it",
    "fleet_scaling": "written by `scale.yml`: the host is `joining` or `leaving`",
    "fleet_tier": "on the command line of a verb: the tier that it is about",
    "fleet_count": "on the command line of `scale.yml`: how many active hosts the tier shall have",
    "fleet_host": "on the command line of a verb: a host, or several with commas between",
    "fleet_secrets_dir": "folder on the control node that keeps the internal CA and the certificates",
}

HEAD = """\
# Variables

Set these in an inventory: for a host, for a group, or for all. What a role's default says, an inventory beats.
The roles' variables are described in `roles/<role>/meta/argument_specs.yml`, which this page is written from.

## The fleet

Host data that the `fleet` filter reads. Any other name that starts with `fleet_` is refused, with the nearest one that exists.

| variable | what it says |
|---|---|
"""


def cell(text: Any) -> str:
    words = " ".join(text) if isinstance(text, list) else str(text)
    words = re.sub(r"[A-Z]\(([^)]*)\)", r"`\1`", words)
    return " ".join(words.split()).replace("|", "\\|")


def default_of(option: dict[str, Any], real: Any) -> str:
    if option.get("required"):
        return "required"
    if isinstance(real, str):
        return f"`{cell(real)}`" if real else '`""`'
    return f"`{cell(json.dumps(real))}`"


def section(role: Path) -> str:
    entry_points = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    spec = entry_points.get("main", entry_points.get("check"))
    options: dict[str, Any] = spec.get("options") or {}
    if not options:
        return ""
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}
    rows = [
        f"| `{name}` | {option.get('type', 'str')} | {default_of(option, defaults.get(name))} "
        f"| {cell(option.get('description', ''))} |"
        for name, option in sorted(options.items())
    ]
    return "\n".join(
        [
            f"## {role.name}",
            "",
            f"{spec.get('short_description', '').rstrip('.')}.",
            "",
            "| variable | type | default | what it does |",
            "|---|---|---|---|",
            *rows,
            "",
            "",
        ]
    )


def secrets() -> dict[str, list[str]]:
    """Secret → the roles whose defaults read it."""
    found: dict[str, list[str]] = {}
    for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
        for name in sorted(set(re.findall(r"\bvault_\w+", path.read_text(encoding="utf-8")))):
            found.setdefault(name, []).append(path.parents[1].name)
    return dict(sorted(found.items()))


def page() -> str:
    fleet = "".join(f"| `{name}` | {what} |\n" for name, what in FLEET_KEYS.items())
    hidden = "".join(f"| `{name}` | {', '.join(roles)} |\n" for name, roles in secrets().items())
    roles = "".join(section(path.parents[1]) for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")))
    return (
        f"{HEAD}{fleet}| `mysql_primary` | `true` on the one host where a MySQL cluster starts |\n\n"
        f"## Secrets\n\nThe lab makes them; a production fleet keeps them in Ansible Vault.\n\n"
        f"| secret | read by |\n|---|---|\n{hidden}\n{roles}".rstrip()
        + "\n"
    )


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
