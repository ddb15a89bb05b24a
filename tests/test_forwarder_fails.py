"""A forwarder that fails changes the entries that pointed to it, and no other."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.counts import examples
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.planner import plan


def settled(nodes: int, budget: int, tables: int, seed: int, slack: float) -> Snapshot:
    """A subnet whose nodes own a block each somewhere, and tables that hold their plans."""
    homes = Random(seed).sample(range(256), nodes)
    limits = {Family.IPV4: budget}
    cluster = snapshot(
        [Subnet("s", "a", "t0", (Prefix.parse("10.0.0.0/24"),))],
        [Node(f"n{i}", "s", f"eni-{i}", {}) for i in range(nodes)],
        [
            Block(Prefix(Family.IPV4, (10 << 24) + home, 32), f"n{i}")
            for i, home in enumerate(homes)
        ],
        [RouteTable(f"t{n}", limits, limits) for n in range(tables)],
    )
    held = tuple(
        replace(table, entries=tuple(Entry(e.destination, e.interface) for e in made.entries))
        for table, made in zip(cluster.route_tables, plan(cluster, slack).tables, strict=True)
    )
    return replace(cluster, route_tables=held)


@settings(max_examples=examples(test=40, prove=2_000), deadline=None)
@given(
    st.integers(4, 40),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(0, 1 << 32),
    st.sampled_from([0.0, 0.05]),
    st.data(),
)
def test_a_forwarder_that_fails_changes_only_its_own_entries(
    nodes: int, budget: int, tables: int, seed: int, slack: float, data: st.DataObject
) -> None:
    """With blocks that weigh the same, somebody in each of its pieces can take its place."""
    before = settled(nodes, min(budget, nodes - 1), tables, seed, slack)
    hops = sorted({e.interface for table in before.route_tables for e in table.entries})
    failed = data.draw(st.sampled_from(hops))
    members = tuple(structs.replace(n, healthy=n.interface != failed) for n in before.nodes)
    made = plan(replace(before, nodes=members), slack)
    for table, mine in zip(before.route_tables, made.tables, strict=True):
        now = {entry.destination: entry.interface for entry in mine.entries}
        was = {entry.destination: entry.interface for entry in table.entries}
        assert {d for d in was if now.get(d) != was[d]} <= {d for d in was if was[d] == failed}
        assert now.keys() <= was.keys()
