"""Weights and capacities of very different size: nothing small is lost beside what is large."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from tests.counts import examples
from vpcrouter.model import Block, Node, Plan, ProofStatus, RouteTable, Subnet, snapshot
from vpcrouter.planner import plan

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
