"""Parts of prefixes: what they have in common, and which parts of a space are empty. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from ipam.prefix import Prefix
from ipam.space import Space


def overlapping(prefixes: Sequence[Prefix], prefix: Prefix) -> list[Prefix]:
    """Those of disjoint prefixes in order that share addresses with another one."""
    first = bisect_left(prefixes, Prefix(prefix.family, prefix.value, 0))
    last = bisect_left(prefixes, Prefix(prefix.family, prefix.last + 1, 0))
    if first and prefixes[first - 1].contains(prefix):
        first -= 1
    return list(prefixes[first:last])


def common(prefixes: Sequence[Prefix], prefix: Prefix) -> list[Prefix]:
    """What another prefix has in common with disjoint ones in order."""
    found = overlapping(prefixes, prefix)
    return [prefix] if len(found) == 1 and found[0].contains(prefix) else found


def around_each(
    spaces: Sequence[Space], prefixes: Sequence[Prefix], prefix: Prefix
) -> Iterator[Space]:
    """The spaces of these prefixes, both in order, that share addresses with another prefix."""
    for found in overlapping(prefixes, prefix):
        yield spaces[bisect_left(prefixes, found)]


def empty_parts(space: Space, prefix: Prefix) -> Iterator[Prefix]:
    """The widest parts of a prefix in which nothing is given out and something can be."""
    pending = [prefix]
    while pending:
        part = pending.pop()
        if part.length > space.node_length:
            continue
        load, free, _ = space.measure(part)
        if not load and free:
            yield part
        elif free:
            pending += part.halves()


def first_with_room(space: Space, prefix: Prefix) -> Prefix | None:
    """The first node prefix in use of a prefix in which a block is left."""
    pending = [prefix]
    while pending:
        part = pending.pop()
        if part.length > space.node_length:
            continue
        _, free, room = space.measure(part)
        if not free and not room:
            continue
        if part.length == space.node_length:
            return part
        pending += part.halves()[::-1]
    return None
