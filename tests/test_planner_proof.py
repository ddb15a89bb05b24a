"""The proofs of plans for hundreds of blocks, verified by a count that shares no code with them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from tests.counts import examples
from tests.optimum import partitions
from tests.optimum.claims import check, claims, same
from tests.optimum.clusters import Make, clusters
from vpcrouter.model import Snapshot

HUNDREDS = Make(
    subnets=(1, 3),
    homes=(20, 200),
    parts=4,
    deep=(0, 3),
    tables=(1, 1),
    peculiar=(0.0, 0.3),
)

HARD = replace(
    HUNDREDS,
    homes=(12, 40),
    owners=("alone", "scattered"),
    crew=False,
    capacity=("equal", "mixed"),
    peculiar=(0.0, 0.3, 0.8),
    present=(False,),
)


@settings(max_examples=examples(test=60, prove=1_500))
@given(cluster=clusters(HUNDREDS))
def test_any_smaller_load_takes_more_entries_than_there_are(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        assert claim.owed
        check(claim, partitions.entries_below)


@settings(max_examples=examples(test=30, prove=1_500))
@given(cluster=clusters(HARD))
def test_where_a_plan_is_searched_for_it_has_the_load_that_it_claims(cluster: Snapshot) -> None:
    """Its entries are allowed and within the budget too, or ``claims`` would say so."""
    for claim in claims(cluster):
        assert same(claim.reached, claim.proof.least_load)
        assert claim.proof.lower_bound <= claim.proof.least_load * (1 + 1e-9)
