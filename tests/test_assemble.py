"""What a snapshot is made of: tables with what is ours, nodes with and without a machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from ipam.model import Claim, State
from ipam.model import state as make_state
from ipam.placement import join
from ipam.prefix import Family, Prefix
from tests.test_membership import NETWORK, inventory, kubernetes, state_of
from tests.vpcs import COUNTED_IPV4, COUNTED_IPV6, QUOTA, observe, vpc_document
from vpcrouter.assemble import (
    ALIKE,
    SUBNET_GONE,
    Records,
    TableSettings,
    assemble,
    lost_subnets,
    route_tables,
)
from vpcrouter.fabric.describe import read_describe
from vpcrouter.fabric.port import Observation, Origin, Row, Table
from vpcrouter.inventory import read_nodes
from vpcrouter.matching import Inventory
from vpcrouter.membership import compare
from vpcrouter.model import Entry, RouteTable, Snapshot
from vpcrouter.ownership import RouteRecord, Stage
from vpcrouter.problems import Problem
from vpcrouter.wire import dump_snapshot, parse_snapshot

SETTINGS = TableSettings(tuple(Family), reserve=2, own_subnet_weight=0.5)
POD = Prefix.parse("100.64.0.0/16")


@pytest.fixture
def vpc(tmp_path: Path) -> Observation:
    return observe(tmp_path, vpc_document())


def whole(
    vpc: Observation, listed: Inventory, state: State, records: Records | None = None
) -> Snapshot:
    """The snapshot, which also has to be one that can be written and read again."""
    members = compare(vpc, listed, state).members
    made = assemble(vpc, members, state, records or {}, SETTINGS, ALIKE)
    assert parse_snapshot(dump_snapshot(made), "test") == made
    return made


def with_rows(vpc: Observation, *rows: Row, table: str = "rtb-a") -> Observation:
    tables = (Table(t.id, (*t.rows, *rows)) if t.id == table else t for t in vpc.tables)
    return replace(vpc, tables=tuple(tables))


def record(stage: Stage, interface: str | None, previous: str | None) -> Records:
    return {("rtb-a", POD): RouteRecord("rtb-a", POD, interface, previous, stage)}


def table_a(vpc: Observation, records: Records) -> RouteTable:
    return next(t for t in route_tables(vpc, records, SETTINGS) if t.id == "rtb-a")


# Tables.


def test_openb_has_limit_46_and_budget_44(openb: Path) -> None:
    seen = read_describe(openb / "aws.json", None)
    for table in route_tables(seen, {}, SETTINGS):
        assert table.limit[Family.IPV4] == 46
        assert table.budget[Family.IPV4] == 44
        assert table.entries == ()
        assert [str(prefix) for prefix in table.foreign] == [
            "0.0.0.0/0",
            "10.20.0.0/16",
            "10.99.0.0/16",
            "172.30.0.0/16",
        ]


def test_openb_makes_a_snapshot_of_all_its_nodes(openb: Path) -> None:
    seen = read_describe(openb / "aws.json", None)
    listed = read_nodes(openb / "nodes.json")
    claims = compare(seen, listed, make_state("openb", [NETWORK])).claims
    state = join(make_state("openb", [NETWORK]), claims, {Family.IPV4: 44}).state
    made = whole(seen, listed, state)
    assert len(made.nodes) == len(made.blocks[Family.IPV4]) == 1523
    assert sum(node.avoid for node in made.nodes) == 300
    assert all(node.healthy and node.forwards and node.capacity == 1 for node in made.nodes)
    assert set(made.blocks[Family.IPV4].weight) == {1.0}


def test_families_are_counted_apart(vpc: Observation) -> None:
    table = table_a(vpc, {})
    assert table.limit == {
        Family.IPV4: QUOTA - COUNTED_IPV4,
        Family.IPV6: QUOTA - COUNTED_IPV6,
    }
    assert table.budget == {family: limit - 2 for family, limit in table.limit.items()}


@pytest.mark.parametrize(("quota", "limit", "budget"), [(0, 0, 0), (4, 0, 0), (5, 1, 0), (7, 3, 1)])
def test_limit_and_budget_are_never_below_nothing(
    vpc: Observation, quota: int, limit: int, budget: int
) -> None:
    table = table_a(replace(vpc, quota=dict.fromkeys(Family, quota)), {})
    assert table.limit[Family.IPV4] == limit
    assert table.budget[Family.IPV4] == budget


@pytest.mark.parametrize(
    ("records", "ours"),
    [
        ({}, False),
        (record(Stage.DONE, "eni-a0", None), True),
        (record(Stage.DONE, "eni-b0", None), True),  # changed by somebody: still our entry
        (record(Stage.INTENT, "eni-a0", None), True),
        (record(Stage.INTENT, "eni-b0", "eni-a0"), True),
        (record(Stage.INTENT, None, "eni-a0"), True),
        (record(Stage.INTENT, "eni-b0", None), False),  # somebody else came first
    ],
)
def test_a_row_is_ours_if_it_was_recorded(vpc: Observation, records: Records, ours: bool) -> None:
    table = table_a(with_rows(vpc, Row(POD, "eni-a0", to_interface=True)), records)
    assert table.entries == ((Entry(POD, "eni-a0"),) if ours else ())
    assert (POD in table.foreign) is not ours
    assert table.limit[Family.IPV4] == QUOTA - COUNTED_IPV4 - (not ours)


@pytest.mark.parametrize(
    "row",
    [
        Row(POD, "nat-1", to_interface=False),
        Row(POD, "eni-a0", to_interface=True, origin=Origin.PROPAGATED),
        Row(POD, "eni-a0", to_interface=True, origin=Origin.LOCAL),
    ],
)
def test_rows_that_a_call_cannot_have_made_are_never_ours(vpc: Observation, row: Row) -> None:
    table = table_a(with_rows(vpc, row), record(Stage.DONE, "eni-a0", None))
    assert table.entries == ()
    assert POD in table.foreign


def test_an_entry_of_ours_hides_a_propagated_one(vpc: Observation) -> None:
    propagated = Row(POD, "vgw-1", to_interface=False, origin=Origin.PROPAGATED)
    seen = with_rows(vpc, propagated, Row(POD, "eni-a0", to_interface=True))
    table = table_a(seen, record(Stage.DONE, "eni-a0", None))
    assert table.entries == (Entry(POD, "eni-a0"),)
    assert POD not in table.foreign


def test_the_contents_of_a_prefix_list_are_foreign(tmp_path: Path) -> None:
    document = vpc_document()
    document["PrefixLists"][0]["Cidrs"] = ["100.64.7.0/24"]
    assert Prefix.parse("100.64.7.0/24") in table_a(observe(tmp_path, document), {}).foreign


def test_tables_of_subnets_without_nodes_count_and_unused_ones_do_not(tmp_path: Path) -> None:
    document = vpc_document()
    document["RouteTables"].append({"RouteTableId": "rtb-unused", "VpcId": "vpc-1", "Routes": []})
    made = whole(observe(tmp_path, document), inventory("i-a0"), state_of("i-a0"))
    assert [table.id for table in made.route_tables] == ["rtb-a", "rtb-b"]


def test_a_family_without_networks_takes_nothing(vpc: Observation) -> None:
    settings = replace(SETTINGS, families=(Family.IPV4,))
    table = route_tables(vpc, {}, settings)[0]
    assert (table.limit[Family.IPV6], table.budget[Family.IPV6]) == (0, 0)
    assert table.limit[Family.IPV4] == QUOTA - COUNTED_IPV4


# Nodes.


def test_owners_and_members_come_together(vpc: Observation) -> None:
    made = whole(vpc, inventory("i-a0", "i-b1"), state_of("i-a0"))
    assert [(n.name, n.interface, n.subnet, n.healthy) for n in made.nodes] == [
        ("node-a0", "eni-a0", "subnet-a", True),
        ("node-b1", "eni-b1", "subnet-b", True),
    ]
    assert made.nodes[0].addresses == {Family.IPV4: "10.0.0.4"}
    assert list(made.blocks[Family.IPV4].node) == [0]
    prefixes = {subnet.id: subnet.prefixes for subnet in made.subnets}
    assert prefixes["subnet-b"] == ()
    assert len(prefixes["subnet-a"]) == 1


def test_an_owner_that_is_not_listed_keeps_its_blocks_and_is_not_healthy(vpc: Observation) -> None:
    made = whole(vpc, inventory("i-a1"), state_of("i-a0", "i-a1"))
    absent = made.nodes[0]
    assert (absent.name, absent.interface, absent.healthy) == ("node-a0", "eni-a0", False)
    assert len(made.blocks[Family.IPV4]) == 2


def test_an_owner_without_an_interface_has_a_name_that_no_table_has(vpc: Observation) -> None:
    without = replace(vpc, interfaces=tuple(i for i in vpc.interfaces if i.id != "eni-a0"))
    made = whole(without, inventory(), state_of("i-a0"))
    assert (made.nodes[0].interface, made.nodes[0].healthy) == ("none of node-a0", False)


def test_a_name_that_came_back_is_two_nodes(vpc: Observation) -> None:
    both = join(state_of("i-a0"), [Claim("node-a0", "subnet-a", "i-a1")], {}).state
    made = whole(vpc, Inventory((kubernetes("i-a1", "node-a0"),), ()), both)
    assert [(n.name, n.interface, n.healthy) for n in made.nodes] == [
        ("node-a0", "eni-a1", True),
        ("node-a0 (i-a0)", "eni-a0", False),
    ]
    assert sorted(made.blocks[Family.IPV4].node) == [0, 1]


def test_before_it_joins_a_name_that_came_back_is_two_nodes_as_well(vpc: Observation) -> None:
    made = whole(vpc, Inventory((kubernetes("i-a1", "node-a0"),), ()), state_of("i-a0"))
    assert [(n.name, n.healthy) for n in made.nodes] == [
        ("node-a0", True),
        ("node-a0 (i-a0)", False),
    ]
    assert list(made.blocks[Family.IPV4].node) == [1]


def test_a_node_that_moved_to_another_subnet_leaves_its_blocks_behind(vpc: Observation) -> None:
    moved = tuple(
        structs.replace(i, subnet="subnet-b") if i.id == "eni-a0" else i for i in vpc.interfaces
    )
    made = whole(replace(vpc, interfaces=moved), inventory("i-a0"), state_of("i-a0"))
    assert [(n.name, n.subnet, n.healthy) for n in made.nodes] == [
        ("node-a0", "subnet-b", True),
        ("node-a0 (i-a0)", "subnet-a", False),
    ]


def test_a_subnet_that_is_gone_is_said_and_left_out(vpc: Observation) -> None:
    rest = replace(
        vpc,
        subnets=vpc.subnets[:1],
        interfaces=tuple(i for i in vpc.interfaces if i.subnet == "subnet-a"),
    )
    state = state_of("i-a0", "i-b0")
    made = whole(rest, inventory("i-a0"), state)
    assert [node.name for node in made.nodes] == ["node-a0"]
    assert lost_subnets(rest, state) == (Problem(SUBNET_GONE, "subnet subnet-b"),)
