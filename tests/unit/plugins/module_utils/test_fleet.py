# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The topology that an inventory describes, and what is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils.fleet import (
    KNOWN_KEYS,
    STATES,
    FleetError,
    build_fleet,
    certificates,
)

Groups = dict[str, list[str]]
HostVars = dict[str, dict[str, Any]]


def inventory(**changes: dict[str, Any] | None) -> tuple[Groups, HostVars]:
    """A fleet that works, with a host's variables changed by name (None takes the host out)."""
    groups: Groups = {
        "load_balancers": ["lb1", "lb2"],
        "app_servers": ["app1", "app2"],
        "mysql": ["db1", "db2", "db3"],
        "redis_cluster": ["redis1", "redis2", "redis3"],
        "queue_workers": ["worker1"],
        "object_storage": ["store1"],
    }
    hostvars: HostVars = {}
    for tier, hosts in enumerate(groups.values(), start=1):
        for number, host in enumerate(hosts, start=1):
            hostvars[host] = {"ansible_host": f"192.0.2.{tier}{number}", "inventory_hostname": host}
    for host in ("lb1", "lb2"):
        hostvars[host]["fleet_vip"] = "192.0.2.10"
    hostvars["db1"]["mysql_primary"] = True
    for host, variables in changes.items():
        if variables is None:
            hostvars.pop(host)
            for hosts in groups.values():
                if host in hosts:
                    hosts.remove(host)
        else:
            hostvars[host].update(variables)
    groups["all"] = list(hostvars)
    groups["ungrouped"] = []
    return groups, hostvars


def topology(groups: Groups, hostvars: Mapping[str, Mapping[str, Any]], names: Any = None) -> dict[str, Any]:
    return build_fleet(groups, hostvars, names).as_dict()


def names(servers: list[dict[str, Any]]) -> list[str]:
    return [server["name"] for server in servers]


# --- what comes out -----------------------------------------------------------------------------------------------


def test_every_tier_becomes_a_list_of_its_servers() -> None:
    fleet = topology(*inventory())
    assert {tier: names(fleet[tier]) for tier in fleet if isinstance(fleet[tier], list)} == {
        "load_balancers": ["lb1", "lb2"],
        "app_servers": ["app1", "app2"],
        "queue_workers": ["worker1"],
        "redis_cluster": ["redis1", "redis2", "redis3"],
        "object_storage": ["store1"],
        "monitoring": [],
    }
    assert fleet["mysql"]["primary"]["name"] == "db1"
    assert names(fleet["mysql"]["replicas"]) == ["db2", "db3"]
    assert names(fleet["mysql"]["hosts"]) == ["db1", "db2", "db3"]
    assert list(fleet["mysql_clusters"]) == ["mysql"] == [fleet["mysql"]["cluster"]]
    assert fleet["vip"] == "192.0.2.10"
    assert len(fleet["hosts"]) == 12


def test_a_server_says_everything_about_itself() -> None:
    fleet = topology(
        *inventory(
            app1={"fleet_weight": "3", "fleet_vcpus": 4, "fleet_memory_mb": 8192, "fleet_storage": "nvme"},
        )
    )
    assert fleet["app_servers"][0] == {
        "name": "app1",
        "address": "192.0.2.21",
        "state": "active",
        "weight": 3,
        "size": None,
        "vcpus": 4,
        "memory_mb": 8192,
        "storage": "nvme",
        "tiers": ["app_servers"],
    }
    assert fleet["hosts"]["app1"] == fleet["app_servers"][0]


def test_what_the_inventory_leaves_open_is_left_to_facts() -> None:
    server = topology(*inventory())["hosts"]["app1"]
    assert (server["vcpus"], server["memory_mb"], server["size"], server["storage"]) == (None, None, None, "ssd")


