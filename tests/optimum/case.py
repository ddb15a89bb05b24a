"""The problem of one table and family, read from a snapshot as plainly as the contract states it.

An entry's destination lies in one tree and splits no block; its next hop is a healthy node of the
tree's subnet; what it catches of others' blocks needs a next hop that may forward. Entries that
stay for subnets without a plan take their part of the budget, and load the nodes they point to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import lcm

from ipam.prefix import Family, Prefix
from tests.strict_model import blocks_of, joined
from vpcrouter.model import Entry, Node, RouteTable, Snapshot, Subnet


@dataclass(frozen=True, slots=True)
class Hop:
    """A healthy node: what divides its load, and whether it may forward for others."""

    node: str
    capacity: Fraction
    forwards: bool


@dataclass(frozen=True, slots=True)
class Owned:
    """A block with the weight that it has in the table."""

    prefix: Prefix
    owner: str
    weight: Fraction


@dataclass(frozen=True, slots=True)
class Tree:
    """A maximal prefix of a subnet with its blocks."""

    prefix: Prefix
    subnet: str
    blocks: tuple[Owned, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Trees to serve with at most ``budget`` entries, and what stands already.

    ``standing`` is the weight that the entries which stay put on a node; ``kept`` how many stay.
    """

    trees: tuple[Tree, ...]
    hops: Mapping[str, tuple[Hop, ...]]
    budget: int
    kept: int
    standing: Mapping[str, Fraction]
    capacity: Mapping[str, Fraction]

    @property
    def blocks(self) -> list[Owned]:
        return [block for tree in self.trees for block in tree.blocks]

    @property
    def unit(self) -> int:
        """What weights are multiplied by to become integers."""
        weights = [block.weight for block in self.blocks] + list(self.standing.values())
        return lcm(1, *(weight.denominator for weight in weights))

    def may_take(self, hop: Hop, block: Owned) -> bool:
        return hop.forwards or hop.node == block.owner

    def of_subnet(self, subnet: str) -> list[Tree]:
        return [tree for tree in self.trees if tree.subnet == subnet]

    @property
    def subnets(self) -> list[str]:
        """The subnets that have trees."""
        return sorted({tree.subnet for tree in self.trees})

    @property
    def unavoidable(self) -> Fraction:
        """The largest load of nodes that nothing here can change."""
        able = {hop.node for subnet in self.subnets for hop in self.hops[subnet]}
        return max(
            (w / self.capacity[n] for n, w in self.standing.items() if n not in able),
            default=Fraction(0),
        )


def read(cluster: Snapshot, table: RouteTable, family: Family, unserved: Iterable[str]) -> Case:
    """The case of a table, where the entries of these subnets stay as they are."""
    left_out = set(unserved)
    trees = all_trees(cluster, table, family)
    kept = {e for subnet in left_out for e in staying(cluster, table, family, subnet, trees)}
    return Case(
        trees=tuple(tree for tree in trees if tree.subnet not in left_out),
        hops={subnet.id: _hops(cluster, subnet) for subnet in cluster.subnets},
        budget=table.budget.get(family, 0) - len(kept),
        kept=len(kept),
        standing=_standing(cluster, kept, [t for t in trees if t.subnet in left_out]),
        capacity={node.name: Fraction(node.capacity) for node in cluster.nodes},
    )


def all_trees(cluster: Snapshot, table: RouteTable, family: Family) -> list[Tree]:
    """The maximal prefixes that hold a block, with the blocks as this table weighs them."""
    found = []
    blocks = [block for block in blocks_of(cluster) if block.prefix.family is family]
    for subnet in cluster.subnets:
        factor = table.own_subnet_weight if subnet.route_table == table.id else 1.0
        for prefix in sorted(joined(p for p in subnet.prefixes if p.family is family)):
            inside = tuple(
                Owned(b.prefix, b.node, Fraction(b.weight) * Fraction(factor))
                for b in blocks
                if prefix.contains(b.prefix)
            )
            if inside:
                found.append(Tree(prefix, subnet.id, inside))
    return found


def _hops(cluster: Snapshot, subnet: Subnet) -> tuple[Hop, ...]:
    healthy = [node for node in cluster.nodes if node.subnet == subnet.id and node.healthy]
    willing = any(node.forwards and not node.avoid for node in healthy)

    def forwards(node: Node) -> bool:
        return node.forwards and not (node.avoid and willing)

    return tuple(Hop(n.name, Fraction(n.capacity), forwards(n)) for n in healthy)


def staying(
    cluster: Snapshot, table: RouteTable, family: Family, subnet: str, trees: Iterable[Tree]
) -> set[Entry]:
    """The present entries that stay while the table does not serve this subnet.

    Those in its prefixes, and those that bring packets to one of its healthy nodes.
    """
    home = next(s for s in cluster.subnets if s.id == subnet)
    mine = joined(p for p in home.prefixes if p.family is family)
    healthy = {n.interface for n in cluster.nodes if n.subnet == subnet and n.healthy}
    return {
        entry
        for entry in table.entries
        if any(prefix.contains(entry.destination) for prefix in mine)
        or (
            entry.interface in healthy
            and any(t.subnet == subnet and t.prefix.overlaps(entry.destination) for t in trees)
        )
    }


