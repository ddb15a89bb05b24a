"""A second opinion on tables: slow, plain, and sharing no code with what it judges.

Addresses of small trees are looked at one by one. In larger ones, wherever any prefix starts or
ends a new stretch of addresses begins that nothing tells apart, and its first stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

from msgspec import structs

from ipam.prefix import Family, Prefix, merge
from tests.snapshots import trees_of
from vpcrouter.model import Action, Block, Entry, Node, RouteTable, Snapshot, Step, Subnet
from vpcrouter.model import snapshot as build

Address = tuple[Family, int]
SMALL = 256


class World:
    """One table's surroundings: what each address needs, who each interface is.

    ``others`` are all destinations that the table's entries may ever have.
    """

    def __init__(self, snapshot: Snapshot, table: RouteTable, others: Iterable[Prefix]) -> None:
        self.foreign = set(table.foreign)
        self.nodes = {node.interface: node for node in snapshot.nodes}
        self.blocks = blocks_of(snapshot)
        trees = trees_of(snapshot.subnets, self.blocks)
        self.trees = [(tree, subnet) for subnet, found in trees.items() for tree in found]
        edges: dict[Family, set[int]] = {family: set() for family in Family}
        self.known = {*others, *self.foreign}
        marks = [*self.known, *(block.prefix for block in self.blocks)]
        for prefix in [*marks, *(tree for tree, _ in self.trees)]:
            edges[prefix.family] |= {prefix.value, prefix.last + 1}
        self.addresses: dict[Address, tuple[str, str | None]] = {}
        self.holding: dict[Address, list[Prefix]] = {}
        longest_first = sorted(self.known, key=lambda prefix: -prefix.length)
        for tree, subnet in self.trees:
            family = tree.family
            every = range(tree.value, tree.last + 1) if tree.size <= SMALL else edges[family]
            for value in sorted(every):
                if tree.holds(value):
                    self.addresses[family, value] = (subnet, self._owner(family, value))
                    self.holding[family, value] = [
                        p for p in longest_first if p.family is family and p.holds(value)
                    ]

    def _owner(self, family: Family, value: int) -> str | None:
        for block in self.blocks:
            if block.prefix.family is family and block.prefix.holds(value):
                return block.node
        return None

    def level(self, entries: Mapping[Prefix, str], address: Address) -> int:
        """0 unreachable, 1 its next hop has to pass it on and does not forward, 2 served."""
        for longest in self.holding[address]:
            if longest in self.foreign:
                return 0
            if longest in entries:
                break
        else:
            return 0
        node = self.nodes.get(entries[longest])
        subnet, owner = self.addresses[address]
        if node is None or not node.healthy or node.subnet != subnet:
            return 0
        return 2 if node.forwards or owner in (None, node.name) else 1

    def levels(self, entries: Mapping[Prefix, str]) -> dict[Address, int]:
        """The level of every address that has one."""
        unknown = entries.keys() - self.known
        assert not any(tree.overlaps(prefix) for prefix in unknown for tree, _ in self.trees)
        return {address: self.level(entries, address) for address in self.addresses}


def tiny(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with 2**4 (IPv6: 2**62) addresses made one, so that trees are small."""

    def shrunk(prefix: Prefix) -> Prefix:
        shift = 4 if prefix.family is Family.IPV4 else 62
        return Prefix(prefix.family, prefix.value >> shift, prefix.length + shift)

    def fits(prefix: Prefix) -> bool:
        return prefix.length <= (28 if prefix.family is Family.IPV4 else 66)

    return build(
        [replace(s, prefixes=tuple(map(shrunk, s.prefixes))) for s in snapshot.subnets],
        snapshot.nodes,
        [
            structs.replace(b, prefix=shrunk(b.prefix))
            for b in blocks_of(snapshot)
            if fits(b.prefix)
        ],
        [
            replace(
                table,
                entries=tuple(
                    structs.replace(entry, destination=shrunk(entry.destination))
                    for entry in table.entries
                    if fits(entry.destination)
                ),
                foreign=tuple(map(shrunk, filter(fits, table.foreign))),
            )
            for table in snapshot.route_tables
        ],
    )


def blocks_of(snapshot: Snapshot) -> list[Block]:
    """The blocks of a snapshot as values."""
    return [
        Block(columns.prefix(row), snapshot.nodes[columns.node[row]].name, columns.weight[row])
        for columns in snapshot.blocks.values()
        for row in range(len(columns))
    ]


