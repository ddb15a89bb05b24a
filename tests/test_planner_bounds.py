"""What no plan can go under, beside what the best plan has."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.optimum import program
from tests.optimum.case import read
from tests.optimum.clusters import Make, clusters
from vpcrouter.model import Block, Node, ProofStatus, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.planner import plan
from vpcrouter.planner.bounds import prepare
from vpcrouter.planner.owners import owners
from vpcrouter.planner.plan import choose_all
from vpcrouter.planner.problem import FamilyView, NodeView

V4 = Family.IPV4
ROUNDING = 1 + Fraction(1, 10**9)
SCARCE = Make(
    subnets=(1, 3),
    homes=(2, 5),
    deep=(1, 3),
    crew=False,
    owners=("alone", "scattered"),
    capacity=("equal", "mixed"),
    peculiar=(0.3, 0.6, 0.8),
    present=(False,),
)


@settings(max_examples=examples(test=150, prove=5_000))
@given(cluster=clusters(SCARCE))
def test_no_plan_is_below_what_is_known_before_any_search(cluster: Snapshot) -> None:
    nodes = NodeView.of(cluster)
    views = [FamilyView.of(cluster, family, nodes) for family in Family]
    for view, table, chosen in choose_all(cluster, views, 0.0):
        problem = chosen.problem
        if problem is None or chosen.unserved:
            continue
        ground = prepare(problem, owners(problem), problem.budget)
        best = program.least_load(read(cluster, table, view.family, ()))
        assert best is not None
        assert max(ground.known, ground.floor) <= best.load * ROUNDING


def _few_forward(budget: int, weights: list[int], capacities: list[float]) -> Snapshot:
    """A node to avoid for each weight, and forwarders of these capacities that own nothing."""
    home = Prefix.parse("10.0.0.0/16")
    avoided = [Node(f"n{i:02}", "s", f"eni-n{i}", {}, avoid=True) for i in range(len(weights))]
    crew = [Node(f"m{i}", "s", f"eni-m{i}", {}, each) for i, each in enumerate(capacities)]
    blocks = [
        Block(Prefix(V4, home.value + (i << 6), 26), f"n{i:02}", float(weight))
        for i, weight in enumerate(weights)
    ]
    table = RouteTable("t", {V4: budget}, {V4: budget})
    return snapshot([Subnet("s", "s", "t", (home,))], [*avoided, *crew], blocks, [table])


@pytest.mark.parametrize(
    ("budget", "capacities", "least"),
    [
        (1, [1.0], 210.0),  # one entry catches everything
        (4, [1.0], 153.0),  # the three heaviest go straight to their owners
        (4, [4.0, 0.25], 38.25),  # a second forwarder would take an entry that relieves more
        (19, [1.0, 1.0], 3.0),  # all go straight to their owners but two
    ],
)
def test_an_entry_of_a_forwarder_is_none_for_an_owner(
    budget: int, capacities: list[float], least: float
) -> None:
    """Beyond the size that is solved exactly: the bound is what proves these."""
    cluster = _few_forward(budget, list(range(1, 21)), capacities)
    (made,) = plan(cluster).tables
    proof = made.proof[V4]
    assert (made.max_load, proof.lower_bound, proof.status) == (least, least, ProofStatus.OPTIMAL)


def test_who_owns_much_and_can_carry_little_is_not_taken_for_strong() -> None:
    """A weak node with two blocks gets a quarter of all: with half it would carry seven."""
    home = Prefix.parse("10.0.0.0/16")
    weights = {place: 100.0 if place == 0 else 1.0 for place in range(16)}
    owner = {place: "weak" if place in (0, 8) else f"n{place:02}" for place in weights}
    nodes = [
        Node(name, "s", f"eni-{name}", {}, capacity=1.0 if name == "weak" else 4.0)
        for name in sorted(set(owner.values()))
    ]
    blocks = [
        Block(Prefix(V4, home.value + (place << 6), 26), owner[place], weight)
        for place, weight in weights.items()
    ]
    table = RouteTable("t", {V4: 2}, {V4: 2})
    (made,) = plan(snapshot([Subnet("s", "s", "t", (home,))], nodes, blocks, [table])).tables
    assert made.max_load == 3.0
