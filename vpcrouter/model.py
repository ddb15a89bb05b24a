"""The frozen values of routing: what is there (Snapshot) and what should be (Plan).

A snapshot keeps blocks as sorted columns, and nodes too, so that a million of them are some arrays
and not a million objects. It is canonical: subnets, nodes and tables are sorted by name, blocks by
address, whatever order they were read in.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import overload

from msgspec import Struct

from ipam.prefix import Family, Prefix

_LOW_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Subnet:
    """A VPC subnet: its nodes reach each other without a router; it uses one route table."""

    id: str
    zone: str
    route_table: str
    prefixes: tuple[Prefix, ...]


class Node(Struct, frozen=True, gc=False):
    """A node as routing sees it.

    ``capacity`` divides its load (any unit, the same for all nodes). ``healthy`` False: never a
    next hop. ``forwards`` False: next hop only of entries that catch no other node's blocks.
    ``avoid``: forwards for others only where its subnet has nobody else.
    """

    name: str
    subnet: str
    interface: str
    addresses: Mapping[Family, str]
    capacity: float = 1.0
    healthy: bool = True
    forwards: bool = True
    avoid: bool = False


@dataclass(frozen=True, slots=True)
class NodeColumns(Sequence[Node]):
    """Nodes by position as columns; as a sequence it makes each ``Node`` when it is asked for.

    ``subnet`` holds positions in ``subnets``, which are ids. ``addresses`` has those nodes only
    that have some.
    """

    subnets: tuple[str, ...]
    name: Sequence[str]
    subnet: array[int]
    interface: Sequence[str]
    capacity: array[float]
    healthy: array[int]
    forwards: array[int]
    avoid: array[int]
    addresses: Mapping[int, Mapping[Family, str]]

    @classmethod
    def of(cls, nodes: Sequence[Node], subnets: Sequence[Subnet]) -> NodeColumns:
        """The columns of these nodes, each of which is in one of the subnets."""
        if isinstance(nodes, NodeColumns):
            return nodes
        index = {subnet.id: position for position, subnet in enumerate(subnets)}
        return cls(
            tuple(index),
            [node.name for node in nodes],
            array("I", [index[node.subnet] for node in nodes]),
            [node.interface for node in nodes],
            array("d", [node.capacity for node in nodes]),
            array("B", [node.healthy for node in nodes]),
            array("B", [node.forwards for node in nodes]),
            array("B", [node.avoid for node in nodes]),
            {position: node.addresses for position, node in enumerate(nodes) if node.addresses},
        )

    def __len__(self) -> int:
        return len(self.name)

    @overload
    def __getitem__(self, index: int) -> Node: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, index: int | slice) -> Node | tuple[Node, ...]:
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        position = range(len(self))[index]
        return Node(
            self.name[position],
            self.subnets[self.subnet[position]],
            self.interface[position],
            self.addresses.get(position, {}),
            self.capacity[position],
            bool(self.healthy[position]),
            bool(self.forwards[position]),
            bool(self.avoid[position]),
        )


class Entry(Struct, frozen=True, order=True, gc=False):
    """One row of a route table that we made: destination prefix and next hop."""

    destination: Prefix
    interface: str


@dataclass(frozen=True, slots=True)
class RouteTable:
    """One route table: what it can take from us and what it holds.

    ``limit`` and ``budget`` are numbers of entries per family (a missing family counts as 0);
    ``entries`` are ours, ``foreign`` the destinations that somebody else's entries use.
    ``own_subnet_weight`` multiplies, in this table, the weights of blocks of subnets that use it.
    """

    id: str
    limit: Mapping[Family, int]
    budget: Mapping[Family, int]
    own_subnet_weight: float = 1.0
    entries: tuple[Entry, ...] = ()
    foreign: tuple[Prefix, ...] = ()


class Block(Struct, frozen=True, gc=False):
    """A prefix owned by one node, as one value; a snapshot holds columns instead."""

    prefix: Prefix
    node: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class BlockColumns:
    """All blocks of one family, sorted by address and disjoint; row i is one block.

    ``high`` and ``low`` are the halves of its 128-bit network address (IPv4: ``high`` is 0),
    ``length`` its prefix length, ``node`` an index into ``Snapshot.nodes``. The columns share
    their memory with whoever asks for the buffer (``numpy.frombuffer``), without a copy.
    """

    family: Family
    high: array[int]
    low: array[int]
    length: array[int]
    node: array[int]
    weight: array[float]

    @classmethod
    def empty(cls, family: Family) -> BlockColumns:
        """No block of this family."""
        return cls(family, array("Q"), array("Q"), array("B"), array("I"), array("d"))

    @classmethod
    def build(cls, family: Family, rows: Iterable[tuple[int, int, int, float]]) -> BlockColumns:
        """Columns from (address, length, node index, weight) in any order.

        That blocks are disjoint is the caller's business.
        """
        ordered = sorted(rows)
        return cls(
            family,
            array("Q", [row[0] >> 64 for row in ordered]),
            array("Q", [row[0] & _LOW_64 for row in ordered]),
            array("B", [row[1] for row in ordered]),
            array("I", [row[2] for row in ordered]),
            array("d", [row[3] for row in ordered]),
        )

    def __len__(self) -> int:
        return len(self.length)

    def value(self, row: int) -> int:
        """The network address of a row as a number."""
        return self.high[row] << 64 | self.low[row]

    def prefix(self, row: int) -> Prefix:
        """The block of a row."""
        return Prefix(self.family, self.value(row), self.length[row])

    def prefixes(self) -> Iterator[Prefix]:
        """All blocks in order."""
        return (self.prefix(row) for row in range(len(self)))

    def first_at_or_after(self, address: int) -> int:
        """The first row whose network address is at or after this number (binary search)."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.value(middle) < address:
                low = middle + 1
            else:
                high = middle
        return low

    def rows_within(self, prefix: Prefix) -> range:
        """The rows whose blocks lie inside the prefix (a block around the prefix is not inside)."""
        first = self.first_at_or_after(prefix.value)
        last = self.first_at_or_after(prefix.last + 1)
        if first < last and self.length[first] < prefix.length:
            first += 1
        return range(first, last)

    def row_holding(self, address: int) -> int | None:
        """The row whose block holds this address, or None."""
        row = self.first_at_or_after(address + 1) - 1
        return row if row >= 0 and self.prefix(row).holds(address) else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a plan is made from: subnets, nodes and tables by id, blocks by address.

    ``blocks`` has a key for each family. ``nodes`` may be a tuple or columns; ``node_columns`` are
    the same nodes as columns. Build one with ``snapshot()``, which sorts; what it promises (names
    exist, prefixes of subnets are disjoint, blocks inside their subnet's prefixes) is checked
    where snapshots are read from outside. ``coming`` are the blocks that the next nodes of each
    subnet would get: where there are any, a plan leaves room for them.
    """

    subnets: tuple[Subnet, ...]
    nodes: Sequence[Node]
    blocks: Mapping[Family, BlockColumns]
    route_tables: tuple[RouteTable, ...]
    coming: tuple[Prefix, ...] = ()
    node_columns: NodeColumns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "node_columns", NodeColumns.of(self.nodes, self.subnets))


def snapshot(
    subnets: Iterable[Subnet],
    nodes: Iterable[Node],
    blocks: Iterable[Block],
    route_tables: Iterable[RouteTable],
) -> Snapshot:
    """A canonical snapshot from values in any order."""
    ordered_nodes = tuple(sorted(nodes, key=lambda node: node.name))
    index = {node.name: position for position, node in enumerate(ordered_nodes)}
    rows: dict[Family, list[tuple[int, int, int, float]]] = {family: [] for family in Family}
    for block in blocks:
        prefix = block.prefix
        rows[prefix.family].append((prefix.value, prefix.length, index[block.node], block.weight))
    return Snapshot(
        subnets=tuple(sorted(subnets, key=lambda subnet: subnet.id)),
        nodes=ordered_nodes,
        blocks={family: BlockColumns.build(family, rows[family]) for family in Family},
        route_tables=tuple(sorted(route_tables, key=lambda table: table.id)),
    )


class Role(IntEnum):
    """What a node may be the next hop of; the numbers order how well it serves."""

    NOTHING = 0  # unhealthy
    OWN = 1  # entries that catch no other node's blocks
    FORWARD = 2  # anything in its subnet


def roles(nodes: Sequence[Node]) -> tuple[Role, ...]:
    """The role of each node: ``avoid`` makes it OWN where its subnet has somebody better."""
    better = {n.subnet for n in nodes if n.healthy and n.forwards and not n.avoid}

    def role(node: Node) -> Role:
        if not node.healthy:
            return Role.NOTHING
        if not node.forwards or (node.avoid and node.subnet in better):
            return Role.OWN
        return Role.FORWARD

    return tuple(role(node) for node in nodes)


class Kind(StrEnum):
    """Whether an entry catches only its next hop's own blocks, or others' too."""

    DIRECT = "direct"
    AGGREGATE = "aggregate"


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """An entry of a plan with what it does: the blocks it catches, their weight in this table,
    and the load that it alone puts on its node (others' weight over capacity). ``node`` is None
    where a kept entry's interface is no node's.
    """

    destination: Prefix
    interface: str
    node: str | None
    kind: Kind
    blocks: int
    weight: float
    load: float


class Action(StrEnum):
    """One API call on one entry."""

    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """One call: create (no previous interface), replace, or delete (no interface)."""

    action: Action
    destination: Prefix
    interface: str | None
    previous_interface: str | None
    reason: str


class ProofStatus(StrEnum):
    """Whether the least load is proven, or only known to lie above a bound."""

    OPTIMAL = "optimal"
    BOUNDED = "bounded"


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known about the least possible largest load of one table and family.

    ``entries_for_less`` is the fewest entries with which any load below ``least_load`` can be
    had; None if no such load exists or the number is not proven.
    """

    status: ProofStatus
    least_load: float
    lower_bound: float
    entries_for_less: int | None


@dataclass(frozen=True, slots=True)
class Unserved:
    """A subnet that a table cannot serve in a family; its entries there stay as they are."""

    subnet: str
    family: Family
    blocks: int
    reason: str


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What one table should hold, how to get there, and what that costs."""

    id: str
    entries: tuple[PlannedEntry, ...]
    steps: tuple[Step, ...]
    max_load: float
    detour_weight: float
    weight: float
    proof: Mapping[Family, Proof]
    unserved: tuple[Unserved, ...]

    @property
    def target(self) -> tuple[Entry, ...]:
        """What the table should hold, in order."""
        return tuple(sorted(Entry(entry.destination, entry.interface) for entry in self.entries))

    @property
    def detour_share(self) -> float:
        """Detoured weight over weight in this table; 0 where there is no weight."""
        return self.detour_weight / self.weight if self.weight else 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One TablePlan for each route table of the snapshot, in its order."""

    tables: tuple[TablePlan, ...]
