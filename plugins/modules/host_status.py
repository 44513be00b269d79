#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_status
short_description: What one host of the fleet is, as data
version_added: "0.2.0"
description:
  - Asks everything that this host can say of its own health in one go - services, release, certificates, MySQL, Redis, queues,
    worker processes, disks, and whether it is kept out of traffic on purpose.
  - Changes nothing, and judges nothing; M(graphic_school.scaling.fleet_status) does, when all hosts have answered.
  - A part that does not answer is an answer too.
author: graphic_school.scaling contributors (@graphic_school)
options:
  app_root:
    description: Folder of the application.
    type: path
    required: true
  app_domain:
    description: Name that clients use; sent as Host.
    type: str
    required: true
  app_port:
    description: Port of the web server on application servers.
    type: int
    default: 80
  health_path:
    description: Page that answers 200 while database, cache, queue and storage work.
    type: str
    default: /api/health
  live_path:
    description: Page that answers 200 while the process lives.
    type: str
    default: /up
  php_version:
    description: PHP's minor version.
    type: str
    default: "8.4"
  queues:
    description: Names of the application's queues.
    type: list
    elements: str
    default: []
  queue_prefix:
    description: What begins every key of the application in Redis.
    type: str
    default: ""
  queue_hash_tags:
    description: Whether queues are stored as C({name}).
    type: bool
    default: true
  mysql_socket:
    description: Socket of the MySQL server.
    type: path
    default: /run/mysqld/mysqld.sock
  mysql_health_port:
    description: Port of the health service beside the MySQL server.
    type: int
    default: 9200
  redis_config:
    description: File with the pools and the password of the user admin, as the role redis_cluster writes it for its own service.
    type: path
    default: /etc/redis/spread.json
  state_folder:
    description: Where M(graphic_school.scaling.converge) keeps what it brought here.
    type: path
    default: /var/lib/graphic_school
  seconds:
    description: How long each question may take.
    type: float
    default: 3
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Ask every host
  graphic_school.scaling.host_status:
    app_root: /srv/school
    app_domain: school.example.com
  register: status_host
"""

RETURN = r"""
report:
  description:
    - C(components), C(services), C(failed_units), C(out_of_traffic), C(release), C(addresses), C(disks), C(memory), C(load),
      C(versions), C(certificates); where they run, C(app), C(balancer), C(router), C(mysql), C(redis), C(queues), C(workers).
  returned: always
  type: dict
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import host_status as ask
from ..module_utils.mysql_client import Replication, read_channel, rows, text
from ..module_utils.redis_driver import tools_for
from ..module_utils.traffic import MARKS

try:
    import pymysql
except ImportError:
    pymysql = None

MYSQL_QUERY = (
    "SELECT @@version AS version, @@read_only AS read_only, @@rpl_semi_sync_source_enabled AS semi_sync, "
    "@@rpl_semi_sync_source_wait_for_replica_count AS needed, @@max_connections AS max_connections"
)
MYSQL_STATUS = (
    "SELECT variable_name, variable_value FROM performance_schema.global_status "
    "WHERE variable_name IN ('Rpl_semi_sync_source_clients', 'Threads_connected')"
)


def mysql(given: dict[str, Any]) -> dict[str, Any]:
    """What the server says over its socket, and what its health service tells the routers."""
    if pymysql is None:
        return {"error": "there is no pymysql"}
    try:
        connection = pymysql.connect(
            unix_socket=given["mysql_socket"],
            user="root",
            connect_timeout=given["seconds"],
            read_timeout=given["seconds"],
        )
        try:
            server = rows(connection, MYSQL_QUERY)[0]
            status = {row["variable_name"]: text(row["variable_value"]) for row in rows(connection, MYSQL_STATUS)}
            channel = read_channel(connection, Replication("", ""))
        finally:
            connection.close()
    except pymysql.Error as error:
        return {"error": str(error)}
    health = ask.page(given["mysql_health_port"], "/alive", "localhost", given["seconds"])
    look: dict[str, Any] = {}
    if health.get("status") == 200:
        look = json.loads(health["body"])
    return {
        "version": text(server["version"]).split("-", maxsplit=1)[0],
        "writable": not int(server["read_only"]),
        "semi_sync": bool(int(server["semi_sync"])),
        "needed": int(server["needed"]),
        "replicas": int(status.get("Rpl_semi_sync_source_clients") or 0),
        "connections": int(status.get("Threads_connected") or 0),
        "max_connections": int(server["max_connections"]),
        "source": channel and {key: channel[key] for key in ("source_host", "receiver", "applier", "error")},
        "health": health.get("error") or health["status"],
        "lag": look.get("lag"),
    }


