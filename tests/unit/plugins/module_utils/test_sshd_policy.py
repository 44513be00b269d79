# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.sshd_policy import ADMIN_KEYS_FILE, ROOT_LOGINS, Access, Policy, SshdPolicyError, sshd_policy

KEY = "ssh-ed25519 AAAA admin@example.com"


def decide(
    access: Access,
    *,
    admin: str = "",
    keys: tuple[str, ...] = (),
    passwords: bool = False,
    root: str = "prohibit-password",
) -> Policy:
    return sshd_policy(access, admin_user=admin, admin_keys=keys, password_authentication=passwords, root_login=root)


@pytest.mark.parametrize(
    ("access", "admin", "password"),
    [
        pytest.param(Access("root", user_keys=1, root_keys=1), "", "no", id="root with a key needs no password"),
        pytest.param(Access("root"), "", None, id="root without a key came with a password"),
        pytest.param(Access("root"), "admin", None, id="somebody else's key doesn't help root"),
        pytest.param(Access("admin"), "admin", "no", id="the admin user is being given its key"),
        pytest.param(Access("deploy"), "admin", None, id="another user without a key"),
        pytest.param(
            Access("deploy", user_keys=2, by_password=True), "", None, id="Ansible uses the password all the same"
        ),
        pytest.param(Access(""), "", None, id="not over SSH, and nobody has a key"),
        pytest.param(Access("", root_keys=1), "", "no", id="not over SSH, root has a key"),
        pytest.param(Access(""), "admin", "no", id="not over SSH, the admin user has a key"),
    ],
)
def test_passwords_are_refused_only_when_the_way_in_use_stays_open(
    access: Access, admin: str, password: str | None
) -> None:
    assert decide(access, admin=admin, keys=(KEY,)).password_authentication == password


@pytest.mark.parametrize(
    ("access", "admin", "root"),
    [
        pytest.param(
            Access("root", user_keys=1), "admin", "prohibit-password", id="root is connected: its key stays good"
        ),
        pytest.param(Access("root"), "admin", None, id="root is connected with a password: nothing changes"),
        pytest.param(Access("admin"), "admin", "no", id="the admin user is connected"),
        pytest.param(Access("deploy"), "", "no", id="somebody else is connected"),
        pytest.param(Access("", root_keys=1), "", "prohibit-password", id="not over SSH and no admin user"),
        pytest.param(Access(""), "admin", "no", id="not over SSH, an admin user with a key"),
    ],
)
def test_root_is_shut_out_only_by_somebody_else(access: Access, admin: str, root: str | None) -> None:
    assert decide(access, admin=admin, keys=(KEY,), root="no").permit_root_login == root


def test_each_wish_that_is_not_met_is_told() -> None:
    policy = decide(Access("root"), root="no")
    assert policy.why == (
        "passwords are still accepted: root is connected and has no key",
        "root may still log in with a key: the connection in use is root's",
        "root's login stays as it is: root is connected and has no key",
    )


def test_nothing_is_told_when_all_wishes_are_met() -> None:
    assert decide(Access("root", user_keys=1)).why == ()


def test_passwords_can_be_wanted() -> None:
    assert decide(Access("root"), passwords=True).password_authentication == "yes"


def test_a_connected_admin_user_keeps_the_files_its_key_came_from() -> None:
    access = Access("admin", user_keys=1, keys_files=("/srv/keys/%u", ADMIN_KEYS_FILE))
    assert decide(access, admin="admin", keys=(KEY,)).admin_keys_files == ("/srv/keys/%u", ADMIN_KEYS_FILE)


def test_an_unknown_root_login_is_refused_by_name() -> None:
    with pytest.raises(SshdPolicyError, match="base_ssh_permit_root_login is 'maybe'; sshd knows: no"):
        decide(Access(), root="maybe")


@given(
    access=st.builds(
        Access,
        user=st.sampled_from(["root", "admin", "deploy"]),
        user_keys=st.integers(0, 2),
        by_password=st.booleans(),
    ),
    admin=st.sampled_from(["", "admin"]),
    keys=st.sampled_from([(), (KEY,)]),
    root=st.sampled_from(ROOT_LOGINS),
)
def test_the_connection_in_use_always_opens_again(access: Access, admin: str, keys: tuple[str, ...], root: str) -> None:
    policy = decide(access, admin=admin, keys=keys, root=root)
    is_root = access.user == "root"
    has_key = access.user_keys > 0 or bool(access.user == admin and keys)
    opens_by_key = has_key and not (is_root and policy.permit_root_login == "no")
    opens_by_password = policy.password_authentication != "no" and (
        not is_root or policy.permit_root_login in (None, "yes")
    )
    assert opens_by_password if access.by_password or not has_key else opens_by_key
