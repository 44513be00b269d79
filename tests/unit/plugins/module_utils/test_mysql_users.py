# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL users as data: passwords proven by their hashes, rights compared by meaning."""

from __future__ import annotations

import pytest

from plugins.module_utils.mysql_users import (
    FoundUser,
    UserError,
    WantedUser,
    parse_grants,
    password_matches,
    user_changes,
    wanted_users,
)

# Made by MySQL 9.7: password → mysql.user.authentication_string.
STORED = {
    "school-pw": "244124303041244B3A231269745A5047580B766B6A33731870051C7A6B6A6F63346630422E5671315A686B346B686C7676315258456C684B"
    "414E6F6F4E37435451524F2E4338",
    "x" * 70: "24412430304124633923"
    + "1F17676813683A1C69705A6E720B7E716A7476495057374D7A50536D6F62666E737A723452777A6E6F306B4C6C554D42"
    "6E396B6D4F77375945306630",
    "пароль£": "244124303041243125402C0D1F7D656563465A55094C32300B58774277483338703776726975794A6E6B55645A464A576E58555539536B5577"
    "59365958343075324B54624736",
}


@pytest.mark.parametrize("password", STORED, ids=["plain", "longer than a block", "not ASCII"])
def test_a_stored_hash_proves_its_password_and_no_other(password: str) -> None:
    stored = bytes.fromhex(STORED[password])
    assert password_matches(password, stored)
    assert not password_matches(password + "x", stored)
    assert not password_matches("", stored)


@pytest.mark.parametrize("stored", [b"", b"*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9"])
def test_another_plug_in_s_hash_proves_nothing(stored: bytes) -> None:
    assert not password_matches("secret", stored)


@pytest.mark.parametrize(
    ("line", "privileges"),
    [
        pytest.param("GRANT USAGE ON *.* TO `a`@`%`", {}, id="USAGE is nothing"),
        pytest.param("GRANT SELECT, INSERT ON `a_b`.* TO `a`@`%`", {"a_b.*": {"SELECT", "INSERT"}}, id="a database"),
        pytest.param("GRANT SELECT ON `a\\_b`.* TO `a`@`%`", {"a_b.*": {"SELECT"}}, id="an escaped underscore"),
        pytest.param("GRANT ALL PRIVILEGES ON `s`.* TO `a`@`%`", {"s.*": {"ALL PRIVILEGES"}}, id="everything"),
        pytest.param(
            "GRANT SELECT (`x`, `y`), UPDATE (`x`) ON `s`.`t` TO `a`@`%`",
            {"s.t": {"SELECT (x, y)", "UPDATE (x)"}},
            id="columns",
        ),
        pytest.param(
            "GRANT SELECT ON `s`.* TO `a`@`%` WITH GRANT OPTION",
            {"s.*": {"SELECT", "GRANT OPTION"}},
            id="to be passed on",
        ),
        pytest.param("GRANT PROXY ON ``@`` TO `root`@`localhost`", {}, id="a proxy is no privilege"),
        pytest.param("GRANT `reader`@`%` TO `a`@`%`", {}, id="a role is no privilege"),
    ],
)
def test_grants_are_read(line: str, privileges: dict[str, set[str]]) -> None:
    assert parse_grants([line]) == privileges


def found(password_matches: bool = True, tls: str = "none", **privileges: set[str]) -> FoundUser:
    rights = {on.replace("__", "."): frozenset(some) for on, some in privileges.items()}
    return FoundUser(
        "caching_sha2_password", password_matches, {on.replace("_all", "*"): some for on, some in rights.items()}, tls
    )


def changes(wanted: WantedUser, actual: FoundUser | None) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (change.kind, change.on, change.privileges)
        for change in user_changes([wanted], {wanted.account: actual} if actual else {})
    ]


APP = WantedUser("app", privileges={"s.*": frozenset({"SELECT", "INSERT"})})


@pytest.mark.parametrize(
    ("wanted", "actual", "expected"),
    [
        pytest.param(
            APP, None, [("create", "", ()), ("grant", "s.*", ("INSERT", "SELECT"))], id="made when it is missing"
        ),
        pytest.param(APP, found(s___all={"SELECT", "INSERT"}), [], id="left alone when it is right"),
        pytest.param(APP, found(False, s___all={"SELECT", "INSERT"}), [("alter", "", ())], id="another password"),
        pytest.param(
            APP, found(tls="x509", s___all={"SELECT", "INSERT"}), [("alter", "", ())], id="another TLS requirement"
        ),
        pytest.param(
            APP,
            found(s___all={"SELECT", "DROP"}),
            [("revoke", "s.*", ("DROP",)), ("grant", "s.*", ("INSERT",))],
            id="rights",
        ),
        pytest.param(
            APP,
            found(s___all={"SELECT", "INSERT"}, t___all={"DROP"}),
            [("revoke", "t.*", ("DROP",))],
            id="rights elsewhere go",
        ),
        pytest.param(
            WantedUser("root2", privileges={"*.*": frozenset({"ALL PRIVILEGES"})}),
            FoundUser(
                "caching_sha2_password",
                True,
                {"*.*": frozenset({"SELECT", "SUPER", "SHUTDOWN", "FILE", "CREATE USER", "DROP"})},
            ),
            [],
            id="ALL on everything is listed one by one",
        ),
        pytest.param(
            APP,
            found(s___all={"ALL PRIVILEGES"}),
            [("revoke", "s.*", ("ALL PRIVILEGES",)), ("grant", "s.*", ("INSERT", "SELECT"))],
            id="less than ALL",
        ),
    ],
)
def test_a_user_is_brought_to_its_state(
    wanted: WantedUser, actual: FoundUser | None, expected: list[tuple[str, str, tuple[str, ...]]]
) -> None:
    assert changes(wanted, actual) == expected


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        pytest.param({"name": "a'b"}, "no name@host", id="a quote in the name"),
        pytest.param({"name": "a", "host": "x'; DROP"}, "no name@host", id="a quote in the host"),
        pytest.param(
            {"name": "a", "privileges": {"school": ["ALL"]}}, r"write database\.\*", id="a database without .*"
        ),
        pytest.param({"name": "a", "privileges": {"s.*": ["ALL; DROP"]}}, "which is none", id="no privilege"),
        pytest.param({"name": "a", "tls": "yes"}, "use one of: none, any, x509", id="no TLS mode"),
        pytest.param(
            {"name": "a", "plugin": "mysql_native_password"}, "use caching_sha2_password", id="a plug-in that is gone"
        ),
    ],
)
def test_a_user_that_cannot_be_is_refused_by_name(row: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        wanted_users([row])


def test_a_user_named_twice_is_refused() -> None:
    with pytest.raises(UserError, match="app@% twice"):
        wanted_users([{"name": "app"}, {"name": "app", "host": "%"}])
