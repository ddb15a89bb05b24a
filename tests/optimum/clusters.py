"""Generated snapshots whose budgets are tight: what they need for no detour is rarely there.

Small enough to try everything, or hundreds of blocks large. As with `tests.snapshots`, sizes and a
seed are drawn, and the seed fills in the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from vpcrouter.model import Block, Entry, Node, RouteTable, Snapshot, Subnet, snapshot

_BASE = {Family.IPV4: 10 << 24, Family.IPV6: 0xFD << 120}
_AMPLE = 50
_LEAF = {Family.IPV4: 28, Family.IPV6: 66}  # homes lie in both halves of an IPv6 address


@dataclass(frozen=True, slots=True)
class Make:
    """What clusters are made of; pairs are from and to.

    ``homes``: how many prefixes with blocks a subnet has, ``parts``: how many blocks one has at
    most. ``owners``: "alone" (each home belongs to a node of its own) or "scattered" (blocks of
    anybody anywhere). ``idle``: nodes without blocks; ``crew``: as many more as there are entries
    to forward. ``deep``: address bits that a tree has beyond what its homes take.
    ``peculiar``: how likely a node is down, forwards for nobody or is to be avoided. ``present``:
    tables hold entries already. ``lost``: the nodes of the first subnet are all down, and entries
    for it go to any subnet's.
    """

    subnets: tuple[int, int] = (1, 2)
    homes: tuple[int, int] = (1, 5)
    parts: int = 2
    owners: tuple[str, ...] = ("alone",)
    idle: tuple[int, int] = (0, 1)
    crew: bool = True
    deep: tuple[int, int] = (0, 2)
    tables: tuple[int, int] = (1, 2)
    capacity: tuple[str, ...] = ("equal", "by subnet")
    weights: tuple[str, ...] = ("equal", "integers", "zeros", "doubling", "zipf", "quarters")
    peculiar: tuple[float, ...] = (0.0,)
    present: tuple[bool, ...] = (False, True)
    lost: bool = False


def clusters(make: Make) -> st.SearchStrategy[Snapshot]:
    """Snapshots of one family, made so."""
    return _clusters(make)


@st.composite
def _clusters(draw: st.DrawFn, make: Make) -> Snapshot:
    size = st.tuples(st.integers(*make.homes), st.integers(*make.idle))
    sizes = draw(st.lists(size, min_size=make.subnets[0], max_size=make.subnets[1]))
    rooms = draw(st.lists(st.integers(0, _AMPLE), min_size=make.tables[0], max_size=make.tables[1]))
    maker = _Maker(
        make=make,
        family=draw(st.sampled_from(Family)),
        deep=draw(st.integers(*make.deep)),
        owners=draw(st.sampled_from(make.owners)),
        capacity=draw(st.sampled_from(make.capacity)),
        weights=draw(st.sampled_from(make.weights)),
        peculiar=draw(st.sampled_from(make.peculiar)),
        present=draw(st.sampled_from(make.present)),
        random=Random(draw(st.integers(0, 2**32))),
    )
    return maker.cluster(sizes, rooms)


@dataclass(frozen=True, slots=True)
class _Place:
    """A subnet under construction: its trees with their homes."""

    subnet: Subnet
    homes: tuple[tuple[Prefix, ...], ...]
    idle: int

    @property
    def all_homes(self) -> list[Prefix]:
        return [home for homes in self.homes for home in homes]


@dataclass(frozen=True, slots=True)
class _Maker:
    make: Make
    family: Family
    deep: int
    owners: str
    capacity: str
    weights: str
    peculiar: float
    present: bool
    random: Random

    def cluster(self, sizes: Sequence[tuple[int, int]], rooms: Sequence[int]) -> Snapshot:
        tables = [f"t{number}" for number in range(len(rooms))]
        places = [self._place(n, homes, idle, tables) for n, (homes, idle) in enumerate(sizes)]
        trees = sum(len(place.homes) for place in places)
        homes = sum(len(place.all_homes) for place in places)
        spare = max(1, homes - trees)  # as many entries more than trees need no detour
        budgets = [trees + (spare if room == _AMPLE else room % spare) for room in rooms]
        nodes: list[Node] = []
        blocks: list[Block] = []
        for place in places:
            entries = max(budgets) - trees + len(place.homes)
            mine = self._nodes(place, entries if self.make.crew else 0)
            nodes += mine
            blocks += self._blocks(place, [node.name for node in mine])
        return snapshot(
            [place.subnet for place in places],
            nodes,
            blocks,
            [
                self._table(name, budget, places, nodes)
                for name, budget in zip(tables, budgets, strict=True)
            ],
        )

    # Subnets and where their blocks lie.

    def _place(self, number: int, homes: int, idle: int, tables: Sequence[str]) -> _Place:
        bits = (homes - 1).bit_length() + self.deep
        length = _LEAF[self.family] - bits
        region = 1 << self.family.width - length
        largest = 1 << self.family.width - _LEAF[self.family] + (
            (self.make.homes[1] - 1).bit_length() + self.make.deep[1] + 2
        )
        start = _BASE[self.family] + number * largest
        counts = [homes]
        if homes > 1 and self.random.random() < 0.3:
            counts = [homes - homes // 3, homes // 3] if homes > 2 else [1, 1]
        prefixes = [
            Prefix(self.family, start + 2 * part * region, length) for part in range(len(counts))
        ]
        table = self.random.choice(tables)
        return _Place(
            Subnet(f"s{number}", "abc"[number % 3], table, tuple(prefixes)),
            tuple(
                tuple(self._homes(prefix, count))
                for prefix, count in zip(prefixes, counts, strict=True)
            ),
            idle,
        )

    def _homes(self, prefix: Prefix, count: int) -> list[Prefix]:
        """So many disjoint prefixes inside this one, spread without order."""
        room = 1 << _LEAF[self.family] - prefix.length
        if count == 0:
            return []
        if count == 1 and (room == 1 or self.random.random() < 0.3):
            return [prefix]
        low, high = prefix.halves()
        left = self.random.randint(max(0, count - room // 2), min(count, room // 2))
        return self._homes(low, left) + self._homes(high, count - left)

    # Nodes and blocks.

    def _nodes(self, place: _Place, crew: int) -> list[Node]:
        owners = len(place.all_homes)
        count = owners + max(place.idle, crew if self.peculiar else crew - owners)
        unit = self.random.choice([0.5, 1.0, 2.0, 3.0]) if self.capacity == "by subnet" else 1.0
        found = []
        for number in range(count):
            name = f"{place.subnet.id}n{number:03}"
            lost = self.make.lost and place.subnet.id == "s0"
            odd = self.peculiar if number < owners or not self.make.crew else 0.0
            found.append(
                Node(
                    name,
                    place.subnet.id,
                    f"eni-{name}",
                    {},
                    capacity=self.random.choice([0.5, 1.0, 3.0, 8.0])
                    if self.capacity == "mixed"
                    else unit,
                    healthy=not lost and self.random.random() >= odd / 2,
                    forwards=self.random.random() >= odd,
                    avoid=self.random.random() < odd / 2,
                )
            )
        return found

    def _blocks(self, place: _Place, names: Sequence[str]) -> list[Block]:
        homes = place.all_homes
        self.random.shuffle(homes)
        found: list[Block] = []
        for number, home in enumerate(homes):
            parts = self._parts(home)
            for part in parts:
                alone = self.owners == "alone"
                owner = names[number] if alone else self.random.choice(names)
                found.append(Block(part, owner, self._weight(len(found))))
        return found

    def _parts(self, home: Prefix) -> list[Prefix]:
        if self.make.parts == 1 or self.random.random() < 0.7:
            return [home]
        parts = [part for half in home.halves() for part in half.halves()]
        return self.random.sample(parts, self.random.randint(1, self.make.parts))

    def _weight(self, rank: int) -> float:
        match self.weights:
            case "integers":
                return float(self.random.randint(1, 9))
            case "zeros":
                return float(self.random.choice([0, 0, 1, 2, 5]))
            case "doubling":
                return float(1 << self.random.randint(0, 6))
            case "zipf":
                return float(round(2520 / (rank + 1)))
            case "quarters":
                return self.random.randint(1, 20) / 4
        return 1.0

    # Tables.

    def _table(
        self, name: str, budget: int, places: Sequence[_Place], nodes: Sequence[Node]
    ) -> RouteTable:
        limit = budget + self.random.choice([0, 0, 1, 2])
        entries = self._entries(places, nodes, limit) if self.present else ()
        return RouteTable(
            name,
            limit={self.family: limit},
            budget={self.family: budget},
            own_subnet_weight=self.random.choice([1.0, 1.0, 0.5, 0.0]),
            entries=tuple(entries),
        )

    def _entries(self, places: Sequence[_Place], nodes: Sequence[Node], limit: int) -> list[Entry]:
        """Covers and some prefixes around homes, by nodes of their subnets or of none."""
        wanted: dict[Prefix, Entry] = {}
        for place in places:
            anybody = self.make.lost and place.subnet.id == "s0"
            mine = [n.interface for n in nodes if anybody or n.subnet == place.subnet.id]
            mine += ["eni-gone"] * (self.random.random() < 0.1)
            for tree, homes in zip(place.subnet.prefixes, place.homes, strict=True):
                around = [tree] + [
                    home.ancestor(self.random.randint(tree.length, home.length)) for home in homes
                ]
                for prefix in around:
                    wanted[prefix] = Entry(prefix, self.random.choice(mine))
        covers = [wanted[tree] for place in places for tree in place.subnet.prefixes]
        more = [entry for entry in wanted.values() if entry not in covers]
        count = self.random.randint(0, max(0, limit - len(covers)))
        return covers + self.random.sample(more, min(count, len(more)))
