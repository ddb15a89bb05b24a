"""Free space: which prefixes of a network are wholly free, and what they are good for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ipam.model import Network, State
from ipam.prefix import Family, Prefix
from ipam.space import Space, Vertex


class Piece(NamedTuple):
    """A prefix that is wholly free; around it, a node gets a prefix of ``node_length``."""

    prefix: Prefix
    node_length: int


class Given(NamedTuple):
    """A block and who owns it, by name and identity."""

    block: Prefix
    owner: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Free:
    """What is left of some prefixes of one family.

    ``node_prefixes`` are those in which nothing is given out and a block is left; ``blocks`` are
    all that are left, also beside others. ``pieces`` are the fewest prefixes that are wholly free.
    """

    node_prefixes: int
    blocks: int
    pieces: tuple[Prefix, ...]

    @property
    def largest(self) -> Prefix | None:
        """The first of the largest aligned prefixes that are wholly free."""
        return min(self.pieces, key=lambda piece: (piece.length, piece), default=None)


class Ground:
    """One network in one family: what is given out in it, and what is free.

    ``given`` and ``pieces`` are in order. Ranges that are closed have nothing free.
    """

    def __init__(self, state: State, network: Network, family: Family) -> None:
        self.network = network
        self.family = family
        self.cidrs = tuple(sorted(cidr for cidr in network.cidrs if cidr.family is family))
        self.block_length = network.block[family]
        self.given = sorted(
            Given(block, (node.name, node.identity))
            for node in state.owners()
            for block in node.blocks
            if block.family is family and self.holds(block)
        )
        self._blocks = [one.block.value for one in self.given]
        spaces = [
            space
            for spaces in state.spaces.values()
            for space in spaces
            if space.family is family and self.holds(space.prefix)
        ]
        taken = sorted(space.prefix for space in spaces)
        pieces = [piece for space in spaces for piece in free_pieces(space)]
        self.spare = [piece for cidr in self.cidrs for piece in self._spare(cidr, taken)]
        self.pieces = sorted(
            piece for piece in (*pieces, *self.spare) if not network.is_closed(piece.prefix)
        )
        self._firsts = [piece.prefix.value for piece in self.pieces]

    def holds(self, prefix: Prefix) -> bool:
        """Whether a prefix lies in this network."""
        return any(cidr.contains(prefix) for cidr in self.cidrs)

    def given_in(self, prefix: Prefix) -> Sequence[Given]:
        """What is given out of a prefix, in order."""
        first = bisect_left(self._blocks, prefix.value)
        return self.given[first : bisect_right(self._blocks, prefix.last)]

    def free(self, prefixes: Iterable[Prefix]) -> Free:
        """What is left of prefixes that are apart."""
        found = [piece for prefix in prefixes for piece in self._within(prefix)]
        whole = sum(1 << p.node_length - p.prefix.length for p in found if _is_wide(p))
        partly = {p.prefix.ancestor(p.node_length) for p in found if not _is_wide(p)}
        blocks = sum(1 << self.block_length - piece.prefix.length for piece in found)
        return Free(
            whole + sum(not self.given_in(prefix) for prefix in partly),
            blocks,
            tuple(piece.prefix for piece in found),
        )

    def _within(self, prefix: Prefix) -> Iterable[Piece]:
        """The parts of free pieces that lie inside a prefix."""
        place = bisect_right(self._firsts, prefix.value) - 1
        if place >= 0 and self.pieces[place].prefix.contains(prefix):
            return [Piece(prefix, max(prefix.length, self.pieces[place].node_length))]
        first = bisect_left(self._firsts, prefix.value)
        return self.pieces[first : bisect_right(self._firsts, prefix.last)]

    def _spare(self, cidr: Prefix, taken: Sequence[Prefix]) -> list[Piece]:
        """What no subnet has of a range; whatever is no whole block is left out."""
        withheld = [prefix for prefix in self.network.withheld if prefix.family is self.family]
        inside = sorted(prefix for prefix in (*taken, *withheld) if prefix.overlaps(cidr))
        node_length = max(self.network.node[self.family], cidr.length)
        return [Piece(prefix, node_length) for prefix in without(cidr, inside, self.block_length)]


def grounds(state: State) -> list[Ground]:
    """Every network of a state in every family that it has."""
    return [
        Ground(state, network, family)
        for network in state.networks
        for family in Family
        if any(cidr.family is family for cidr in network.cidrs)
    ]


def free_pieces(space: Space) -> list[Piece]:
    """The fewest prefixes of a space that are wholly free, in order."""
    found: list[Prefix] = []
    _collect(space, space.prefix, space.root, found)
    return [Piece(prefix, space.node_length) for prefix in found]


def without(prefix: Prefix, taken: Sequence[Prefix], longest: int) -> list[Prefix]:
    """The maximal prefixes inside one, up to a length, that overlap nothing that is taken."""
    if not taken:
        return [prefix]
    if prefix.length >= longest or any(other.contains(prefix) for other in taken):
        return []
    return [
        piece
        for half in prefix.halves()
        for piece in without(half, [other for other in taken if other.overlaps(half)], longest)
    ]


def _collect(space: Space, prefix: Prefix, vertex: Vertex | None, found: list[Prefix]) -> None:
    if vertex is None:
        found.append(prefix)
    elif prefix.length == space.node_length:
        _collect_bits(prefix, vertex.used, space.blocks_per_node, found)
    elif vertex.zero is not None or vertex.one is not None:  # else: wholly excluded
        zero, one = prefix.halves()
        _collect(space, zero, vertex.zero, found)
        _collect(space, one, vertex.one, found)


def _collect_bits(prefix: Prefix, used: int, blocks: int, found: list[Prefix]) -> None:
    """Free parts of a node prefix, of which bit i of ``used`` says that block i is not."""
    if not used:
        found.append(prefix)
    elif used != (1 << blocks) - 1:
        half = blocks // 2
        zero, one = prefix.halves()
        _collect_bits(zero, used & (1 << half) - 1, half, found)
        _collect_bits(one, used >> half, half, found)


def _is_wide(piece: Piece) -> bool:
    """Whether it holds whole node prefixes."""
    return piece.prefix.length <= piece.node_length
