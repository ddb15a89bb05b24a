"""A working model of a VPC, slow and obvious, to judge plans and steps by: where does a packet go?

The router takes entries and quotas literally, nodes deliver, pass on once inside their subnet, or
refuse. It shares no code with reachability, transition or planner, only the values of the model.

Every question about "every address" is answered by asking about one address of each interval in
which no prefix in sight begins or ends: all the others there fare alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from ipam.prefix import Family, Prefix
from vpcrouter.model import Action, Block, Node, Snapshot, Step

_FOREIGN = "(foreign)"
_TOO_MANY = 6  # crossings of the router after which a packet is taken to loop


class RefusedError(Exception):
    """The cloud does not do this step; the text begins with EC2's code."""


class End(StrEnum):
    """How a packet's way ends."""

    DELIVERED = "at its owner"
    OWNER_DOWN = "passed on to its owner, which is down"
    NOBODYS = "refused by a node of its subnet: nobody owns it"
    NOT_PASSED_ON = "at a neighbour that does not forward"
    STRAY = "refused by a node of another subnet"
    DOWN = "at a node that is down"
    STALE = "at an interface that is no node's"
    FOREIGN = "at somebody else's next hop"
    NO_ROUTE = "no entry matches"
    LOOP = "going round"


LEVEL = {
    End.DELIVERED: 2,
    End.OWNER_DOWN: 2,
    End.NOBODYS: 2,
    End.NOT_PASSED_ON: 1,
    End.STRAY: 0,
    End.DOWN: 0,
    End.STALE: 0,
    End.FOREIGN: 0,
    End.NO_ROUTE: 0,
    End.LOOP: 0,
}
"""How well routing has served the packet: not at all, a healthy neighbour got it, as it should."""


@dataclass(frozen=True, slots=True)
class Way:
    """A packet's way: the nodes that it came to, and how often it crossed the VPC router."""

    end: End
    nodes: tuple[str, ...]
    crossings: int

    @property
    def level(self) -> int:
        return LEVEL[self.end]


