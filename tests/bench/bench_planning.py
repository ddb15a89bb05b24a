"""Planning, with the columns of the snapshot in memory; times are of the processor.

The unit of a plan's time is one stable ``numpy.argsort`` of a million shuffled numbers, measured
in the same run, since machines differ.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import log2
from random import Random

import numpy as np
from msgspec import structs

from ipam.prefix import Family, Prefix
from tests.bench.figures import Figure
from tests.bench.shapes import Shape, alike, column, mostly_nothing, pareto, zipf
from vpcrouter.model import (
    Action,
    Block,
    Entry,
    Snapshot,
    TablePlan,
)
from vpcrouter.planner import decide, plan
from vpcrouter.planner.incremental import Failed, Joined, Left, Planned, Weighed

MILLION = 1_000_000
SLACK = 0.05

# Those whose least load is proven, at most as long as the sort (IPv6: two of them).
LARGE = {
    "equal weights": Shape(MILLION, 1000),
    "equal, no gaps": Shape(MILLION, 1000, gaps=False),
    "skewed": Shape(MILLION, 1000, weights=pareto),
    "Zipf 1.0": Shape(MILLION, 1000, weights=zipf(1.0)),
    "Zipf 1.2": Shape(MILLION, 1000, weights=zipf(1.2)),
    "one subnet, skewed": Shape(MILLION, 1000, 1, weights=pareto),
    "500 subnets, skewed": Shape(MILLION, 1000, 500, weights=pareto),
    "most weigh nothing": Shape(MILLION, 1000, weights=mostly_nothing),
    "one node": Shape(MILLION, 1000, 1, per_node=MILLION),
}
LARGE_IPV6 = {
    "IPv6, skewed": Shape(MILLION, 1000, family=Family.IPV6, weights=pareto),
    "IPv6, behind bit 64": Shape(MILLION, 1000, family=Family.IPV6, weights=pareto, deep=True),
}
# Without a goal: where no exact way is known, and where more has to be looked at.
OTHERS = {
    "capacities 1, 2, 4": Shape(MILLION, 1000, weights=pareto, capacities=(1.0, 2.0, 4.0)),
    "4 side by side a node": Shape(MILLION, 1000, weights=pareto, per_node=4, gaps=False),
    "10 anywhere a node": Shape(MILLION, 1000, weights=pareto, per_node=10, scattered=True),
    "1,000 anywhere a node": Shape(MILLION, 1000, per_node=1000, scattered=True),
    "budget 50": Shape(MILLION, 50, weights=pareto),
    "5,000 subnets": Shape(MILLION, 6000, 5000, weights=pareto),
}
SMALLER = {
    "equal weights": Shape(100_000, 500),
    "skewed": Shape(100_000, 500, weights=pareto),
    "one subnet": Shape(100_000, 500, 1),
}


def figures() -> Iterator[Figure]:
    """From nothing in many shapes, after single events, and with nodes replaced."""
    unit = processor(sort())
    yield Figure("stable argsort of a million shuffled numbers", unit, "s")
    for shapes, goal in ((LARGE, 1.0), (LARGE_IPV6, 2.0), (OTHERS, None)):
        for name, shape in shapes.items():
            yield from _from_nothing(f"1,000,000 blocks, {name}", shape, unit, goal)
    yield from _six_tables(unit)
    for name, shape in SMALLER.items():
        yield from _from_nothing(f"100,000 blocks at 500, {name}", shape, unit, 0.5)
    yield from _scattered()
    yield from _growth()
    yield from _events(Shape(100_000, 500, weights=pareto), 3)
    yield from _events(Shape(MILLION, 1000, weights=pareto), 15)
    yield from _replaced()


def processor(run: Callable[[], object], times: int = 3) -> float:
    """The median of the processor's seconds of several runs, after one that warms up."""
    run()
    taken = []
    for _ in range(times):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def sort() -> Callable[[], object]:
    """What times are compared with."""
    numbers = np.random.default_rng(0).permutation(MILLION).astype(np.int64)
    return partial(np.argsort, numbers, kind="stable")


def _from_nothing(name: str, shape: Shape, unit: float, goal: float | None) -> Iterator[Figure]:
    cluster = shape.snapshot()
    seconds = processor(partial(decide, cluster), times=1 if goal is None else 3)
    yield Figure(f"plan {name}", seconds / unit, "argsorts", goal)
    (table,) = decide(cluster).tables
    if goal is None:
        yield Figure("  load over its lower bound", _gap(table), "")
        return
    tracemalloc.start()
    decide(cluster)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    yield Figure("  memory beyond the input", peak, "MB", 40)
    yield Figure("  load over its lower bound", _gap(table), "", 1 + 1e-9)


def _six_tables(unit: float) -> Iterator[Figure]:
    """Each subnet with a table of its own, which all hold everything."""
    one = Shape(MILLION, 1000, weights=pareto).snapshot()
    (table,) = one.route_tables
    names = [f"t{number}" for number in range(len(one.subnets))]
    subnets = [replace(s, route_table=t) for s, t in zip(one.subnets, names, strict=True)]
    tables = tuple(replace(table, id=name) for name in names)
    six = replace(one, subnets=tuple(subnets), route_tables=tables)
    seconds = processor(partial(decide, six))
    yield Figure("plan 1,000,000 blocks, skewed, six tables", seconds / unit, "argsorts")


def _gap(table: TablePlan) -> float:
    (proof,) = table.proof.values()
    return table.max_load / proof.lower_bound if proof.lower_bound else 1.0


