# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no linter holds: a role's two descriptions of itself agree, no role looks around, every inventory renders."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml
from ansible.errors import AnsibleError

from plugins.module_utils.fleet import KNOWN_KEYS
from tests.unit.support.render import ROOT, Fleet, role_names
from tests.unit.support.scripts import script

INVENTORIES = ["inventories/lab", "inventories/example"]
# Host data that the `fleet` filter reads, so it belongs to no role although it looks like it.
READ_BY_THE_FLEET = {"mysql_primary"}
# What Prometheus fills in itself, in the texts of its alerts; Jinja knows no dollar.
OF_PROMETHEUS = re.compile(r"\{\{[^{}]*\$[^{}]*\}\}")
BARE_EXPRESSIONS = {"when", "until", "changed_when", "failed_when", "that", "var"}


class Anything(dict[str, Any]):
    """Every name is known: here it only matters which variables an expression reads."""

    def get(self, key: str, default: Any = None) -> Any:
        return lambda value: value


JINJA = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
JINJA.filters = JINJA.tests = Anything()


class Loader(yaml.CSafeLoader):
    """YAML as Ansible writes it: its own tags are read as plain text."""


Loader.add_multi_constructor("!", lambda loader, tag, node: f"<{tag}>")


@functools.cache
def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def walk(value: Any) -> Iterator[tuple[str | None, str]]:
    """Every string in the value, with the key it stands under."""
    if isinstance(value, dict):
        for key, item in value.items():
            for inner, text in walk(item):
                yield (inner if inner is not None else str(key)), text
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)
    elif isinstance(value, str):
        yield None, value


def is_expression(value: Any) -> bool:
    return any("{{" in text or "{%" in text for _key, text in walk(value))


def jinja_names(text: str) -> set[str]:
    return jinja2.meta.find_undeclared_variables(JINJA.parse(text))


