# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_state
short_description: What a MySQL server is, as data
version_added: "0.1.0"
description:
  - Asks the server on this host, as C(root) over its socket, what it is - writable or not, whose replica, which transactions,
    which users with which rights, and which settings run otherwise than wanted. Whether a password is the wanted one is told; the
    stored hash is not.
  - Changes nothing. A host without MySQL is an answer too.
author: graphic_school.scaling contributors (@graphic_school)
extends_documentation_fragment: [graphic_school.scaling.mysql_server]
options:
  settings_file:
    description: The host's own C(my.cnf); its options are compared with what the server runs with.
    type: path
    default: /etc/mysql/my.cnf
  pending:
    description:
      - In check mode, the RV(ignore:diff) of the M(graphic_school.scaling.converge) that would write O(settings_file). What the server runs
        with is then compared with the file that would be there.
    type: list
    elements: dict
    default: []
  port:
    description: Where the servers in O(reach) listen.
    type: int
    default: 3306
  reach:
    description: Addresses of other servers. Whether one can log in there as O(replication_user) is told as C(reached).
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
"""

EXAMPLES = r"""
- name: replicate | Ask every server what it is
  graphic_school.scaling.mysql_state:
    users: "{{ mysql_users }}"
  register: observed
"""

RETURN = r"""
server:
  description:
    - C(installed) and C(answers); with both, among others C(uuid), C(read_only), C(super_read_only), C(gtid_executed), C(channel),
      C(semi_sync_source), C(semi_sync_replicas), C(databases), C(users), C(settings_online), C(settings_restart) and
      C(settings_kept), which the server limits or rounds by itself.
    - Without an answer, C(why).
  returned: always
  type: dict
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.mysql_client import read_server
from ..module_utils.mysql_options import SERVER_SPEC, replication_from
from ..module_utils.mysql_settings import Asked, asked_settings, parse_my_cnf

try:
    import pymysql
except ImportError:
    pymysql = None


# A kernel answers at once, also for a server that is busy; a second is for the server's own first word. A failover waits for this.
REACH_SECONDS = 0.5
WORD_SECONDS = 1


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **SERVER_SPEC,
            "settings_file": {"type": "path", "default": "/etc/mysql/my.cnf"},
            "pending": {"type": "list", "elements": "dict", "default": []},
            "port": {"type": "int", "default": 3306},
            "reach": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    options = module.params
    file = Path(options["settings_file"])
    settings = parse_my_cnf(file.read_text(encoding="utf-8")) if file.exists() else {}
    for row in options["pending"] if module.check_mode else []:
        if row.get("after_header") == str(file) and row.get("after"):
            settings = parse_my_cnf(row["after"])
    data = Path(str(settings.get("datadir") or "/var/lib/mysql"))
    if pymysql is None or not (data / "mysql.ibd").exists():
        module.exit_json(changed=False, server={"installed": False, "answers": False, "why": "there is no MySQL yet"})
    replication = replication_from(options)
    pool = ThreadPoolExecutor(max(len(options["reach"]), 1))
    reached = [pool.submit(answers, address, options) for address in options["reach"]]
    try:
        connection = pymysql.connect(
            unix_socket=options["socket"], user="root", autocommit=True, connect_timeout=10, read_timeout=30
        )
        try:
            server = read_server(connection, options["users"], settings, replication, read_asked(options["socket"]))
        finally:
            connection.close()
    except pymysql.Error as error:
        server = {"installed": True, "answers": False, "why": str(error)}
    server["reached"] = [address for address, asked in zip(options["reach"], reached, strict=True) if asked.result()]
    module.exit_json(changed=False, server=server)


def read_asked(socket: str) -> Asked:
    """Return what the running server was asked for: the record that its start left beside its socket."""
    record = Path(socket).with_name("asked.cnf")
    try:
        return Asked(asked_settings(record.read_text(encoding="utf-8")), record.stat().st_mtime)
    except FileNotFoundError:
        return Asked()


def answers(address: str, options: dict[str, Any]) -> bool:
    """Return whether a server's MySQL answers, be it with a refusal."""
    try:
        pymysql.connect(
            host=address,
            port=options["port"],
            user=options["replication_user"],
            connect_timeout=REACH_SECONDS,
            read_timeout=WORD_SECONDS,
        ).close()
    except pymysql.Error as error:
        # Not 2002, 2003, 2013: it spoke.
        return bool(error.args) and isinstance(error.args[0], int) and not 2000 <= error.args[0] < 3000
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