def test_hosts_in_every_state_stay_in_the_topology() -> None:
    groups, hostvars = inventory(app2={"fleet_state": "draining"})
    for number, state in enumerate(("standby", "down"), start=3):
        groups["app_servers"].append(f"app{number}")
        hostvars[f"app{number}"] = {"ansible_host": f"192.0.2.2{number}", "fleet_state": state}
    assert [server["state"] for server in topology(groups, hostvars)["app_servers"]] == [
        "active",
        "draining",
        "standby",
        "down",
    ]


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param({"fleet_address": "10.0.0.1"}, "10.0.0.1", id="fleet_address wins over ansible_host"),
        pytest.param({}, "192.0.2.21", id="ansible_host stands in for fleet_address"),
        pytest.param({"ansible_host": None}, "app1", id="the name stands in for ansible_host"),
        pytest.param({"ansible_host": "2001:db8::21"}, "2001:db8::21", id="an IPv6 address is an address"),
        pytest.param({"ansible_host": "app1.example.com"}, "app1.example.com", id="a DNS name is an address"),
    ],
)
def test_the_address_of_a_host(variables: dict[str, Any], address: str) -> None:
    assert topology(*inventory(app1=variables))["hosts"]["app1"]["address"] == address


@pytest.mark.parametrize(
    ("variables", "size"),
    [
        pytest.param({"fleet_size": "medium"}, (2, 4096, "ssd"), id="a size of ours"),
        pytest.param(
            {"fleet_size": "db", "fleet_sizes": {"db": {"vcpus": 8, "memory_mb": 65536, "storage": "nvme"}}},
            (8, 65536, "nvme"),
            id="a size that the inventory describes",
        ),
        pytest.param(
            {"fleet_size": "medium", "fleet_sizes": {"medium": {"vcpus": 3, "memory_mb": 3000}}},
            (3, 3000, "ssd"),
            id="the inventory's size wins over ours of the same name",
        ),
        pytest.param(
            {"fleet_size": "medium", "fleet_memory_mb": 6000}, (2, 6000, "ssd"), id="a host wins over its size"
        ),
        pytest.param(
            {"fleet_size": "half", "fleet_sizes": {"half": {"memory_mb": 512}}},
            (None, 512, "ssd"),
            id="a size may leave the cores to facts",
        ),
    ],
)
def test_the_size_of_a_host(variables: dict[str, Any], size: tuple[Any, ...]) -> None:
    server = topology(*inventory(app1=variables))["hosts"]["app1"]
    assert (server["vcpus"], server["memory_mb"], server["storage"]) == size


def test_a_small_fleet_may_share_hosts_between_tiers() -> None:
    front, back = ["a", "d", "e"], ["b", "c"]
    groups = {
        "app_servers": list(front),
        "queue_workers": list(front),
        "load_balancers": list(back),
        "mysql": list(back),
        "redis_cluster": front + back,
    }
    hostvars: HostVars = {host: {"ansible_host": f"192.0.2.{n}"} for n, host in enumerate(front + back, start=1)}
    hostvars["b"]["mysql_primary"] = True
    fleet = topology(groups, hostvars)
    assert fleet["hosts"]["a"]["tiers"] == ["app_servers", "queue_workers", "redis_cluster"]
    assert fleet["hosts"]["b"]["tiers"] == ["load_balancers", "mysql", "redis_cluster"]
    assert fleet["mysql"]["primary"]["name"] == "b"
    assert list(fleet["mysql_clusters"]) == ["mysql"]


@pytest.mark.parametrize(
    ("tier", "other", "reason"),
    [
        pytest.param("load_balancers", "app_servers", "port 80", id="two web servers on one port"),
        pytest.param("mysql", "app_servers", "port 3306", id="the application's router beside MySQL"),
        pytest.param("mysql", "queue_workers", "port 3306", id="the workers' router beside MySQL"),
    ],
)
def test_tiers_that_want_one_port_are_refused(tier: str, other: str, reason: str) -> None:
    groups, hostvars = inventory()
    groups[other].append(groups[tier][0])
    with pytest.raises(FleetError) as refusal:
        topology(groups, hostvars)
    assert f"host {groups[tier][0]} is in {tier} and in {other}: " in str(refusal.value)
    assert reason in str(refusal.value)


