# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_replication
short_description: Perform this host's steps of a MySQL cluster's plan
version_added: "0.1.0"
description:
  - Performs steps that P(graphic_school.scaling.mysql_plan#filter) returned, in their order.
  - Among them are to create users and databases, copy another server by CLONE, replicate from the primary over TLS
    with GTID auto-positioning, be writable or not, wait for acknowledgements.
  - Every wait has an end and an error that says what was missing.
author: graphic_school.scaling contributors (@graphic_school)
options:
  steps:
    description: The steps of this host and phase.
    type: list
    elements: dict
    required: true
    suboptions:
      action: {description: What to do., type: str, required: true}
      text: {description: The same for a person., type: str, required: true}
      arguments: {description: What the action needs., type: dict, default: {}}
  refused:
    description: Why this host cannot be brought to its state. The steps are performed, then the module fails with this sentence.
    type: str
    default: ""
  warnings:
    description: Sentences to show as warnings.
    type: list
    elements: str
    default: []
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  service:
    description: The server's unit.
    type: str
    default: mysql
  users:
    description: Rows of C(mysql_users), for the passwords.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      host: {description: Host part of the account., type: str, default: "%"}
      password: {description: The password., type: str}
      plugin: {description: The authentication., type: str, default: caching_sha2_password}
      privileges: {description: Not read here., type: dict}
      tls: {description: The requirement., type: str, default: none}
  replication_user:
    description: User that replicas log in as, also to copy.
    type: str
    default: replication
  replication_password:
    description: Its password.
    type: str
  tls_ca: {description: Path of the authority that replicas trust., type: path}
  tls_certificate: {description: Path of the certificate that replicas show., type: path}
  tls_key: {description: Path of its key., type: path}
  health_url:
    description: Where this host's health service answers. It tells routers that the primary is about to move.
    type: str
    default: http://127.0.0.1:9200
  wait_seconds:
    description: How long a step other than a copy may take.
    type: int
    default: 60
  clone_seconds:
    description: How long a copy may take.
    type: int
    default: 3600
attributes:
  check_mode:
    description: Tells the steps and performs none.
    support: full
"""

EXAMPLES = r"""
- name: replicate | Bring the replicas to their state
  graphic_school.scaling.mysql_replication:
    steps: "{{ plan.steps[inventory_hostname].replicas }}"
    replication_password: "{{ vault_mysql_replication_password }}"
"""

RETURN = r"""
performed:
  description: The steps that were performed, in check mode those that would be.
  returned: always
  type: list
  elements: str
actions:
  description: The same as data, each with C(action) and, where it sets any, C(settings).
  returned: success
  type: list
  elements: dict
log:
  description: When parts of a move of the primary were done, in seconds since this host started.
  returned: when the steps were performed
  type: list
  elements: str
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.urls import open_url

from ..module_utils.mysql_client import ClientError, Replication, rows, text
from ..module_utils.mysql_mover import Mover

try:
    import pymysql
except ImportError:
    pymysql = None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "steps": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "action": {"type": "str", "required": True},
                    "text": {"type": "str", "required": True},
                    "arguments": {"type": "dict", "default": {}},
                },
            },
            "refused": {"type": "str", "default": ""},
            "warnings": {"type": "list", "elements": "str", "default": []},
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
            "service": {"type": "str", "default": "mysql"},
            "users": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "host": {"type": "str", "default": "%"},
                    "password": {"type": "str", "no_log": True},
                    "plugin": {"type": "str", "default": "caching_sha2_password"},
                    "privileges": {"type": "dict"},
                    "tls": {"type": "str", "default": "none"},
                },
            },
            "replication_user": {"type": "str", "default": "replication"},
            "replication_password": {"type": "str", "no_log": True},
            "tls_ca": {"type": "path"},
            "tls_certificate": {"type": "path"},
            "tls_key": {"type": "path", "no_log": False},
            "health_url": {"type": "str", "default": "http://127.0.0.1:9200"},
            "wait_seconds": {"type": "int", "default": 60},
            "clone_seconds": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    options = module.params
    for warning in options["warnings"]:
        module.warn(warning)
    told = [step["text"] for step in options["steps"]]
    performed: list[str] = []
    log: list[str] = []
    if not module.check_mode and options["steps"]:
        if pymysql is None:
            module.fail_json(msg=missing_required_lib("pymysql (Debian: python3-pymysql)"), performed=[])
        performer = make_performer(module, options)
        log = performer.log
        try:
            for step in options["steps"]:
                try:
                    performer.perform(step["action"], step["arguments"])
                except (ClientError, pymysql.Error) as error:
                    module.fail_json(
                        msg=f"{step['text']}: {error}",
                        performed=performed,
                        steps_left=told[len(performed) :],
                        changed=bool(performed),
                        log=log,
                    )
                performed.append(step["text"])
        finally:
            performer.release()
    if options["refused"]:
        module.fail_json(msg=options["refused"], performed=performed, changed=bool(performed))
    actions = [{"action": step["action"], "settings": step["arguments"].get("settings", {})} for step in options["steps"]]
    module.exit_json(changed=bool(told), performed=told, actions=actions, log=log)