class Vpc:
    """Route tables that change by steps, and the nodes behind them."""

    def __init__(self, snapshot: Snapshot, *, split_horizon: bool = True) -> None:
        self.snapshot = snapshot
        self.split_horizon = split_horizon
        self.blocks = blocks_of(snapshot)
        self.trees = {subnet.id: trees_of(snapshot, subnet.id) for subnet in snapshot.subnets}
        self.rows: dict[str, dict[Prefix, str]] = {}
        self._nodes = {node.name: node for node in snapshot.nodes}
        self._by_interface = {node.interface: node for node in snapshot.nodes}
        self._owners: dict[tuple[Family, int], Node | None] = {}
        for table in snapshot.route_tables:
            rows = {entry.destination: entry.interface for entry in table.entries}
            assert len(rows) == len(table.entries)
            assert not any(destination in rows for destination in table.foreign)
            self.rows[table.id] = rows | dict.fromkeys(table.foreign, _FOREIGN)

    # Changing tables, as strictly as the cloud.

    def do(self, table: str, step: Step) -> None:
        """One call; raises RefusedError and changes nothing where the cloud would refuse it."""
        rows = self.rows[table]
        present = rows.get(step.destination)
        if step.action is Action.CREATE:
            if present is not None:
                raise RefusedError(f"RouteAlreadyExists: {step.destination}")
            if step.previous_interface is not None:
                raise RefusedError(f"contradicts itself: creates and replaces {step.destination}")
            if self.count(table, step.destination.family) >= self.limit(
                table, step.destination.family
            ):
                raise RefusedError(f"RouteLimitExceeded: {step.destination}")
            rows[step.destination] = self._interface(step)
        elif present is None:
            raise RefusedError(f"InvalidRoute.NotFound: {step.destination}")
        elif present == _FOREIGN:
            raise RefusedError(f"not ours: {step.destination}")
        elif step.previous_interface != present:
            raise RefusedError(f"has another next hop: {step.destination} {present}")
        elif step.action is Action.REPLACE:
            rows[step.destination] = self._interface(step)
        elif step.interface is not None:
            raise RefusedError(f"contradicts itself: deletes and sets {step.destination}")
        else:
            del rows[step.destination]

    def _interface(self, step: Step) -> str:
        if step.interface is None or step.interface not in self._by_interface:
            raise RefusedError(f"InvalidNetworkInterfaceID.NotFound: {step.interface}")
        return step.interface

    def count(self, table: str, family: Family) -> int:
        """How many entries of ours the table holds."""
        return sum(d.family is family and i != _FOREIGN for d, i in self.rows[table].items())

    def limit(self, table: str, family: Family) -> int:
        return next(t for t in self.snapshot.route_tables if t.id == table).limit.get(family, 0)

    def ours(self, table: str) -> dict[Prefix, str]:
        """Our entries: destination to interface."""
        return {d: i for d, i in self.rows[table].items() if i != _FOREIGN}

    # Sending packets.

    def send(self, table: str, family: Family, address: int) -> Way:
        """What happens to a packet whose first lookup is in this table."""
        met: list[str] = []
        for crossings in range(1, _TOO_MANY):
            interface = self._lookup(table, family, address)
            if interface is None:
                return Way(End.NO_ROUTE, tuple(met), crossings)
            if interface == _FOREIGN:
                return Way(End.FOREIGN, tuple(met), crossings)
            node = self._by_interface.get(interface)
            if node is None:
                return Way(End.STALE, tuple(met), crossings)
            end = self._at(node, family, address, met)
            if end is not None:
                return Way(end, tuple(met), crossings)
            table = next(s.route_table for s in self.snapshot.subnets if s.id == node.subnet)
        return Way(End.LOOP, tuple(met), _TOO_MANY)

    def _lookup(self, table: str, family: Family, address: int) -> str | None:
        matches = [d for d in self.rows[table] if d.family is family and d.holds(address)]
        longest = max(matches, key=lambda destination: destination.length, default=None)
        return None if longest is None else self.rows[table][longest]

    def _at(self, node: Node, family: Family, address: int, met: list[str]) -> End | None:
        """What a node does with a packet from the router; None: it sends it back there."""
        met.append(node.name)
        if not node.healthy:
            return End.DOWN
        owner = self.owner(family, address)
        if owner is node:
            return End.DELIVERED
        if owner is not None and owner.subnet == node.subnet:  # a host route
            if not node.forwards:
                return End.NOT_PASSED_ON
            met.append(owner.name)
            return End.DELIVERED if owner.healthy else End.OWNER_DOWN
        if not self.split_horizon:
            return None
        subnet = next(s for s in self.snapshot.subnets if s.id == node.subnet)
        inside = any(p.family is family and p.holds(address) for p in subnet.prefixes)
        return End.NOBODYS if inside else End.STRAY

    def owner(self, family: Family, address: int) -> Node | None:
        """The node that owns the block that holds this address."""
        if (family, address) not in self._owners:
            found = [
                block.node
                for block in self.blocks
                if block.prefix.family is family and block.prefix.holds(address)
            ]
            self._owners[family, address] = self._nodes[found[0]] if found else None
        return self._owners[family, address]

    # Every address.

    def samples(self, *more: Prefix) -> Iterator[tuple[Family, int]]:
        """One address of each interval in which no prefix begins or ends."""
        prefixes = [*more, *(block.prefix for block in self.blocks)]
        prefixes += [destination for rows in self.rows.values() for destination in rows]
        prefixes += [prefix for subnet in self.snapshot.subnets for prefix in subnet.prefixes]
        for family in Family:
            mine = [prefix for prefix in prefixes if prefix.family is family]
            edges = {p.value for p in mine} | {
                p.last + 1 for p in mine if p.last + 1 < 1 << family.width
            }
            for edge in sorted(edges):
                yield family, edge

    def watched(self, *more: Prefix) -> list[tuple[Family, int]]:
        """Samples of all trees, good for as long as no destinations but these come up."""
        trees = [tree for found in self.trees.values() for tree in found]
        return [
            (family, address)
            for family, address in self.samples(*more)
            if any(tree.family is family and tree.holds(address) for tree in trees)
        ]

    def levels(self, table: str, watched: Iterable[tuple[Family, int]]) -> list[int]:
        """How well this table serves each of these addresses."""
        return [self.send(table, family, address).level for family, address in watched]

    def loads(self, table: str) -> dict[tuple[Family, str], Fraction]:
        """By family and node: the weight that this table sends to it, less its own, over capacity.

        A block that entries divide counts by the share of its addresses.
        """
        capacity = {node.name: Fraction(node.capacity) for node in self.snapshot.nodes}
        found: dict[tuple[Family, str], Fraction] = {}
        for block, weight in self.weighted_blocks(table):
            for part, way in self._parts(table, block.prefix):
                if way.nodes and way.nodes[0] != block.node:
                    key = block.prefix.family, way.nodes[0]
                    found[key] = (
                        found.get(key, Fraction(0)) + weight * part / capacity[way.nodes[0]]
                    )
        return found

    def weighted_blocks(self, table: str) -> Iterator[tuple[Block, Fraction]]:
        """The blocks with the weights that they have in this table."""
        nodes = {node.name: node for node in self.snapshot.nodes}
        own = {s.id for s in self.snapshot.subnets if s.route_table == table}
        factor = next(t for t in self.snapshot.route_tables if t.id == table).own_subnet_weight
        for block in self.blocks:
            inside = nodes[block.node].subnet in own
            yield block, Fraction(block.weight) * (Fraction(factor) if inside else 1)

    def _parts(self, table: str, block: Prefix) -> Iterator[tuple[Fraction, Way]]:
        """Shares of a block that fare alike, with their ways."""
        cuts = {block.value, block.last + 1}
        for destination in self.rows[table]:
            if block.contains(destination):
                cuts |= {destination.value, destination.last + 1}
        edges = sorted(cuts)
        for start, end in pairwise(edges):
            yield Fraction(end - start, block.size), self.send(table, block.family, start)


