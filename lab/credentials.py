"""Secrets and machine-dependent values for inventories/lab, written once to files that git ignores."""

from __future__ import annotations

import base64
import re
import secrets
import string
from collections.abc import Callable
from pathlib import Path

from . import settings

ALPHANUMERIC = string.ascii_letters + string.digits


def word(length: int = 32) -> str:
    """A random word of letters and digits: nothing in it needs quoting anywhere."""
    return "".join(secrets.choice(ALPHANUMERIC) for _index in range(length))


def laravel_key() -> str:
    """A key as `artisan key:generate` makes it: 32 random bytes."""
    return "base64:" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")


SECRETS: dict[str, Callable[[], str]] = {
    "vault_app_key": laravel_key,
    "vault_autoscaler_token": word,
    "vault_monitoring_scrape_password": word,
    "vault_monitoring_web_password": word,
    "vault_mysql_app_password": word,
    "vault_mysql_metrics_password": word,
    "vault_mysql_replication_password": word,
    "vault_redis_admin_password": word,
    "vault_redis_app_password": word,
    "vault_redis_metrics_password": word,
    "vault_redis_queues_password": word,
    "vault_redis_replication_password": word,
    "vault_s3_access_key": lambda: word(20),
    "vault_s3_secret_key": lambda: word(40),
}

SECRETS_HEADER = """\
---
# Made by `make demo` once, kept afterwards; missing keys are added, none is ever changed. Git ignores this file.
# A production fleet keeps the same names in Ansible Vault: see inventories/example/.
"""


def complete(text: str, makers: dict[str, Callable[[], str]] | None = None) -> str:
    """The file with every missing secret added; what stands in it stays as it is."""
    makers = SECRETS if makers is None else makers
    present = set(re.findall(r"^(\w+):", text, flags=re.MULTILINE))
    missing = [f'{name}: "{make()}"\n' for name, make in makers.items() if name not in present]
    return (text or SECRETS_HEADER) + "".join(missing)


def write(path: Path = settings.SECRETS_FILE) -> bool:
    """Make sure every secret exists; True when the file changed."""
    old = path.read_text("utf-8") if path.exists() else ""
    new = complete(old)
    if new != old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(new, "utf-8")
    return new != old


def write_generated(values: dict[str, str], path: Path = settings.GENERATED_FILE) -> bool:
    """Write what only this machine knows; True when the file changed."""
    lines = ["---\n", "# Written by `make demo`: what the lab found on this machine. Git ignores this file.\n"]
    text = "".join(lines + [f'{name}: "{value}"\n' for name, value in sorted(values.items())])
    if path.exists() and path.read_text("utf-8") == text:
        return False
    path.write_text(text, "utf-8")
    return True
