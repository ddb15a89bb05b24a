"""Weights of very different size, and inputs at either end of what there can be."""

from __future__ import annotations

from array import array
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from tests.counts import examples
from vpcrouter.model import (
    Block,
    BlockColumns,
    Node,
    Plan,
    Proof,
    ProofStatus,
    RouteTable,
    Snapshot,
    Subnet,
    snapshot,
)
from vpcrouter.planner import decide, plan

SIZES = st.sampled_from([0.0, 5e-324, 1e-300, 1e-9, 1.0, 3.0, 1e9, 1e18, 1e300])


def planned(weights: list[float], budget: int) -> Plan:
    """One subnet whose nodes own a block each, with these weights, side by side."""
    limits = {Family.IPV4: budget}
    number = range(len(weights))
    return plan(
        snapshot(
            [Subnet("s", "a", "t", (Prefix.parse("100.64.0.0/16"),))],
            [Node(f"n{i}", "s", f"eni-{i}", {}) for i in number],
            [Block(Prefix.parse(f"100.64.{i}.0/24"), f"n{i}", weights[i]) for i in number],
            [RouteTable("t", limits, limits)],
        )
    )


@pytest.mark.parametrize(
    ("weights", "least"),
    [
        ([1e300, 1, 1, 1e-300, 3, 4], 1.0),
        ([1e18, 1, 1, 1, 1, 1], 1.0),
        ([1e-300, 1e-308, 5e-324, 0, 0, 1], 5e-324),
        ([1e300] * 6, 1e300),
        ([0.0] * 6, 0.0),
    ],
)
def test_small_weights_count_beside_large_ones(weights: list[float], least: float) -> None:
    (table,) = planned(weights, 3).tables
    proof = table.proof[Family.IPV4]
    assert (proof.status, proof.least_load) == (ProofStatus.OPTIMAL, least)
    assert table.max_load == least


@settings(max_examples=examples(test=150, prove=5_000))
@given(st.lists(SIZES, min_size=1, max_size=12), st.integers(1, 12))
def test_the_loads_are_the_sums_of_what_others_own(weights: list[float], budget: int) -> None:
    (table,) = planned(weights, budget).tables
    blocks = {Prefix.parse(f"100.64.{i}.0/24"): i for i in range(len(weights))}
    load = dict.fromkeys((f"n{i}" for i in range(len(weights))), Fraction(0))
    for prefix, owner in blocks.items():
        around = [e for e in table.entries if e.destination.contains(prefix)]
        hop = max(around, key=lambda entry: entry.destination.length).node
        assert hop is not None
        if hop != f"n{owner}":
            load[hop] += Fraction(weights[owner])
    largest = max(load.values())
    assert abs(Fraction(table.max_load) - largest) <= largest / 10**9
    bound = table.proof[Family.IPV4].lower_bound
    assert Fraction(bound) <= largest * (1 + Fraction(1, 10**9))


# Sizes at either end.


def tables_of(budget: int, family: Family = Family.IPV4) -> list[RouteTable]:
    """One table with this budget."""
    return [RouteTable("t", {family: budget}, {family: budget})]


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.7/32", "::/0", "fd00::7/128"])
def test_a_prefix_of_any_length_is_served(text: str) -> None:
    prefix = Prefix.parse(text)
    cluster = snapshot(
        [Subnet("s", "a", "t", (prefix,))],
        [Node("n", "s", "eni-n", {})],
        [Block(prefix, "n", 3.0)],
        tables_of(1, prefix.family),
    )
    (table,) = plan(cluster).tables
    assert [(e.destination, e.node) for e in table.entries] == [(prefix, "n")]
    assert [step.destination for step in table.steps] == [prefix]
    assert table.max_load == 0


@pytest.mark.parametrize("family", Family)
def test_the_ends_of_the_address_space_are_told_apart(family: Family) -> None:
    whole = Prefix(family, 0, 0)
    ends = [Prefix(family, 0, family.width), Prefix(family, whole.last, family.width)]
    cluster = snapshot(
        [Subnet("s", "a", "t", (whole,))],
        [Node(f"n{i}", "s", f"eni-{i}", {}) for i in range(2)],
        [Block(end, f"n{i}", 1.0) for i, end in enumerate(ends)],
        tables_of(2, family),
    )
    (table,) = plan(cluster).tables
    assert table.max_load == 0
    for i, end in enumerate(ends):
        around = [entry for entry in table.entries if entry.destination.contains(end)]
        assert max(around, key=lambda entry: entry.destination.length).node == f"n{i}"


def many_subnets(count: int, budget: int) -> Snapshot:
    """Subnets with one block and one node each."""
    numbers = range(count)
    prefixes = [Prefix(Family.IPV4, (10 << 24) + (i << 8), 24) for i in numbers]
    return snapshot(
        [Subnet(f"s{i:05}", "a", "t", (prefixes[i],)) for i in numbers],
        [Node(f"n{i:05}", f"s{i:05}", f"eni-{i}", {}) for i in numbers],
        [Block(Prefix(Family.IPV4, prefixes[i].value, 26), f"n{i:05}", 1.0) for i in numbers],
        tables_of(budget),
    )


def test_each_of_five_thousand_subnets_gets_an_entry() -> None:
    (table,) = decide(many_subnets(5_000, 5_000)).tables
    assert len(table.entries) == 5_000
    assert not table.unserved
    assert table.max_load == 0


def test_a_budget_below_the_number_of_prefixes_serves_as_many_as_it_can() -> None:
    (table,) = plan(many_subnets(40, 25)).tables
    assert len(table.entries) == 25
    assert len(table.unserved) == 15
    assert all("do not fit the budget of 25" in each.reason for each in table.unserved)
    assert table.proof[Family.IPV4] == Proof(ProofStatus.OPTIMAL, 0.0, 0.0, None)


def test_a_million_blocks_of_one_node_take_one_entry() -> None:
    limits = {Family.IPV4: 3}
    count = 1_000_000
    blocks = BlockColumns(
        Family.IPV4,
        array("Q", bytes(8 * count)),
        array("Q", range(10 << 24, (10 << 24) + count)),
        array("B", b"\x20" * count),
        array("I", bytes(4 * count)),
        array("d", bytes(8 * count)),
    )
    cluster = Snapshot(
        (Subnet("s", "a", "t", (Prefix.parse("10.0.0.0/8"),)),),
        (Node("n", "s", "eni-n", {}),),
        {Family.IPV4: blocks, Family.IPV6: BlockColumns.empty(Family.IPV6)},
        (RouteTable("t", limits, limits),),
    )
    (table,) = decide(cluster).tables
    (entry,) = table.entries
    assert (entry.destination, entry.node) == (Prefix.parse("10.0.0.0/8"), "n")
    assert entry.blocks == count