def names_read(path: Path) -> set[str]:
    """The variables that a file of a role reads through Jinja."""
    if path.suffix == ".j2":
        return jinja_names(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for key, text in walk(load(path)):
        if "{{" in text or "{%" in text:
            found |= jinja_names(text)
        elif key in BARE_EXPRESSIONS:
            found |= jinja_names("{{" + text + "}}")
    return found


def tasks_of(data: Any) -> Iterator[dict[str, Any]]:
    for task in data or []:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks_of(task.get(part))


def task_files() -> list[Path]:
    return sorted([*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("roles/*/handlers/*.yml")])


def below(path: Path) -> str:
    return str(path.relative_to(ROOT))


def defaults(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "defaults" / "main.yml") or {}


def options(role: str) -> dict[str, Any]:
    """Of a role that others list as a dependency they belong to its entry point check, which is validated once."""
    entry_points = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    return entry_points.get("main", entry_points.get("check", {})).get("options", {})


# --- roles describe themselves ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", role_names())
@pytest.mark.parametrize(
    "part", ["README.md", "defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml", "tasks/main.yml"]
)
def test_every_role_has_the_same_parts(role: str, part: str) -> None:
    assert (ROOT / "roles" / role / part).is_file()


@pytest.mark.parametrize("role", role_names())
def test_every_default_is_an_option_and_every_option_has_a_default(role: str) -> None:
    required = {name for name, option in options(role).items() if option.get("required")}
    assert set(options(role)) - required == set(defaults(role))


@pytest.mark.parametrize("role", role_names())
def test_defaults_equal_the_argument_specs(role: str) -> None:
    told = {name: options(role).get(name, {}).get("default") for name in defaults(role)}
    # An expression is a default that the spec cannot tell, so it may leave it out.
    real = {n: None if is_expression(value) and told[n] is None else value for n, value in defaults(role).items()}
    assert told == real


@pytest.mark.parametrize("role", role_names())
def test_every_option_says_what_it_is(role: str) -> None:
    silent = [name for name, option in options(role).items() if not option.get("description") or not option.get("type")]
    assert silent == []


@pytest.mark.parametrize("role", role_names())
def test_a_role_names_its_variables_after_itself(role: str) -> None:
    strange = [name for name in defaults(role) if not name.startswith(f"{role}_")]
    constants = [load(path) or {} for path in (ROOT / "roles" / role).glob("vars/*.yml")]
    strange += [name for names in constants for name in names if not name.startswith((f"__{role}_", f"{role}_"))]
    assert strange == []


# --- roles don't look around --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", role_names())
def test_no_role_reads_groups_or_hostvars(role: str) -> None:
    files = [path for path in (ROOT / "roles" / role).rglob("*") if path.suffix in {".yml", ".j2"}]
    looking = [below(path) for path in files if names_read(path) & {"groups", "hostvars", "play_hosts"}]
    assert looking == []


@pytest.mark.parametrize("path", task_files(), ids=below)
def test_every_task_is_a_sentence_that_begins_with_its_file(path: Path) -> None:
    # ansible-lint knows the prefix of every file but main.yml, where it wants a capital.
    prefix = "Main" if path.stem == "main" else re.escape(path.stem)
    pattern = r"[A-Z][^|]*" if path.parent.name == "handlers" else rf"{prefix} \| [A-Z].*"
    names = [task.get("name", f"(nameless: {', '.join(task)})") for task in tasks_of(load(path))]
    assert [name for name in names if not re.fullmatch(pattern, name)] == []


@pytest.mark.parametrize("path", task_files(), ids=below)
def test_no_error_is_ignored(path: Path) -> None:
    assert [task["name"] for task in tasks_of(load(path)) if "ignore_errors" in task] == []


# --- inventories --------------------------------------------------------------------------------------------------


def inventory_variables(inventory: Path) -> Iterator[tuple[str, str]]:
    """Every variable an inventory sets: its name and the file that sets it."""

    def of_group(group: Any) -> Iterator[str]:
        for host in ((group or {}).get("hosts") or {}).values():
            yield from host or {}
        yield from (group or {}).get("vars") or {}
        for child in ((group or {}).get("children") or {}).values():
            yield from of_group(child)

    for path in sorted(inventory.rglob("*.yml")):
        data = load(path) or {}
        if {"group_vars", "host_vars"} & set(path.relative_to(inventory).parts):
            yield from ((name, below(path)) for name in data)
        elif "plugin" not in data:
            yield from ((name, below(path)) for group in data.values() for name in of_group(group))


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_role_variable_in_an_inventory_exists_in_that_role(inventory: str) -> None:
    known = {name for role in role_names() for name in defaults(role)} | READ_BY_THE_FLEET
    prefixes = tuple(f"{role}_" for role in role_names())
    unknown = [
        f"{path}: {name}"
        for name, path in inventory_variables(ROOT / inventory)
        if name not in known and name.startswith(prefixes)
    ]
    assert unknown == []


def test_an_inventory_beats_every_default(tmp_path: Path) -> None:
    wanted = {name: f"from the inventory: {name}" for role in role_names() for name in defaults(role)}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"host1": {}}, "vars": wanted}}))
    fleet = Fleet(tmp_path)
    lost = [name for role in role_names() for name in defaults(role) if fleet.value(name, role=role) != wanted[name]]
    assert lost == []


def secrets_read() -> set[str]:
    files = [*ROOT.glob("roles/**/*.yml"), *ROOT.glob("roles/**/*.j2"), *ROOT.glob("playbooks/**/*.yml")]
    return {
        name
        for path in files
        for name in re.findall(r"\bvault_\w+", path.read_text(encoding="utf-8"))
        if path.name != "argument_specs.yml"
    }


def test_the_example_names_every_secret_that_is_read() -> None:
    text = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "inventories/example").rglob("*") if p.is_file())
    provider = {"vault_s3_access_key", "vault_s3_secret_key"}
    assert sorted(name for name in secrets_read() | provider if name not in text) == []


