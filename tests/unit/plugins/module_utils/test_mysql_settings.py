# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of MySQL: merged, written, read back and compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.mysql_settings import (
    Asked,
    SettingError,
    asked_settings,
    differing_settings,
    merged_settings,
    parse_my_cnf,
    record_of,
    server_id,
)


@pytest.mark.parametrize(
    ("computed", "given", "merged"),
    [
        pytest.param(
            {"max_connections": 9}, {"max-connections": 10}, {"max_connections": 10}, id="dashes are underscores"
        ),
        pytest.param({"loose_x": 1}, {"x": 2}, {"loose_x": 2}, id="loose or not, it is one option"),
        pytest.param({"a": 1, "b": None}, {"a": None}, {}, id="null takes an option out"),
        pytest.param({"a": True, "b": False}, {}, {"a": "ON", "b": "OFF"}, id="booleans are switches"),
        pytest.param({"p": ["x.so"]}, {"p": ["x.so", "y.so"]}, {"p": ["x.so", "y.so"]}, id="a list repeats the line"),
    ],
)
def test_given_settings_win(computed: dict[str, Any], given: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merged_settings(computed, given) == merged


@pytest.mark.parametrize("given", [{"a b": 1}, {"a": "1\n[client]"}, {"a": ["x", "y\r"]}, {"[mysqld]": ""}])
def test_no_setting_breaks_out_of_its_line(given: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="mysql_settings"):
        merged_settings({}, given)


def test_the_file_is_read_as_mysqld_reads_it() -> None:
    text = "[client]\nsocket=/x\n[mysqld]\n# no\nport = 3306\np=a\np = b\nskip_x\n"
    assert parse_my_cnf(text) == {"port": "3306", "p": ["a", "b"], "skip_x": ""}


@pytest.mark.parametrize(
    ("name", "wanted", "running", "same"),
    [
        pytest.param("max_connections", "200", "200", True, id="equal"),
        pytest.param("max_connections", "200", "300", False, id="different"),
        pytest.param("innodb_log_buffer_size", "16M", "16777216", True, id="sizes"),
        pytest.param("gtid_mode", "ON", "ON", True, id="switches"),
        pytest.param("skip_name_resolve", "1", "ON", True, id="switches as numbers"),
        pytest.param("long_query_time", "1", "1.000000", True, id="decimals"),
        pytest.param("datadir", "/var/lib/mysql", "/var/lib/mysql/", True, id="a folder"),
        pytest.param("log_bin", "binlog", "ON", True, id="log_bin names files and says ON"),
        pytest.param("innodb_buffer_pool_size", "400M", "436207616", True, id="a pool rounded up to its chunks"),
        pytest.param("innodb_buffer_pool_size", "400M", "134217728", False, id="a pool that is smaller"),
        pytest.param("loose-clone-ssl-ca", "/a", "/b", False, id="a loose option"),
    ],
)
def test_running_values_are_compared_by_meaning(name: str, wanted: str, running: str, same: bool) -> None:
    variable = name.replace("-", "_").removeprefix("loose_")
    assert (differing_settings({name: wanted}, {variable: running}) == {}) is same


def test_options_that_are_no_variables_are_not_compared() -> None:
    assert differing_settings({"plugin_load_add": ["a.so", "b.so"], "user": "mysql"}, {"plugin_load_add": ""}) == {}


@pytest.mark.parametrize(
    ("asked", "wanted", "same"),
    [
        pytest.param("256M", "268435456", True, id="another unit"),
        pytest.param("ON", "1", True, id="another word for on"),
        pytest.param("256M", "512M", False, id="more"),
        pytest.param(None, "1", False, id="nothing"),
    ],
)
def test_asking_for_the_same_again_is_known(asked: str | None, wanted: str, same: bool) -> None:
    settings = {} if asked is None else {"loose-x-y": asked}
    content = "[mysqld]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
    assert Asked(asked_settings(content)).same("x_y", wanted) is same


def test_what_a_running_server_was_asked_for_is_added_to_its_record() -> None:
    before = "# my.cnf\n[mysqld]\nmax-connections = 10\nplugin_load_add = a.so\nplugin_load_add = b.so\n[client]\nsocket = /x\n"
    after = record_of(before, {"max_connections": "20", "long_query_time": 2})
    assert asked_settings(after) == {"max_connections": "20", "plugin_load_add": ["a.so", "b.so"], "long_query_time": "2"}
    assert asked_settings(record_of("", {"x": "1"})) == {"x": "1"}


@given(st.ip_addresses(v=4).filter(int))
def test_an_ipv4_address_is_its_own_number(address: Any) -> None:
    assert server_id(str(address)) == int(address)


@given(st.text(min_size=1) | st.ip_addresses(v=6).map(str))
def test_any_address_gives_a_number_that_mysql_takes(address: str) -> None:
    assert 1 <= server_id(address) <= 2**32 - 1