def make_performer(module: AnsibleModule, options: dict[str, Any]) -> Mover:
    """The performer for the server on this host, with real connections and real time."""
    replication = Replication(
        options["replication_user"],
        options["replication_password"] or "",
        options["tls_ca"] or "",
        options["tls_certificate"] or "",
        options["tls_key"] or "",
    )

    def connect(seconds: float) -> Any:
        return pymysql.connect(
            unix_socket=options["socket"], user="root", autocommit=True, connect_timeout=10, read_timeout=seconds
        )

    def connect_to(host: str, port: int, read_seconds: float = 30) -> Any:
        tls = (
            {"ssl_ca": replication.ca, "ssl_cert": replication.certificate, "ssl_key": replication.key}
            if replication.verified
            else {"ssl": {"check_hostname": False}}
        )
        return pymysql.connect(
            host=host,
            port=port,
            user=replication.user,
            password=replication.password.encode(),
            autocommit=True,
            connect_timeout=10,
            read_timeout=read_seconds,
            **tls,
        )

    def ask_source(host: str, port: int) -> str:
        connection = connect_to(host, port)
        try:
            return text(rows(connection, "SELECT @@GLOBAL.gtid_executed AS executed")[0]["executed"])
        finally:
            connection.close()

    def restart() -> None:
        code, _out, message = module.run_command(["systemctl", "restart", options["service"]])
        if code:
            raise ClientError(f"systemctl restart {options['service']} failed: {message.strip()}")

    handover = Path(options["socket"]).with_name("handover")

    def signal(on: bool) -> None:
        if on:
            handover.touch()
        else:
            handover.unlink(missing_ok=True)

    def not_told() -> list[str]:
        try:
            answer = json.load(open_url(f"{options['health_url']}/handover", timeout=2, use_proxy=False))
        except (OSError, ValueError) as error:
            return [f"{options['health_url']}: {error}"]
        waiting: list[str] = answer["not_told"] if answer["handing_over"] else ["the health service itself"]
        return waiting

    def save_events(gtids: str, path: str) -> str:
        connection = connect(60)
        try:
            folder = Path(text(rows(connection, "SELECT @@GLOBAL.log_bin_basename AS base")[0]["base"])).parent
            logs = [str(folder / text(row["log_name"])) for row in rows(connection, "SHOW BINARY LOGS")]
        finally:
            connection.close()
        code, events, message = module.run_command(
            ["mysqlbinlog", "--no-defaults", f"--include-gtids={gtids}", "--verbose", *logs], errors="surrogateescape"
        )
        if code:
            raise ClientError(f"mysqlbinlog ended with {code}: {message.strip()[-500:]}")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = target.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(events.encode(errors="surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        return str(events)

    return Mover(
        save_events=save_events,
        connect=connect,
        connect_to=connect_to,
        signal=signal,
        not_told=not_told,
        ask_source=ask_source,
        restart=restart,
        clock=time.monotonic,
        sleep=time.sleep,
        replication=replication,
        users=options["users"],
        wait_seconds=options["wait_seconds"],
        clone_seconds=options["clone_seconds"],
    )


if __name__ == "__main__":
    main()