def _standing(
    cluster: Snapshot, kept: Iterable[Entry], trees: Iterable[Tree]
) -> dict[str, Fraction]:
    nodes = {node.interface: node.name for node in cluster.nodes}
    found: dict[str, Fraction] = {}
    for block in (block for tree in trees for block in tree.blocks):
        around = [e for e in kept if e.destination.contains(block.prefix)]
        entry = max(around, key=lambda e: e.destination.length, default=None)
        node = nodes.get(entry.interface) if entry else None
        if node is not None and node != block.owner:
            found[node] = found.get(node, Fraction(0)) + block.weight
    return found


# Entries that somebody chose.


def loads(case: Case, entries: Iterable[Entry], names: Mapping[str, str]) -> dict[str, Fraction]:
    """What these entries put on each node, those that stay included; checks that they may be.

    ``names`` maps interfaces to nodes.
    """
    chosen = {entry.destination: names.get(entry.interface) for entry in entries}
    weight = dict(case.standing)
    for tree in case.trees:
        hops = {hop.node: hop for hop in case.hops[tree.subnet]}
        for block in tree.blocks:
            matching = [d for d in chosen if d.contains(block.prefix)]
            name = chosen[max(matching, key=lambda d: d.length)] if matching else None
            assert name in hops, f"{block.prefix} goes to {name}"
            assert case.may_take(hops[name], block), f"{name} does not forward {block.prefix}"
            if name != block.owner:
                weight[name] = weight.get(name, Fraction(0)) + block.weight
    return {node: each / case.capacity[node] for node, each in weight.items()}


# Who goes without.


def least_unserved(
    cluster: Snapshot, table: RouteTable, family: Family, fewest: Mapping[str, int | None]
) -> tuple[int, Fraction]:
    """The fewest blocks that a plan must leave out, and the least that so few can weigh.

    ``fewest`` is, for each subnet with blocks, the entries that serving it takes at least, or None
    where no number is enough. Where what stays takes more than the budget whoever is served,
    nobody is.
    """
    trees = all_trees(cluster, table, family)
    stays = {s: len(staying(cluster, table, family, s, trees)) for s in fewest}
    able = {s: count for s, count in fewest.items() if count is not None}
    sizes = [
        size(trees, fewest.keys() - set(served))
        for number in range(len(able) + 1)
        for served in combinations(able, number)
        if sum(able[s] if s in served else stays[s] for s in fewest) <= table.budget.get(family, 0)
    ]
    return min(sizes, default=size(trees, fewest))


def size(trees: Iterable[Tree], subnets: Iterable[str]) -> tuple[int, Fraction]:
    """How many blocks these subnets have, and what they weigh together."""
    wanted = set(subnets)
    weights = [b.weight for tree in trees if tree.subnet in wanted for b in tree.blocks]
    return len(weights), sum(weights, Fraction(0))


def blocked_by_foreign(table: RouteTable, trees: Iterable[Tree]) -> set[str]:
    """The subnets in one of whose trees an entry of somebody else lies."""
    return {t.subnet for t in trees if any(t.prefix.contains(f) for f in table.foreign)}


# Where an optimum is owed.


def suits_exactness(case: Case, entries: int) -> bool:
    """Whether the least load with so many entries is known how to be found in general.

    In each subnet: forwarders of one capacity, without load from what stays, as many as it can get
    entries; and every healthy owner has its blocks in a prefix of its own.
    """
    for subnet in case.subnets:
        crew = [hop for hop in case.hops[subnet] if hop.forwards]
        if any(hop.node in case.standing for hop in crew):
            return False
        others = len(case.trees) - len(case.of_subnet(subnet))
        if len({hop.capacity for hop in crew}) > 1 or 0 < len(crew) < entries - others:
            return False
    healthy = {hop.node for hops in case.hops.values() for hop in hops}
    return all(_together(case, owner) for owner in healthy)


def is_small(case: Case) -> bool:
    """Whether so little is to be served that the least load is owed, however hard the problem."""
    blocks = [sum(len(tree.blocks) for tree in case.of_subnet(s)) for s in case.subnets]
    return max(blocks, default=0) <= 9 and sum(blocks) <= 36


def _together(case: Case, owner: str) -> bool:
    mine = [block.prefix for block in case.blocks if block.owner == owner]
    if len(mine) < 2:
        return True
    around = mine[0]
    while not all(around.contains(prefix) for prefix in mine):
        around = around.ancestor(around.length - 1)
    in_tree = any(tree.prefix.contains(around) for tree in case.trees)
    return in_tree and not any(
        around.overlaps(block.prefix) for block in case.blocks if block.owner != owner
    )
