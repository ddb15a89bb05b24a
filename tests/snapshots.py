"""Generated snapshots: small, valid as input, and odd in every way that counts.

`snapshots(shape)` draws a few sizes and a seed with hypothesis, so that failures shrink towards
small clusters, and fills in the rest from the seed, so that drawing stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

from ipam.prefix import Family, Prefix, merge
from vpcrouter.model import (
    Block,
    Entry,
    Node,
    Role,
    RouteTable,
    Snapshot,
    Subnet,
    roles,
    snapshot,
)

_BASE = {Family.IPV4: 0x64400000, Family.IPV6: 0xFD << 120}  # 100.64.0.0 and fd00::
_LEAF = {Family.IPV4: 26, Family.IPV6: 64}  # length of the usual smallest block
_REGION_BITS = 5  # a region has room for 2**5 of them; each subnet has two regions per family


@dataclass(frozen=True, slots=True)
class Shape:
    """What a generated snapshot may look like; each field excludes or bounds one peculiarity.

    ``entries`` names what tables may hold at present: "empty", "former" (an earlier valid plan),
    "garbage" (anything at all). ``budget`` fixes the budget of every table and family instead of
    drawing it; ``roomy`` raises it to the number of trees where it is less.
    """

    families: tuple[tuple[Family, ...], ...] = (
        (Family.IPV4,),
        (Family.IPV6,),
        (Family.IPV4, Family.IPV6),
    )
    max_subnets: int = 4
    max_tables: int = 3
    min_nodes: int = 0
    max_nodes: int = 6
    max_depth: int = _REGION_BITS
    equal_capacity: bool = False
    one_prefix_per_node: bool = False
    all_healthy: bool = False
    all_forward: bool = False
    weights: tuple[str, ...] = ("equal", "integers", "zeros", "zipf")
    entries: tuple[str, ...] = ("empty", "former", "garbage")
    foreign: bool = True
    own_subnet_weight: bool = True
    roomy: bool = False
    max_budget: int = 12
    budget: int | None = None


ANY = Shape()

EXACT = Shape(
    equal_capacity=True,
    one_prefix_per_node=True,
    all_healthy=True,
    all_forward=True,
    foreign=False,
    roomy=True,
)
"""Where the planner owes a proof, once each subnet has as many nodes as its table has entries."""


def snapshots(shape: Shape = ANY) -> st.SearchStrategy[Snapshot]:
    """Small whole snapshots of that shape."""
    return _shaped(shape)


@st.composite
def _shaped(draw: st.DrawFn, shape: Shape) -> Snapshot:
    families = draw(st.sampled_from(shape.families))
    n_tables = draw(st.integers(1, shape.max_tables))
    sizes = draw(
        st.lists(
            st.integers(shape.min_nodes, shape.max_nodes), min_size=1, max_size=shape.max_subnets
        )
    )
    depth = draw(st.integers(0, shape.max_depth))
    weights = draw(st.sampled_from(shape.weights))
    present = draw(st.sampled_from(shape.entries))
    budgets = [
        {f: draw(st.integers(0, shape.max_budget)) for f in families}
        if shape.budget is None
        else dict.fromkeys(families, shape.budget)
        for _ in range(n_tables)
    ]
    random = Random(draw(st.integers(0, 2**32)))
    subnets = _subnets(random, families, len(sizes), n_tables, depth)
    nodes = [
        node
        for subnet, size in zip(subnets, sizes, strict=True)
        for node in _nodes(random, shape, subnet, size)
    ]
    blocks = [
        block
        for subnet in subnets
        for block in _blocks(random, shape, subnet, nodes, depth, weights)
    ]
    if shape.roomy:
        trees = trees_of(subnets, blocks)
        counts = {f: sum(tree.family is f for ts in trees.values() for tree in ts) for f in Family}
        budgets = [{f: max(b, counts[f]) for f, b in budget.items()} for budget in budgets]
    scene = _Scene(random, shape, subnets, nodes, blocks)
    tables = [_table(scene, f"t{i}", budget, present) for i, budget in enumerate(budgets)]
    return snapshot(subnets, nodes, blocks, tables)


def trees_of(subnets: Sequence[Subnet], blocks: Sequence[Block]) -> dict[str, list[Prefix]]:
    """By subnet: its maximal prefixes that hold a block."""
    return {
        subnet.id: [
            tree
            for tree in merge(subnet.prefixes)
            if any(tree.contains(block.prefix) for block in blocks)
        ]
        for subnet in subnets
    }


# Subnets, nodes, blocks.


def _subnets(
    random: Random, families: Sequence[Family], count: int, tables: int, depth: int
) -> list[Subnet]:
    found = []
    for number in range(count):
        prefixes: list[Prefix] = []
        for family in families:
            region = 1 << (family.width - _LEAF[family] + _REGION_BITS)
            start = _BASE[family] + 2 * number * region
            one = Prefix(family, start, _LEAF[family] - depth)
            kind = random.random()
            if kind < 0.6:
                prefixes += [one]
            elif kind < 0.7:
                prefixes += [*one.halves()]  # two that merge
            elif kind < 0.8:
                prefixes += [one, one.halves()[1]]  # one inside the other
            else:
                prefixes += [one, Prefix(family, start + region, one.length)]  # two apart
        random.shuffle(prefixes)
        table = number if number < tables else random.randrange(tables)
        found.append(Subnet(f"s{number}", "abc"[number % 3], f"t{table}", tuple(prefixes)))
    return found


def _nodes(random: Random, shape: Shape, subnet: Subnet, count: int) -> list[Node]:
    sick = 0.0 if shape.all_healthy else random.choice([0.0, 0.2, 0.5, 1.0])
    found = []
    for number in range(count):
        name = f"{subnet.id}n{number}"
        host = 1 + number + 256 * int(subnet.id[1:])
        addresses = {
            Family.IPV4: f"10.0.{host // 256}.{host % 256}",
            Family.IPV6: f"2001:db8::{host:x}",
        }
        for family in (Family.IPV6, Family.IPV4):
            if len(addresses) > 1 and random.random() < 0.3:
                del addresses[family]
        found.append(
            Node(
                name,
                subnet.id,
                f"eni-{name}",
                addresses,
                capacity=1.0 if shape.equal_capacity else random.choice([0.5, 1.0, 1.0, 2.0, 3.0]),
                healthy=random.random() >= sick,
                forwards=shape.all_forward or random.random() < 0.8,
                avoid=not shape.all_forward and random.random() < 0.2,
            )
        )
    return found


def _blocks(
    random: Random, shape: Shape, subnet: Subnet, nodes: Sequence[Node], depth: int, weights: str
) -> list[Block]:
    owners = [node.name for node in nodes if node.subnet == subnet.id]
    if not owners:
        return []
    full = random.random()
    found = []
    for family in sorted({prefix.family for prefix in subnet.prefixes}):
        merged = [prefix for prefix in merge(subnet.prefixes) if prefix.family is family]
        pieces = [piece for prefix in merged for piece in _pieces(random, prefix, depth, full)]
        if shape.one_prefix_per_node:
            homes = zip(random.sample(owners, len(owners)), pieces, strict=False)
            owned = [(part, owner) for owner, home in homes for part in _parts(random, home)]
        else:
            owned = [(piece, random.choice(owners)) for piece in pieces]
        found += [
            Block(prefix, owner, _weight(random, weights, rank))
            for rank, (prefix, owner) in enumerate(owned)
        ]
    return found


def _pieces(random: Random, prefix: Prefix, depth: int, full: float) -> list[Prefix]:
    """Disjoint prefixes of differing lengths inside this one, in random order."""
    if depth == 0 or random.random() < 0.15:
        return [prefix] if random.random() < 0.2 + 0.8 * full else []
    found = [piece for half in prefix.halves() for piece in _pieces(random, half, depth - 1, full)]
    random.shuffle(found)
    return found


def _parts(random: Random, home: Prefix) -> list[Prefix]:
    """One block that is the whole home, or several inside it."""
    if random.random() < 0.7:
        return [home]
    parts = [part for half in home.halves() for part in half.halves()]
    return random.sample(parts, random.randint(1, len(parts)))


def _weight(random: Random, kind: str, rank: int) -> float:
    if kind == "integers":
        return float(random.randint(1, 5))
    if kind == "zeros":
        return float(random.choice([0, 0, 1, 2]))
    return 1.0 / (rank + 1) if kind == "zipf" else 1.0


# Tables and what they hold at present.


@dataclass(frozen=True, slots=True)
class _Scene:
    random: Random
    shape: Shape
    subnets: Sequence[Subnet]
    nodes: Sequence[Node]
    blocks: Sequence[Block]


def _table(scene: _Scene, name: str, budget: Mapping[Family, int], present: str) -> RouteTable:
    random = scene.random
    foreign: list[Prefix] = []
    if scene.shape.foreign and random.random() < 0.5:
        foreign = [Prefix.parse("10.99.0.0/16")]
        if random.random() < 0.3:
            foreign.append(_anywhere(scene))
    entries: list[Entry] = []
    if present == "former":
        entries = _former(scene, budget)
    elif present == "garbage":
        entries = _garbage(scene)
    distinct = {entry.destination: entry for entry in entries if entry.destination not in foreign}
    return RouteTable(
        name,
        limit={family: count + random.choice([0, 0, 1, 2]) for family, count in budget.items()},
        budget=dict(budget),
        own_subnet_weight=(
            random.choice([1.0, 1.0, 0.5, 0.0]) if scene.shape.own_subnet_weight else 1.0
        ),
        entries=tuple(distinct.values()),
        foreign=tuple(dict.fromkeys(foreign)),
    )


def _garbage(scene: _Scene) -> list[Entry]:
    """Any destinations with any interfaces, also such as no node has any more."""
    interfaces = [node.interface for node in scene.nodes] + ["eni-gone", "eni-stale"]
    count = scene.random.randint(0, 8)
    return [Entry(_anywhere(scene), scene.random.choice(interfaces)) for _ in range(count)]


def _anywhere(scene: _Scene) -> Prefix:
    """A prefix in or (rarely) around the prefixes of the subnets."""
    random = scene.random
    found = random.choice(random.choice(scene.subnets).prefixes)
    if random.random() < 0.15:
        return found.ancestor(found.length - random.randint(0, 8))
    for _ in range(random.choice([0, 0, 1, 2, 3, 4])):
        found = random.choice(found.halves())
    return found


def _former(scene: _Scene, budget: Mapping[Family, int]) -> list[Entry]:
    """Covers by nodes that may forward and, while the budget lasts, entries inside them."""
    random = scene.random
    left = dict(budget)
    entries: dict[Prefix, Entry] = {}
    role = dict(zip((node.name for node in scene.nodes), roles(scene.nodes), strict=True))

    def add(destination: Prefix, able: Sequence[Node]) -> None:
        if able and destination not in entries and left.get(destination.family, 0) > 0:
            entries[destination] = Entry(destination, random.choice(able).interface)
            left[destination.family] -= 1

    trees = trees_of(scene.subnets, scene.blocks)
    inside: list[tuple[Prefix, list[Node]]] = []
    for subnet in scene.subnets:
        able = [n for n in scene.nodes if n.subnet == subnet.id and role[n.name] is Role.FORWARD]
        for tree in trees[subnet.id]:
            add(tree, able)
            if tree in entries:
                inside.append((tree, able))
    for tree, able in inside:
        found = tree
        for _ in range(random.randint(0, 6)):
            deeper = found.length < tree.length + _REGION_BITS and random.random() < 0.7
            found = random.choice((found if deeper else tree).halves())
            add(found, able)
    return list(entries.values())
