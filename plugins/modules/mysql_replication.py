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
extends_documentation_fragment: [graphic_school.scaling.mysql_server]
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
  service:
    description: The server's unit.
    type: str
    default: mysql
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

from ..module_utils.mysql_client import ClientError, rows, text
from ..module_utils.mysql_mover import Mover
from ..module_utils.mysql_options import SERVER_SPEC, replication_from
from ..module_utils.mysql_settings import record_of

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
            **SERVER_SPEC,
            "service": {"type": "str", "default": "mysql"},
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
                if step["action"] == "set":
                    remember_asked(options["socket"], step["arguments"]["settings"])
        finally:
            performer.release()
    if options["refused"]:
        module.fail_json(msg=options["refused"], performed=performed, changed=bool(performed))
    actions = [{"action": step["action"], "settings": step["arguments"].get("settings", {})} for step in options["steps"]]
    module.exit_json(changed=bool(told), performed=told, actions=actions, log=log)


def remember_asked(socket: str, settings: dict[str, Any]) -> None:
    """Add to the record of what the running server was asked for (see C(mysql_state)); it ends with the server."""
    record = Path(socket).with_name("asked.cnf")
    content = record.read_text(encoding="utf-8") if record.exists() else ""
    part = record.with_suffix(".part")
    # The folder is mysqld's own: whatever lies there is not written through.
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8") as file:
        file.write(record_of(content, settings))
    part.replace(record)


def make_performer(module: AnsibleModule, options: dict[str, Any]) -> Mover:
    """The performer for the server on this host, with real connections and real time."""
    replication = replication_from(options)

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

    def give_up(host: str, port: int) -> None:
        # Without the right of the kernel (INET_DIAG_DESTROY) it takes longer, no more.
        module.run_command(["ss", "--kill", "-Hnt", "state", "syn-sent", "dst", host, "dport", "=", str(port)])

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
        give_up=give_up,
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