def test_groups_may_have_names_of_their_own() -> None:
    groups, hostvars = inventory()
    groups["web"] = groups.pop("app_servers")
    groups["s3"] = groups.pop("object_storage")
    fleet = topology(groups, hostvars, {"app_servers": "web", "object_storage": "s3"})
    assert names(fleet["app_servers"]) == ["app1", "app2"]
    assert fleet["hosts"]["app1"]["tiers"] == ["app_servers"]
    assert names(fleet["object_storage"]) == ["store1"]


def test_a_fleet_may_do_without_a_tier() -> None:
    groups, hostvars = inventory()
    for group in ("mysql", "redis_cluster", "queue_workers", "object_storage"):
        del groups[group]
    fleet = topology(groups, hostvars, {"mysql": None, "redis_cluster": None})
    assert fleet["mysql"] == {"cluster": None, "primary": None, "replicas": [], "hosts": []}
    assert fleet["mysql_clusters"] == {}
    assert fleet["redis_cluster"] == fleet["queue_workers"] == fleet["object_storage"] == []
    assert {name for name, host in fleet["hosts"].items() if host["tiers"]} == {"lb1", "lb2", "app1", "app2"}


def test_hosts_outside_the_tiers_are_known_and_checked() -> None:
    groups, hostvars = inventory()
    groups["office"] = ["monitor1"]
    groups["all"].append("monitor1")
    hostvars["monitor1"] = {"ansible_host": "192.0.2.90"}
    fleet = topology(groups, hostvars)
    assert fleet["hosts"]["monitor1"]["tiers"] == []
    hostvars["monitor1"] = {"ansible_host": "192.0.2.21"}
    with pytest.raises(FleetError, match=r"hosts app1, monitor1 have one address, 192\.0\.2\.21"):
        topology(groups, hostvars)


def test_a_host_that_was_destroyed_is_gone_although_the_run_still_knows_its_name() -> None:
    groups, hostvars = inventory()
    groups |= {"all": [*groups["all"], "app3"], "fleet_leaving": ["app2", "app3"]}
    fleet = topology(groups, {**hostvars, "app3": {"inventory_hostname": "app3"}})
    assert "app3" not in fleet["hosts"]
    assert fleet["hosts"]["app2"]["tiers"] == ["app_servers"], "whoever stands by from now on is still there"


def test_a_fleet_without_a_vip_has_none() -> None:
    groups, hostvars = inventory(lb1={"fleet_vip": None}, lb2={"fleet_vip": None})
    assert topology(groups, hostvars)["vip"] is None


def test_child_groups_of_mysql_are_clusters_of_their_own() -> None:
    groups, hostvars = inventory(db3={"mysql_primary": True})
    groups["mysql"].append("db4")
    hostvars["db4"] = {"ansible_host": "192.0.2.34"}
    groups |= {"north": ["db1", "db2"], "south": ["db3", "db4"]}
    clusters = topology(groups, hostvars)["mysql_clusters"]
    assert {name: (one["primary"]["name"], names(one["replicas"])) for name, one in clusters.items()} == {
        "north": ("db1", ["db2"]),
        "south": ("db3", ["db4"]),
    }
    assert topology(groups, hostvars)["mysql"]["cluster"] == "north"


def test_clusters_may_be_named_when_other_groups_divide_the_hosts_too() -> None:
    groups, hostvars = inventory(db3={"mysql_primary": True})
    groups |= {"north": ["db1", "db2"], "south": ["db3"], "fast": ["db1", "db3"], "slow": ["db2"]}
    fleet = topology(groups, hostvars, {"mysql": ["north", "south"]})
    assert list(fleet["mysql_clusters"]) == ["north", "south"]


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"old": ["db3"]}, id="a group that holds some of the MySQL hosts"),
        pytest.param({"fast": ["db1", "db2"], "safe": ["db2", "db3"]}, id="groups that overlap"),
        pytest.param({"databases": ["db1", "db2", "db3"]}, id="a group that holds the same hosts"),
        pytest.param(
            {"rack1": ["db1", "app1"], "rack2": ["db2", "db3", "app2"]}, id="groups that hold other tiers too"
        ),
        pytest.param({"nothing": []}, id="an empty group"),
    ],
)
def test_other_groups_do_not_split_the_cluster(extra: Groups) -> None:
    groups, hostvars = inventory()
    assert list(topology(groups | extra, hostvars)["mysql_clusters"]) == ["mysql"]


