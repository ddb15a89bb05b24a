"""What one table and family has to serve: trees, columns, roles and weights as numpy arrays.

``FamilyView`` is the same for all tables of a snapshot; ``Problem`` is what is left of it for one
table once the subnets that it cannot serve are taken out, with the weights of that table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from ipam.prefix import Family, Prefix, merge
from vpcrouter.model import BlockColumns, NodeColumns, Role, RouteTable, Snapshot
from vpcrouter.planner.arrays import Flags, Floats, Ints, Positions, greatest, greatest_sum
from vpcrouter.planner.trie import Keys

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tree:
    """A maximal prefix of a subnet that holds blocks: rows ``first`` to ``last`` (excluded)."""

    prefix: Prefix
    subnet: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Crew:
    """The nodes that may forward for others: those of subnet s are ``nodes[start[s]:start[s+1]]``.

    Within a subnet the node's index orders them. ``most`` and ``least`` are the extremes of their
    capacities per subnet (1 where there are none).
    """

    nodes: Positions
    start: Ints
    most: Floats
    least: Floats
    capacity: Floats

    @classmethod
    def of(
        cls, role: npt.NDArray[np.int8], home: Positions, capacity: Floats, subnets: int
    ) -> Crew:
        """All forwarders, grouped by subnet."""
        nodes = np.flatnonzero(role == Role.FORWARD).astype(np.uint32)
        homes = home if len(nodes) == len(home) else home[nodes]
        if bool((homes[1:] < homes[:-1]).any()):
            # numpy sorts numbers of 16 bits by radix, in linear time
            short = homes.astype(np.uint16) if subnets < 1 << 16 else homes
            nodes = nodes[np.argsort(short, kind="stable")]
        start = np.concatenate(([0], np.cumsum(np.bincount(homes, minlength=subnets))))
        most, least = np.ones(subnets), np.ones(subnets)
        some = np.flatnonzero(start[1:] > start[:-1])
        if len(some) and bool((capacity == capacity[0]).all()):
            most[:] = least[:] = capacity[0]
        elif len(some):
            values = capacity[nodes]
            most[some] = np.maximum.reduceat(values, start[some])
            least[some] = np.minimum.reduceat(values, start[some])
        return cls(nodes, start, most, least, capacity)

    def of_subnet(self, subnet: int) -> Positions:
        """The forwarders of one subnet, by node index."""
        return self.nodes[self.start[subnet] : self.start[subnet + 1]]

    def size(self, subnet: int) -> int:
        """How many forwarders a subnet has."""
        return int(self.start[subnet + 1] - self.start[subnet])

    def strongest(self, subnet: int) -> int:
        """How many forwarders of a subnet have its largest capacity."""
        if self.most[subnet] == self.least[subnet]:
            return self.size(subnet)
        mine = self.capacity[self.of_subnet(subnet)]
        return int(np.count_nonzero(mine == self.most[subnet]))

    def nth(self, subnet: int, number: int) -> float:
        """The capacity of the forwarder that is in this place when the strongest come first."""
        mine = self.capacity[self.of_subnet(subnet)]
        place = max(0, len(mine) - number)
        return float(np.partition(mine, place)[place])

    def strength(self, subnets: Sequence[int], number: int) -> float:
        """The most capacity that so many forwarders of these subnets have together."""
        most = float(self.most[subnets].max())
        if all(self.least[s] == most for s in subnets if self.size(s)):
            return most * min(number, sum(self.size(subnet) for subnet in subnets))
        nodes = np.concatenate([self.of_subnet(subnet) for subnet in subnets])
        return greatest_sum(self.capacity[nodes], number)

    def strengths(self, subnets: Sequence[int], number: int) -> Floats:
        """The same for one, two and more of them, up to so many or all."""
        nodes = np.concatenate([self.of_subnet(subnet) for subnet in subnets])
        return np.cumsum(greatest(self.capacity[nodes], number))


@dataclass(frozen=True, slots=True)
class NodeView:
    """The nodes of a snapshot as the planner needs them; the same for families and tables.

    ``role`` (a ``Role``), ``home`` (subnet index) and ``capacity`` are per node; ``alive`` tells,
    per subnet, whether any of its nodes is healthy; ``by_interface`` gives the index of nodes
    whose interface some table holds. ``all_healthy`` and ``all_forward`` hold for every node.
    """

    role: npt.NDArray[np.int8]
    home: Positions
    capacity: Floats
    crew: Crew
    alive: Flags
    by_interface: Mapping[str, int]
    all_healthy: bool
    all_forward: bool

    @classmethod
    def of(cls, snapshot: Snapshot) -> NodeView:
        """The view of all nodes."""
        columns = snapshot.node_columns
        subnets = len(snapshot.subnets)
        home = np.frombuffer(columns.subnet, dtype=np.uint32)
        capacity = np.frombuffer(columns.capacity, dtype=np.float64)
        healthy = np.frombuffer(columns.healthy, dtype=np.bool_)
        role = _roles(columns, home, healthy)
        held = {entry.interface for table in snapshot.route_tables for entry in table.entries}
        everybody = enumerate(columns.interface) if held else ()
        return cls(
            role,
            home,
            capacity,
            Crew.of(role, home, capacity, subnets),
            np.bincount(home if healthy.all() else home[healthy], minlength=subnets) > 0,
            {name: position for position, name in everybody if name in held},
            bool(healthy.all()),
            bool((role == Role.FORWARD).all()),
        )


def _roles(columns: NodeColumns, home: Positions, healthy: Flags) -> npt.NDArray[np.int8]:
    """As ``vpcrouter.model.roles``, on columns."""
    avoid = np.frombuffer(columns.avoid, dtype=np.bool_)
    forwards = healthy & np.frombuffer(columns.forwards, dtype=np.bool_)
    if avoid.any():
        better = np.zeros(len(columns.subnets), dtype=np.bool_)
        better[home[forwards & ~avoid]] = True
        forwards &= ~(avoid & better[home])
    return healthy.astype(np.int8) + forwards


class Shared:
    """What several tables have in common, worked out once: results by what they depend on."""

    def __init__(self) -> None:
        self._known: dict[Hashable, object] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returns; the same object where the key has been asked for before.

        A key names the function as well as all that its result depends on.
        """
        if key not in self._known:
            self._known[key] = make()
        return cast("T", self._known[key])


