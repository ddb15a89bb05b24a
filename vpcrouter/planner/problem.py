"""What one table and family has to serve: trees, columns, roles and weights as numpy arrays.

``FamilyView`` is the same for all tables of a snapshot; ``Problem`` is what is left of it for one
table once the subnets that it cannot serve are taken out, with the weights of that table.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipam.prefix import Family, Prefix, merge
from vpcrouter.model import BlockColumns, Role, RouteTable, Snapshot, roles
from vpcrouter.planner.arrays import Flags, Floats, Ints
from vpcrouter.planner.trie import Keys


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

    Within a subnet the largest capacity comes first, then the node's index decides.
    """

    nodes: Ints
    start: Ints

    @classmethod
    def of(cls, role: npt.NDArray[np.int8], home: Ints, capacity: Floats, subnets: int) -> Crew:
        """All forwarders, grouped by subnet."""
        nodes = np.flatnonzero(role == Role.FORWARD)
        nodes = nodes[np.lexsort((nodes, -capacity[nodes], home[nodes]))]
        return cls(nodes, np.searchsorted(home[nodes], np.arange(subnets + 1)))

    def of_subnet(self, subnet: int) -> Ints:
        """The forwarders of one subnet, by node index."""
        return self.nodes[self.start[subnet] : self.start[subnet + 1]]


@dataclass(frozen=True, slots=True)
class NodeColumns:
    """The nodes of a snapshot as columns; the same for both families and all tables.

    ``role`` (a ``Role``), ``home`` (subnet index) and ``capacity`` are per node; ``alive`` tells,
    per subnet, whether any of its nodes is healthy; ``by_interface`` gives a node's index.
    """

    role: npt.NDArray[np.int8]
    home: Ints
    capacity: Floats
    crew: Crew
    alive: Flags
    by_interface: Mapping[str, int]

    @classmethod
    def of(cls, snapshot: Snapshot) -> NodeColumns:
        """The columns of all nodes."""
        nodes = snapshot.nodes
        subnets = {subnet.id: position for position, subnet in enumerate(snapshot.subnets)}
        role = np.array(roles(nodes), dtype=np.int8)
        home = np.array([subnets[node.subnet] for node in nodes], dtype=np.int64)
        capacity = np.array([node.capacity for node in nodes], dtype=np.float64)
        return cls(
            role,
            home,
            capacity,
            Crew.of(role, home, capacity, len(subnets)),
            np.bincount(home[role != Role.NOTHING], minlength=len(subnets)) > 0,
            {node.interface: position for position, node in enumerate(nodes)},
        )


@dataclass(frozen=True, slots=True)
class FamilyView:
    """A snapshot's blocks of one family, and who may be the next hop of them.

    ``owner`` is the node index of each row. ``trees`` are sorted by address; ``merged`` are the
    maximal prefixes of each subnet, those without blocks included.
    """

    snapshot: Snapshot
    family: Family
    nodes: NodeColumns
    columns: BlockColumns
    keys: Keys
    owner: Ints
    weight: Floats
    merged: tuple[tuple[Prefix, ...], ...]
    trees: tuple[Tree, ...]

    @classmethod
    def of(cls, snapshot: Snapshot, family: Family, nodes: NodeColumns) -> FamilyView:
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
            owner=np.frombuffer(columns.node, dtype=f"u{columns.node.itemsize}").astype(np.int64),
            weight=np.frombuffer(columns.weight, dtype=np.float64),
            merged=merged,
            trees=_trees(columns, merged),
        )

    @property
    def role(self) -> npt.NDArray[np.int8]:
        """The role of each node."""
        return self.nodes.role

    @property
    def home(self) -> Ints:
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
    standing: Floats

    def tree_of(self, prefix: Prefix) -> int | None:
        """The position of the tree that contains this prefix, or None."""
        position = bisect_left(self.trees, (prefix.value, 1), key=_order_key) - 1
        if position >= 0 and self.trees[position].prefix.contains(prefix):
            return position
        return None

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
    standing: Floats,
) -> Problem:
    """The problem of serving these trees with this many entries."""
    scale, even = [], True
    for tree in trees:
        capacities = view.capacity[view.crew.of_subnet(tree.subnet)]
        scale.append(float(capacities[0]) if len(capacities) else 1.0)
        even = even and (not len(capacities) or bool(capacities[0] == capacities[-1]))
    return Problem(
        view, table, tuple(trees), weight, np.array(scale), even, budget, burden, standing
    )
