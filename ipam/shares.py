"""Which part of the networks each subnet gets: prefixes of different subnets are disjoint.

At the first batch a network is split by a power of two that leaves something spare; whoever comes
later, and a subnet that is full, takes its neighbour or half of the largest spare prefix, never a
loan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ipam.model import Network, empty_space, network_of
from ipam.prefix import Family, Prefix, merge


def spare(networks: Sequence[Network], taken: Iterable[Prefix], family: Family) -> list[Prefix]:
    """What no subnet has yet and where a block is left, as few prefixes, the largest first.

    Ranges that are excluded count as taken down to the size of a node prefix; below that they
    are left out block by block.
    """
    taken = [prefix for prefix in taken if prefix.family is family]
    found: list[Prefix] = []
    for network in networks:
        excluded = [e for e in network.exclude if e.family is family]
        wide = [e for e in excluded if e.length <= network.node[family]]
        for cidr in network.cidrs:
            if cidr.family is family:
                found += _without(cidr, [*taken, *wide], network.block[family])
    usable = (prefix for prefix in found if _is_usable(networks, prefix))
    return sorted(usable, key=lambda prefix: (prefix.length, prefix.value))


def first_shares(
    networks: Sequence[Network], family: Family, joining: Mapping[str, int]
) -> dict[str, Prefix]:
    """A prefix for each of the subnets that a cluster starts with, given how many nodes join each.

    All are of one size, but for subnets whose nodes would fill most of that. They lie as far apart
    as possible, so that what is beside them stays spare. Subnets for which nothing is left get
    none.
    """
    room = spare(networks, (), family)
    lengths = _lengths(networks, room, joining) if room else {}
    chosen: dict[str, Prefix] = {}
    for subnet in sorted(lengths, key=lambda subnet: (lengths[subnet], subnet)):
        room = spare(networks, chosen.values(), family)
        if room:
            chosen[subnet] = _carved(networks, room[0], lengths[subnet])
    return chosen


def further_share(
    networks: Sequence[Network], taken: Iterable[Prefix], family: Family, own: Iterable[Prefix]
) -> Prefix | None:
    """A further prefix for a subnet, or a first one for a subnet that comes later.

    The neighbour of one of its ``own`` prefixes, if as much is spare besides: the two are one
    prefix and need one route entry. Else half of the largest spare prefix, or all of it where it
    is no larger than a node prefix. None if nothing is spare.
    """
    room = spare(networks, taken, family)
    if not room:
        return None
    for neighbour in _neighbours(own):
        spare_besides = sum(prefix.size for prefix in room) - neighbour.size
        is_spare = any(prefix.contains(neighbour) for prefix in room)
        if is_spare and spare_besides >= neighbour.size and _is_usable(networks, neighbour):
            return neighbour
    largest = room[0]
    if largest.length >= network_of(networks, largest).node[family]:
        return largest
    return _carved(networks, largest, largest.length + 1)


def _neighbours(own: Iterable[Prefix]) -> Iterator[Prefix]:
    """The other halves of what the prefixes of a subnet are halves of, the largest first."""
    for prefix in sorted(merge(own), key=lambda prefix: prefix.length):
        if prefix.length:
            yield from (h for h in prefix.ancestor(prefix.length - 1).halves() if h != prefix)


def _without(prefix: Prefix, taken: Sequence[Prefix], longest: int) -> list[Prefix]:
    """The maximal prefixes inside one that overlap nothing that is taken."""
    inside = [other for other in taken if other.overlaps(prefix)]
    if not inside:
        return [prefix]
    if prefix.length >= longest or any(other.contains(prefix) for other in inside):
        return []
    zero, one = prefix.halves()
    return _without(zero, inside, longest) + _without(one, inside, longest)


def _lengths(
    networks: Sequence[Network], room: Sequence[Prefix], joining: Mapping[str, int]
) -> dict[str, int]:
    """The prefix length for each subnet, so that one prefix more than there are subnets is left."""
    around = network_of(networks, room[0])
    family = room[0].family
    common = room[0].length
    while common < around.block[family] and _count(room, common) <= len(joining):
        common += 1
    lengths = {
        subnet: min(common, max(room[0].length, around.node[family] - (2 * nodes - 1).bit_length()))
        for subnet, nodes in joining.items()
    }
    places = _count(room, common) - 1
    while sum(1 << (common - length) for length in lengths.values()) > places:
        widest = min(lengths, key=lambda subnet: (lengths[subnet], subnet))
        if lengths[widest] == common:
            break
        lengths[widest] += 1
    return lengths


def _count(prefixes: Iterable[Prefix], length: int) -> int:
    """How many prefixes of a length there are in others."""
    return sum(1 << (length - prefix.length) for prefix in prefixes if prefix.length <= length)


def _carved(networks: Sequence[Network], prefix: Prefix, length: int) -> Prefix:
    """The first usable prefix of that length in one that is usable; that one if it is no wider."""
    while prefix.length < length:
        prefix = next(half for half in prefix.halves() if _is_usable(networks, half))
    return prefix


def _is_usable(networks: Sequence[Network], prefix: Prefix) -> bool:
    _, free, _ = empty_space(networks, prefix).measure(prefix)
    return free > 0
