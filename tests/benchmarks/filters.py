# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters cost at 10, 100, 1,000 and 10,000 application servers: prints a table, judges nothing.

`python tests/benchmarks/filters.py` · `--json` for machines · `--ansible` adds the same through Ansible's own lazy
variables (which cost more than the filters do).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from plugins.module_utils.capacity import host_from, size_host
from plugins.module_utils.connection_budget import connection_budget
from plugins.module_utils.fleet import build_fleet
from plugins.module_utils.nginx_upstream import render_upstream

COUNTS = (10, 100, 1000, 10000)
REPEATS = 5


def inventory(app_servers: int) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """A fleet of that many application servers, with as many other variables on each host as inventories have."""
    apps = {
        f"app{n:05d}": {"ansible_host": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "fleet_size": "medium"}
        for n in range(1, app_servers + 1)
    }
    balancers = {f"lb{n}": {"ansible_host": f"10.250.0.{n}", "fleet_vip": "10.250.0.100"} for n in (1, 2)}
    databases: dict[str, dict[str, Any]] = {
        f"db{n}": {"ansible_host": f"10.251.0.{n}", "mysql_primary": n == 1, "mysql_max_connections": 10**7}
        for n in (1, 2, 3)
    }
    redis = {f"redis{n}": {"ansible_host": f"10.252.0.{n}"} for n in (1, 2, 3)}
    groups = {"load_balancers": balancers, "app_servers": apps, "mysql": databases, "redis_cluster": redis}
    common = {f"app_setting_{n}": n for n in range(40)}
    hostvars = {host: variables | common for hosts in groups.values() for host, variables in hosts.items()}
    return {name: list(hosts) for name, hosts in groups.items()} | {"all": list(hostvars), "ungrouped": []}, hostvars


def best_of(repeats: int, work: Callable[[], Any]) -> float:
    """The shortest of several runs, in seconds: what the work costs when nothing else runs."""
    times = []
    for _run in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(app_servers: int) -> dict[str, float]:
    groups, hostvars = inventory(app_servers)
    repeats = REPEATS if app_servers < 10000 else 2
    fleet = build_fleet(groups, hostvars).as_dict()
    servers = fleet["app_servers"]
    return {
        "fleet": best_of(repeats, lambda: build_fleet(groups, hostvars).as_dict()),
        "nginx_upstream": best_of(repeats, lambda: render_upstream(servers, "app")),
        "capacity": best_of(repeats, lambda: [size_host(host_from(server)) for server in servers]),
        "connection_budget": best_of(repeats, lambda: connection_budget(fleet, hostvars)),
    }


def measure_through_ansible(app_servers: int) -> float:
    """Rendering `fleet.vip` once, as a task would: Ansible works out each host's variables on the way."""
    init_plugin_loader([str(ROOT / ".collections")])
    groups, hostvars = inventory(app_servers)
    tiers = {
        name: {"hosts": {host: hostvars[host] for host in hosts}}
        for name, hosts in groups.items()
        if name not in ("all", "ungrouped")
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts.json"
        path.write_text(json.dumps(tiers), encoding="utf-8")
        loader = DataLoader()
        loader.set_basedir(str(ROOT / "playbooks"))
        hosts = InventoryManager(loader=loader, sources=[str(path)])
        variables = VariableManager(loader=loader, inventory=hosts)
        HostVars(hosts, variables, loader)
        of_host = variables.get_vars(host=hosts.get_host("lb1"))
        vip = trust_as_template("{{ fleet.vip }}")
        return best_of(3, lambda: Templar(loader=loader, variables=of_host).template(vip))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ansible", action="store_true")
    options = parser.parse_args()

    rows: dict[int, dict[str, float]] = {}
    for count in COUNTS:
        rows[count] = measure(count)
        rows[count]["fleet + nginx_upstream"] = rows[count]["fleet"] + rows[count]["nginx_upstream"]
        if options.ansible:
            rows[count]["fleet through Ansible"] = measure_through_ansible(count)
    if options.json:
        print(json.dumps(rows))
        return

    names = list(rows[COUNTS[0]])
    print(f"{'app servers':>11}  " + "  ".join(f"{name:>22}" for name in names))
    for count, row in rows.items():
        cells = (f"{row[name] * 1000:10.1f} ms {row[name] / count * 1e6:5.1f} µs/h" for name in names)
        print(f"{count:11,d}  " + "  ".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