# --- every inventory renders --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Values for every secret, and a folder of certificates that are none, so that templates have something to read."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "pki" / "hosts").mkdir(parents=True)
    names = [f"hosts/{host}" for inventory in INVENTORIES for host in Fleet(inventory).hosts]
    for name in ["ca", *names]:
        for suffix in ("pem", "key"):
            (folder / "pki" / f"{name}.{suffix}").write_text(f"the {suffix} of {name}\n", encoding="utf-8")
    made_up = {name: f"made-up-{name.removeprefix('vault_').replace('_', '-')}" for name in secrets_read()}
    # What `make demo` finds on its machine: a clean checkout has no generated.yml yet.
    return {**made_up, "fleet_secrets_dir": str(folder), "lab_debian_mirror": "http://mirror.example.com/debian"}


@pytest.fixture(scope="module")
def fleets(secrets: dict[str, Any]) -> dict[str, Fleet]:
    return {inventory: Fleet(inventory, vars=secrets) for inventory in INVENTORIES}


@pytest.mark.parametrize("inventory", INVENTORIES)
@pytest.mark.parametrize("role", role_names())
def test_every_file_of_every_role_renders_for_every_host(role: str, inventory: str, fleets: dict[str, Fleet]) -> None:
    fleet = fleets[inventory]
    failures = {}
    # Shipped as it is; its braces are Python's.
    own_code = {path.read_text("utf-8").rstrip() for path in (ROOT / "plugins/module_utils").glob("*.py")}
    for play, hosts, roles in fleet.plays():
        for host in hosts if role in roles else []:
            try:
                files = fleet.render_role(role, host, play=play)
            except AnsibleError as error:
                failures[host] = str(error)
            else:
                templates = {path: text for path, text in files.items() if text.rstrip() not in own_code}
                unfinished = [path for path, text in templates.items() if "{{" in OF_PROMETHEUS.sub("", text) or "{%" in text]
                failures |= {host: f"left unrendered: {unfinished}"} if unfinished else {}
    assert failures == {}


# --- words --------------------------------------------------------------------------------------------------------


def our_files() -> list[Path]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def test_nothing_is_left_for_later() -> None:
    words = re.compile(rb"\b(TO" rb"DO|FIX" rb"ME|X" rb"XX)\b")
    assert [below(path) for path in our_files() if words.search(path.read_bytes())] == []


# --- promises -----------------------------------------------------------------------------------------------------


def test_every_promise_has_a_scenario_and_a_proof() -> None:
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    assert scenarios == {path.stem.removeprefix("test_") for path in ROOT.glob("tests/e2e/test_*.py")}


# --- docs ---------------------------------------------------------------------------------------------------------


def variables_page() -> Any:
    return script("docs/generate_variables.py")


def test_the_page_of_variables_knows_every_key_of_the_fleet() -> None:
    assert sorted(variables_page().FLEET_KEYS) == sorted(KNOWN_KEYS)


def test_the_page_of_variables_is_current() -> None:
    written = (ROOT / "docs" / "variables.md").read_text(encoding="utf-8")
    assert written == variables_page().page(), "run: python docs/generate_variables.py"


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]), ids=below)
def test_every_link_in_the_docs_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_play_that_reads_the_inventory_again_knows_its_host_by_name(playbook: Path) -> None:
    """Hosts that add_host named come first in all from then on; a host that was destroyed too, and the play would end without a word."""
    for play in yaml.safe_load(playbook.read_text("utf-8")):
        if re.search("refresh_inventory|autoscale_look|refresh.yml", str(play)):
            assert not re.search(r"^[\w:&!*-]+\[[\d:]+\]$", str(play["hosts"])), f"{play['name']}: {play['hosts']}"


def test_parts_of_playbooks_see_the_wiring_of_playbooks() -> None:
    """Ansible looks for group_vars beside the file that a play stands in, also when that file was imported from elsewhere."""
    wiring = {path.relative_to(ROOT / "playbooks/group_vars") for path in (ROOT / "playbooks/group_vars").rglob("*.yml")}
    beside = ROOT / "playbooks/parts/group_vars"
    assert {path.relative_to(beside): path.resolve() for path in beside.rglob("*.yml")} == {
        path: ROOT / "playbooks/group_vars" / path for path in wiring
    }
