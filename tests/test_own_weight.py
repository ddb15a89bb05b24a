"""``own_subnet_weight: auto``: blocks weigh nothing where nobody but their neighbours sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ipam.prefix import Family
from tests.test_membership import inventory, state_of
from tests.vpcs import observe, vpc_document
from vpcrouter.assemble import ALIKE, TableSettings, assemble
from vpcrouter.config import load_cluster
from vpcrouter.fabric.port import InstanceState, NetworkInterface, Observation
from vpcrouter.membership import compare
from vpcrouter.own_weight import GROUP_TAGS, OwnWeight
from vpcrouter.planner import plan

ALL = ("i-a0", "i-a1", "i-a2", "i-b0", "i-b1", "i-b2")
CLUSTER = """
version: 1
cluster: prod
networks: [{name: pods, cidrs: [100.64.0.0/10]}]
fabric: {kind: simulated, describe: aws.json}
nodes: {kubernetes: nodes.json}
planning: {own_subnet_weight: auto}
"""


@pytest.fixture
def vpc(tmp_path: Path) -> Observation:
    """Six nodes in two subnets with a table each, and in the first an interface of nobody."""
    return observe(tmp_path, vpc_document())


def weights(
    vpc: Observation,
    listed: Sequence[str] = ALL,
    setting: OwnWeight = "auto",
    owners: Sequence[str] = (),
) -> dict[str, float]:
    """The weight of own blocks in each table."""
    settings = TableSettings(tuple(Family), reserve=0, own_subnet_weight=setting)
    state = state_of(*owners)
    members = compare(vpc, inventory(*listed), state).members
    made = assemble(vpc, members, state, {}, settings, ALIKE)
    return {table.id: table.own_subnet_weight for table in made.route_tables}


def with_interface(vpc: Observation, subnet: str, instance: str | None) -> Observation:
    more = NetworkInterface("eni-more", subnet, {}, instance, 1, source_dest_check=True)
    return replace(vpc, interfaces=(*vpc.interfaces, more))


def alone(vpc: Observation) -> Observation:
    """Without the interface that nobody uses: only nodes are left."""
    return replace(vpc, interfaces=tuple(i for i in vpc.interfaces if i.id != "eni-free"))


def test_own_blocks_weigh_nothing_where_only_nodes_of_one_subnet_send(vpc: Observation) -> None:
    assert weights(alone(vpc)) == {"rtb-a": 0.0, "rtb-b": 0.0}
    assert weights(vpc) == {"rtb-a": 1.0, "rtb-b": 0.0}


def test_a_number_is_the_weight_in_every_table(vpc: Observation) -> None:
    assert weights(vpc, setting=0.25) == {"rtb-a": 0.25, "rtb-b": 0.25}


def test_a_second_interface_of_a_node_is_a_nodes(vpc: Observation) -> None:
    assert weights(with_interface(alone(vpc), "subnet-b", "i-b0"))["rtb-b"] == 0.0


@pytest.mark.parametrize("instance", [None, "i-other"])
def test_an_interface_of_somebody_else_shares_the_table(
    vpc: Observation, instance: str | None
) -> None:
    seen = with_interface(alone(vpc), "subnet-b", instance)
    assert weights(seen) == {"rtb-a": 0.0, "rtb-b": 1.0}


@pytest.mark.parametrize("state", InstanceState)
def test_a_machine_that_does_not_run_sends_nothing(vpc: Observation, state: InstanceState) -> None:
    seen = with_interface(alone(vpc), "subnet-b", "i-other")
    seen = replace(seen, instances={**seen.instances, "i-other": state})
    silent = state.is_gone or state is InstanceState.STOPPED
    assert weights(seen)["rtb-b"] == (0.0 if silent else 1.0)


def test_a_node_that_is_not_listed_shares_the_table_unless_it_has_addresses(
    vpc: Observation,
) -> None:
    assert weights(alone(vpc), ALL[:5])["rtb-b"] == 1.0
    assert weights(alone(vpc), ALL[:5], owners=["i-b2"])["rtb-b"] == 0.0


@pytest.mark.parametrize("key", GROUP_TAGS)
def test_a_new_instance_of_the_nodes_group_changes_nothing(vpc: Observation, key: str) -> None:
    seen = with_interface(alone(vpc), "subnet-b", "i-new")
    same = replace(seen, tags={"i-new": {key: "workers"}, "i-a0": {key: "workers"}})
    other = replace(seen, tags={"i-new": {key: "databases"}, "i-a0": {key: "workers"}})
    name = replace(seen, tags={"i-new": {"Name": "x"}, "i-a0": {"Name": "x"}})
    assert weights(same)["rtb-b"] == 0.0
    assert weights(other)["rtb-b"] == weights(name)["rtb-b"] == 1.0


def test_nodes_of_two_subnets_send_to_each_other_through_the_table(vpc: Observation) -> None:
    subnets = tuple(replace(subnet, table="rtb-a") for subnet in vpc.subnets)
    assert weights(replace(alone(vpc), subnets=subnets)) == {"rtb-a": 1.0}


def test_without_interfaces_nothing_is_known(vpc: Observation) -> None:
    assert weights(replace(vpc, interfaces=()), []) == {"rtb-a": 1.0, "rtb-b": 1.0}


def test_entries_go_where_the_table_is_used(vpc: Observation) -> None:
    """With four entries for six nodes in two subnets, the other subnet has no detour."""
    settings = TableSettings(tuple(Family), reserve=2, own_subnet_weight="auto")
    state = state_of(*ALL)
    members = compare(alone(vpc), inventory(*ALL), state).members
    made = assemble(alone(vpc), members, state, {}, settings, ALIKE)
    for table in plan(made).tables:
        assert table.max_load == 0
        assert table.detour_weight == 0


def test_the_cluster_file_says_auto(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER)
    assert load_cluster(path).planning.own_subnet_weight == "auto"
