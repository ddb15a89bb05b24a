"""The planner against everything tried and against an integer program, on small snapshots.

The least load is the optimum wherever that is owed; elsewhere what is claimed is true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.optimum import brute, partitions, program
from tests.optimum.case import (
    Case,
    all_trees,
    blocked_by_foreign,
    least_unserved,
    read,
    size,
    suits_exactness,
)
from tests.optimum.claims import EntriesBelow, check, claims
from tests.optimum.clusters import Make, clusters
from tests.snapshots import Shape, snapshots
from tests.strict_model import blocks_of
from vpcrouter.model import (
    Block,
    Kind,
    Node,
    Proof,
    ProofStatus,
    RouteTable,
    Snapshot,
    Subnet,
    snapshot,
)
from vpcrouter.planner import plan

SMALL = Make(homes=(2, 4), idle=(0, 0))
SMALL_ODD = Make(
    homes=(1, 4),
    owners=("alone", "scattered"),
    crew=False,
    capacity=("equal", "by subnet", "mixed", "mixed"),
    peculiar=(0.0, 0.3, 0.6),
)
LARGER = replace(SMALL, subnets=(1, 3), homes=(2, 5), deep=(0, 3), tables=(1, 1))
LARGER_ODD = replace(SMALL_ODD, subnets=(1, 3), homes=(1, 6), deep=(0, 3), tables=(1, 1))
LOST = replace(SMALL_ODD, subnets=(2, 3), present=(True,), lost=True)
SHAPE = Shape(
    max_depth=2, min_nodes=1, max_nodes=3, max_budget=5, weights=("equal", "integers", "zeros")
)


def by_program(case: Case, load: Fraction) -> int | None:
    found = program.fewest_entries(case, load)
    assert found is None or found.load < load
    return None if found is None else found.entries


def by_trying(case: Case, load: Fraction) -> int | None:
    return brute.frontier(case).entries_below(load)


def by_both(case: Case, load: Fraction) -> int | None:
    tried = by_trying(case, load)
    assert tried == by_program(case, load)
    return tried


@settings(max_examples=examples(test=450, prove=4_500))
@given(cluster=clusters(SMALL))
def test_the_least_load_is_the_optimum_and_proven(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        assert claim.owed
        check(claim, by_both)


@settings(max_examples=examples(test=450, prove=4_500))
@given(cluster=clusters(SMALL_ODD))
def test_where_the_problem_is_hard_what_is_claimed_is_true(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        check(claim, by_both)


@settings(max_examples=examples(test=120, prove=1_000))
@given(cluster=clusters(LARGER))
def test_of_several_subnets_the_least_load_is_the_optimum_and_proven(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        assert claim.owed
        check(claim, by_program)


@settings(max_examples=examples(test=120, prove=1_000))
@given(cluster=clusters(LARGER_ODD))
def test_of_several_hard_subnets_what_is_claimed_is_true(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        check(claim, by_program)


@settings(max_examples=examples(test=60, prove=1_000))
@given(cluster=clusters(LOST))
def test_what_entries_of_an_unserved_subnet_load_on_nodes_counts(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        check(claim, by_both)


@settings(max_examples=examples(test=100, prove=1_000))
@given(cluster=snapshots(SHAPE))
def test_whatever_the_tables_hold_what_is_claimed_is_true(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        check(claim, by_program)


@settings(max_examples=examples(test=100, prove=1_000))
@given(cluster=snapshots(SHAPE))
def test_as_few_blocks_as_possible_go_without_and_of_those_the_lightest(cluster: Snapshot) -> None:
    for table, mine in zip(cluster.route_tables, plan(cluster).tables, strict=True):
        for family in mine.proof:
            trees = all_trees(cluster, table, family)
            subnets = {tree.subnet for tree in trees}
            fewest: dict[str, int | None] = dict.fromkeys(subnets)
            for subnet in subnets - blocked_by_foreign(table, trees):
                alone = program.fewest_entries(read(cluster, table, family, subnets - {subnet}))
                fewest[subnet] = None if alone is None else alone.entries
            without = [each for each in mine.unserved if each.family is family]
            blocks, weight = size(trees, [each.subnet for each in without])
            assert blocks == sum(each.blocks for each in without)
            assert (blocks, weight) == least_unserved(cluster, table, family, fewest)


@pytest.mark.parametrize("make", [SMALL_ODD, LARGER, LARGER_ODD], ids=["odd", "larger", "both"])
@settings(max_examples=examples(test=100, prove=1_000))
@given(data=st.data())
def test_where_no_detour_fits_there_is_none_and_no_entry_too_many(
    data: st.DataObject, make: Make
) -> None:
    for claim in claims(data.draw(clusters(make))):
        fewest = brute.fewest_direct(claim.case)
        if fewest is None or fewest > claim.case.budget:
            continue
        trees = [tree.prefix for tree in claim.case.trees]
        chosen = [e for e in claim.entries if any(t.contains(e.destination) for t in trees)]
        assert {entry.kind for entry in chosen} == {Kind.DIRECT}
        assert len(chosen) == fewest or not claim.fresh


@pytest.mark.parametrize(
    ("low", "high", "budget", "least", "less"),
    [
        # Of the four, 32 2 is lighter where its best owner forwards, and else the other half.
        ([32], [32, 2, 16, 4], 2, 20, 3),
        ([32, 2, 16, 8], [16], 2, 18, 3),
    ],
)
def test_which_part_is_cut_off_depends_on_where_the_forwarder_is(
    low: Sequence[float], high: Sequence[float], budget: int, least: float, less: int
) -> None:
    cidrs = [f"10.0.0.{half + 16 * n}/28" for half in (0, 128) for n in range(4)]
    sizes = dict(zip(cidrs, low, strict=False)) | dict(zip(cidrs[4:], high, strict=False))
    (claim,) = claims(_one_tree(budget, sizes))
    check(claim, by_both)
    assert claim.proof == Proof(ProofStatus.OPTIMAL, least, least, less)


def test_only_the_largest_capacities_bound_the_load_from_below() -> None:
    lost = _one_tree(2, {"10.0.0.0/26": 5, "10.0.0.128/26": 5})
    down = [structs.replace(node, healthy=False) for node in lost.nodes]
    able = [
        Node(f"m{number}", "s", f"eni-m{number}", {}, capacity=capacity)
        for number, capacity in enumerate((0.5, 8.0, 0.5, 8.0, 0.5))
    ]
    cluster = snapshot(lost.subnets, [*down, *able], blocks_of(lost), lost.route_tables)
    (claim,) = claims(cluster)
    check(claim, by_both)
    assert claim.proof == Proof(ProofStatus.OPTIMAL, 5 / 8, 5 / 8, None)


# Those who know what is possible.


@settings(max_examples=examples(test=50, prove=500))
@given(cluster=clusters(SMALL_ODD))
def test_everything_tried_and_the_program_find_the_same_optimum(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        case = claim.case
        found = program.least_load(case)
        assert found is not None
        assert found.load == brute.frontier(case).least_load(case.budget)
        assert found.entries <= case.budget


@settings(max_examples=examples(test=50, prove=500))
@given(cluster=clusters(SMALL))
def test_counting_partitions_agrees_with_everything_tried(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        frontier = brute.frontier(claim.case)
        for _, load in frontier.points:
            below = frontier.entries_below(load)
            if load and (below is None or suits_exactness(claim.case, below)):
                assert partitions.entries_below(claim.case, load) == below


def _one_tree(budget: int, weights: Mapping[str, float]) -> Snapshot:
    """One block, with this weight, for each node of one subnet."""
    ipv4 = {Family.IPV4: budget}
    names = {cidr: f"n{number}" for number, cidr in enumerate(weights)}
    return snapshot(
        [Subnet("s", "a", "t", (Prefix.parse("10.0.0.0/24"),))],
        [Node(name, "s", f"eni-{name}", {}) for name in names.values()],
        [Block(Prefix.parse(cidr), names[cidr], weight) for cidr, weight in weights.items()],
        [RouteTable("t", ipv4, ipv4)],
    )


def _four_blocks() -> Snapshot:
    """Two entries for four blocks: one of the nodes has to carry another's."""
    sizes = {"10.0.0.0/26": 5, "10.0.0.64/26": 3, "10.0.0.128/26": 4, "10.0.0.192/26": 1}
    return _one_tree(2, sizes)


