"""What a picture of the address space shows: each shape with its prefix, name and story."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ipam.model import State
from ipam.prefix import Prefix, merge
from vpcrouter.views.free import Ground
from vpcrouter.views.tree import Branch, Kind

MOST_NODES = 20_000
"""Of a range with more nodes only groups are drawn: a browser could not show them."""

COLOURS = 10
LOADS = 6
_NAMED = 12


class What(StrEnum):
    """What a shape stands for, from the bottom of the picture to its top."""

    RANGE = "range"
    SPARE = "spare"
    FREE = "free"
    WITHHELD = "withheld"
    NODE = "node"
    BLOCK = "block"
    GROUP = "group"
    INNER = "inner"
    SUBNET = "subnet"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Shape:
    """One rectangle: what it stands for, where it lies, and what to say about it.

    ``colour`` is of its subnet and ``load`` from 0 (none) to 5 (the largest), None where it has
    none. ``name`` is by what it can be searched.
    """

    what: What
    prefix: Prefix
    name: str
    story: tuple[str, ...]
    colour: int | None = None
    load: int | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One range of a network with its shapes; ``nodes_left_out`` were too many to be drawn."""

    network: str
    whole: Prefix
    shapes: tuple[Shape, ...]
    nodes_left_out: int


def pictures(
    state: State, grounds: Iterable[Ground], found: Sequence[Branch], loads: Mapping[str, float]
) -> list[Picture]:
    """A picture for every range of the networks of which a tree was found."""
    colours = {id_: number % COLOURS for number, id_ in enumerate(state.subnets)}
    largest = max(loads.values(), default=0.0)
    steps = {name: _step(load, largest) for name, load in loads.items()}
    made = []
    for ground in grounds:
        for tree in found:
            if (tree.network, tree.family) == (ground.network.name, ground.family):
                scene = _Scene(ground, tree, colours, loads, steps)
                made += [scene.picture(cidr) for cidr in ground.cidrs]
    return made


def _step(load: float, largest: float) -> int:
    """A load as one of six steps; 0 is none."""
    if load <= 0:
        return 0
    return 1 + min(LOADS - 2, int((LOADS - 1) * load / largest))


