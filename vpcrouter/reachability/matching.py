"""Longest prefix match over the destinations of a table, while they change.

Destinations are kept as sorted numbers, a prefix right before what is nested in it, so that
everything nested in a prefix is one slice and a change costs a binary search. What an entry
catches is its *piece*: its prefix less the destinations nested in it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipam.prefix import Family, Prefix, host_mask
from vpcrouter.model import Entry, Step

_LENGTH_BITS = 8
_LENGTH = (1 << _LENGTH_BITS) - 1


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive addresses, ``first`` to ``last``, with the destination that catches them."""

    first: int
    last: int
    destination: Prefix | None


class Destinations:
    """The destinations of one table in one family, each with the interface of its next hop.

    The interface of a foreign entry is None: what its next hop is does not matter.
    """

    __slots__ = ("_hops", "_keys", "_lengths", "_longest_first", "family")

    def __init__(self, family: Family, rows: Iterable[tuple[Prefix, str | None]]) -> None:
        self.family = family
        self._hops = {_key(destination): interface for destination, interface in rows}
        self._keys = sorted(self._hops)
        self._lengths = Counter(key & _LENGTH for key in self._keys)
        self._longest_first = sorted(self._lengths, reverse=True)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, destination: Prefix) -> bool:
        return _key(destination) in self._hops

    def __iter__(self) -> Iterator[Prefix]:
        return map(self._prefix, self._keys)

    def copy(self) -> Destinations:
        """Another one with the same content."""
        return Destinations(self.family, ((self._prefix(k), hop) for k, hop in self._hops.items()))

    def interface(self, destination: Prefix) -> str | None:
        """Where this destination leads; raises KeyError if it is none of this table's."""
        return self._hops[_key(destination)]

    def hop(self, span: Span) -> str | None:
        """Where a span leads; None where nothing or a foreign entry catches it."""
        return None if span.destination is None else self.interface(span.destination)

    def put(self, destination: Prefix, interface: str | None) -> None:
        """Add a destination or change where it leads."""
        key = _key(destination)
        if key not in self._hops:
            insort(self._keys, key)
            self._lengths[destination.length] += 1
            if self._lengths[destination.length] == 1:
                self._longest_first = sorted(+self._lengths, reverse=True)
        self._hops[key] = interface

    def remove(self, destination: Prefix) -> None:
        """Take a destination out; raises KeyError if it is none of this table's."""
        key = _key(destination)
        del self._hops[key]
        del self._keys[bisect_left(self._keys, key)]
        self._lengths[destination.length] -= 1
        if not self._lengths[destination.length]:
            self._longest_first = sorted(+self._lengths, reverse=True)

    def match(self, address: int) -> Prefix | None:
        """The longest destination that holds this address."""
        return self._longest(address, self.family.width)

    def cover(self, prefix: Prefix) -> Prefix | None:
        """The longest destination that contains this prefix and is not it."""
        return self._longest(prefix.value, prefix.length - 1)

    def within(self, prefix: Prefix) -> list[Prefix]:
        """The destinations nested in this prefix (itself left out), a prefix before its nested."""
        first = bisect_right(self._keys, _key(prefix))
        return [self._prefix(key) for key in self._keys[first : self._end(prefix.last)]]

    def piece(self, prefix: Prefix) -> list[tuple[int, int]]:
        """The addresses of a prefix that no destination nested in it catches, as first and last."""
        found = []
        position = prefix.value
        index, end = bisect_right(self._keys, _key(prefix)), self._end(prefix.last)
        while index < end:
            nested = self._prefix(self._keys[index])
            if position < nested.value:
                found.append((position, nested.value - 1))
            position = nested.last + 1
            index += 1
            if index < end and self._keys[index] < position << _LENGTH_BITS:
                index = bisect_left(self._keys, position << _LENGTH_BITS, index, end)
        if position <= prefix.last:
            found.append((position, prefix.last))
        return found

    def spans(self, prefix: Prefix) -> Iterator[Span]:
        """All addresses of a prefix in order, each span with its longest match."""
        outer = self._longest(prefix.value, prefix.length)
        nesting: list[Prefix] = []
        position = prefix.value

        def leave(before: int) -> Iterator[Span]:
            nonlocal position
            while nesting and nesting[-1].last < before:
                inner = nesting.pop()
                if position <= inner.last:
                    yield Span(position, inner.last, inner)
                    position = inner.last + 1
            if position < before:
                yield Span(position, before - 1, nesting[-1] if nesting else outer)
                position = before

        for nested in self.within(prefix):
            yield from leave(nested.value)
            nesting.append(nested)
        yield from leave(prefix.last + 1)

    def _longest(self, address: int, longest: int) -> Prefix | None:
        for length in self._longest_first:
            if length <= longest:
                value = address & ~host_mask(self.family, length)
                if value << _LENGTH_BITS | length in self._hops:
                    return Prefix(self.family, value, length)
        return None

    def _end(self, last: int) -> int:
        """The index after the last destination that starts at or before this address."""
        return bisect_left(self._keys, (last + 1) << _LENGTH_BITS)

    def _prefix(self, key: int) -> Prefix:
        return Prefix(self.family, key >> _LENGTH_BITS, key & _LENGTH)


class TableState:
    """What a table holds, changed step by step: ours and foreign destinations of both families."""

    def __init__(self, entries: Iterable[Entry], foreign: Iterable[Prefix]) -> None:
        rows: dict[Family, dict[Prefix, str | None]] = {family: {} for family in Family}
        for entry in entries:
            rows[entry.destination.family][entry.destination] = entry.interface
        for prefix in foreign:
            rows[prefix.family][prefix] = None
        self.destinations = {f: Destinations(f, rows[f].items()) for f in Family}
        self._foreign = {f: sum(hop is None for hop in rows[f].values()) for f in Family}

    def count(self, family: Family) -> int:
        """How many of the entries are ours."""
        return len(self.destinations[family]) - self._foreign[family]

    def interface(self, destination: Prefix) -> str | None:
        """The interface of our entry for exactly this destination, None if there is none."""
        destinations = self.destinations[destination.family]
        return destinations.interface(destination) if destination in destinations else None

    def entries(self) -> tuple[Entry, ...]:
        """Our entries, in order."""
        return tuple(
            Entry(destination, interface)
            for destinations in self.destinations.values()
            for destination in destinations
            if (interface := destinations.interface(destination)) is not None
        )

    def apply(self, step: Step) -> None:
        """Do what the step says, whether or not it should be done."""
        destinations = self.destinations[step.destination.family]
        if step.interface is None:
            destinations.remove(step.destination)
        else:
            destinations.put(step.destination, step.interface)


def _key(prefix: Prefix) -> int:
    return prefix.value << _LENGTH_BITS | prefix.length