def held(entries: Iterable[Entry]) -> dict[Prefix, str]:
    """Entries as a table has them."""
    return {entry.destination: entry.interface for entry in entries}


def replay(table: RouteTable, steps: Sequence[Step]) -> Iterator[dict[Prefix, str]]:
    """What the table holds before the first step and after each; strict where the cloud is."""
    state = held(table.entries)
    yield dict(state)
    for step in steps:
        if step.action is Action.CREATE:
            assert step.destination not in state, f"{step} creates what is there"
            assert step.destination not in table.foreign, f"{step} touches a foreign entry"
        else:
            assert state[step.destination] == step.previous_interface, f"{step} is outdated"
        if step.action is Action.DELETE:
            assert step.interface is None
            del state[step.destination]
        else:
            assert step.interface is not None
            assert step.interface != step.previous_interface, f"{step} changes nothing"
            state[step.destination] = step.interface
        yield dict(state)


def world_of(snapshot: Snapshot, table: RouteTable, target: Iterable[Entry]) -> World:
    """A table's surroundings while it changes to a target."""
    return World(snapshot, table, [e.destination for e in (*table.entries, *target)])


def check_hitless(world: World, table: RouteTable, steps: Sequence[Step]) -> dict[Prefix, str]:
    """Assert that no step breaks R6 or R7; what the table holds in the end."""
    states = replay(table, steps)
    before = next(states)
    levels = world.levels(before)
    for step, after in zip(steps, states, strict=True):
        family = step.destination.family
        count = sum(prefix.family is family for prefix in after)
        if step.action is Action.CREATE:
            assert count <= table.limit.get(family, 0), f"{step} goes over the limit"
        changed = world.levels(after)
        worse = [a for a in changed if changed[a] < levels[a]]
        assert not worse, f"{step} lowers {worse[0]}"
        before, levels = after, changed
    return before


# Targets that keep the promises, whatever the table holds at present.


def random_target(random: Random, snapshot: Snapshot, table: RouteTable) -> list[Entry]:
    """Random cuts with next hops that may be: serves every subnet that can be served.

    Entries of subnets that cannot be stay (see ``vpcrouter.model.Unserved``).
    """
    blocks = blocks_of(snapshot)
    trees = trees_of(snapshot.subnets, blocks)
    target: dict[Prefix, str] = {}
    for subnet in snapshot.subnets:
        nodes = [node for node in snapshot.nodes if node.subnet == subnet.id and node.healthy]
        for family in Family:
            mine = [tree for tree in trees[subnet.id] if tree.family is family]
            served: dict[Prefix, str] | None = {}
            for tree in mine:
                found = _cut(random, tree, nodes, blocks)
                blocked = any(tree.contains(prefix) for prefix in table.foreign)
                served = None if served is None or found is None or blocked else served | found
            target |= _kept(subnet, family, mine, nodes, table) if served is None else served
    return [Entry(*item) for item in target.items()]


def _cut(
    random: Random, tree: Prefix, nodes: Sequence[Node], blocks: Sequence[Block]
) -> dict[Prefix, str] | None:
    covered = random.random() < 0.8
    cuts = {tree} if covered or tree.size == 1 else set(tree.halves())
    for _ in range(random.choice([0, 0, 1, 2, 4, 8])):
        cut = tree
        for _ in range(random.randint(1, min(6, tree.size.bit_length()))):
            cut = random.choice(cut.halves()) if cut.size > 1 else cut
        cuts.add(cut)
    found = {}
    for cut in cuts:
        inner = [other for other in cuts if other != cut and cut.contains(other)]
        owners = {
            block.node
            for block in blocks
            if block.prefix.overlaps(cut) and not any(i.contains(block.prefix) for i in inner)
        }
        able = [node for node in nodes if node.forwards or owners <= {node.name}]
        if not able:
            return None
        found[cut] = random.choice(able).interface
    return found


def _kept(
    subnet: Subnet,
    family: Family,
    trees: Sequence[Prefix],
    nodes: Sequence[Node],
    table: RouteTable,
) -> dict[Prefix, str]:
    healthy = {node.interface for node in nodes}
    mine = [prefix for prefix in merge(subnet.prefixes) if prefix.family is family]
    return {
        entry.destination: entry.interface
        for entry in table.entries
        if any(prefix.contains(entry.destination) for prefix in mine)
        or (entry.interface in healthy and any(tree.overlaps(entry.destination) for tree in trees))
    }


def with_limit(table: RouteTable, limits: Mapping[Family, int]) -> RouteTable:
    """The same table with other limits."""
    return replace(table, limit=dict(limits))
