"""What the present entries of a table carry: blocks, weights, loads and detours.

A plan says this of its own entries; here it is said of any entries, foreign ones in between and
stale ones included. Pure, and without numpy: commands that only look ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix
from vpcrouter.model import Entry, Kind, Node, PlannedEntry, RouteTable, Snapshot
from vpcrouter.reachability import Ground, TableState


@dataclass(frozen=True, slots=True)
class Carried:
    """The part of a block that one row of a table catches.

    ``share`` is the part of its addresses (1.0: all of it), ``weight`` what that part weighs in
    the table; ``owner`` is an index into the snapshot's nodes.
    """

    row: int
    owner: int
    share: float
    weight: float


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What one node forwards for others in one table and family.

    ``entries`` lead to it and catch others' blocks: ``blocks`` of them with ``weight`` in this
    table; ``load`` is that weight over the node's capacity.
    """

    node: Node
    family: Family
    entries: int
    blocks: int
    weight: float
    load: float


@dataclass(frozen=True, slots=True)
class TableTraffic:
    """What one table carries at present.

    ``entries`` are ours, with what each one does; ``forwarding`` are the nodes that get blocks
    which are not their own. ``weight`` is that of all blocks as they count in this table,
    ``detour_weight`` of those that reach another node than their owner, ``missed_weight`` of those
    that no entry of ours catches.
    """

    table: RouteTable
    entries: tuple[PlannedEntry, ...]
    forwarding: tuple[Forwarding, ...]
    weight: float
    detour_weight: float
    missed_weight: float

    @property
    def max_load(self) -> float:
        """The largest load of a node in one family."""
        return max((one.load for one in self.forwarding), default=0.0)

    @property
    def detour_share(self) -> float:
        """Detoured weight over weight; 0 where there is no weight."""
        return self.detour_weight / self.weight if self.weight else 0.0


class Traffic:
    """Answers for all tables of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.ground = Ground.physical(snapshot)
        self._table_of = {subnet.id: subnet.route_table for subnet in snapshot.subnets}

    def tables(self) -> Iterator[TableTraffic]:
        """What each table carries, in the snapshot's order."""
        return (self.table(table) for table in self.snapshot.route_tables)

    def table(self, table: RouteTable) -> TableTraffic:
        """What a table's own entries carry."""
        tally = _Tally(self.snapshot)
        state = TableState(table.entries, table.foreign)
        for entry in sorted(table.entries):
            node = self.ground.node(entry.interface)
            tally.add(entry, node, tuple(self.carried(table, state, entry.destination)))
        factors = [self._factor(table, node) for node in self.snapshot.nodes]
        weights = [
            (columns.family, row, weight * factors[node])
            for columns in self.snapshot.blocks.values()
            for row, (weight, node) in enumerate(zip(columns.weight, columns.node, strict=True))
        ]
        return TableTraffic(
            table=table,
            entries=tuple(tally.entries),
            forwarding=tuple(tally.forwarding()),
            weight=sum(weight for _, _, weight in weights),
            detour_weight=tally.detour_weight,
            missed_weight=sum(
                weight * (1.0 - tally.caught.get((family, row), 0.0))
                for family, row, weight in weights
            ),
        )

    def carried(
        self, table: RouteTable, state: TableState, destination: Prefix
    ) -> Iterator[Carried]:
        """The parts of blocks that a destination catches: what nothing nested in it does."""
        family = destination.family
        owners = self.ground.owners[family]
        weights = self.snapshot.blocks[family].weight
        for first, last in state.destinations[family].piece(destination):
            for row in owners.rows(first, last):
                start, end = owners.first(row), owners.last(row)
                share = (min(end, last) - max(start, first) + 1) / (end - start + 1)
                owner = owners.owner(row)
                factor = self._factor(table, self.snapshot.nodes[owner])
                yield Carried(row, owner, share, weights[row] * share * factor)

    def _factor(self, table: RouteTable, node: Node) -> float:
        """What the weights of a node's blocks are multiplied with in a table."""
        return table.own_subnet_weight if self._table_of[node.subnet] == table.id else 1.0


class _Tally:
    """Adds up what the entries of one table carry."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._nodes = snapshot.nodes
        self.entries: list[PlannedEntry] = []
        self.caught: dict[tuple[Family, int], float] = {}
        self.detour_weight = 0.0
        self._foreign: dict[tuple[Family, int], list[Sequence[Carried]]] = {}

    def add(self, entry: Entry, node: int | None, carried: Sequence[Carried]) -> None:
        """Count an entry, the node of its next hop, and the parts of blocks that it catches."""
        family = entry.destination.family
        others = [part for part in carried if part.owner != node]
        weight = sum(part.weight for part in others)
        self.entries.append(
            PlannedEntry(
                destination=entry.destination,
                interface=entry.interface,
                node=None if node is None else self._nodes[node].name,
                kind=Kind.AGGREGATE if others else Kind.DIRECT,
                blocks=len({part.row for part in carried}),
                weight=sum(part.weight for part in carried),
                load=0.0 if node is None else weight / self._nodes[node].capacity,
            )
        )
        for part in carried:
            key = family, part.row
            self.caught[key] = self.caught.get(key, 0.0) + part.share
        if others and node is not None:
            self.detour_weight += weight
            self._foreign.setdefault((family, node), []).append(others)

    def forwarding(self) -> Iterator[Forwarding]:
        """What each node gets that is not its own."""
        for (family, index), entries in sorted(self._foreign.items()):
            node = self._nodes[index]
            weight = sum(part.weight for parts in entries for part in parts)
            yield Forwarding(
                node=node,
                family=family,
                entries=len(entries),
                blocks=len({part.row for parts in entries for part in parts}),
                weight=weight,
                load=weight / node.capacity,
            )
