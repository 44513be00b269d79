# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.converge import (
    Actual,
    ConvergeError,
    Desired,
    FoundPath,
    FoundService,
    Memory,
    OnChange,
    Plan,
    Validation,
    WantedDirectory,
    WantedFile,
    WantedService,
    desired_from,
    glob_matches,
    pack,
    plan,
    unpack,
)

CONF = WantedFile("/etc/nginx/nginx.conf", b"new")
NGINX = WantedService(
    "nginx.service", reload_on=("/etc/nginx/**",), restart_on=("/etc/systemd/system/nginx.service.d/*",)
)
RUNNING = FoundService(loaded=True, active=True, enabled=True, active_since=100.0)


def found(wanted: WantedFile, content: bytes | None = None) -> FoundPath:
    return FoundPath("file", wanted.owner, wanted.group, wanted.mode, wanted.content if content is None else content)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("/etc/nginx/**", "/etc/nginx/conf.d/a.conf", True, id="two stars cross folders"),
        pytest.param("/etc/nginx/*", "/etc/nginx/conf.d/a.conf", False, id="one star stays in its folder"),
        pytest.param("/etc/nginx/*.conf", "/etc/nginx/a.conf", True, id="one star matches a name"),
        pytest.param("/etc/a.conf", "/etc/aXconf", False, id="a dot is a dot"),
        pytest.param("/etc/php/?.?/x", "/etc/php/8.4/x", True, id="a question mark is one character"),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert glob_matches(pattern, path) is matches


def test_a_changed_file_is_validated_written_and_reloads_its_service() -> None:
    check = Validation(("/etc/nginx",), ("nginx", "-t"))
    desired = Desired("nginx", files=(CONF,), services=(NGINX,), validations=(check,))
    steps = plan(desired, Actual({CONF.path: found(CONF, b"old")}, {NGINX.name: RUNNING}))
    assert (steps.writes, steps.validations, steps.reload, steps.restart) == ((CONF,), (check,), (NGINX.name,), ())


def test_nothing_to_do_is_no_step_at_all() -> None:
    desired = Desired(
        "nginx",
        files=(CONF,),
        services=(NGINX,),
        validations=(Validation(("/etc/nginx",), ("nginx", "-t")),),
        on_change=(OnChange(("/etc/**",), ("true",)),),
    )
    assert plan(desired, Actual({CONF.path: found(CONF)}, {NGINX.name: RUNNING})) == Plan()


def test_a_restart_covers_the_reload() -> None:
    drop_in = WantedFile("/etc/systemd/system/nginx.service.d/limits.conf", b"x")
    steps = plan(Desired("nginx", files=(CONF, drop_in), services=(NGINX,)), Actual({}, {NGINX.name: RUNNING}))
    assert (steps.daemon_reload, steps.restart, steps.reload) == (True, (NGINX.name,), ())


def test_a_stopped_service_is_started_and_not_reloaded() -> None:
    stopped = FoundService(loaded=True, active=False, enabled=False)
    steps = plan(Desired("nginx", files=(CONF,), services=(NGINX,)), Actual({}, {NGINX.name: stopped}))
    assert (steps.start, steps.enable, steps.reload, steps.restart) == ((NGINX.name,), (NGINX.name,), (), ())


def test_a_service_whose_condition_failed_is_left_alone() -> None:
    unmet = FoundService(loaded=True, active=False, enabled=True, condition_failed=True)
    assert not plan(Desired("base", services=(NGINX,)), Actual({}, {NGINX.name: unmet})).changed


def test_a_service_whose_condition_failed_is_started_once_its_file_is_there() -> None:
    unmet = FoundService(loaded=True, active=False, enabled=True, condition_failed=True)
    assert plan(Desired("nginx", files=(CONF,), services=(NGINX,)), Actual({}, {NGINX.name: unmet})).start == (
        NGINX.name,
    )


def test_an_interrupted_reload_is_due_again_although_no_file_differs() -> None:
    memory = Memory(
        paths=frozenset({CONF.path}), owed=frozenset({f"reload:{NGINX.name}", 'command:["sysctl", "--system"]'})
    )
    desired = Desired(
        "nginx", files=(CONF,), services=(NGINX,), on_change=(OnChange(("/etc/sysctl.d/*",), ("sysctl", "--system")),)
    )
    steps = plan(desired, Actual({CONF.path: found(CONF)}, {NGINX.name: RUNNING}, memory))
    assert (steps.reload, steps.commands) == ((NGINX.name,), (("sysctl", "--system"),))


def test_an_owed_action_that_the_role_no_longer_names_is_forgotten() -> None:
    memory = Memory(owed=frozenset({"restart:gone.service", 'command:["gone"]'}))
    assert plan(Desired("nginx"), Actual({}, {}, memory)) == Plan()


def test_a_file_that_the_role_no_longer_renders_is_removed_and_reloads() -> None:
    site = WantedFile("/etc/nginx/conf.d/old.conf", b"old")
    memory = Memory(paths=frozenset({CONF.path, site.path}))
    actual = Actual({CONF.path: found(CONF), site.path: found(site)}, {NGINX.name: RUNNING}, memory)
    steps = plan(Desired("nginx", files=(CONF,), services=(NGINX,)), actual)
    assert (steps.removals, steps.reload) == ((site.path,), (NGINX.name,))


def test_a_directory_is_never_removed() -> None:
    memory = Memory(paths=frozenset({"/srv/data"}))
    assert plan(Desired("app"), Actual({"/srv/data": FoundPath("directory")}, {}, memory)) == Plan()


