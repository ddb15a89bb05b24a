"""R2 at work: who joins is reachable at once, and what nobody forwards through may come and go."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.histories import Story, network, start, stories, table
from tests.strict_model import Vpc, blocks_of
from vpcrouter.model import Snapshot
from vpcrouter.planner import plan
from vpcrouter.simulate.engine import live
from vpcrouter.simulate.events import Change, Event, Fail, Join, Leave
from vpcrouter.simulate.world import World, happen

SLACK = 0.05


def _settled(story: Story) -> World:
    """The story's cluster, planned and applied; everybody forwards, every block weighs 1."""
    tables = tuple(replace(each, own_subnet_weight=1.0) for each in story.tables)
    world = replace(story, flags={}, tables=tables).world
    return live(world, (), SLACK, plan).end


def _blocks(cluster: Snapshot, node: str) -> list[Prefix]:
    return [block.prefix for block in blocks_of(cluster) if block.node == node]


@settings(max_examples=examples(test=60, prove=1_000))
@given(story=stories(max_events=0), which=st.integers(0, 3))
def test_who_joins_beside_others_is_reachable_before_any_table_changes(
    story: Story, which: int
) -> None:
    before = _settled(story)
    old = Vpc(before.snapshot())
    subnet = before.subnets[which % len(before.subnets)].id
    after = happen(before, Event(0.0, "x", Join(subnet), 2))
    new = Vpc(after.snapshot())
    unserved = {
        (mine.id, each.subnet, each.family)
        for mine in plan(before.snapshot(), SLACK).tables
        for each in mine.unserved
    }
    for block in _blocks(after.snapshot(), "x"):
        if any(tree.contains(block) for tree in old.trees[subnet]):
            for name in new.rows:
                if (name, subnet, block.family) not in unserved:
                    assert new.send(name, block.family, block.value).level == 2
                    assert new.send(name, block.family, block.last).level == 2


@settings(max_examples=examples(test=60, prove=1_000))
@given(story=stories(max_events=0), which=st.integers(0, 30), change=st.sampled_from([Leave, Fail]))
def test_what_is_no_next_hop_comes_and_goes_without_a_step(
    story: Story, which: int, change: type[Leave] | type[Fail]
) -> None:
    """Unless its load was what kept others from a better plan: R5 may then ask for one."""
    world = _settled(story)
    hops = {entry.interface for each in world.tables for entry in each.entries}
    idle = sorted(name for name, node in world.nodes.items() if node.interface not in hops)
    if not idle:
        return
    name = idle[which % len(idle)]
    after = happen(world, Event(1.0, name, change(), 2))
    if after.nodes and _is_good_enough(after.snapshot()):
        assert not any(mine.steps for mine in plan(after.snapshot(), SLACK).tables)


def _is_good_enough(cluster: Snapshot) -> bool:
    """Whether the tables serve all trees, nothing else, and load nobody too much."""
    vpc = Vpc(cluster)
    empty = (replace(each, entries=()) for each in cluster.route_tables)
    for mine in plan(replace(cluster, route_tables=tuple(empty)), 0.0).tables:
        wanted = {tree for trees in vpc.trees.values() for tree in trees}
        for destination in vpc.ours(mine.id):
            if not any(tree.contains(destination) for tree in wanted):
                return False
        for family, proof in mine.proof.items():
            loads = [load for (f, _), load in vpc.loads(mine.id).items() if f is family]
            if float(max(loads, default=Fraction(0))) > proof.least_load * (1 + SLACK):
                return False
    return not any(mine.unserved for mine in plan(cluster, 0.0).tables)


BIG = (160, 130, 85)


@pytest.mark.parametrize(
    ("change", "who"), [(Join("s1"), "x"), (Leave(), "idle"), (Fail(), "idle"), (Fail(), "busy")]
)
def test_a_full_cluster_changes_no_more_than_it_must(change: Change, who: str) -> None:
    """Hundreds of nodes under a budget of 44: no steps for joins, one per table for a next hop."""
    tables = [table(f"t{number}", 44, reserve=2) for number in range(3)]
    pods = replace(network((Family.IPV4,)), cidrs=(Prefix.parse("100.64.0.0/12"),))
    world = live(start(BIG, tables, pods, {}), (), SLACK, plan).end
    hops = {entry.interface for each in world.tables for entry in each.entries}
    names = {
        "x": "x",
        "idle": next(n for n in sorted(world.nodes) if world.nodes[n].interface not in hops),
        "busy": next(n for n in sorted(world.nodes) if world.nodes[n].interface in hops),
    }
    interface = world.nodes[names[who]].interface if who != "x" else ""
    used = sum(e.interface == interface for each in world.tables for e in each.entries)
    (moment,) = live(world, [Event(1.0, names[who], change, 2)], SLACK, plan).moments
    assert moment.steps == used
    assert moment.violations == ()
