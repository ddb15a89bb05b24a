"""Why a packet goes where it goes (R11): through which entry, over which node, by which rule.

A packet is walked hop by hop as the tables of a snapshot stand: the source's subnet, its route
table, the next hop's node, the owner. What nodes do is not looked at but assumed (host routes
inside a subnet, split horizon), and marked so. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ipam.prefix import Family, Prefix, format_address, merge
from vpcrouter.model import Block, Node, PlannedEntry, RouteTable, Snapshot, Subnet
from vpcrouter.reachability import Ground, Match, TableState
from vpcrouter.traffic import Traffic


class Outcome(StrEnum):
    """How a packet ends."""

    LOCAL = "local"  # delivered inside the subnet, over no route table
    DIRECT = "direct"  # delivered, the table sends it straight to its owner
    DETOUR = "detour"  # delivered, over a node that forwards it
    REFUSED = "refused"  # nobody owns the address: the first node says so
    FOREIGN = "foreign"  # an entry that we did not make decides
    OUTSIDE = "outside"  # no business of ours: nothing here routes it
    DOWN = "down"  # the tables lead to the owner, which is not healthy
    LOST = "lost"  # a promise is broken


class Place(StrEnum):
    """What kind of thing a hop is."""

    SUBNET = "subnet"
    TABLE = "table"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Hop:
    """One station: where the packet is, what happens to it there, and the rule behind it.

    ``rule`` names a promise (R1 to R6) where one made it so. ``assumed`` says that this is what a
    node is expected to do, not what was seen.
    """

    place: Place
    name: str
    text: str
    rule: str | None = None
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """The way of a packet from any node of these subnets, which share one table."""

    sources: tuple[str, ...]
    table: str
    outcome: Outcome
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class AddressStory:
    """Everything about one address: whose it is, and how packets get there."""

    family: Family
    address: int
    subnet: str | None
    block: Prefix | None
    owner: str | None
    paths: tuple[Path, ...]

    @property
    def text(self) -> str:
        """The address as text."""
        return format_address(self.family, self.address)


@dataclass(frozen=True, slots=True)
class Reaching:
    """An entry over which packets reach some of a node's blocks, and whose next hop is whose."""

    destination: Prefix
    forwarder: str | None
    blocks: int


@dataclass(frozen=True, slots=True)
class NodeInTable:
    """A node as one table sees it.

    ``reached`` are the entries that catch its blocks, ``missed`` counts blocks that none of ours
    catches; ``entries`` are those that lead to it, ``load`` what it forwards for others in the
    family where that is most.
    """

    table: str
    reached: tuple[Reaching, ...]
    missed: int
    entries: tuple[PlannedEntry, ...]
    load: float


@dataclass(frozen=True, slots=True)
class NodeStory:
    """Everything about one node: what it owns, how it is reached, what it does for others."""

    node: Node
    blocks: tuple[Block, ...]
    tables: tuple[NodeInTable, ...]


@dataclass(frozen=True, slots=True)
class PrefixInTable:
    """A prefix as one table sees it: the row that catches it, and rows inside it.

    ``entry`` is the row if it is ours, ``foreign`` if it is not; ``owners`` are those of the blocks
    that the entry catches, the one with most blocks first.
    """

    table: str
    entry: PlannedEntry | None
    foreign: Prefix | None
    inside: tuple[PlannedEntry, ...]
    owners: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PrefixStory:
    """Everything about one prefix."""

    prefix: Prefix
    subnet: str | None
    tables: tuple[PrefixInTable, ...]