def test_a_held_restart_is_pending_until_the_service_was_restarted() -> None:
    mysql = WantedService("mysql.service", restart_on=("/etc/mysql/**",), hold_restart=True)
    my_cnf = WantedFile("/etc/mysql/my.cnf", b"new")
    desired = Desired("mysql", files=(my_cnf,), services=(mysql,))
    first = plan(desired, Actual({my_cnf.path: found(my_cnf, b"old")}, {mysql.name: RUNNING}))
    assert (first.hold, first.restart) == ((mysql.name,), ())
    settled = {my_cnf.path: found(my_cnf)}
    memory = Memory(frozenset({my_cnf.path}), frozenset(), {mysql.name: 200.0})
    assert plan(desired, Actual(settled, {mysql.name: RUNNING}, memory)).still_held == (mysql.name,)
    restarted = FoundService(loaded=True, active=True, enabled=True, active_since=300.0)
    assert plan(desired, Actual(settled, {mysql.name: restarted}, memory)) == Plan()


def test_a_file_in_place_of_a_link_is_written_and_a_wrong_owner_is_put_right() -> None:
    key = WantedFile("/etc/key", b"x", owner="app", group="app", mode=0o640)
    assert plan(Desired("a", files=(key,)), Actual({key.path: FoundPath("link", target="/elsewhere")}, {})).writes == (
        key,
    )
    assert plan(
        Desired("a", files=(key,)), Actual({key.path: FoundPath("file", "root", "app", 0o640, b"x")}, {})
    ).attributes == (key,)


names = st.sampled_from(["/etc/a", "/etc/b/c", "/etc/systemd/system/x.service.d/y.conf", "/srv/d"])
wanted_files = st.builds(WantedFile, names, st.sampled_from([b"1", b"2"]), st.sampled_from(["root", "app"]))
desired_states = st.builds(
    lambda files, links, service: Desired(
        "x",
        files=tuple({item.path: item for item in files}.values()),
        links=(("/etc/link", links),),
        services=(service,),
        directories=(WantedDirectory("/srv/new"),),
    ),
    st.lists(wanted_files, max_size=4),
    st.sampled_from(["/a", "/b"]),
    st.builds(
        WantedService, st.just("x.service"), st.booleans(), st.booleans(), st.just(("/etc/**",)), st.just(("/srv/**",))
    ),
)
found_paths = st.builds(
    FoundPath, st.sampled_from(["file", "link"]), st.just("root"), st.just("root"), st.just(0o644), st.just(b"1")
)
actual_states = st.builds(
    lambda paths, service, left: Actual(paths, {"x.service": service}, Memory(paths=frozenset(left))),
    st.dictionaries(names, found_paths),
    st.builds(FoundService, st.just(True), st.booleans(), st.booleans()),
    st.sets(names),
)


def after(desired: Desired, actual: Actual, steps: Plan) -> Actual:
    """The host once the steps were performed."""
    paths = {path: entry for path, entry in actual.paths.items() if path not in steps.removals}
    paths |= {item.path: found(item) for item in (*steps.writes, *steps.attributes)}
    paths |= {path: FoundPath("link", target=target) for path, target in steps.links}
    paths |= {item.path: FoundPath("directory", item.owner, item.group, item.mode) for item in steps.directories}
    services = {
        item.name: FoundService(loaded=True, active=item.running, enabled=item.enabled, active_since=500.0)
        for item in desired.services
    }
    written = frozenset({item.path for item in desired.files} | {path for path, _target in desired.links})
    return Actual(paths, services, Memory(paths=written))


@given(desired_states, actual_states)
def test_after_the_steps_nothing_is_left_to_do(desired: Desired, actual: Actual) -> None:
    assert plan(desired, after(desired, actual, plan(desired, actual))) == Plan()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(
            {"component": "x", "files": [{"path": "etc/x", "content": ""}]},
            "must be an absolute path",
            id="a relative path",
        ),
        pytest.param(
            {"component": "x", "files": [{"path": "/etc/../x", "content": ""}]}, "without '..'", id="a path that climbs"
        ),
        pytest.param(
            {"component": "x", "files": [{"path": "/etc/x", "content": "", "mode": 644}]},
            'quoted octal string such as "0644", not: 644',
            id="a mode that YAML read as a number",
        ),
        pytest.param(
            {"component": "x", "files": [{"path": "/x", "content": "1"}, {"path": "/x", "content": "2"}]},
            "writes /x twice",
            id="one file wanted twice",
        ),
        pytest.param(
            {"component": "x", "packages": ["nginx; reboot"]},
            "the name of a Debian package, not: 'nginx; reboot'",
            id="a bad package",
        ),
        pytest.param({"component": "../x"}, "component must be a name", id="a component that climbs"),
        pytest.param(
            {"component": "x", "services": [{"name": "a b"}]}, "name of a systemd unit, not: 'a b'", id="a bad unit"
        ),
        pytest.param(
            {"component": "x", "services": [{"name": "a", "relaod_on": []}]},
            "unknown key 'relaod_on'",
            id="a misspelt key of a service",
        ),
        pytest.param(
            {"component": "x", "services": [{"name": "a", "state": "up"}]},
            "must be started or stopped, not: 'up'",
            id="an unknown state",
        ),
    ],
)
def test_a_wrong_request_is_refused_by_name(data: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConvergeError, match=sentence.replace("(", r"\(")):
        desired_from(data)


def test_what_is_packed_is_what_is_unpacked() -> None:
    data = {
        "component": "x",
        "files": [{"path": "/etc/x", "content": "ü\n", "mode": "0600", "secret": True}],
        "services": [{"name": "redis@a"}],
    }
    assert unpack(pack(data)) == desired_from(data)
    assert unpack(pack(data)).services[0].name == "redis@a.service"