@pytest.mark.parametrize("judge", [by_trying, by_program, partitions.entries_below])
def test_a_true_claim_is_confirmed(judge: EntriesBelow) -> None:
    (claim,) = claims(_four_blocks())
    assert claim.proof == Proof(ProofStatus.OPTIMAL, 3.0, 3.0, 3)
    check(claim, judge)


@pytest.mark.parametrize("judge", [by_trying, by_program, partitions.entries_below])
@pytest.mark.parametrize(
    "proof",
    [
        Proof(ProofStatus.OPTIMAL, 4.0, 4.0, 2),
        Proof(ProofStatus.OPTIMAL, 4.0, 4.0, 3),
        Proof(ProofStatus.OPTIMAL, 2.0, 2.0, 3),
        Proof(ProofStatus.OPTIMAL, 3.0, 2.0, 3),
        Proof(ProofStatus.OPTIMAL, 3.0, 3.0, 2),
        Proof(ProofStatus.OPTIMAL, 3.0, 3.0, 4),
        Proof(ProofStatus.OPTIMAL, 3.0, 3.0, None),
        Proof(ProofStatus.BOUNDED, 3.0, 3.0, 3),
        Proof(ProofStatus.BOUNDED, 3.0, 2.0, None),
        Proof(ProofStatus.BOUNDED, 5.0, 4.0, None),
    ],
)
def test_a_false_claim_is_noticed(judge: EntriesBelow, proof: Proof) -> None:
    (claim,) = claims(_four_blocks())
    with pytest.raises(AssertionError):
        check(replace(claim, proof=proof), judge)