@dataclass(frozen=True, slots=True)
class FamilyView:
    """A snapshot's blocks of one family, and who may be the next hop of them.

    ``owner`` is the node index of each row. ``trees`` are sorted by address; ``merged`` are the
    maximal prefixes of each subnet, those without blocks included.
    """

    snapshot: Snapshot
    family: Family
    nodes: NodeView
    columns: BlockColumns
    keys: Keys
    owner: Positions
    weight: Floats
    merged: tuple[tuple[Prefix, ...], ...]
    trees: tuple[Tree, ...]
    shared: Shared

    @classmethod
    def of(cls, snapshot: Snapshot, family: Family, nodes: NodeView) -> FamilyView:
        """The view of one family; nothing in it depends on a table."""
        columns = snapshot.blocks[family]
        merged = tuple(
            merge(p for p in subnet.prefixes if p.family is family) for subnet in snapshot.subnets
        )
        return cls(
            snapshot=snapshot,
            family=family,
            nodes=nodes,
            columns=columns,
            keys=Keys.of(columns),
            owner=np.frombuffer(columns.node, dtype=np.uint32),
            weight=np.frombuffer(columns.weight, dtype=np.float64),
            merged=merged,
            trees=_trees(columns, merged),
            shared=Shared(),
        )

    @property
    def role(self) -> npt.NDArray[np.int8]:
        """The role of each node."""
        return self.nodes.role

    @property
    def home(self) -> Positions:
        """The subnet (its index) of each node."""
        return self.nodes.home

    @property
    def capacity(self) -> Floats:
        """The capacity of each node."""
        return self.nodes.capacity

    @property
    def crew(self) -> Crew:
        """The nodes that may forward for others."""
        return self.nodes.crew


