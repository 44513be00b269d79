"""Print the Debian packages that roles install, as JSON. Run by the lab's virtual environment: it needs Ansible.

stdin: {"images": {image: {"host": host, "roles": [role, …], "tiers": [tier, …]}}, "monitoring": [host, …], "hostvars": {host: {…}}};
stdout: {image: [package, …]}.
A list is `__<role>_wanted_packages`, or else `__<role>_packages`, of the role's vars/main.yml, rendered with the role
defaults and that host's variables. Of the fleet it may read the host's tiers and who watches the fleet, nothing else.
A role that has no such list, or whose list needs facts, is left out: the play installs its packages then.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

KINDS = ("wanted_packages", "packages")
ROLES = Path(__file__).resolve().parent.parent / "roles"


def main() -> int:
    """Read the question from stdin, print the answer."""
    question: dict[str, Any] = json.load(sys.stdin)
    loader = DataLoader()
    defaults: dict[str, Any] = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        defaults |= _load(loader, path)
    answer: dict[str, list[str]] = {}
    for image, wanted in question["images"].items():
        host = wanted["host"]
        fleet = {"hosts": {host: {"tiers": wanted["tiers"]}}, "monitoring": question["monitoring"]}
        known = defaults | _trust(question["hostvars"].get(host, {})) | {"inventory_hostname": host, "fleet": fleet}
        for role in wanted["roles"]:
            constants = _load(loader, ROLES / role / "vars" / "main.yml")
            name = next((f"__{role}_{kind}" for kind in KINDS if f"__{role}_{kind}" in constants), None)
            if name is None:
                continue
            try:
                packages = Templar(loader=loader, variables=known | constants).template(constants[name])
            except AnsibleError as error:
                sys.stderr.write(f"{role}: {error}\n")
                continue
            answer.setdefault(image, []).extend(str(package) for package in packages)
    json.dump(answer, sys.stdout)
    return 0


def _load(loader: DataLoader, path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    return dict(loader.load_from_file(str(path), trusted_as_template=True) or {})


def _trust(value: Any) -> Any:
    """The inventory is this checkout's own: its strings are templates, as they are in a play."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: _trust(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trust(item) for item in value]
    return value


if __name__ == "__main__":
    sys.exit(main())