# --- what is refused ----------------------------------------------------------------------------------------------

REFUSED = [
    pytest.param(
        {"db2": {"mysql_primary": True}},
        "group mysql must hold exactly one host with mysql_primary: true, not: db1, db2",
        id="two primaries are refused by name",
    ),
    pytest.param(
        {"db1": {"mysql_primary": False}},
        "group mysql has no primary: set mysql_primary: true on exactly one of db1, db2, db3",
        id="no primary is refused with the cure",
    ),
    pytest.param(
        {"app1": {"mysql_primary": True}, "db1": {"mysql_primary": False}},
        "group mysql: the primary of its replicas db1, db2, db3 is in another group (app1, which is outside the group); "
        "put them into one group, or set mysql_primary: true on one of db1, db2, db3",
        id="replicas whose primary is in another group are refused",
    ),
    pytest.param(
        {"db2": {"mysql_primary": "maybe"}},
        "host db2: mysql_primary must be true or false, not: maybe",
        id="a primary that is neither true nor false is refused",
    ),
    pytest.param(
        {"app1": {"fleet_state": "drainning"}},
        "host app1: fleet_state must be one of active, draining, standby, down, not: drainning (did you mean draining?)",
        id="an unknown state is refused with what was meant",
    ),
    pytest.param(
        {"app1": {"fleet_state": True}},
        "host app1: fleet_state must be one of active, draining, standby, down, not: True",
        id="a state that is no word is refused",
    ),
    pytest.param(
        {"app1": {"fleet_stat": "standby"}},
        f"host app1: unknown variable fleet_stat (did you mean fleet_state?); the fleet knows {', '.join(KNOWN_KEYS)} "
        "and fleet_admin_*",
        id="an unknown key is refused with what was meant",
    ),
    pytest.param(
        {"app2": {"ansible_host": "192.0.2.21"}},
        "hosts app1, app2 have one address, 192.0.2.21: give each its own ansible_host or fleet_address",
        id="two hosts with one address are refused",
    ),
    pytest.param(
        {"app1": {"ansible_host": "2001:db8::1"}, "db3": {"ansible_host": "2001:DB8:0::1"}},
        "hosts app1, db3 have one address, 2001:db8::1: give each its own ansible_host or fleet_address",
        id="one IPv6 address in two spellings is one address",
    ),
    pytest.param(
        {"redis3": {"fleet_state": "draining"}},
        "group redis_cluster has 2 active hosts (redis1, redis2), too few to keep 3 primaries and their replicas on "
        "different hosts: it takes 3",
        id="a Redis Cluster on two active hosts is refused",
    ),
    pytest.param(
        {"redis2": None, "redis3": None},
        "group redis_cluster has 1 active host (redis1), too few to keep 3 primaries and their replicas on different "
        "hosts: it takes 3",
        id="a Redis Cluster on one host is refused",
    ),
    pytest.param(
        {"app1": {"fleet_state": "draining"}, "app2": {"fleet_state": "down"}},
        "group app_servers has no active host: app1 is draining, app2 is down; set fleet_state: active on at least one",
        id="a pool whose hosts are all draining or down is refused",
    ),
    pytest.param(
        {"worker1": {"fleet_state": "standby"}},
        "group queue_workers has no active host: worker1 is standby; set fleet_state: active on at least one",
        id="a pool whose only host is on standby is refused",
    ),
    pytest.param(
        {"app1": None, "app2": None},
        "group app_servers is empty: give it at least one host, or set fleet_groups: {app_servers: null} for a fleet "
        "without it",
        id="an empty pool is refused by name",
    ),
    pytest.param(
        {"store1": None},
        "group object_storage is empty: give it at least one host, or set fleet_groups: {object_storage: null} for a "
        "fleet without it",
        id="an empty pool that may be missing is refused all the same",
    ),
    pytest.param(
        {"app1": {"fleet_weight": 0}},
        "host app1: fleet_weight must be a whole number from 1 to 1000, not: 0; to take a host out of traffic set "
        "fleet_state: draining",
        id="a weight of zero is refused with the cure",
    ),
    pytest.param(
        {"app1": {"fleet_weight": True}},
        "host app1: fleet_weight must be a whole number from 1 to 1000, not: True; to take a host out of traffic set "
        "fleet_state: draining",
        id="a weight that is true is refused",
    ),
    pytest.param(
        {"app1": {"fleet_memory_mb": 4}},
        "host app1: fleet_memory_mb must be a whole number from 128 to 67108864, not: 4 megabytes, e.g. 4096 for 4 GB",
        id="memory in gigabytes is refused",
    ),
    pytest.param(
        {"app1": {"fleet_vcpus": 1.5}},
        "host app1: fleet_vcpus must be a whole number from 1 to 4096, not: 1.5",
        id="half a core is refused",
    ),
    pytest.param(
        {"app1": {"fleet_storage": "sdd"}},
        "host app1: fleet_storage must be one of ssd, nvme, hdd, not: sdd (did you mean ssd?)",
        id="an unknown storage class is refused",
    ),
    pytest.param(
        {"app1": {"fleet_size": "meduim"}},
        "host app1: fleet_size meduim is not a known size (did you mean medium?); use one of 2xlarge, large, medium, "
        "small, xlarge, or describe it in fleet_sizes",
        id="an unknown size is refused with what was meant",
    ),
    pytest.param(
        {"app1": {"fleet_size": "tiny", "fleet_sizes": {"tiny": {"vcpus": 1, "memory": 512}}}},
        "host app1: fleet_sizes.tiny has an unknown key memory (did you mean memory_mb?); a size holds vcpus, memory_mb, storage",
        id="a size with an unknown key is refused",
    ),
    pytest.param(
        {"app1": {"fleet_size": "tiny", "fleet_sizes": {"tiny": "512m"}}},
        "host app1: fleet_sizes.tiny must hold vcpus and memory_mb, not: '512m'",
        id="a size that is no dictionary is refused",
    ),
    pytest.param(
        {"app1": {"fleet_size": "medium", "fleet_sizes": ["medium"]}},
        "host app1: fleet_sizes must map a name to vcpus and memory_mb, not: ['medium']",
        id="sizes that are no dictionary are refused",
    ),
    pytest.param(
        {"app1": {"ansible_host": "192.0.2.300"}},
        "host app1: ansible_host is not an address: '192.0.2.300'; set fleet_address to an IPv4 address, an IPv6 "
        "address without brackets, or a DNS name",
        id="an address that is none is refused",
    ),
    pytest.param(
        {"app1": {"fleet_address": "192.0.2.21; }"}},
        "host app1: fleet_address is not an address: '192.0.2.21; }'; set fleet_address to an IPv4 address, an IPv6 "
        "address without brackets, or a DNS name",
        id="an address with a directive behind it is refused",
    ),
    pytest.param(
        {"lb1": {"fleet_vip": "192.0.2.10/24"}, "lb2": {"fleet_vip": "192.0.2.10/24"}},
        "fleet_vip must be one IPv4 or IPv6 address without a prefix length, not: 192.0.2.10/24; e.g. 192.0.2.10",
        id="a VIP with a prefix length is refused",
    ),
    pytest.param(
        {"lb2": {"fleet_vip": "192.0.2.9"}},
        "fleet_vip must be the same on all load balancers, not: 192.0.2.10 on lb1, 192.0.2.9 on lb2; set it once for "
        "their group",
        id="two VIPs are refused",
    ),
    pytest.param(
        {"lb1": {"fleet_vip": "192.0.2.21"}, "lb2": {"fleet_vip": "192.0.2.21"}},
        "fleet_vip 192.0.2.21 is the address of host app1: give the VIP an unused address of that network",
        id="a VIP that is a host's address is refused",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED)
def test_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FleetError) as refused:
        topology(*inventory(**changes))
    assert list(refused.value.problems) == [sentence]