def redis(given: dict[str, Any]) -> dict[str, Any]:
    """The instances of this host in each pool, and the queues on those that are primaries."""
    config = json.loads(Path(given["redis_config"]).read_text(encoding="utf-8"))
    tools = tools_for(config["user"], config["passwords"], given["seconds"])
    names = {name: f"{{{name}}}" if given["queue_hash_tags"] else name for name in given["queues"]}
    keys = {name: f"{given['queue_prefix']}queues:{stored}" for name, stored in names.items()}
    pools: dict[str, Any] = {}
    queues: dict[str, Any] = {}
    for number, pool in enumerate(config["pools"]):
        own = [row for row in pool["instances"] if row["host"] == config["host"]]
        told = {
            f"{row['address']}:{row['port']}": ask.redis_instance(tools, row["address"], row["port"]) for row in own
        }
        pools[pool["name"]] = {
            "replicas": pool["replicas"],
            "instances": told,
            "expected": {f"{row['address']}:{row['port']}": row["host"] for row in pool["instances"]},
        }
        for row in own if number == 0 else []:
            if f"{row['address']}:{row['port']}" in told[f"{row['address']}:{row['port']}"].get("slots", {}):
                queues.update(ask.queue_lengths(tools, row["address"], row["port"], keys))
    return {"redis": pools, "queues": queues}


def look(given: dict[str, Any], run: ask.Run) -> dict[str, Any]:
    """Everything that this host has an answer to."""
    now = datetime.now(UTC)
    components = ask.components(Path(given["state_folder"]))
    units = sorted({unit for row in components.values() for unit in row["services"]})
    paths = [path for row in components.values() for path in row["paths"] if path.endswith((".pem", ".crt"))]
    report: dict[str, Any] = {
        "components": {name: {"owed": row["owed"], "held": sorted(row["held"])} for name, row in components.items()},
        "services": ask.services(run, units),
        "failed_units": ask.failed_units(run),
        "out_of_traffic": ask.out_of_traffic(MARKS),
        "release": ask.release(Path(given["app_root"])),
        "addresses": ask.addresses(run),
        "disks": ask.disks(["/", "/var", "/var/lib/mysql", "/var/lib/redis", "/srv", given["app_root"]]),
        "memory": ask.memory(Path("/proc/meminfo").read_text(encoding="ascii")),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count() or 1,
        "versions": ask.versions(run, given["php_version"]),
        "certificates": ask.certificates(paths, now),
    }
    domain, seconds = given["app_domain"], given["seconds"]
    if "app_server" in components:
        report["app"] = ask.page(given["app_port"], given["health_path"], domain, 2 * seconds)
    if "nginx_lb" in components:
        report["balancer"] = ask.page(443, given["live_path"], domain, seconds, now)
    if "db_router" in components:
        try:
            report["router"] = ask.router_servers(
                ask.over_socket("/run/haproxy/admin.sock", b"show stat -1 4 -1\n", seconds)
            )
        except OSError as error:
            report["router"] = {"error": str(error)}
    if "mysql" in components:
        report["mysql"] = mysql(given)
    if "redis_cluster" in components:
        try:
            report.update(redis(given))
        except (OSError, ValueError, KeyError) as error:
            report["redis"] = {"error": f"{given['redis_config']}: {error!r}"}
    if "queue_workers" in components:
        report["workers"] = ask.worker_states(run(["supervisorctl", "status"]))
    return report


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "app_root": {"type": "path", "required": True},
            "app_domain": {"type": "str", "required": True},
            "app_port": {"type": "int", "default": 80},
            "health_path": {"type": "str", "default": "/api/health"},
            "live_path": {"type": "str", "default": "/up"},
            "php_version": {"type": "str", "default": "8.4"},
            "queues": {"type": "list", "elements": "str", "default": []},
            "queue_prefix": {"type": "str", "default": ""},
            "queue_hash_tags": {"type": "bool", "default": True},
            "mysql_socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
            "mysql_health_port": {"type": "int", "default": 9200},
            "redis_config": {"type": "path", "default": "/etc/redis/spread.json"},
            "state_folder": {"type": "path", "default": "/var/lib/graphic_school"},
            "seconds": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> str:
        return str(module.run_command(command, environ_update={"LC_ALL": "C.UTF-8"}, handle_exceptions=False)[1])

    module.exit_json(changed=False, report=look(module.params, run))


if __name__ == "__main__":
    main()