@dataclass(frozen=True, slots=True)
class _Scene:
    ground: Ground
    tree: Branch
    colours: Mapping[str, int]
    loads: Mapping[str, float]
    steps: Mapping[str, int]

    def picture(self, whole: Prefix) -> Picture:
        owners = {one.owner for one in self.ground.given_in(whole)}
        is_crowded = len(owners) > MOST_NODES
        shapes = [self._range(whole)]
        outlines = list(self._outlines(whole))
        if not is_crowded:
            shapes += self._free(whole)
        shapes += self._withheld(whole)
        if not is_crowded:
            for shape in outlines:
                if shape.what is What.SUBNET:
                    shapes += self._owned(shape)
        order = list(What)
        shapes += sorted(outlines, key=lambda s: (order.index(s.what), s.prefix))
        return Picture(
            self.ground.network.name, whole, tuple(shapes), len(owners) if is_crowded else 0
        )

    def _range(self, whole: Prefix) -> Shape:
        network = self.ground.network
        closed = ("closed: nothing more is given out",) if network.is_closed(whole) else ()
        tenants = (f"for {_few(network.tenants)}",) if network.tenants else ()
        story = (f"{whole} of network {network.name}", *tenants, *closed)
        return Shape(What.RANGE, whole, network.name, story)

    def _outlines(self, whole: Prefix) -> Iterator[Shape]:
        for _, branch in self.tree.walk(self.tree.height):
            if branch.kind is Kind.NETWORK:
                continue
            for prefix in branch.prefixes:
                if whole.contains(prefix):
                    colour = self.colours.get(branch.subnet or "")
                    yield Shape(_what(branch), prefix, branch.name, _story(branch, prefix), colour)

    def _free(self, whole: Prefix) -> Iterator[Shape]:
        """Free space outside the node prefixes that are in use."""
        homes = _Homes(self.tree)
        for piece in self.ground.pieces:
            prefix = piece.prefix
            if not whole.contains(prefix) or prefix.length > piece.node_length:
                continue
            home = homes.of(prefix)
            room = f"free: room for {_count(1 << piece.node_length - prefix.length, 'node')}"
            place = f"in {home.kind} {home.name}"
            if home.subnet is None:
                yield Shape(What.SPARE, prefix, "", (str(prefix), room, place, "no subnet's yet"))
            else:
                colour = self.colours.get(home.subnet)
                yield Shape(What.FREE, prefix, "", (str(prefix), room, place), colour)

    def _withheld(self, whole: Prefix) -> Iterator[Shape]:
        network = self.ground.network
        for excluded in merge(network.exclude):
            if whole.contains(excluded):
                yield Shape(What.WITHHELD, excluded, "", (str(excluded), "excluded"))
        for static in network.static:
            if whole.contains(static.prefix):
                story = (str(static.prefix), f"static address of {static.name}")
                yield Shape(What.WITHHELD, static.prefix, static.name, story)

    def _owned(self, subnet: Shape) -> Iterator[Shape]:
        """The node prefixes of one prefix of a subnet, and the blocks in them."""
        length = max(self.ground.network.node[self.ground.family], subnet.prefix.length)
        together: dict[Prefix, dict[tuple[str, str], list[Prefix]]] = {}
        for block, owner in self.ground.given_in(subnet.prefix):
            prefix = block.ancestor(length)
            together.setdefault(prefix, {}).setdefault(owner, []).append(block)
        blocks: list[Shape] = []
        for prefix, owners in together.items():
            names = sorted({name for name, _ in owners})
            load = max((self.steps.get(name, 0) for name in names), default=0)
            story = (_few(names), f"{prefix} in subnet {subnet.name}", *self._told(owners))
            yield Shape(What.NODE, prefix, " ".join(names), story, subnet.colour, load)
            for (name, _), mine in owners.items():
                for block in merge(mine):
                    step = self.steps.get(name, 0)
                    blocks.append(Shape(What.BLOCK, block, "", (), subnet.colour, step))
        yield from blocks

    def _told(self, owners: Mapping[tuple[str, str], Sequence[Prefix]]) -> Iterator[str]:
        for (name, identity), blocks in sorted(owners.items()):
            who = f"{name} ({identity}): " if len(owners) > 1 else ""
            yield f"{who}{_count(len(blocks), 'block')}: {_few(map(str, blocks))}"
            if self.loads.get(name):
                yield f"{who}forwards for others, load {self.loads[name]:g}"


class _Homes:
    """Finds the innermost branch around a prefix."""

    def __init__(self, tree: Branch) -> None:
        self._root = tree
        self._branches = {
            prefix: branch for _, branch in tree.walk(tree.height) for prefix in branch.prefixes
        }
        self._lengths = sorted({prefix.length for prefix in self._branches}, reverse=True)

    def of(self, prefix: Prefix) -> Branch:
        """The group around a prefix, else the subnet, else the network."""
        for length in self._lengths:
            if length <= prefix.length:
                found = self._branches.get(prefix.ancestor(length))
                if found is not None:
                    return found
        return self._root


def _what(branch: Branch) -> What:
    if branch.kind is Kind.PLACE:
        return What.PLACE if branch.subnet is None else What.INNER
    return What.SUBNET if branch.kind is Kind.SUBNET else What.GROUP


def _story(branch: Branch, prefix: Prefix) -> tuple[str, ...]:
    kind = {Kind.GROUP: "prefix group", Kind.PLACE: "place"}.get(branch.kind, branch.kind.value)
    name = kind if branch.name == str(prefix) else f"{kind} {branch.name}"
    others = len(branch.prefixes) - 1
    whole = f" (and {_count(others, 'prefix', 'prefixes')} more)" if others else ""
    load = (f"largest load {branch.load:g}",) if branch.load else ()
    return (
        f"{prefix}: {name}{whole}",
        f"{_count(branch.nodes, 'node')} with {_count(branch.blocks, 'block')}",
        f"room for {_count(branch.free.node_prefixes, 'node')} more",
        *load,
    )


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