@pytest.mark.parametrize("group", ["load_balancers", "app_servers", "mysql", "redis_cluster"])
def test_a_group_that_a_fleet_needs_is_missed_by_name(group: str) -> None:
    groups, hostvars = inventory()
    del groups[group]
    with pytest.raises(FleetError) as refused:
        topology(groups, hostvars)
    assert str(refused.value) == (
        f"group {group} is not in the inventory; add it with at least one host, or set fleet_groups: {{{group}: null}} "
        "for a fleet without it"
    )


def test_a_misspelt_group_is_recognised() -> None:
    groups, hostvars = inventory()
    groups["app_server"] = groups.pop("app_servers")
    with pytest.raises(FleetError, match=r"group app_servers is not in the inventory \(did you mean app_server\?\)"):
        topology(groups, hostvars)


def test_replicas_whose_primary_is_in_another_child_group_are_refused() -> None:
    groups, hostvars = inventory()
    groups |= {"mysql_primary": ["db1"], "mysql_replicas": ["db2", "db3"]}
    with pytest.raises(FleetError) as refused:
        topology(groups, hostvars)
    assert str(refused.value) == (
        "group mysql_replicas: the primary of its replicas db2, db3 is in another group (db1 of group mysql_primary); "
        "put them into one group, or set mysql_primary: true on one of db2, db3"
    )


