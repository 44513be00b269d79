# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules for a MySQL server; the argument spec is plugins/module_utils/mysql_options.py."""

    DOCUMENTATION = r"""
options:
  socket:
    description: The server's socket.
    type: path
    default: /run/mysqld/mysqld.sock
  users:
    description: Rows of C(mysql_users).
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name., type: str, required: true}
      host: {description: Host part of the account., type: str, default: "%"}
      password: {description: The wanted password., type: str}
      plugin: {description: The wanted authentication., type: str, default: caching_sha2_password}
      privileges: {description: The wanted privileges., type: dict}
      tls: {description: The wanted requirement., type: str, default: none}
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
"""