def _scattered() -> Iterator[Figure]:
    cluster = Shape(225_000, 500, 1, per_node=4.5, scattered=True).snapshot()
    seconds = processor(partial(decide, cluster))
    yield Figure("plan 50,000 nodes with 1 to 8 blocks anywhere, budget 500", seconds, "s", 1)
    yield Figure("  load over its lower bound", _gap(decide(cluster).tables[0]), "")


def _growth() -> Iterator[Figure]:
    """How the time grows beside n log n, entries in proportion."""
    small, large = 10_000, MILLION
    taken = [
        processor(partial(decide, Shape(n, n // 1000, weights=pareto).snapshot()), times=5)
        for n in (small, large)
    ]
    least = large * log2(large) / (small * log2(small))
    yield Figure(
        "growth from 10,000 to a million, over n log n", taken[1] / taken[0] / least, "", 1
    )


# One event after the other.


def _events(shape: Shape, goal: float) -> Iterator[Figure]:
    cluster = shape.snapshot()
    planned = Planned.of(cluster, SLACK)
    random = Random(1)
    name = f"{shape.blocks:,} blocks, one"
    nodes = random.sample(range(len(cluster.nodes)), 150)
    hops = random.sample(sorted(planned.parts[0].load), 50)
    events: dict[str, list[Left | Failed | Joined | Weighed]] = {
        "leave": [Left(cluster.nodes[node].name) for node in nodes[:50]],
        "fail": [Failed(cluster.nodes[node].name) for node in nodes[50:100]],
        "forwarder leaves": [Left(cluster.nodes[h].name) for h in hops if h not in nodes[:100]],
        "weight": [Weighed(_block(cluster, node), 2.0) for node in nodes[100:150]],
    }
    events["join"] = [_back(cluster, node) for node in nodes[:50]]
    for kind, mine in events.items():
        taken = []
        changes = 0
        for event in mine:
            start = time.process_time()
            planned, changed = planned.after(event)
            taken.append((time.process_time() - start) * 1000)
            changes += len(changed)
        yield Figure(f"{name} {kind}", statistics.median(taken), "ms", goal)
        yield Figure("  the slowest of 50", max(taken), "ms")
        yield Figure("  entries changed by each", changes / len(mine), "")


def _row_of(cluster: Snapshot, node: int) -> int:
    owner = np.frombuffer(cluster.blocks[Family.IPV4].node, dtype=np.uint32)
    return int(np.flatnonzero(owner == node)[0])


def _block(cluster: Snapshot, node: int) -> Prefix:
    return cluster.blocks[Family.IPV4].prefix(_row_of(cluster, node))


def _back(cluster: Snapshot, number: int) -> Joined:
    """A new node in the place of one that has left."""
    name = f"new{number}"
    node = structs.replace(cluster.nodes[number], name=name, interface=f"eni-{name}")
    return Joined(node, (Block(_block(cluster, number), name, 1.0),))


# Some nodes replaced by others elsewhere.


def _replaced() -> Iterator[Figure]:
    """1 % of 100,000 nodes: changes beside those that no plan could do without."""
    for name, weights in (("equal", alike), ("skewed", pareto)):
        shape = Shape(100_000, 500, 1, weights=weights)
        before = shape.snapshot()
        (held,) = decide(before).tables
        after = replaced(before, held, 0.01)
        (table,) = plan(after, SLACK).tables
        there = set(after.node_columns.interface)
        must = sum(entry.interface not in there for entry in held.entries)
        prefixes = [step for step in table.steps if step.action is not Action.REPLACE]
        hops = len(table.steps) - len(prefixes)
        title = f"1 % of 100,000 nodes replaced, budget 500, {name}"
        yield Figure(f"{title}: next hops, beside those that must", hops / must, "", 1.1)
        yield Figure("  prefix changes", len(prefixes), "", 3)
        yield Figure("  next hops that must change: a lower bound on all changes", must, "")
        yield Figure(
            "  load over the least", table.max_load / table.proof[Family.IPV4].least_load, ""
        )
        yield Figure("  time of the plan", processor(partial(decide, after, SLACK)), "s")


def replaced(old: Snapshot, held: TablePlan, share: float) -> Snapshot:
    """Some nodes have left, and as many new ones have joined elsewhere."""
    random = np.random.default_rng(2)
    columns = old.blocks[Family.IPV4]
    count = len(columns)
    low = np.frombuffer(columns.low, dtype=np.uint64)
    size = np.uint64(1) << np.uint64(32 - columns.length[0])
    gone = random.choice(count, int(share * count), replace=False)
    free = np.setdiff1d(np.arange(low[0], low[-1], size, dtype=np.uint64), low)
    fresh = low.copy()
    fresh[gone] = random.choice(free, len(gone), replace=False)
    order = np.argsort(fresh)
    owner = np.frombuffer(columns.node, dtype=np.uint32)
    nodes = old.node_columns
    interface = list(nodes.interface)
    for row in gone.tolist():
        interface[int(owner[row])] = f"eni-new{row}"
    columns = replace(
        columns,
        low=column("Q", fresh[order], np.uint64),
        node=column("I", owner[order], np.uint32),
        weight=column("d", np.frombuffer(columns.weight)[order], np.float64),
    )
    entries = tuple(Entry(entry.destination, entry.interface) for entry in held.entries)
    return Snapshot(
        old.subnets,
        replace(nodes, interface=interface),
        {**old.blocks, Family.IPV4: columns},
        tuple(replace(table, entries=entries) for table in old.route_tables),
    )
