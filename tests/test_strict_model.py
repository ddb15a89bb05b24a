"""The model that judges plans: it is right where brute force can say so, and sees what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from msgspec import structs

from ipam.prefix import Family, Prefix, merge
from tests.generators import crowded_prefixes
from tests.snapshots import EXACT, Shape, snapshots
from tests.strict_model import (
    End,
    RefusedError,
    Vpc,
    fewest_direct_entries,
    joined,
    strays,
    unserved_addresses,
)
from vpcrouter.model import (
    Action,
    Block,
    Entry,
    Node,
    RouteTable,
    Snapshot,
    Step,
    Subnet,
    snapshot,
)

_HALF = Prefix.parse("100.64.0.0/25")


def _two_zones(**entries: str) -> Snapshot:
    """Two subnets with a table each; table `ta` holds one entry for each keyword's interface."""
    subnets = [
        Subnet("sa", "a", "ta", (Prefix.parse("100.64.0.0/24"),)),
        Subnet("sb", "b", "tb", (Prefix.parse("100.64.1.0/24"),)),
    ]
    nodes = [
        Node(name, subnet, f"eni-{name}", {Family.IPV4: f"10.0.0.{number}"})
        for number, (name, subnet) in enumerate((("n1", "sa"), ("n2", "sa"), ("n3", "sb")))
    ]
    blocks = [
        Block(Prefix.parse("100.64.0.0/26"), "n1"),
        Block(Prefix.parse("100.64.0.64/26"), "n2", 3.0),
        Block(Prefix.parse("100.64.1.0/26"), "n3"),
    ]
    rows = tuple(
        Entry(Prefix.parse(text), interface)
        for text, interface in ((t.replace("_", "/"), i) for t, i in entries.items())
    )
    tables = [
        RouteTable("ta", {Family.IPV4: 2}, {Family.IPV4: 2}, entries=rows),
        RouteTable("tb", {Family.IPV4: 2}, {Family.IPV4: 2}),
    ]
    return snapshot(subnets, nodes, blocks, tables)


def _with(cluster: Snapshot, table: str, *rows: tuple[str, str]) -> Snapshot:
    entries = tuple(Entry(Prefix.parse(text), interface) for text, interface in rows)
    tables = (replace(t, entries=entries) if t.id == table else t for t in cluster.route_tables)
    return replace(cluster, route_tables=tuple(tables))


def _address(text: str) -> int:
    return Prefix.parse(f"{text}/32").value


@pytest.mark.parametrize(
    ("address", "end", "nodes"),
    [
        ("100.64.0.1", End.DELIVERED, ("n1",)),
        ("100.64.0.65", End.DELIVERED, ("n1", "n2")),
        ("100.64.0.200", End.NOBODYS, ("n1",)),
        ("100.64.1.1", End.STRAY, ("n2",)),
        ("100.64.2.1", End.NO_ROUTE, ()),
    ],
)
def test_a_packet_goes_where_the_longest_match_and_host_routes_say(
    address: str, end: End, nodes: tuple[str, ...]
) -> None:
    cluster = _with(_two_zones(), "ta", ("100.64.0.0/24", "eni-n1"), ("100.64.1.0/24", "eni-n2"))
    way = Vpc(cluster).send("ta", Family.IPV4, _address(address))
    assert (way.end, way.nodes) == (end, nodes)


def test_a_node_that_does_not_forward_keeps_what_is_not_its_own() -> None:
    cluster = _with(_two_zones(), "ta", ("100.64.0.0/24", "eni-n1"))
    nodes = tuple(structs.replace(n, forwards=n.name != "n1") for n in cluster.nodes)
    vpc = Vpc(replace(cluster, nodes=nodes))
    assert vpc.send("ta", Family.IPV4, _address("100.64.0.65")).end is End.NOT_PASSED_ON
    assert vpc.send("ta", Family.IPV4, _address("100.64.0.1")).level == 2
    assert unserved_addresses(vpc, "ta", "sa", Family.IPV4) == [
        "100.64.0.64/32: at a neighbour that does not forward"
    ]


def test_without_split_horizon_a_stray_entry_makes_a_loop() -> None:
    cluster = _with(_two_zones(), "ta", ("100.64.0.0/23", "eni-n1"))
    address = _address("100.64.1.1")
    assert Vpc(cluster, split_horizon=False).send("ta", Family.IPV4, address).end is End.LOOP
    assert Vpc(cluster).send("ta", Family.IPV4, address).crossings == 1
    assert strays(Vpc(cluster), "ta")


