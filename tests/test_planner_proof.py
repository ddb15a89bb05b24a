"""The proofs of plans for hundreds of blocks, verified by a count that shares no code with them."""

from __future__ import annotations

from hypothesis import given, settings

from tests.counts import examples
from tests.optimum import partitions
from tests.optimum.claims import check, claims
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


@settings(max_examples=examples(test=60, prove=1_500))
@given(cluster=clusters(HUNDREDS))
def test_any_smaller_load_takes_more_entries_than_there_are(cluster: Snapshot) -> None:
    for claim in claims(cluster):
        assert claim.owed
        check(claim, partitions.entries_below)