def test_a_host_in_two_clusters_is_refused() -> None:
    groups, hostvars = inventory(db3={"mysql_primary": True})
    groups |= {"north": ["db1", "db2"], "south": ["db2", "db3"]}
    with pytest.raises(FleetError, match="host db2 is in 2 MySQL clusters, north, south: keep it in one"):
        topology(groups, hostvars, {"mysql": ["north", "south"]})


@pytest.mark.parametrize(
    ("given_names", "sentence"),
    [
        pytest.param(
            {"app_server": "web"},
            "fleet_groups: 'app_server' is not a tier of the fleet (did you mean app_servers?); the tiers are "
            "load_balancers, app_servers, queue_workers, mysql, redis_cluster, object_storage, monitoring",
            id="a tier that is none",
        ),
        pytest.param(
            {"queue_workers": 7},
            "fleet_groups: queue_workers must be the name of a group or null, not: 7",
            id="a name that is none",
        ),
        pytest.param(
            {"queue_workers": "jobs"},
            "group jobs is not in the inventory; add it with at least one host, or set fleet_groups: "
            "{queue_workers: null} for a fleet without it",
            id="a group that is named and missing",
        ),
    ],
)
def test_group_names_are_checked(given_names: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FleetError) as refused:
        topology(*inventory(), given_names)
    assert sentence in refused.value.problems


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(FleetError) as refused:
        topology(*inventory(app1={"fleet_weight": 0}, app2={"fleet_stat": "down"}, db2={"mysql_primary": True}))
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "host app1",
        "host app2",
        "group mysql must hold exactly one host with mysql_primary",
    ]


def test_a_host_named_by_its_address_is_refused_with_the_cure() -> None:
    groups, hostvars = inventory()
    groups["app_servers"].append("192.0.2.99")
    hostvars["192.0.2.99"] = {}
    assert topology(groups, hostvars)["hosts"]["192.0.2.99"]["address"] == "192.0.2.99"
    groups["app_servers"].append("app 3")
    hostvars["app 3"] = {"ansible_host": "192.0.2.98"}
    with pytest.raises(FleetError, match="host 'app 3': the name must be letters, digits"):
        topology(groups, hostvars)


# --- laziness -----------------------------------------------------------------------------------------------------