def _trees(columns: BlockColumns, merged: Sequence[Sequence[Prefix]]) -> tuple[Tree, ...]:
    trees = []
    for subnet, prefixes in enumerate(merged):
        for prefix in prefixes:
            rows = columns.rows_within(prefix)
            if rows:
                trees.append(Tree(prefix, subnet, rows.start, rows.stop))
    return tuple(sorted(trees, key=lambda tree: tree.prefix))


@dataclass(frozen=True, slots=True)
class Problem:
    """The trees that a table serves in one family, and what it may use.

    ``weight`` is per row in this table; ``scale`` per tree: the capacity that a load is divided by
    in bounds and searches (the largest of the subnet's forwarders; all have it where ``even``).
    ``budget`` is what is left for these trees. Per node, ``burden`` is its load in other tables, to
    choose among equally good forwarders, and ``standing`` its load in this one by entries that are
    not the problem's to change.
    """

    view: FamilyView
    table: RouteTable
    trees: tuple[Tree, ...]
    weight: Floats
    scale: Floats
    even: bool
    budget: int
    burden: Floats
    standing: Mapping[int, float]

    def tree_of(self, prefix: Prefix) -> int | None:
        """The position of the tree that contains this prefix, or None."""
        position = bisect_left(self.trees, (prefix.value, 1), key=_order_key) - 1
        if position >= 0 and self.trees[position].prefix.contains(prefix):
            return position
        return None

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returns, for all tables with the same trees, weights, scale and budget.

        It must not depend on ``burden`` and ``standing``.
        """
        own = self.table.own_subnet_weight
        homes = frozenset(
            subnet.id
            for subnet in self.view.snapshot.subnets
            if own != 1.0 and subnet.route_table == self.table.id
        )
        lighter = (own, homes) if homes else None
        firsts = tuple(tree.first for tree in self.trees)
        return self.view.shared.once(
            (name, firsts, lighter, self.scale.tobytes(), self.budget), make
        )

    @property
    def serves_all(self) -> bool:
        """Whether every row of the view belongs to a tree of this problem."""
        return sum(tree.last - tree.first for tree in self.trees) == len(self.weight)

    @property
    def worst_standing(self) -> float:
        """The largest load that is not the problem's to change."""
        return max(self.standing.values(), default=0.0)

    def weaker(self) -> Problem:
        """The same for pieces that as many forwarders can carry as there are entries.

        Where few have the largest capacity, ``scale`` is that of the last one that would be used.
        """
        crew = self.view.crew
        number = self.budget - len(self.trees) + 1
        scale = {tree.subnet: crew.nth(tree.subnet, number) for tree in self.trees}
        return replace(self, scale=np.array([scale[tree.subnet] for tree in self.trees]))

    def standing_loads(self) -> Floats:
        """``standing`` of every node."""
        loads = np.zeros(len(self.view.role))
        for node, load in self.standing.items():
            loads[node] = load
        return loads

    def served(self) -> Flags:
        """Which rows of the view belong to a tree of this problem."""
        rows = np.zeros(len(self.view.columns), dtype=np.bool_)
        for tree in self.trees:
            rows[tree.first : tree.last] = True
        return rows


def _order_key(tree: Tree) -> tuple[int, int]:
    return tree.prefix.value, 0


def table_weights(view: FamilyView, table: RouteTable, trees: Sequence[Tree]) -> Floats:
    """The weight of each row in this table: blocks of subnets that use it may weigh less."""
    if table.own_subnet_weight == 1.0:
        return view.weight
    weight = view.weight.copy()
    for tree in trees:
        if view.snapshot.subnets[tree.subnet].route_table == table.id:
            weight[tree.first : tree.last] *= table.own_subnet_weight
    return weight


def pose(
    view: FamilyView,
    table: RouteTable,
    trees: Sequence[Tree],
    weight: Floats,
    budget: int,
    burden: Floats,
    standing: Mapping[int, float],
) -> Problem:
    """The problem of serving these trees with this many entries."""
    crew = view.crew
    subnets = np.array([tree.subnet for tree in trees], dtype=np.int64)
    return Problem(
        view,
        table,
        tuple(trees),
        weight,
        crew.most[subnets],
        bool((crew.most[subnets] == crew.least[subnets]).all()),
        budget,
        burden,
        standing,
    )
