# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = """
name: nginx_upstream
short_description: Write nginx's upstream block for a list of servers
version_added: "0.1.0"
author:
  - graphic_school.scaling contributors (@graphic-school)
description:
  - Turns servers, such as C(fleet.app_servers), into the text of an C(upstream) block for nginx open source.
  - Servers whose C(state) is V(draining) or V(standby) are left out, those that are V(down) stay, marked C(down).
    With O(method=ip_hash), V(draining) servers are marked C(down) too, so that other clients keep their server.
  - One line for each server, sorted by name, so that a new server is one new line.
  - Every name, address, port and key is validated; nothing can break out of its directive.
positional: name
options:
  _input:
    description:
      - The servers. Each has C(address) and may have C(name), C(port), C(state), C(weight), C(max_fails),
        C(fail_timeout), C(max_conns), C(backup) and C(down), which win over the options below.
    type: list
    elements: dict
    required: true
  name:
    description: Name of the upstream.
    type: str
    required: true
  port:
    description: Port of the servers.
    type: int
    default: 80
  method:
    description: How nginx chooses a server.
    type: str
    choices: [least_conn, round_robin, ip_hash, hash, random_two]
    default: least_conn
  hash_key:
    description: What O(method=hash) hashes (consistently), such as V($request_uri).
    type: str
  keepalive:
    description: Idle connections that each nginx worker keeps to the servers; V(0) for none.
    type: int
    default: 32
  keepalive_requests:
    description: Requests after which a kept connection is closed. nginx's own default when left out.
    type: int
  keepalive_timeout:
    description: Time after which an idle kept connection is closed. nginx's own default when left out.
    type: str
  max_fails:
    description: Failed attempts within O(fail_timeout) after which a server is passed over for O(fail_timeout).
    type: int
    default: 3
  fail_timeout:
    description: See O(max_fails).
    type: str
    default: 10s
  last_resort:
    description:
      - When every server counts as failed, ask them all the same, instead of answering 502 at once.
      - Each line then names its server twice, the second time as a backup that never counts as failed. A server with
        C(backup) is the last resort itself.
      - Only with O(method=least_conn) and O(method=round_robin); nginx has no backup servers with the others.
    type: bool
    default: false
  zone:
    description:
      - Size of the memory that nginx's workers share for this upstream.
      - When left out, 1 MB for each 1,000 servers, in powers of two.
    type: str
"""

EXAMPLES = """
# roles/nginx_lb/templates/etc/nginx/conf.d/upstream.conf.j2
upstream: "{{ nginx_lb_upstream_servers | graphic_school.scaling.nginx_upstream('app') }}"

# every academy stays on one server
by_academy: "{{ fleet.app_servers | graphic_school.scaling.nginx_upstream('app', method='hash', hash_key='$http_x_academy') }}"
"""

RETURN = """
_value:
  description: The block, ending in a newline.
  type: str
  sample: |
    upstream app {
        zone app 1m;
        least_conn;
        server 192.0.2.21:80 max_fails=3 fail_timeout=10s;  # app1
        keepalive 32;
    }
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.nginx_upstream import NginxUpstreamError, render_upstream


def nginx_upstream(servers: Sequence[Mapping[str, Any]], name: str, **settings: Any) -> str:
    """The upstream block as text; see ``render_upstream``."""
    try:
        return render_upstream(servers, name, **settings)
    except NginxUpstreamError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter ``graphic_school.scaling.nginx_upstream``."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"nginx_upstream": nginx_upstream}