class Lazy(Mapping[str, Any]):
    """Like Ansible's HostVarsVars: looking at a value renders it, and some can't be rendered."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = variables
        self.looked_at: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        value = self.variables[key]
        self.looked_at.add(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def test_only_what_describes_the_fleet_is_looked_at() -> None:
    groups, hostvars = inventory()
    lazy = {
        host: Lazy(
            variables | {"fleet": "itself", "vault_app_key": "secret", "fleet_groups": {}, "fleet_admin_user": ""}
        )
        for host, variables in hostvars.items()
    }
    topology(groups, lazy)
    looked_at = set().union(*(one.looked_at for one in lazy.values()))
    assert looked_at <= {"ansible_host", "mysql_primary", "fleet_vip"}


# --- properties ---------------------------------------------------------------------------------------------------

anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers())
)


@given(
    variables=st.dictionaries(
        st.sampled_from([*KNOWN_KEYS, "fleet_stat", "ansible_host", "mysql_primary"]), anything, max_size=6
    )
)
def test_whatever_a_host_says_it_is_understood_or_refused_by_name(variables: dict[str, Any]) -> None:
    try:
        fleet = topology(*inventory(app1=variables))
    except FleetError as refused:
        assert all("app1" in problem or "fleet" in problem for problem in refused.problems)
        assert all("\n" not in problem for problem in refused.problems)
    else:
        server = fleet["hosts"]["app1"]
        assert server["state"] in STATES
        assert isinstance(server["weight"], int) and server["weight"] >= 1


def test_a_value_with_a_line_break_is_quoted_on_one_line() -> None:
    with pytest.raises(FleetError) as refused:
        topology(*inventory(app1={"fleet_size": "big\n"}))
    (problem,) = refused.value.problems
    assert problem.startswith(r"host app1: fleet_size big\n is not a known size; use one of 2xlarge, large, medium,")


@given(st.permutations(["app1", "app2", "app3", "app4"]), st.permutations(["lb1", "lb2"]))
def test_the_order_of_an_inventory_does_not_matter(apps: list[str], balancers: list[str]) -> None:
    def of(apps: list[str], balancers: list[str]) -> dict[str, Any]:
        groups, hostvars = inventory()
        for number in (3, 4):
            hostvars[f"app{number}"] = {"ansible_host": f"192.0.2.2{number}"}
        return topology(groups | {"app_servers": apps, "load_balancers": balancers}, hostvars)

    assert of(apps, balancers) == of(["app1", "app2", "app3", "app4"], ["lb1", "lb2"])


# --- certificates -------------------------------------------------------------------------------------------------


def test_every_host_gets_a_certificate_for_each_of_its_names() -> None:
    fleet = topology(*inventory(app2={"ansible_host": "app2.example.com"}))
    wanted = {row["name"]: row for row in certificates(fleet, "school.example.com")}
    assert len(wanted) == 12
    assert wanted["db1"] == {"name": "db1", "dns": ["db1", "localhost"], "ip": ["192.0.2.31", "127.0.0.1"]}
    assert wanted["app2"] == {"name": "app2", "dns": ["app2", "localhost", "app2.example.com"], "ip": ["127.0.0.1"]}
    assert wanted["lb1"] == {
        "name": "lb1",
        "dns": ["lb1", "localhost", "school.example.com"],
        "ip": ["192.0.2.11", "192.0.2.10", "127.0.0.1"],
    }


@pytest.mark.parametrize("tier", ["load_balancers", "app_servers"])
def test_who_watches_shares_no_host_with_another_web_server(tier: str) -> None:
    groups, hostvars = inventory()
    groups["monitoring"] = [groups[tier][0]]
    with pytest.raises(FleetError, match=f"{groups[tier][0]}.*each brings its own nginx"):
        build_fleet(groups, hostvars)


def test_who_watches_may_share_a_host_with_the_workers() -> None:
    groups, hostvars = inventory()
    groups["monitoring"] = ["worker1"]
    assert topology(groups, hostvars)["hosts"]["worker1"]["tiers"] == ["queue_workers", "monitoring"]