# What a snapshot says, read as plainly as can be.


def blocks_of(snapshot: Snapshot) -> list[Block]:
    """The blocks of both families as values."""
    return [
        Block(columns.prefix(row), snapshot.nodes[columns.node[row]].name, columns.weight[row])
        for columns in snapshot.blocks.values()
        for row in range(len(columns))
    ]


def joined(prefixes: Iterable[Prefix]) -> set[Prefix]:
    """The maximal prefixes of these addresses: halves are joined until nothing changes."""
    found = set(prefixes)
    while True:
        parents = {p.ancestor(p.length - 1) for p in found if p.length}
        found |= {parent for parent in parents if set(parent.halves()) <= found}
        inner = {p for p in found if any(q != p and q.contains(p) for q in found)}
        if not inner and not any(set(p.halves()) <= found for p in parents):
            return found
        found -= inner


def trees_of(snapshot: Snapshot, subnet: str) -> set[Prefix]:
    """The maximal prefixes of a subnet that hold a block."""
    prefixes = next(s for s in snapshot.subnets if s.id == subnet).prefixes
    blocks = blocks_of(snapshot)
    return {t for t in joined(prefixes) if any(t.contains(block.prefix) for block in blocks)}


# What a table must keep.


def strays(vpc: Vpc, table: str) -> list[str]:
    """R2: our entries that are not inside the prefixes of one subnet, by a next hop there."""
    found = []
    for destination, interface in vpc.ours(table).items():
        homes = [
            subnet.id
            for subnet in vpc.snapshot.subnets
            if any(prefix.contains(destination) for prefix in joined(subnet.prefixes))
        ]
        hops = [node.subnet for node in vpc.snapshot.nodes if node.interface == interface]
        if not homes or homes != hops:
            found.append(f"{destination} in {homes} by {interface} in {hops}")
    return found


def unserved_addresses(vpc: Vpc, table: str, subnet: str, family: Family) -> list[str]:
    """R1: samples of a subnet's trees whose packets do not end at a node that may have them.

    Given out space takes the owner or a node that forwards, other space any node of the subnet.
    """
    trees = [tree for tree in vpc.trees[subnet] if tree.family is family]
    found = []
    for sample, address in vpc.samples():
        if sample is family and any(tree.holds(address) for tree in trees):
            way = vpc.send(table, family, address)
            if way.level < 2:
                found.append(f"{Prefix(family, address, family.width)}: {way.end.value}")
    return found


def fewest_direct_entries(vpc: Vpc, table: str, subnet: str, family: Family) -> int | None:
    """The least number of entries with which a table serves a subnet and nothing takes a detour.

    None where there is no such number. What weighs nothing in the table makes no detour, and may
    go through whoever forwards.

    Minimal-table construction with empty space as don't-care (R. Draves, C. King, S. Venkatachary,
    B. Zill: Constructing optimal IP routing tables, INFOCOM 1999), here as the plain recurrence:
    what a vertex costs if it inherits a next hop from above.
    """
    allowed = _direct_hops(vpc, table, subnet)
    healthy = sorted(n.name for n in vpc.snapshot.nodes if n.subnet == subnet and n.healthy)
    trees = [tree for tree in vpc.trees[subnet] if tree.family is family]
    mine = {p: hops for p, hops in allowed.items() if any(tree.contains(p) for tree in trees)}
    if not all(mine.values()):
        return None

    def below(vertex: Prefix) -> dict[str, int]:
        """Entries strictly inside a vertex, by the next hop that it has."""
        if vertex in mine:
            return {hop: int(hop not in mine[vertex]) * 2 for hop in healthy}  # more than its own
        if not any(vertex.contains(block) for block in mine):
            return dict.fromkeys(healthy, 0)
        left, right = (inherits(half) for half in vertex.halves())
        return {hop: left[hop] + right[hop] for hop in healthy}

    def inherits(vertex: Prefix) -> dict[str, int]:
        """Entries at or inside a vertex, by the next hop that it inherits."""
        inside = below(vertex)
        own = 1 + min(inside.values())
        return {hop: min(own, count) for hop, count in inside.items()}

    return sum(1 + min(below(tree).values()) for tree in trees)


def _direct_hops(vpc: Vpc, table: str, subnet: str) -> dict[Prefix, set[str]]:
    """For each block of a subnet, whose getting it from this table makes no detour."""
    healthy = [n for n in vpc.snapshot.nodes if n.subnet == subnet and n.healthy]
    willing = {n.name for n in healthy if n.forwards and not n.avoid}
    willing = willing or {n.name for n in healthy if n.forwards}
    found = {}
    for block, weight in vpc.weighted_blocks(table):
        if any(tree.contains(block.prefix) for tree in vpc.trees[subnet]):
            owner = {n.name for n in healthy if n.name == block.node}
            found[block.prefix] = owner | willing if weight == 0 else owner
    return found
