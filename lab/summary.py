"""What a person wants to know when the fleet runs, for reading (text) and for programs (.lab/summary.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import settings
from .inventory import Host


def data(
    hosts: Sequence[Host],
    *,
    vip: str | None,
    ca_file: Path,
    stages: Mapping[str, float],
    first_stages: Mapping[str, float],
) -> dict[str, Any]:
    """The content of summary.json. `stages` is this run, `stages_from_nothing` the run that made the fleet.

    `page` is where people watch the fleet, `prometheus` what API clients of Prometheus take as its address; None when nobody watches.
    """
    watching = next((host.address for host in hosts if "monitoring" in host.groups), None)
    return {
        "url": f"https://{vip}",
        "page": f"https://{watching}/fleet/" if watching else None,
        "prometheus": f"https://{watching}/fleet" if watching else None,
        "vip": vip,
        "ca_file": str(ca_file),
        "hosts": {
            host.name: {
                "address": host.address,
                "groups": list(host.groups),
                "memory_mb": host.memory_mb,
                "vcpus": host.vcpus,
                "container": host.name,
            }
            for host in hosts
        },
        "credentials_file": str(settings.SECRETS_FILE),
        "ssh_key": str(settings.SSH_KEY),
        "known_hosts": str(settings.KNOWN_HOSTS),
        "stages": dict(stages),
        "stages_from_nothing": dict(first_stages),
    }


def write(content: Mapping[str, Any], path: Path = settings.SUMMARY_FILE) -> None:
    """Write summary.json in one step: a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    new.replace(path)


def read(path: Path = settings.SUMMARY_FILE) -> dict[str, Any]:
    """The summary of the last run, empty when there is none."""
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def table(hosts: Sequence[Host], running: Mapping[str, str]) -> list[str]:
    """The fleet, one line per host; `running`: host → state of its container."""
    rows = [("host", "address", "tier", "size", "state")]
    for host in hosts:
        container = running.get(host.name, "absent")
        state = host.state if container == "running" else f"{host.state}, {container}"
        size = f"{host.memory_mb} MB, {host.vcpus} CPU"
        rows.append((host.name, host.address, ", ".join(host.groups), size, state))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def closing(content: Mapping[str, Any], fleet: Sequence[str]) -> list[str]:
    """The last words of `make demo`."""
    url, ca_file = content["url"], _short(content["ca_file"])
    app = next((name for name, host in content["hosts"].items() if "app_servers" in host["groups"]), "app1")
    lb = next((name for name, host in content["hosts"].items() if "load_balancers" in host["groups"]), "lb1")
    mon = next((host["address"] for host in content["hosts"].values() if "monitoring" in host["groups"]), "")
    db = next((name for name, host in content["hosts"].items() if "mysql" in host["groups"]), "db1")
    ssh = f"ssh -i {_short(content['ssh_key'])} -o UserKnownHostsFile={_short(content['known_hosts'])}"
    watching = [
        f"  its page     {content['page']}   (user fleet, password vault_monitoring_web_password of the credentials)",
        f"  Prometheus   http://127.0.0.1:9090 after {ssh} -NL 9090:127.0.0.1:9090 root@{mon}",
    ]
    return [
        "",
        f"The fleet serves {url}",
        f"  authority    {ca_file}   (curl --cacert; a browser asks until you import it)",
        f"  credentials  {_short(content['credentials_file'])}",
        f"  SSH          {ssh} root@{content['hosts'][app]['address']}",
        *(watching if mon else []),
        "",
        *(f"  {line}" for line in fleet),
        "",
        "Five things to try:",
        f"  1. Who answers, and from which database?   curl --cacert {ca_file} {url}/api/whoami",
        f"  2. Pull a plug while you reload the page:  podman kill {app}      and back: make demo",
        f"  3. Kill the balancer that holds the VIP:   podman kill {lb}       and back: make demo",
        f"  4. Look inside a server:                   podman exec -it {db} bash",
        "  5. Add a server: put `app3: {ansible_host: 198.18.10.23}` under app_servers in",
        "     inventories/lab/hosts.yml, then make demo (and `make demo-prune` when the line is gone again)",
        "",
        "make demo again changes nothing; make demo-down removes everything.",
    ]


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
