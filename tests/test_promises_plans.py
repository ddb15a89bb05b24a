"""Whatever a cluster and its tables look like: a plan and its steps keep the promises R1 to R7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.counts import examples
from tests.promises import apply, apply_steps, check_settled, settled
from tests.snapshots import EXACT, Shape, snapshots
from tests.strict_model import Vpc, blocks_of
from vpcrouter.model import Snapshot, snapshot
from vpcrouter.planner import plan
from vpcrouter.wire import dump_plan

T = TypeVar("T")

SLACKS = st.sampled_from([0.0, 0.05, 0.5])

ORDERLY = Shape(all_healthy=True, foreign=False, roomy=True, min_nodes=1)
TIGHT = Shape(max_budget=4, min_nodes=1)


@pytest.mark.parametrize(
    "shape", [Shape(), ORDERLY, EXACT, TIGHT], ids=["any", "orderly", "exact", "tight"]
)
@settings(max_examples=examples(test=25, prove=1_000))
@given(data=st.data(), slack=SLACKS)
def test_a_plan_and_its_steps_keep_every_promise(
    data: st.DataObject, slack: float, shape: Shape
) -> None:
    cluster = data.draw(snapshots(shape))
    made = plan(cluster, slack)
    check_settled(cluster, apply(cluster, made), made, slack)


@settings(max_examples=examples(test=50, prove=1_500))
@given(cluster=snapshots(), slack=SLACKS)
def test_what_is_settled_stands_still(cluster: Snapshot, slack: float) -> None:
    after = settled(cluster, apply(cluster, plan(cluster, slack)))
    assert [table.steps for table in plan(after, slack).tables if table.steps] == []


@settings(max_examples=examples(test=8, prove=150))
@given(cluster=snapshots(replace(Shape(), max_subnets=2, max_tables=2)), slack=SLACKS)
def test_interrupted_anywhere_and_planned_again_it_converges(
    cluster: Snapshot, slack: float
) -> None:
    for number, table in enumerate(plan(cluster, slack).tables):
        for made in range(len(table.steps)):
            vpc = Vpc(cluster)
            for step in table.steps[:made]:
                vpc.do(table.id, step)
            between = settled(cluster, vpc)
            again = plan(between, slack)
            apply_steps(vpc, table.id, again.tables[number].steps)
            after = settled(cluster, vpc)
            assert plan(after, slack).tables[number].steps == ()


@settings(max_examples=examples(test=60, prove=1_000))
@given(cluster=snapshots(), slack=SLACKS, seed=st.integers(0, 1_000))
def test_the_order_of_the_input_does_not_matter(cluster: Snapshot, slack: float, seed: int) -> None:
    shuffled = _shuffled(cluster, Random(seed))
    assert dump_plan(plan(shuffled, slack), shuffled) == dump_plan(plan(cluster, slack), cluster)


def _shuffled(cluster: Snapshot, random: Random) -> Snapshot:
    def mixed(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(random.sample(values, len(values)))

    return snapshot(
        mixed([replace(s, prefixes=mixed(s.prefixes)) for s in cluster.subnets]),
        mixed(cluster.nodes),
        mixed(blocks_of(cluster)),
        mixed(
            [
                replace(t, entries=mixed(t.entries), foreign=mixed(t.foreign))
                for t in cluster.route_tables
            ]
        ),
    )
