"""The loads of all tables together: counted as packets meet them, bounded from both sides."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import isclose
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.histories import Story, network, start, stories, table
from tests.optimum.case import read
from tests.optimum.clusters import Make, clusters
from tests.optimum.together import least_combined
from tests.strict_model import Vpc
from vpcrouter.combined import combined_load, combined_loads, least_combined_load
from vpcrouter.model import (
    Block,
    Entry,
    Kind,
    Node,
    RouteTable,
    Snapshot,
    Subnet,
    TablePlan,
    snapshot,
)
from vpcrouter.planner import plan
from vpcrouter.simulate.engine import live
from vpcrouter.wire import dump_plan


def test_loads_of_a_node_add_up() -> None:
    assert combined_loads([("a", 1.0), ("b", 2.0), ("a", 2.5)]) == {"a": 3.5, "b": 2.0}


@settings(max_examples=examples(test=40, prove=1_000))
@given(stories(max_events=3))
def test_the_combined_load_is_what_packets_of_all_tables_meet(story: Story) -> None:
    history = live(story.world, story.events, 0.05, plan)
    end = (history.start, *history.moments)[-1]
    settled = history.end.snapshot()
    made = plan(settled, 0.05)
    if not end.unserved:
        vpc = Vpc(settled)
        loads = [
            (node, float(load))
            for table in vpc.rows
            for (_, node), load in vpc.loads(table).items()
        ]
        met = combined_loads(loads)
        assert isclose(combined_load(made), max(met.values(), default=0.0), abs_tol=1e-9)
        assert least_combined_load(made) <= combined_load(made) * (1 + 1e-9)
    summary = json.loads(dump_plan(made, settled))["summary"]
    assert summary["combined_load"] == combined_load(made)


def planned_alone(cluster: Snapshot, slack: float) -> list[TablePlan]:
    """Each table planned as if it were the only one."""
    alone = [replace(cluster, route_tables=(table,)) for table in cluster.route_tables]
    return [plan(one, slack).tables[0] for one in alone]


@settings(max_examples=examples(test=60, prove=2_000), deadline=None)
@given(stories(max_events=3), st.sampled_from([0.0, 0.05]))
def test_no_table_gets_worse_by_the_others(story: Story, slack: float) -> None:
    cluster = live(story.world, story.events, 0.05, plan).end.snapshot()
    made = plan(cluster, slack)
    for together, alone in zip(made.tables, planned_alone(cluster, slack), strict=True):
        assert together.proof == alone.proof
        assert together.unserved == alone.unserved
        assert len(together.entries) <= len(alone.entries)
        for family, proof in together.proof.items():
            entries = [e for e in together.entries if e.destination.family is family]
            loads = combined_loads((e.node, e.load) for e in entries if e.node is not None)
            if not together.unserved:
                assert max(loads.values(), default=0) <= proof.least_load * (1 + slack) + 1e-9


def naive(cluster: Snapshot) -> float:
    """The combined load where every table takes the forwarders that it would take alone."""
    loads = [
        (entry.node, entry.load)
        for table in planned_alone(cluster, 0.0)
        for entry in table.entries
        if entry.node is not None
    ]
    return max(combined_loads(loads).values(), default=0.0)


@settings(max_examples=examples(test=40, prove=1_000), deadline=None)
@given(stories(max_events=0), st.integers(2, 4))
def test_tables_alike_carry_at_most_what_the_same_forwarders_in_all_would(
    story: Story, number: int
) -> None:
    one = story.tables[0]
    tables = tuple(replace(one, id=f"t{i}", own_subnet_weight=1.0) for i in range(number))
    world = start(story.sizes, tables, story.pods, story.flags)
    cluster = world.snapshot()
    made = plan(cluster)
    assert combined_load(made) <= naive(cluster) * (1 + 1e-9)
    assert least_combined_load(made) <= combined_load(made) * (1 + 1e-9)


@pytest.mark.parametrize("families", [(Family.IPV4,), (Family.IPV4, Family.IPV6)])
def test_while_nodes_suffice_no_node_forwards_twice(families: tuple[Family, ...]) -> None:
    """Three tables and every family take different nodes: the bound is met."""
    tables = [table(f"t{number}", 4) for number in range(3)]
    world = start([24, 16], tables, network(families, 16), {})
    made = plan(world.snapshot())
    assert combined_load(made) == max(one.max_load for one in made.tables) > 0
    assert combined_load(made) == least_combined_load(made)
    forwarders = [
        entry.node for one in made.tables for entry in one.entries if entry.kind is Kind.AGGREGATE
    ]
    assert len(forwarders) == len(set(forwarders)) == 12 * len(families)


def measured(nodes: int, number: int, budget: int, seed: int) -> Snapshot:
    """Subnets whose nodes all weigh and carry differently, and so many tables alike."""
    random = Random(seed)
    names = [f"t{n}" for n in range(number)]
    limits = {Family.IPV4: budget}
    subnets = [
        Subnet(f"s{n}", "a", names[n % number], (Prefix(Family.IPV4, (10 << 24) + (n << 16), 16),))
        for n in range(2)
    ]
    members = [
        Node(f"{s.id}n{n:03}", s.id, f"eni-{s.id}-{n}", {}, capacity=random.choice([0.75, 1.25, 5]))
        for s in subnets
        for n in range(nodes)
    ]
    homes = {s.id: iter(random.sample(range(1 << 10), nodes)) for s in subnets}
    start = {s.id: s.prefixes[0].value for s in subnets}
    blocks = [
        Block(
            Prefix(Family.IPV4, start[node.subnet] + next(homes[node.subnet]) * 64, 26),
            node.name,
            random.uniform(0.5, 1.5),
        )
        for node in members
    ]
    return snapshot(subnets, members, blocks, [RouteTable(n, limits, limits) for n in names])


@pytest.mark.parametrize("which", range(4))
def test_within_the_slack_tables_take_different_nodes_though_no_two_are_alike(which: int) -> None:
    cluster = measured(nodes=300, number=3, budget=30, seed=which)
    made = plan(cluster, 0.05)
    assert naive(cluster) > 2 * least_combined_load(made)
    assert combined_load(made) <= least_combined_load(made) * 1.05 * (1 + 1e-9)


@pytest.mark.parametrize("which", range(4))
def test_next_hops_that_are_there_stay_whatever_tables_carry_together(which: int) -> None:
    """Somebody applied tables that were planned one by one: within the slack nothing changes."""
    cluster = measured(nodes=60, number=3, budget=20, seed=which)
    alone = planned_alone(cluster, 0.0)
    tables = tuple(
        replace(table, entries=tuple(Entry(e.destination, e.interface) for e in made.entries))
        for table, made in zip(cluster.route_tables, alone, strict=True)
    )
    made = plan(replace(cluster, route_tables=tables), 0.05)
    assert not [step for table in made.tables for step in table.steps]


SMALL = Make(
    subnets=(1, 2),
    homes=(2, 4),
    parts=1,
    crew=False,
    tables=(2, 2),
    capacity=("equal", "mixed"),
    weights=("integers", "zipf", "quarters"),
    present=(False,),
)


@settings(max_examples=examples(test=25, prove=500), deadline=None)
@given(cluster=clusters(SMALL), slack=st.sampled_from([0.0, 0.05]))
def test_no_choice_for_all_tables_goes_under_the_bound_or_is_missed_by_the_program(
    cluster: Snapshot, slack: float
) -> None:
    """The bound is one, and what an integer program finds is at most what the plan has."""
    made = plan(cluster, slack)
    cases = []
    for one, mine in zip(cluster.route_tables, made.tables, strict=True):
        (family,) = mine.proof
        allowed = Fraction(mine.proof[family].least_load) * Fraction(1 + slack)
        unserved = [each.subnet for each in mine.unserved]
        cases.append((read(cluster, one, family, unserved), max(allowed, Fraction(mine.max_load))))
    least = float(least_combined(cases))
    assert least_combined_load(made) <= least * (1 + 1e-6)
    assert least <= combined_load(made) * (1 + 1e-6)
