"""What the entries of route tables can still take: new blocks go where that is something. Pure.

Whoever plans tables says so; placement knows nothing else of them. Without it a node may join where
the next hop of its addresses has no load to spare, and an entry would have to change for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ipam.prefix import Prefix


class Takes(NamedTuple):
    """How many further blocks a destination can take; below nought it has too many."""

    evenly: int
    """Without a load above the least that is possible."""

    at_most: int
    """Without a load above the largest that is allowed."""


@dataclass(frozen=True, slots=True)
class Room:
    """For each table and family, what each destination can take.

    A block counts for the most specific destination around it. Where there is none, an entry more
    is needed in any case: there is room.
    """

    tables: tuple[Mapping[Prefix, Takes], ...] = ()

    def without(self, blocks: Iterable[Prefix]) -> Room:
        """What is left of it once these blocks were given out."""
        left = Left(self)
        for block in blocks:
            left.take(block)
        return left.room()


ANY_ROOM = Room()
"""Nothing is known about tables, or they take whatever comes."""


class Left:
    """What is left of some room while blocks are given out, one after the other."""

    def __init__(self, room: Room) -> None:
        self._tables = [dict(table) for table in room.tables if table]
        self._lengths = [
            sorted({prefix.length for prefix in table}, reverse=True) for table in self._tables
        ]

    def room(self) -> Room:
        """It as a value."""
        return Room(tuple(dict(table) for table in self._tables))

    def takes_evenly(self, block: Prefix) -> bool:
        """Whether every destination around a block can take it and no load is above the least."""
        return all(table[around].evenly > 0 for table, around in self._around(block))

    def takes(self, block: Prefix) -> bool:
        """Whether every destination around a block can take it."""
        return all(table[around].at_most > 0 for table, around in self._around(block))

    def take(self, block: Prefix) -> None:
        """The block was given out."""
        for table, around in self._around(block):
            evenly, at_most = table[around]
            table[around] = Takes(evenly - 1, at_most - 1)

    def _around(self, block: Prefix) -> Iterator[tuple[dict[Prefix, Takes], Prefix]]:
        """The tables that have a destination around a block, with the most specific one."""
        for table, lengths in zip(self._tables, self._lengths, strict=True):
            around = _most_specific(block, table, lengths)
            if around is not None:
                yield table, around


def _most_specific(
    block: Prefix, table: Mapping[Prefix, Takes], lengths: list[int]
) -> Prefix | None:
    for length in lengths:
        if length <= block.length:
            prefix = block.ancestor(length)
            if prefix in table:
                return prefix
    return None