@given(snapshots())
def test_no_packet_crosses_the_router_twice_whatever_the_tables_hold(cluster: Snapshot) -> None:
    vpc = Vpc(cluster)
    for table in cluster.route_tables:
        for family, address in vpc.samples():
            assert vpc.send(table.id, family, address).crossings == 1


@given(snapshots(Shape(entries=("former",), roomy=True, all_healthy=True, foreign=False)))
def test_covers_by_nodes_that_forward_serve_every_address(cluster: Snapshot) -> None:
    vpc = Vpc(cluster)
    for table in cluster.route_tables:
        assert not strays(vpc, table.id)
        for node in cluster.nodes:
            if node.forwards and not node.avoid:
                for family in Family:
                    assert not unserved_addresses(vpc, table.id, node.subnet, family)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (Step(Action.CREATE, _HALF, "eni-n1", None, ""), "RouteLimitExceeded"),
        (Step(Action.CREATE, _HALF.ancestor(24), "eni-n1", None, ""), "RouteAlreadyExists"),
        (Step(Action.DELETE, _HALF, None, "eni-n1", ""), "InvalidRoute.NotFound"),
        (Step(Action.REPLACE, _HALF.ancestor(24), "eni-x", "eni-n1", ""), "InvalidNetworkInter"),
        (Step(Action.REPLACE, _HALF.ancestor(24), "eni-n1", "eni-n2", ""), "has another next hop"),
    ],
)
def test_steps_are_refused_as_the_cloud_refuses_them(step: Step, code: str) -> None:
    cluster = _with(_two_zones(), "ta", ("100.64.0.0/24", "eni-n1"), ("100.64.1.0/24", "eni-n3"))
    vpc = Vpc(cluster)
    before = dict(vpc.rows["ta"])
    with pytest.raises(RefusedError, match=code):
        vpc.do("ta", step)
    assert vpc.rows["ta"] == before


def test_loads_count_what_a_table_sends_to_others() -> None:
    cluster = _with(_two_zones(), "tb", ("100.64.0.0/24", "eni-n1"), ("100.64.0.96/27", "eni-n2"))
    assert Vpc(cluster).loads("tb") == {(Family.IPV4, "n1"): 1.5}


@given(crowded_prefixes())
def test_joined_prefixes_are_the_merged_ones(prefixes: tuple[Prefix, ...]) -> None:
    assert joined(prefixes) == set(merge(prefixes))


_TINY = replace(
    EXACT,
    families=((Family.IPV4,),),
    one_prefix_per_node=False,
    max_subnets=1,
    max_tables=1,
    max_nodes=3,
    max_depth=2,
    entries=("empty",),
)


@given(snapshots(_TINY))
def test_the_fewest_direct_entries_are_those_of_brute_force(cluster: Snapshot) -> None:
    vpc = Vpc(cluster)
    owners = {block.prefix: block.node for block, weight in vpc.weighted_blocks("t0") if weight > 0}
    expected = sum(
        _fewest(tree, owners, [node.name for node in cluster.nodes])
        for tree in sorted(vpc.trees["s0"])
    )
    assert fewest_direct_entries(vpc, "t0", "s0", Family.IPV4) == expected


def _fewest(tree: Prefix, owners: dict[Prefix, str], names: list[str]) -> int:
    """By trying every set of entries at the four quarters, two halves and the whole of a tree."""
    places = [tree, *_inside(tree, min(tree.length + 2, 26))]
    wanted = {p: owner for p, owner in owners.items() if tree.contains(p)}
    best = len(places)
    for hops in product([None, *names], repeat=len(places)):
        table = {p: hop for p, hop in zip(places, hops, strict=True) if hop is not None}
        if tree in table and len(table) < best:
            found = {p: max((d for d in table if d.contains(p)), key=_length) for p in wanted}
            inside = any(p.contains(d) and p != d for p in wanted for d in table)
            if not inside and all(table[found[p]] == owner for p, owner in wanted.items()):
                best = len(table)
    return best


def _inside(prefix: Prefix, length: int) -> Iterator[Prefix]:
    if prefix.length < length:
        for half in prefix.halves():
            yield half
            yield from _inside(half, length)


def _length(prefix: Prefix) -> int:
    return prefix.length