class Explainer:
    """Answers questions about one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._traffic = Traffic(snapshot)
        self._ground = Ground.physical(snapshot)
        self._states = {t.id: TableState(t.entries, t.foreign) for t in snapshot.route_tables}
        self._tables = {t.id: t for t in snapshot.route_tables}

    def address(self, family: Family, address: int, sources: Sequence[Subnet]) -> AddressStory:
        """How packets from these subnets reach an address."""
        columns = self._snapshot.blocks[family]
        row = columns.row_holding(address)
        target = _Target(
            family=family,
            address=address,
            subnet=self._subnet_holding(Prefix(family, address, family.width)),
            block=None if row is None else columns.prefix(row),
            owner=None if row is None else columns.node[row],
        )
        return AddressStory(
            family=family,
            address=address,
            subnet=target.subnet,
            block=target.block,
            owner=None if target.owner is None else self._name(target.owner),
            paths=tuple(self._paths(target, sources)),
        )

    def node(self, node: Node, tables: Sequence[RouteTable]) -> NodeStory:
        """What a node owns, how these tables reach it and what it does in them for others."""
        index = self._snapshot.nodes.index(node)
        blocks = tuple(
            Block(columns.prefix(row), node.name, columns.weight[row])
            for columns in self._snapshot.blocks.values()
            for row in range(len(columns))
            if columns.node[row] == index
        )
        return NodeStory(
            node, blocks, tuple(self._node_in(table, node, blocks) for table in tables)
        )

    def prefix(self, prefix: Prefix, tables: Sequence[RouteTable]) -> PrefixStory:
        """Which entries of these tables catch a prefix, and what they carry."""
        found = tuple(self._prefix_in(table, prefix) for table in tables)
        return PrefixStory(prefix, self._subnet_holding(prefix), found)

    # Packets.

    def _paths(self, target: _Target, sources: Sequence[Subnet]) -> list[Path]:
        """One path for each way: subnets that share a table share it, but for the target's own."""
        groups: dict[tuple[str, bool], list[Subnet]] = {}
        for subnet in sources:
            inside = subnet.id == target.subnet
            groups.setdefault((subnet.route_table, inside), []).append(subnet)
        return [self._path(target, group, inside) for (_, inside), group in groups.items()]

    def _path(self, target: _Target, sources: Sequence[Subnet], inside: bool) -> Path:
        table = self._tables[sources[0].route_table]
        names = tuple(subnet.id for subnet in sources)
        source = ", ".join(names)
        if inside and target.owner is not None:
            hops, outcome = self._over_host_route(target, source)
            return Path(names, table.id, outcome, hops)
        text = "no host route there: default route to the VPC router"
        first = Hop(Place.SUBNET, source, text, assumed=True)
        hops, outcome = self._through(table, target)
        return Path(names, table.id, outcome, (first, *hops))

    def _over_host_route(self, target: _Target, source: str) -> tuple[tuple[Hop, ...], Outcome]:
        owner = self._name(target.owner or 0)
        first = Hop(
            Place.SUBNET, source, f"host route to {owner}: no route table is asked", assumed=True
        )
        last, outcome = self._owner(target, Outcome.LOCAL)
        return (first, last), outcome

    def _through(self, table: RouteTable, target: _Target) -> tuple[tuple[Hop, ...], Outcome]:
        """What a route table makes of a packet."""
        destinations = self._states[table.id].destinations[target.family]
        found = destinations.match(target.address)
        match = None if found is None else Match(found, destinations.interface(found))
        if match is None:
            return self._unmatched(table, target)
        longest = self._longest(table, match)
        if match.interface is None:
            return self._foreign(table, target, longest)
        index = self._ground.node(match.interface)
        if index is None:
            text = f"{longest}, next hop {match.interface}, which is no node's: run vpcrouter plan"
            return (Hop(Place.TABLE, table.id, text, "R1"),), Outcome.LOST
        text = f"{longest}, next hop {match.interface} of node {self._name(index)}"
        why, rule = self._why(table, match.destination)
        here = Hop(Place.TABLE, table.id, f"{text}; {why}", rule)
        hops, outcome = self._at_node(index, target)
        return (here, *hops), outcome

    def _longest(self, table: RouteTable, match: Match) -> str:
        """The entry that decides, and what would without it."""
        destinations = self._states[table.id].destinations[match.destination.family]
        cover = destinations.cover(match.destination)
        if cover is None:
            return f"longest match {match.destination}"
        over = self._next_hop(table.id, cover)
        return f"longest match {match.destination} (else {cover}{f' over {over}' if over else ''})"

    def _unmatched(self, table: RouteTable, target: _Target) -> tuple[tuple[Hop, ...], Outcome]:
        if not self._is_owed(target):
            text = "no entry holds it: the VPC's other routes decide"
            return (Hop(Place.TABLE, table.id, text),), Outcome.OUTSIDE
        text = "no entry holds it, although its prefix holds a block: run vpcrouter plan"
        return (Hop(Place.TABLE, table.id, text, "R1"),), Outcome.LOST

    def _foreign(
        self, table: RouteTable, target: _Target, longest: str
    ) -> tuple[tuple[Hop, ...], Outcome]:
        if not self._is_owed(target):
            text = f"{longest}, an entry that is not ours"
            return (Hop(Place.TABLE, table.id, text),), Outcome.FOREIGN
        text = f"{longest}, an entry that is not ours and in the way: remove or move it"
        return (Hop(Place.TABLE, table.id, text, "R1"),), Outcome.LOST

    def _is_owed(self, target: _Target) -> bool:
        """Whether tables must reach the address: its subnet's prefix holds a block (R1)."""
        trees = self._ground.trees_over(target.family, target.address, target.address)
        return next(trees, None) is not None

    def _why(self, table: RouteTable, destination: Prefix) -> tuple[str, str | None]:
        """Why this entry is as it is, from what it carries, and the promise behind it."""
        state = self._states[table.id]
        carried = tuple(self._traffic.carried(table, state, destination))
        node = self._ground.node(state.interface(destination))
        foreign = [part for part in carried if part.owner != node]
        if not foreign:
            return "direct: all blocks it catches are this node's own", None
        family = destination.family
        budget = table.budget.get(family, 0)
        owners = len({part.owner for part in carried})
        text = f"aggregate: {len(carried)} blocks of {owners} nodes share it"
        return f"{text}, as {state.count(family)} of {budget} entries are in use", "R5"

    def _at_node(self, index: int, target: _Target) -> tuple[tuple[Hop, ...], Outcome]:
        """What the next hop's node does."""
        node = self._snapshot.nodes[index]
        if index == target.owner and node.healthy:
            hop, outcome = self._owner(target, Outcome.DIRECT)
            return (hop,), outcome
        problem = self._cannot(node, target)
        if problem is not None:
            rule, text = problem
            return (Hop(Place.NODE, node.name, text, rule),), Outcome.LOST
        if target.owner is None:
            text = "nobody owns the address: refused, never sent back to the VPC router"
            return (Hop(Place.NODE, node.name, text, "R3", assumed=True),), Outcome.REFUSED
        text = f"not its own: forwards over the host route to {self._name(target.owner)}"
        last, outcome = self._owner(target, Outcome.DETOUR)
        return (Hop(Place.NODE, node.name, text, assumed=True), last), outcome

    def _cannot(self, node: Node, target: _Target) -> tuple[str, str] | None:
        """Which rule is broken, and how, where a node cannot take a packet that is not its own."""
        if not node.healthy:
            return "R1", "not healthy, yet a next hop: run vpcrouter plan"
        if target.subnet is None:
            return "R2", "the address is in no subnet's prefixes, yet an entry of ours leads here"
        if node.subnet != target.subnet:
            return "R2", f"in subnet {node.subnet}, while the address is in {target.subnet}"
        if target.owner is not None and not node.forwards:
            return "R1", "does not forward for others, yet gets another node's block"
        return None

    def _owner(self, target: _Target, delivered: Outcome) -> tuple[Hop, Outcome]:
        owner = self._snapshot.nodes[target.owner or 0]
        if owner.healthy:
            return Hop(Place.NODE, owner.name, f"owns {target.block}: delivered"), delivered
        text = f"owns {target.block}, but is not healthy"
        return Hop(Place.NODE, owner.name, text), Outcome.DOWN

    # Nodes and prefixes.

    def _node_in(self, table: RouteTable, node: Node, blocks: Sequence[Block]) -> NodeInTable:
        state = self._states[table.id]
        counts: dict[Prefix, int] = {}
        missed = 0
        for block in blocks:
            destinations = state.destinations[block.prefix.family]
            found = {span.destination for span in destinations.spans(block.prefix)}
            ours = {one for one in found if one and destinations.interface(one) is not None}
            missed += ours != found
            for destination in ours:
                counts[destination] = counts.get(destination, 0) + 1
        reached = tuple(
            Reaching(destination, self._next_hop(table.id, destination), counts[destination])
            for destination in sorted(counts)
        )
        traffic = self._traffic.table(table)
        entries = tuple(entry for entry in traffic.entries if entry.node == node.name)
        loads = [one.load for one in traffic.forwarding if one.node == node]
        return NodeInTable(table.id, reached, missed, entries, max(loads, default=0.0))

    def _prefix_in(self, table: RouteTable, prefix: Prefix) -> PrefixInTable:
        state = self._states[table.id]
        destinations = state.destinations[prefix.family]
        found = prefix if prefix in destinations else destinations.cover(prefix)
        described = {e.destination: e for e in self._traffic.table(table).entries}
        entry = None if found is None else described.get(found)
        owners: dict[str, int] = {}
        if entry is not None:
            for part in self._traffic.carried(table, state, entry.destination):
                owners[self._name(part.owner)] = owners.get(self._name(part.owner), 0) + 1
        return PrefixInTable(
            table=table.id,
            entry=entry,
            foreign=found if entry is None else None,
            inside=tuple(
                described[nested] for nested in destinations.within(prefix) if nested in described
            ),
            owners=tuple(sorted(owners.items(), key=lambda one: (-one[1], one[0]))),
        )

    def _next_hop(self, table: str, destination: Prefix) -> str | None:
        index = self._ground.node(self._states[table].interface(destination))
        return None if index is None else self._name(index)

    def _subnet_holding(self, prefix: Prefix) -> str | None:
        for subnet in self._snapshot.subnets:
            if any(mine.contains(prefix) for mine in merge(subnet.prefixes)):
                return subnet.id
        return None

    def _name(self, index: int) -> str:
        return self._snapshot.nodes[index].name


@dataclass(frozen=True, slots=True)
class _Target:
    """An address with what is known of it; ``owner`` is a node's index."""

    family: Family
    address: int
    subnet: str | None
    block: Prefix | None
    owner: int | None
