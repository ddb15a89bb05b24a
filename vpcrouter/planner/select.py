"""Which subnets a table can serve in a family, when not all of them can be.

A subnet without an allowed plan is left alone: its entries stay and count. Where the budget is too
small for the rest, the subnets that go without are those with the fewest blocks together, and of
several such choices the one that leaves out the least weight: a 0/1 knapsack, solved exactly (but
for the rounding of sums of weights) by dynamic programming over the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vpcrouter.model import Entry, Role, RouteTable, Unserved
from vpcrouter.planner.arrays import Floats
from vpcrouter.planner.problem import FamilyView, Tree


@dataclass(frozen=True, slots=True)
class Selection:
    """The trees to serve and the entries that stay, untouched, for the subnets left out."""

    trees: tuple[Tree, ...]
    kept: tuple[Entry, ...]
    unserved: tuple[Unserved, ...]


@dataclass(frozen=True, slots=True)
class _Demand:
    """What serving a subnet takes: entries at least, or a reason why it cannot be."""

    subnet: int
    trees: tuple[Tree, ...]
    entries: int
    kept: tuple[Entry, ...]
    obstacle: str | None

    @property
    def blocks(self) -> int:
        """How many blocks are in the subnet."""
        return sum(tree.last - tree.first for tree in self.trees)

    def weight(self, of_rows: Floats) -> float:
        """What these blocks weigh."""
        return sum(float(of_rows[tree.first : tree.last].sum()) for tree in self.trees)


def select(
    view: FamilyView,
    table: RouteTable,
    weight: Floats,
    direct_entries: Mapping[int, int],
    budget: int,
) -> Selection:
    """Choose; ``direct_entries`` is what it takes in subnets where nobody forwards for others.

    ``weight`` is that of each row in this table.
    """
    trees_of: dict[int, list[Tree]] = {}
    for tree in view.trees:
        trees_of.setdefault(tree.subnet, []).append(tree)
    demands = [
        _demand(view, table, subnet, trees_of[subnet], direct_entries.get(subnet))
        for subnet in sorted(trees_of)
    ]
    able = [demand for demand in demands if demand.obstacle is None]
    fixed = sum(len(demand.kept) for demand in demands if demand.obstacle is not None)
    served = _knapsack(able, weight, budget - fixed)
    trees = tuple(tree for tree in view.trees if tree.subnet in served)
    left_out = [demand for demand in demands if demand.subnet not in served]
    short = f"its entries do not fit the budget of {budget}: raise the quota"
    return Selection(
        trees,
        tuple(sorted({entry for demand in left_out for entry in demand.kept})),
        tuple(
            Unserved(
                view.snapshot.subnets[demand.subnet].id,
                view.family,
                demand.blocks,
                demand.obstacle or short,
            )
            for demand in left_out
        ),
    )


def _demand(
    view: FamilyView,
    table: RouteTable,
    subnet: int,
    trees: Sequence[Tree],
    direct: int | None,
) -> _Demand:
    crew = view.crew.size(subnet)
    entries = len(trees) if crew or direct is None else direct
    return _Demand(
        subnet,
        tuple(trees),
        entries,
        _kept(view, table, subnet, trees),
        _obstacle(view, table, subnet, trees, crew > 0 or direct is not None),
    )


def _obstacle(
    view: FamilyView, table: RouteTable, subnet: int, trees: Sequence[Tree], possible: bool
) -> str | None:
    inside = [f for f in table.foreign if any(tree.prefix.contains(f) for tree in trees)]
    if inside:
        return f"a foreign entry is in the way: {inside[0]}; remove it or exclude its range"
    if not view.nodes.alive[subnet]:
        return "no node of it is healthy"
    if not possible:
        return "none of its nodes may forward for the blocks of others"
    return None


def _kept(
    view: FamilyView, table: RouteTable, subnet: int, trees: Sequence[Tree]
) -> tuple[Entry, ...]:
    """The present entries that stay while the subnet is unserved."""
    if not table.entries:
        return ()
    merged = view.merged[subnet]

    def healthy(interface: str) -> bool:
        node = view.nodes.by_interface.get(interface, -1)
        return node >= 0 and bool(view.home[node] == subnet and view.role[node] != Role.NOTHING)

    def stays(entry: Entry) -> bool:
        if entry.destination.family is not view.family:
            return False
        if any(prefix.contains(entry.destination) for prefix in merged):
            return True
        over = any(entry.destination.overlaps(tree.prefix) for tree in trees)
        return over and healthy(entry.interface)

    return tuple(entry for entry in table.entries if stays(entry))


def _knapsack(demands: Sequence[_Demand], weight: Floats, room: int) -> frozenset[int]:
    """The subnets to serve: fewest blocks left out, then least weight, with ``room`` entries.

    An entry that would stay for a subnet left out is room that serving it gives back. Where what
    stays takes more than ``room`` whatever is chosen, nobody is served and nothing changes.
    """
    cost = [demand.entries - len(demand.kept) for demand in demands]
    served = {d.subnet for d, c in zip(demands, cost, strict=True) if c <= 0}
    free = room - sum(len(d.kept) for d in demands) - sum(c for c in cost if c <= 0)
    rest = [(d, c) for d, c in zip(demands, cost, strict=True) if c > 0]
    if free < 0:
        return frozenset()
    if sum(c for _, c in rest) <= free:
        return frozenset(served | {d.subnet for d, _ in rest})
    # By entries taken at most: the most blocks that can be served, and the most weight with those.
    blocks = np.zeros(free + 1, dtype=np.int64)
    heaviest = np.zeros(free + 1)
    taken = np.zeros((len(rest), free + 1), dtype=np.bool_)
    for position, (demand, price) in enumerate(rest):
        if price > free:
            continue
        more = blocks[: free + 1 - price] + demand.blocks
        heavier = heaviest[: free + 1 - price] + demand.weight(weight)
        better = more > blocks[price:]
        better |= (more == blocks[price:]) & (heavier > heaviest[price:])
        taken[position, price:] = better
        blocks[price:] = np.where(better, more, blocks[price:])
        heaviest[price:] = np.where(better, heavier, heaviest[price:])
    at = free
    for position in range(len(rest) - 1, -1, -1):
        if taken[position, at]:
            served.add(rest[position][0].subnet)
            at -= rest[position][1]
    return frozenset(served)
