# Written by graphic_school.scaling (object_storage); changes made here are overwritten.
"""Swift's tempauth with S3 keys of any form: tempauth itself takes only "account:user" as an access key."""

from __future__ import annotations

import json
from pathlib import Path

from swift.common.middleware.tempauth import TempAuth


class S3Keys(TempAuth):
    """Each row of the keys file is an administrator of its account."""

    def __init__(self, app, conf):
        super().__init__(app, conf)
        for row in json.loads(Path(conf["keys_file"]).read_text(encoding="utf-8")):
            self.users[row["access_key"]] = {
                "key": row["secret_key"],
                "url": f"$HOST/v1/{self.reseller_prefix}{row['account']}",
                "groups": [".admin"],
            }


def filter_factory(global_conf, **local_conf):
    """Make the filter, as paste.deploy asks for it."""
    conf = {**global_conf, **local_conf}
    return lambda app: S3Keys(app, conf)
