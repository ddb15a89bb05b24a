"""Which part of the networks each subnet gets: prefixes of different subnets are disjoint.

At the first batch a network is split by a power of two that leaves something spare; whoever comes
later, and a subnet that is full, takes its neighbour or half of the largest spare prefix, never a
loan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
    networks: Sequence[Network], family: Family, subnets: Sequence[str]
) -> dict[str, Prefix]:
    """A prefix for each of the subnets that a cluster starts with, all of one size.

    They lie as far apart as possible, so that what is beside them stays spare. Subnets for which
    nothing is left get none.
    """
    room = spare(networks, (), family)
    if not room or not subnets:
        return {}
    longest = max(network_of(networks, prefix).block[family] for prefix in room)
    places: list[Prefix] = []
    length = room[0].length
    while length <= longest and len(places) <= len(subnets):
        places = _places(networks, room, length)
        length += 1
    return dict(zip(sorted(subnets), places, strict=False))


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
    return next(half for half in largest.halves() if _is_usable(networks, half))


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


def _places(networks: Sequence[Network], room: Iterable[Prefix], length: int) -> list[Prefix]:
    """The usable prefixes of a length, those first that leave most between them."""
    places = [
        (_reversed(index, length - prefix.length), prefix.value, index)
        for prefix in room
        if prefix.length <= length <= network_of(networks, prefix).block[prefix.family]
        for index in range(1 << (length - prefix.length))
    ]
    family = next(iter(room)).family
    step = family.width - length
    found = (Prefix(family, value + (index << step), length) for _, value, index in sorted(places))
    return [prefix for prefix in found if _is_usable(networks, prefix)]


def _is_usable(networks: Sequence[Network], prefix: Prefix) -> bool:
    _, free, _ = empty_space(networks, prefix).measure(prefix)
    return free > 0


def _reversed(index: int, bits: int) -> int:
    return int(format(index, f"0{bits}b")[::-1], 2) if bits else 0
