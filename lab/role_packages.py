"""Print the Debian packages that roles install, as JSON. Run by the lab's virtual environment: it needs Ansible.

stdin: {"roles": {role: host}, "hostvars": {host: {…}}}; stdout: {role: [package, …]}.
A list is `__<role>_wanted_packages`, or else `__<role>_packages`, of the role's vars/main.yml, rendered with the role
defaults and that host's variables.
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
    answer = {}
    for role, host in question["roles"].items():
        constants = _load(loader, ROLES / role / "vars" / "main.yml")
        name = next((f"__{role}_{kind}" for kind in KINDS if f"__{role}_{kind}" in constants), None)
        if name is None:
            continue
        variables = defaults | _trust(question["hostvars"].get(host, {})) | constants
        try:
            packages = Templar(loader=loader, variables=variables).template(variables[name])
        except AnsibleError as error:
            sys.stderr.write(f"{role}: {error}\n")
            continue
        answer[role] = [str(package) for package in packages]
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
