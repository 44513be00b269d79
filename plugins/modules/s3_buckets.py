#!/usr/bin/python
# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s3_buckets
short_description: Wait for an S3 service and make buckets in it
version_added: "0.1.0"
description:
  - Waits until the service answers, then makes the buckets that are missing. Buckets are never removed.
  - Needs only Python's standard library on the host.
author: graphic_school.scaling contributors (@graphic-school)
options:
  endpoint:
    description: Base URL of the service; buckets are addressed by path.
    type: str
    required: true
  region:
    description: Region that requests are signed for.
    type: str
    default: us-east-1
  access_key:
    description: Access key.
    type: str
    required: true
  secret_key:
    description: Secret key.
    type: str
    required: true
  buckets:
    description: Names of the buckets that must exist.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds that the service gets to answer.
    type: float
    default: 60
attributes:
  check_mode:
    description: Reports the buckets that would be made; all of them when the service doesn't answer yet.
    support: full
"""

EXAMPLES = r"""
- name: Main | Make the buckets
  graphic_school.scaling.s3_buckets:
    endpoint: http://192.0.2.61:8080
    access_key: "{{ vault_s3_access_key }}"
    secret_key: "{{ vault_s3_secret_key }}"
    buckets: [school]
"""

RETURN = r"""
made:
  description: Buckets that were (in check mode, would be) made.
  returned: always
  type: list
  elements: str
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ..module_utils.s3 import Answer, Buckets, Credentials, S3Error

NOT_READY = 500


def over_http(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send one request; an error status is an answer too."""
    try:
        with open_url(url, data=body or None, headers=dict(headers), method=method, timeout=20) as response:
            return Answer(response.status, response.read())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.read())


def when_up(ask: Callable[[], Any], end: float) -> Any:
    """Return what `ask` returns once the service is up; its parts start one after another, so a 503 may be followed by more.

    Raises OSError or S3Error when it isn't before `end` (time.monotonic), and at once when the service refuses.
    """
    while True:
        try:
            return ask()
        except (OSError, S3Error) as error:
            refused = isinstance(error, S3Error) and error.status < NOT_READY
            if refused or time.monotonic() >= end:
                raise
            time.sleep(0.3)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "endpoint": {"type": "str", "required": True},
            "region": {"type": "str", "default": "us-east-1"},
            "access_key": {"type": "str", "required": True, "no_log": False},
            "secret_key": {"type": "str", "required": True, "no_log": True},
            "buckets": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    credentials = Credentials(given["access_key"], given["secret_key"], given["region"])
    service = Buckets(given["endpoint"], credentials, over_http, lambda: datetime.now(UTC))
    made: list[str] = []
    try:
        end = time.monotonic() + (0 if module.check_mode else given["timeout"])
        missing = when_up(lambda: service.missing(given["buckets"]), end)
        for bucket in missing:
            if not module.check_mode:
                when_up(partial(service.make, bucket), end)
            made.append(bucket)
    except (OSError, S3Error) as error:
        if not module.check_mode or isinstance(error, S3Error):
            module.fail_json(msg=f"{given['endpoint']}: {error}", made=made)
        made = list(given["buckets"])
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
