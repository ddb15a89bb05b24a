"""Which part of a network, or of a place in it, each subnet or inner place gets: apart from others.

The first ones get parts of one size that leave something spare; whoever comes later, and whoever
is full, takes its neighbour or a part of the largest spare prefix, never a loan.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ipam.model import Network, empty_space, network_of
from ipam.prefix import Family, Prefix, merge


class Room:
    """What is spare in one place and family: disjoint prefixes in each of which a block is left."""

    def __init__(self, networks: Sequence[Network], spare: Iterable[Prefix]) -> None:
        self._networks = networks
        self._spare = sorted(map(_by_width, spare))
        self.size = sum(prefix.size for _, _, prefix in self._spare)

    @property
    def largest(self) -> Prefix | None:
        """The widest of its prefixes, and the first of those; None if nothing is spare."""
        return self._spare[0][2] if self._spare else None

    def count(self, length: int) -> int:
        """How many prefixes of a length there are in it."""
        return sum(1 << (length - width) for width, _, _ in self._spare if width <= length)

    def add(self, prefix: Prefix) -> None:
        """Make a prefix spare."""
        insort(self._spare, _by_width(prefix))
        self.size += prefix.size

    def around(self, prefix: Prefix) -> Prefix | None:
        """Its prefix around another one, if that is wholly spare."""
        for length in range(prefix.length, -1, -1):
            outer = prefix.ancestor(length)
            position = bisect_left(self._spare, _by_width(outer))
            if position < len(self._spare) and self._spare[position][2] == outer:
                return outer
        return None

    def carve(self, length: int) -> Prefix:
        """Take the first usable prefix of that length out of the largest, or that if no wider.

        Raises IndexError if nothing is spare.
        """
        prefix = self._spare[0][2]
        while prefix.length < length:
            prefix = next(half for half in prefix.halves() if is_usable(self._networks, half))
        self.take(prefix)
        return prefix

    def take(self, prefix: Prefix) -> None:
        """Take out a prefix that is wholly spare; raises ValueError if it is not."""
        outer = self.around(prefix)
        if outer is None:
            raise ValueError(f"{prefix} is not spare")
        self._remove(outer)
        while outer != prefix:
            inner = prefix.ancestor(outer.length + 1)
            other = next(half for half in outer.halves() if half != inner)
            if is_usable(self._networks, other):
                self.add(other)
            outer = inner

    def withdraw(self, prefix: Prefix) -> None:
        """Take out whatever of a prefix is spare."""
        if self.around(prefix) is not None:
            self.take(prefix)
            return
        for _, _, inner in list(self._spare):
            if prefix.contains(inner):
                self._remove(inner)

    def _remove(self, prefix: Prefix) -> None:
        del self._spare[bisect_left(self._spare, _by_width(prefix))]
        self.size -= prefix.size

    def __iter__(self) -> Iterator[Prefix]:
        return (prefix for _, _, prefix in self._spare)


def _by_width(prefix: Prefix) -> tuple[int, int, Prefix]:
    return prefix.length, prefix.value, prefix


def spare(networks: Sequence[Network], taken: Iterable[Prefix], family: Family) -> list[Prefix]:
    """What nobody has yet and where a block is left, as few prefixes, the largest first.

    Ranges that are closed count as taken. So do those that are excluded, down to the size of a
    node prefix; below that they are left out block by block.
    """
    inside = [
        cidr
        for network in networks
        for cidr in network.cidrs
        if cidr.family is family and not network.is_closed(cidr)
    ]
    return list(Room(networks, spare_in(networks, inside, taken)))


def spare_in(
    networks: Sequence[Network], prefixes: Iterable[Prefix], taken: Iterable[Prefix]
) -> Iterator[Prefix]:
    """What nobody has yet of these prefixes, each in one of the networks."""
    taken = merge(taken)
    for prefix in prefixes:
        network = network_of(networks, prefix)
        family = prefix.family
        wide = [
            e for e in network.exclude if e.family is family and e.length <= network.node[family]
        ]
        for part in without(prefix, merge([*taken, *wide]) if wide else taken, network.block):
            if is_usable(networks, part):
                yield part


def without(
    prefix: Prefix, taken: Sequence[Prefix], longest: Mapping[Family, int]
) -> Iterator[Prefix]:
    """The maximal parts of a prefix, down to a length, that overlap none of those taken.

    Those are disjoint and in order. Parts that are partly taken and of that length are left out.
    """
    first = bisect_left(taken, Prefix(prefix.family, prefix.value, 0))
    last = bisect_left(taken, Prefix(prefix.family, prefix.last + 1, 0))
    inside = taken[first:last]
    if (inside and inside[0].contains(prefix)) or (first and taken[first - 1].contains(prefix)):
        return
    pending = [(prefix, inside)]
    while pending:
        part, others = pending.pop()
        if not others:
            yield part
        elif part.length < longest[part.family] and others[0] != part:
            zero, one = part.halves()
            middle = bisect_left(others, Prefix(part.family, one.value, 0))
            pending += [(one, others[middle:]), (zero, others[:middle])]


def first_shares(
    networks: Sequence[Network], family: Family, joining: Mapping[str, int]
) -> dict[str, Prefix]:
    """A prefix for each of the subnets that a cluster starts with, given how many nodes join each.

    See ``shared_out``.
    """
    room = Room(networks, spare(networks, (), family))
    if room.largest is None:
        return {}
    longest = network_of(networks, room.largest).block[family]
    return shared_out(networks, room, joining, longest)


def shared_out(
    networks: Sequence[Network], room: Room, joining: Mapping[str, int], longest: int
) -> dict[str, Prefix]:
    """A part of the room, taken out of it, for each name, given how many nodes join there.

    All are of one size, but for those whose nodes would fill most of that; a part's length is at
    most ``longest``, or that of what is left. They lie as far apart as possible, so that what is
    beside them stays spare. Names for which nothing is left get none.
    """
    lengths = _lengths(networks, room, joining, longest)
    chosen: dict[str, Prefix] = {}
    for name in sorted(lengths, key=lambda name: (lengths[name], name)):
        if room.largest is not None:
            chosen[name] = room.carve(lengths[name])
    return chosen


def further_share(
    networks: Sequence[Network], taken: Iterable[Prefix], family: Family, own: Iterable[Prefix]
) -> Prefix | None:
    """A further prefix for a subnet, or a first one for a subnet that comes later.

    See ``take_further``.
    """
    return take_further(networks, Room(networks, spare(networks, taken, family)), own)


def take_further(
    networks: Sequence[Network], room: Room, own: Iterable[Prefix], bits: int = 1
) -> Prefix | None:
    """Take a part out of the room for whoever has these prefixes already; None if all is taken.

    The neighbour of one of them, if as much is spare besides: the two are one prefix and need one
    route entry. Else a part of the largest spare prefix, so many bits longer, or all of it where
    it is no larger than a node prefix.
    """
    largest = room.largest
    if largest is None:
        return None
    for neighbour in _neighbours(own):
        if (
            room.size >= 2 * neighbour.size
            and room.around(neighbour) is not None
            and is_usable(networks, neighbour)
        ):
            room.take(neighbour)
            return neighbour
    node_length = network_of(networks, largest).node[largest.family]
    return room.carve(max(largest.length, min(largest.length + bits, node_length)))


def _neighbours(own: Iterable[Prefix]) -> Iterator[Prefix]:
    """The other halves of what the prefixes of a subnet are halves of, the largest first."""
    for prefix in sorted(merge(own), key=lambda prefix: prefix.length):
        if prefix.length:
            yield from (h for h in prefix.ancestor(prefix.length - 1).halves() if h != prefix)


def _lengths(
    networks: Sequence[Network], room: Room, joining: Mapping[str, int], longest: int
) -> dict[str, int]:
    """The prefix length for each name, so that one prefix more than there are names is left."""
    if room.largest is None:
        return {}
    around = network_of(networks, room.largest)
    family, widest = room.largest.family, room.largest.length
    common = widest
    while common < longest and room.count(common) <= len(joining):
        common += 1
    lengths = {
        name: min(common, max(widest, around.node[family] - (2 * nodes - 1).bit_length()))
        for name, nodes in joining.items()
    }
    places = room.count(common) - 1
    wanted = sum(1 << (common - length) for length in lengths.values())
    by_width = [(length, name) for name, length in lengths.items()]
    heapq.heapify(by_width)
    while wanted > places and by_width[0][0] < common:
        length, name = by_width[0]
        wanted -= 1 << (common - length - 1)
        lengths[name] = length + 1
        heapq.heapreplace(by_width, (length + 1, name))
    return lengths


def is_usable(networks: Sequence[Network], prefix: Prefix) -> bool:
    """Whether a block of a prefix could be given out if nobody had any."""
    network = network_of(networks, prefix)
    if not network.exclude and not network.static:
        return True
    _, free, _ = empty_space(networks, prefix).measure(prefix)
    return free > 0
