"""A planner that follows what happens plans as well as one that plans in full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.histories import network, start
from tests.histories import table as table_of
from tests.optimum.clusters import clusters
from tests.sites import Site
from tests.strict_model import blocks_of
from tests.test_cluster import NAMES
from tests.test_planner_incremental import ANY, ORDERLY, World, any_event
from vpcrouter.model import (
    Block,
    Entry,
    Node,
    Plan,
    RouteTable,
    Snapshot,
    Subnet,
    TablePlan,
    snapshot,
)
from vpcrouter.planner import plan
from vpcrouter.planner.incremental import Failed, Joined, Left, Planned, Recovered, Weighed
from vpcrouter.reachability import violations
from vpcrouter.reconcile.changes import MOST, events
from vpcrouter.reconcile.following import Following
from vpcrouter.simulate.events import Event, Leave
from vpcrouter.simulate.world import happen

EVENTS = 4
ROUNDING = 1 + 1e-7


def entries_of(table: TablePlan) -> tuple[Entry, ...]:
    return tuple(sorted(Entry(each.destination, each.interface) for each in table.entries))


def made_of(cluster: Snapshot, made: Plan) -> Snapshot:
    """The cluster once the plan is in its tables."""
    tables = zip(cluster.route_tables, made.tables, strict=True)
    return replace(
        cluster, route_tables=tuple(replace(t, entries=entries_of(p)) for t, p in tables)
    )


def settled(cluster: Snapshot, following: Following) -> Snapshot:
    for _ in range(4):
        made = following(cluster)
        if not any(table.steps for table in made.tables):
            break
        cluster = made_of(cluster, made)
    return cluster


@pytest.mark.parametrize("make", [ORDERLY, ANY], ids=["orderly", "any"])
@settings(max_examples=examples(test=5, prove=300), deadline=None)
@given(data=st.data(), slack=st.sampled_from([0.0, 0.05, 0.5]), seed=st.integers(0, 2**32))
def test_what_is_followed_is_as_good_as_what_is_planned_in_full(
    data: st.DataObject, slack: float, seed: int, make: object
) -> None:
    random = Random(seed)
    following = Following(slack)
    assert make in (ORDERLY, ANY)
    cluster = settled(data.draw(clusters(ORDERLY if make is ORDERLY else ANY)), following)
    for number in range(EVENTS):
        event = any_event(World.of(cluster), random, number)
        if event is None:
            continue
        world = World.of(cluster).after(event)
        cluster = snapshot(world.subnets, world.nodes.values(), world.blocks.values(), world.tables)
        before = following.followed
        made = following(cluster)
        if following.followed > before:
            check(cluster, made, plan(cluster, slack), slack)
        cluster = settled(made_of(cluster, made), following)


def check(cluster: Snapshot, made: Plan, full: Plan, slack: float) -> None:
    for table, mine, best in zip(cluster.route_tables, made.tables, full.tables, strict=True):
        assert not best.unserved
        assert not violations(cluster, table, entries_of(mine), ())
        assert mine.proof.keys() == best.proof.keys()
        assert mine.weight == pytest.approx(best.weight)
        least = max((proof.least_load for proof in best.proof.values()), default=0.0)
        assert all(
            proof.lower_bound <= best.proof[family].least_load * ROUNDING
            for family, proof in mine.proof.items()
        )
        assert mine.max_load <= least * (1 + slack) * ROUNDING
        held = {entry.destination: entry.interface for entry in table.entries}
        for step in mine.steps:
            assert held.get(step.destination) == step.previous_interface
            held.pop(step.destination, None)
            if step.interface is not None:
                held[step.destination] = step.interface
        assert held == {entry.destination: entry.interface for entry in entries_of(mine)}


DEFAULT = Prefix.parse("0.0.0.0/0")
WEIGHTS = (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8)


def cluster_of(*weights: float) -> Snapshot:
    """A subnet whose nodes own a block each, with these weights."""
    limits = {Family.IPV4: 4}
    numbers = range(len(weights))
    return snapshot(
        [Subnet("s", "a", "t", (Prefix.parse("10.0.0.0/24"),))],
        [Node(f"n{i:02}", "s", f"eni-{i}", {}) for i in numbers],
        [Block(Prefix.parse(f"10.0.0.{8 * i}/29"), f"n{i:02}", weights[i]) for i in numbers],
        [RouteTable("t", limits, limits, 1.0, (), (DEFAULT,))],
    )


def changed(cluster: Snapshot, change: Callable[[Node], Node | None]) -> Snapshot:
    """The same with other nodes; the blocks of those that are no more are gone."""
    nodes = [node for each in cluster.nodes if (node := change(each)) is not None]
    names = {node.name for node in nodes}
    blocks = [block for block in blocks_of(cluster) if block.node in names]
    return snapshot(cluster.subnets, nodes, blocks, cluster.route_tables)


def only(name: str, change: Callable[[Node], Node | None]) -> Callable[[Node], Node | None]:
    return lambda node: change(node) if node.name == name else node


def with_table(cluster: Snapshot, table: RouteTable) -> Snapshot:
    return replace(cluster, route_tables=(table,))


def test_single_events_are_told_from_two_looks() -> None:
    before = cluster_of(*WEIGHTS)
    planned = Planned.of(with_table(before, replace(before.route_tables[0], foreign=())), 0.05)
    fails = changed(before, only("n03", lambda node: structs.replace(node, healthy=False)))
    assert events(planned, before, before) == ()
    assert events(planned, before, fails) == (Failed("n03"),)
    broken, _ = planned.after(Failed("n03"))
    assert events(broken, fails, before) == (Recovered("n03"),)
    fewer = changed(before, only("n05", lambda _: None))
    assert events(planned, before, fewer) == (Left("n05"),)
    block = Block(Prefix.parse("10.0.0.40/29"), "n05", 6.0)
    gone, _ = planned.after(Left("n05"))
    assert events(gone, fewer, before) == (Joined(before.nodes[5], (block,)),)
    heavier = cluster_of(9, *WEIGHTS[1:])
    assert events(planned, before, heavier) == (Weighed(Prefix.parse("10.0.0.0/29"), 9.0),)
    entries = (Entry(Prefix.parse("10.0.0.0/24"), "eni-1"),)
    drifted = with_table(before, replace(before.route_tables[0], entries=entries))
    assert events(planned, before, drifted) == ()


def test_what_is_no_single_event_is_planned_in_full() -> None:
    before = cluster_of(*WEIGHTS)
    planned = Planned.of(with_table(before, replace(before.route_tables[0], foreign=())), 0.05)
    table = before.route_tables[0]
    inside = Prefix.parse("10.0.0.0/28")
    wider = Subnet("s", "a", "t", (Prefix.parse("10.0.0.0/23"),))
    more = [*blocks_of(before), Block(Prefix.parse("10.0.0.128/29"), "n00", 1.0)]
    given = [structs.replace(b, node="n01") if b.node == "n00" else b for b in blocks_of(before)]
    others = [
        changed(before, only("n03", lambda node: structs.replace(node, interface="eni-new"))),
        changed(before, only("n03", lambda node: structs.replace(node, capacity=2.0))),
        changed(before, only("n03", lambda node: structs.replace(node, avoid=True))),
        with_table(before, replace(table, budget={Family.IPV4: 5})),
        with_table(before, replace(table, own_subnet_weight=0.0)),
        with_table(before, replace(table, foreign=(inside,))),
        snapshot([wider], before.nodes, blocks_of(before), before.route_tables),
        snapshot(before.subnets, before.nodes, more, before.route_tables),
        snapshot(before.subnets, before.nodes, given, before.route_tables),
    ]
    assert [events(planned, before, after) for after in others] == [None] * len(others)
    fails = changed(before, only("n03", lambda node: structs.replace(node, healthy=False)))
    broken, _ = planned.after(Failed("n03"))
    assert events(broken, fails, others[0]) is None


def test_many_events_at_once_are_planned_in_full() -> None:
    before = cluster_of(*[1.0] * 32)
    planned = Planned.of(with_table(before, replace(before.route_tables[0], foreign=())), 0.05)
    assert len(before.nodes) == MOST
    heavier = cluster_of(*[2.0] * 32)
    found = events(planned, before, heavier)
    assert found is not None
    assert len(found) == MOST
    fails = changed(heavier, only("n03", lambda node: structs.replace(node, healthy=False)))
    assert events(planned, before, fails) is None


def test_a_full_pass_follows_each_event() -> None:
    following = Following(0.05)
    cluster = settled(cluster_of(*WEIGHTS), following)
    hop = "eni-7"
    assert hop in {entry.interface for entry in cluster.route_tables[0].entries}
    name = "n07"
    fails = changed(cluster, only(name, lambda node: structs.replace(node, healthy=False)))
    made = following(fails)
    assert following.followed == 1
    assert [step.previous_interface for step in made.tables[0].steps] == [hop]
    fails = made_of(fails, made)
    assert not following(fails).tables[0].steps
    assert following.followed == 1, "nothing has happened since"


def test_room_that_is_owed_is_made_with_the_next_full_plan() -> None:
    """An event is followed at once; room for the nodes to come waits for the look after that."""
    world = start((103, 32, 53), [table_of("t0", 5)], network((Family.IPV4,), 12), {})
    following = Following(0.05)
    names = sorted(world.nodes)
    owed = 0
    for second, name in enumerate(Random(18).sample(names, 20)):
        at_rest = settled(world.snapshot(), following)
        world = replace(world, tables=at_rest.route_tables)
        world = happen(world, Event(second, name, Leave(), second))
        left = replace(world.snapshot(), coming=world.coming())
        before = following.followed
        first = made_of(left, following(left))
        if following.followed > before:
            seen = replace(first, coming=())
            then = following(seen)
            assert then == plan(first, 0.05)
            owed += then != plan(seen, 0.05)
            first = made_of(seen, then)
        world = replace(world, tables=first.route_tables)
    assert owed


def test_a_loop_follows_what_happens(tmp_path: Path) -> None:
    site = Site(tmp_path, NAMES)
    following = Following(0.05)
    loop = site.loop(following)
    site.run(loop, 30)
    before = following.followed
    site.nodes(NAMES, "a0")
    site.run(loop, 5)
    assert following.followed == before + 1
    assert all("eni-a0" not in rows.values() for rows in site.tables().values())
    site.nodes(NAMES)
    site.run(loop, 70)
    view = site.cluster().planned()
    assert not any(table.steps for table in plan(view.snapshot, 0.05).tables)
