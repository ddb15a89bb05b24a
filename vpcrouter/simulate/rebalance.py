"""Which nodes, once drained, would make loads more even: tried out on a copy of the cluster. Pure.

Addresses in use never change. A node that is drained and comes back as a new one gets other ones,
and placement gives it those where least is given out. So the pieces with the largest load lose one
node each, again and again, and what that makes of the least possible load is planned anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from ipam.model import Claim, State
from ipam.placement import grow, join, leave
from ipam.prefix import Family
from vpcrouter.model import Kind, Plan, PlannedEntry, RouteTable, Snapshot
from vpcrouter.reachability import Ground, TableState
from vpcrouter.simulate.world import World

Planner = Callable[[Snapshot], Plan]
"""Makes the plan with the least load."""

_FRUITLESS = 3  # rounds in a row without a smaller load, after which nothing more is tried
_NEAR = 0.98  # of the largest load: pieces that lose a node in the same round
_ROUNDING = 1e-9  # relative: sums of weights are not exact


@dataclass(frozen=True, slots=True)
class Drain:
    """Nodes that would have to be drained, besides all before, for this largest load."""

    nodes: tuple[str, ...]
    load: float


@dataclass(frozen=True, slots=True)
class Advice:
    """What could be had.

    ``load`` is the least possible largest load with the addresses as they are, ``floor`` one below
    which it cannot come however nodes are moved within their subnets, ``drains`` what leads there,
    in order, each with a smaller load. ``tried`` nodes at most were looked at.
    """

    load: float
    floor: float
    drains: tuple[Drain, ...]
    tried: int


def advise(world: World, most: int, make_plan: Planner) -> Advice:
    """Drain up to ``most`` nodes of a copy of this cluster, for the smallest largest load."""
    world = replace(world, tables=tuple(replace(table, entries=()) for table in world.tables))
    cluster = world.snapshot()
    plan = make_plan(cluster)
    load = best = _largest(plan)
    left_out = _left_out(plan)
    floor = _floor(cluster, left_out)
    drains: list[Drain] = []
    pending: list[str] = []
    drained: set[str] = set()
    fruitless = 0
    while best > floor * (1 + _ROUNDING) and fruitless < _FRUITLESS:
        chosen = list(_one_of_each(cluster, plan, drained))[: most - len(drained)]
        if not chosen:
            break
        moved = _moved(world, chosen)
        if moved is None:
            break
        drained.update(chosen)
        pending += chosen
        world, cluster = moved, moved.snapshot()
        plan = make_plan(cluster)
        if _left_out(plan) != left_out:
            break
        fruitless += 1
        if _largest(plan) < best * (1 - _ROUNDING):
            best = _largest(plan)
            drains.append(Drain(tuple(pending), best))
            pending, fruitless = [], 0
    return Advice(load, floor, tuple(drains), len(drained))


def _largest(plan: Plan) -> float:
    return max((table.max_load for table in plan.tables), default=0.0)


def _one_of_each(cluster: Snapshot, plan: Plan, drained: set[str]) -> Iterator[str]:
    """One node of each piece with about the largest load, also where several tables have it.

    One that may go soon anyway, else the lightest: it is to fit elsewhere. The next hop stays.
    """
    largest = _largest(plan)
    chosen: set[str] = set()
    for entry, owners in _shared(cluster, plan):
        if entry.load < largest * _NEAR or not chosen.isdisjoint(owners):
            continue
        able = [name for name in owners if name not in drained and name != entry.node]
        if able:
            avoid = {node.name: node.avoid for node in cluster.nodes if node.name in owners}
            best = min(able, key=lambda name: (not avoid[name], owners[name], name))
            chosen.add(best)
            yield best


def _shared(cluster: Snapshot, plan: Plan) -> Iterator[tuple[PlannedEntry, Mapping[str, float]]]:
    """The entries of all tables that several nodes share, with what each owner weighs in them."""
    ground = Ground.physical(cluster)
    for table in plan.tables:
        state = TableState(table.target, ())
        for entry in table.entries:
            if entry.kind is Kind.AGGREGATE:
                family = entry.destination.family
                columns = cluster.blocks[family]
                owners: dict[str, float] = {}
                for first, last in state.destinations[family].piece(entry.destination):
                    for row in ground.owners[family].rows(first, last):
                        name = cluster.nodes[columns.node[row]].name
                        owners[name] = owners.get(name, 0.0) + columns.weight[row]
                yield entry, owners


def _left_out(plan: Plan) -> frozenset[tuple[str, str, Family]]:
    """Which subnets some table does not serve in a family."""
    return frozenset(
        (table.id, one.subnet, one.family) for table in plan.tables for one in table.unserved
    )


def _moved(world: World, names: list[str]) -> World | None:
    """The cluster after these nodes were drained and have come back; None if one gets no room.

    With as many blocks as before: the pods that needed them still do.
    """
    claims = []
    for name in names:
        owner = world.state.nodes[name]
        claims.append(Claim(name, owner.subnet, f"{owner.identity} again", owner.labels))
    outcome = join(leave(world.state, names), claims, world.budget)
    if outcome.refused:
        return None
    state = outcome.state
    for name in names:
        missing = _counts(world.state, name)
        missing.subtract(_counts(state, name))
        if any(missing.values()):
            outcome = grow(state, name, missing, world.budget)
            if outcome.refused:
                return None
            state = outcome.state
    return replace(world, state=state)


def _counts(state: State, name: str) -> Counter[Family]:
    """How many blocks a node has in each family."""
    return Counter(block.family for block in state.blocks(name))


def _floor(cluster: Snapshot, left_out: Collection[tuple[str, str, Family]]) -> float:
    """No table can have less, however nodes are moved within their subnets.

    What is left out weighs nothing.

    With L, a piece weighs at most L, times the largest capacity, and what its next hop owns. So a
    subnet takes at least its weight over the sum of that and the most that one node owns; and all
    weight but that of as many nodes as there are entries is carried by so many.
    """
    return max(
        (
            _least(cluster, table, family, left_out)
            for table in cluster.route_tables
            for family in Family
            if len(cluster.blocks[family])
        ),
        default=0.0,
    )


def _least(
    cluster: Snapshot,
    table: RouteTable,
    family: Family,
    left_out: Collection[tuple[str, str, Family]],
) -> float:
    columns = cluster.blocks[family]
    owned: dict[int, float] = {}
    for node, weight in zip(columns.node, columns.weight, strict=True):
        owned[node] = owned.get(node, 0.0) + weight
    home = {subnet.id: subnet.route_table for subnet in cluster.subnets}
    subnets: dict[str, list[float]] = {}
    for node, weight in owned.items():
        subnet = cluster.nodes[node].subnet
        if (table.id, subnet, family) in left_out:
            continue
        factor = table.own_subnet_weight if home[subnet] == table.id else 1.0
        subnets.setdefault(subnet, []).append(weight * factor)
    strongest = max(node.capacity for node in cluster.nodes)
    budget = table.budget.get(family, 0)
    if sum(map(len, subnets.values())) <= budget or len(subnets) > budget:
        return 0.0
    low, high = 0.0, sum(map(sum, subnets.values())) / strongest
    for _ in range(60):
        middle = (low + high) / 2
        pieces = sum(
            -(-sum(weights) // (middle * strongest + max(weights) or 1.0))
            for weights in subnets.values()
        )
        low, high = (low, middle) if pieces <= budget else (middle, high)
    lightest = sorted(weight for weights in subnets.values() for weight in weights)[:-budget]
    return max(low, sum(lightest) / budget / strongest)
