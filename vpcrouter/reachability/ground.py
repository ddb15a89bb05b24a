"""What route tables have to reach, ready to be asked often: trees, who owns what, who may forward.

A *tree* is a maximal prefix of a subnet that holds at least one block; all of its addresses have
to be reached, given out or not. Built once from a snapshot, for all its tables.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from ipam.prefix import Family, Prefix, merge
from vpcrouter.model import BlockColumns, Node, Role, Snapshot, roles


@dataclass(frozen=True, slots=True)
class Tree:
    """A maximal prefix of a subnet that holds a block."""

    prefix: Prefix
    subnet: str


class Owners:
    """Who owns which addresses of one family: binary searches over the rows of the blocks."""

    def __init__(self, columns: BlockColumns) -> None:
        self._columns = columns
        self._width = columns.family.width
        low = columns.low.tolist()
        self._starts: list[int] = (
            low
            if columns.family is Family.IPV4
            else [high << 64 | rest for high, rest in zip(columns.high, low, strict=True)]
        )

    def first(self, row: int) -> int:
        """The first address of a row's block."""
        return self._starts[row]

    def last(self, row: int) -> int:
        """The last address of a row's block."""
        return self._starts[row] | (1 << (self._width - self._columns.length[row])) - 1

    def owner(self, row: int) -> int:
        """The node that owns a row's block, as an index."""
        return self._columns.node[row]

    def rows(self, first: int, last: int) -> range:
        """The rows whose blocks share an address with these consecutive ones."""
        begin = bisect_right(self._starts, first)
        if begin and self.last(begin - 1) >= first:
            begin -= 1
        return range(begin, bisect_right(self._starts, last, begin))

    def count(self, rows: range, node: int) -> int:
        """How many of these rows the node owns."""
        begin, end = self._owned(rows, node)
        return end - begin

    def first_owned(self, rows: range, node: int) -> int | None:
        """The first of these rows that the node owns."""
        begin, end = self._owned(rows, node)
        return self._by_owner[begin] - node * len(self._starts) if begin < end else None

    def first_foreign(self, rows: range, node: int) -> int | None:
        """The first of these rows that the node does not own."""
        if self.count(rows, node) == len(rows):
            return None
        return next(row for row in rows if self._columns.node[row] != node)

    def weight(self, rows: range) -> float:
        """The weight of these rows' blocks."""
        return self._weights[rows.stop] - self._weights[rows.start]

    def weight_owned(self, rows: range, node: int) -> float:
        """The weight of those of these rows' blocks that the node owns."""
        begin, end = self._owned(rows, node)
        weight, size = self._columns.weight, len(self._starts)
        return sum(weight[key - node * size] for key in self._by_owner[begin:end])

    def _owned(self, rows: range, node: int) -> tuple[int, int]:
        base = node * len(self._starts)
        begin = bisect_left(self._by_owner, base + rows.start)
        return begin, bisect_left(self._by_owner, base + rows.stop, begin)

    @cached_property
    def _by_owner(self) -> list[int]:
        """Rows sorted by owner, each as owner * number of rows + row."""
        size = len(self._starts)
        return sorted(node * size + row for row, node in enumerate(self._columns.node))

    @cached_property
    def _weights(self) -> list[float]:
        """The weight of all rows before each one."""
        return list(accumulate(self._columns.weight, initial=0.0))


class Ground:
    """Trees, owners and next hops of one snapshot.

    ``roles`` say what each node may be the next hop of: ``physical_roles`` for what a packet
    meets, ``vpcrouter.model.roles`` for what a plan may ask for.
    """

    def __init__(self, snapshot: Snapshot, node_roles: Sequence[Role]) -> None:
        self.snapshot = snapshot
        self.nodes = snapshot.nodes
        self.owners = {family: Owners(snapshot.blocks[family]) for family in Family}
        self.trees = {family: _trees(snapshot, family) for family in Family}
        self._starts = {f: [tree.prefix.value for tree in self.trees[f]] for f in Family}
        self._roles = tuple(node_roles)
        interfaces = snapshot.node_columns.interface
        self._index = {interface: index for index, interface in enumerate(interfaces)}

    @classmethod
    def physical(cls, snapshot: Snapshot) -> Ground:
        """As packets meet it: a node to avoid forwards like any other."""
        return cls(snapshot, physical_roles(snapshot.nodes))

    @classmethod
    def planned(cls, snapshot: Snapshot) -> Ground:
        """As a plan must see it: a node to avoid forwards only where there is nobody better."""
        return cls(snapshot, roles(snapshot.nodes))

    def node(self, interface: str | None) -> int | None:
        """The index of the node with this interface, None if it is no node's."""
        return None if interface is None else self._index.get(interface)

    def role(self, node: int | None, subnet: str) -> Role:
        """What a node may be the next hop of for addresses of this subnet."""
        if node is None or self.nodes[node].subnet != subnet:
            return Role.NOTHING
        return self._roles[node]

    def is_dead(self, interface: str | None) -> bool:
        """Whether this is nowhere a next hop: no node's, or an unhealthy one's."""
        node = self.node(interface)
        return node is None or self._roles[node] is Role.NOTHING

    def trees_over(self, family: Family, first: int, last: int) -> Iterator[tuple[Tree, int, int]]:
        """The trees that share addresses with these consecutive ones; with which, in order."""
        trees = self.trees[family]
        index = max(0, bisect_right(self._starts[family], first) - 1)
        for tree in trees[index : bisect_right(self._starts[family], last)]:
            if tree.prefix.last >= first:
                yield tree, max(first, tree.prefix.value), min(last, tree.prefix.last)


def physical_roles(nodes: Sequence[Node]) -> tuple[Role, ...]:
    """What each node does with what it gets, whether or not a plan would ask for it."""
    forwarding = {True: Role.FORWARD, False: Role.OWN}
    return tuple(forwarding[n.forwards] if n.healthy else Role.NOTHING for n in nodes)


def _trees(snapshot: Snapshot, family: Family) -> tuple[Tree, ...]:
    columns = snapshot.blocks[family]
    found = [
        Tree(prefix, subnet.id)
        for subnet in snapshot.subnets
        for prefix in merge(p for p in subnet.prefixes if p.family is family)
        if columns.rows_within(prefix)
    ]
    return tuple(sorted(found, key=lambda tree: tree.prefix))
