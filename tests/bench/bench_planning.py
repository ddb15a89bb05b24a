"""Planning, with the columns of the snapshot in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

from ipam.prefix import Family, Prefix
from tests.bench.figures import Figure, seconds
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot
from vpcrouter.planner import plan

NETWORK = Prefix.parse("10.0.0.0/8")
BLOCK_LENGTH = 26


def figures() -> Iterator[Figure]:
    """From nothing, then again with 1 % of the nodes replaced and slack."""
    for blocks, budget, goal in ((10_000, 500, 0.2), (100_000, 500, None)):
        for skewed in (False, True):
            fresh = scattered(blocks, budget, skewed=skewed)
            name = f"{blocks:,} {'skewed' if skewed else 'equal'} blocks at budget {budget}"
            yield Figure(f"plan {name}", seconds(partial(plan, fresh), times=3), "s", goal)
        planned = holding(
            fresh, [(e.destination, e.interface) for e in plan(fresh).tables[0].entries]
        )
        changed = replaced(planned, share=0.01)
        name = f"{blocks:,} blocks, 1 % of nodes replaced, slack 5 %"
        yield Figure(f"plan {name}", seconds(partial(plan, changed, 0.05), times=3), "s")
        yield Figure(f"  steps, {name}", len(plan(changed, 0.05).tables[0].steps), "steps")


def scattered(blocks: int, budget: int, *, skewed: bool) -> Snapshot:
    """One table and subnet; every node owns one block somewhere in the network."""
    random = Random(1)
    places = random.sample(range(1 << (BLOCK_LENGTH - NETWORK.length)), blocks)
    limits = {Family.IPV4: budget}
    return snapshot(
        subnets=[Subnet("s", "a", "t", (NETWORK,))],
        nodes=[node(number) for number in range(blocks)],
        blocks=[
            Block(at(place), f"n{number}", random.paretovariate(1.2) if skewed else 1.0)
            for number, place in enumerate(places)
        ],
        route_tables=[RouteTable("t", limits, limits)],
    )


def node(number: int) -> Node:
    """A node with a name, an interface and no address."""
    return Node(f"n{number}", "s", f"eni-{number}", {})


def at(place: int) -> Prefix:
    """The block with that number in the network."""
    return Prefix(Family.IPV4, NETWORK.value + (place << (32 - BLOCK_LENGTH)), BLOCK_LENGTH)


def holding(old: Snapshot, entries: list[tuple[Prefix, str]]) -> Snapshot:
    """The same with these entries in its table."""
    (table,) = old.route_tables
    held = tuple(Entry(destination, interface) for destination, interface in entries)
    new = RouteTable(table.id, table.limit, table.budget, entries=held)
    return Snapshot(old.subnets, old.nodes, old.blocks, (new,))


def replaced(old: Snapshot, share: float) -> Snapshot:
    """Some nodes have left, and as many new ones have joined elsewhere."""
    random = Random(2)
    columns = old.blocks[Family.IPV4]
    gone = set(random.sample(range(len(columns)), int(share * len(columns))))
    taken = {columns.value(row) for row in range(len(columns))}
    kept = [
        Block(columns.prefix(row), old.nodes[columns.node[row]].name, columns.weight[row])
        for row in range(len(columns))
        if row not in gone
    ]
    leaving = {columns.node[row] for row in gone}
    nodes = [n for index, n in enumerate(old.nodes) if index not in leaving]
    free = iter(random.sample(range(1 << (BLOCK_LENGTH - NETWORK.length)), 2 * len(columns)))
    for number in range(len(gone)):
        place = next(place for place in free if at(place).value not in taken)
        nodes.append(node(len(old.nodes) + number))
        kept.append(Block(at(place), nodes[-1].name))
    return snapshot(old.subnets, nodes, kept, old.route_tables)
