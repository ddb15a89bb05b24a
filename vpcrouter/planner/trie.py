"""The compressed binary trie over sorted blocks, light subtrees contracted to leaves.

A vertex is a range of rows that share a prefix; an inner vertex has two children because its
blocks differ in the bit after that prefix. Vertices are made level by level from the roots, so
that every operation is one numpy call for a whole level, and a subtree that is never cut inside
(see ``partition``) is one leaf, whatever the number of blocks in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ipam.prefix import Family, Prefix, host_mask
from vpcrouter.model import BlockColumns
from vpcrouter.planner.arrays import Flags, Ints, Words, lower_bounds

Closed: TypeAlias = Callable[[Ints, Ints, Ints], Flags]


@dataclass(frozen=True, slots=True)
class Keys:
    """Network addresses of some rows in ascending order, as 64-bit halves, and their lengths."""

    family: Family
    high: Words
    low: Words
    length: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, columns: BlockColumns) -> Keys:
        """A view of the columns, without a copy."""
        return cls(
            columns.family,
            np.frombuffer(columns.high, dtype=np.uint64),
            np.frombuffer(columns.low, dtype=np.uint64),
            np.frombuffer(columns.length, dtype=np.uint8),
        )

    def take(self, rows: Ints) -> Keys:
        """The keys of these rows, which must ascend."""
        return Keys(self.family, self.high[rows], self.low[rows], self.length[rows])

    def __len__(self) -> int:
        return len(self.low)

    def value(self, row: int) -> int:
        """The network address of a row as a number."""
        return int(self.high[row]) << 64 | int(self.low[row])

    def starts(self, addresses: Sequence[int]) -> Ints:
        """For each address, the first row whose network address is at or after it."""
        if self.family is Family.IPV4:
            return np.searchsorted(self.low, np.array(addresses, dtype=np.uint64)).astype(np.int64)
        mask = (1 << 64) - 1
        high = np.array([min(address >> 64, mask) for address in addresses], dtype=np.uint64)
        low = np.array([address & mask for address in addresses], dtype=np.uint64)
        first = np.searchsorted(self.high, high).astype(np.int64)
        last = np.searchsorted(self.high, high, side="right").astype(np.int64)
        found = lower_bounds(self.low, first, last, low)
        found[np.array([address >> 128 > 0 for address in addresses], dtype=np.bool_)] = len(self)
        return found

    def covering(self, row: int, length: int) -> Prefix:
        """The prefix of this length around a row's network address."""
        return Prefix(self.family, self.value(row) & ~host_mask(self.family, length), length)

    def all_covering(self, rows: Ints, lengths: Ints) -> list[Prefix]:
        """The prefix of each length around each row's network address."""
        family, width = self.family, self.family.width
        highs, lows = self.high[rows].tolist(), self.low[rows].tolist()
        return [
            Prefix(family, (high << 64 | low) >> width - length << width - length, length)
            for high, low, length in zip(highs, lows, lengths.tolist(), strict=True)
        ]


def common_length(keys: Keys, first: Ints, last: Ints) -> Ints:
    """Length of the longest prefix that the network addresses of two rows share (element-wise)."""
    high = keys.high[first] ^ keys.high[last]
    low = keys.low[first] ^ keys.low[last]
    in_high = high != 0
    bits = _bit_length(np.where(in_high, high, low)) + np.where(in_high, 64, 0)
    shared: Ints = keys.family.width - bits
    return shared


def _bit_length(words: Words) -> Ints:
    upper = words >> np.uint64(32)
    has_upper = upper != 0
    half = np.where(has_upper, upper, words & np.uint64(0xFFFFFFFF))
    exponent = np.frexp(half.astype(np.float64))[1].astype(np.int64)
    bits: Ints = exponent + np.where(has_upper, 32, 0)
    return bits


@dataclass(frozen=True, slots=True)
class Trie:
    """Vertices as columns; ``levels`` lists, from the roots down, the inner vertices of a level.

    ``first``/``last`` are the rows of a vertex (last excluded), ``depth`` the length of the prefix
    that they share, ``left``/``right`` its children (-1 for a leaf), ``root`` the position of its
    root in the list of ranges that the trie was built from. Vertices 0..``roots``-1 are the roots.
    """

    keys: Keys
    first: Ints
    last: Ints
    depth: Ints
    left: Ints
    right: Ints
    root: Ints
    levels: tuple[Ints, ...]
    roots: int

    @property
    def leaves(self) -> Ints:
        """The vertices without children."""
        found: Ints = np.flatnonzero(self.left < 0)
        return found

    def widest(self, parent: int, child: int) -> Prefix:
        """The least specific prefix inside ``parent`` that holds ``child`` and not its sibling."""
        return self.keys.covering(int(self.first[child]), int(self.depth[parent]) + 1)

    def all_widest(self, parents: Sequence[int], children: Ints) -> list[Prefix]:
        """``widest`` for many vertices at once."""
        lengths = self.depth[np.asarray(parents, dtype=np.int64)] + 1
        return self.keys.all_covering(self.first[children], lengths)


def build(
    keys: Keys, first: Sequence[int] | Ints, last: Sequence[int] | Ints, closed: Closed
) -> Trie:
    """The trie over the ranges ``[first, last)`` of rows; each is one root and holds a row.

    ``closed(first, last, root)`` tells, for arrays of ranges, which are leaves though they have
    several rows.
    """
    starts = np.asarray(first, dtype=np.int64)
    ends = np.asarray(last, dtype=np.int64)
    origin = np.arange(len(starts), dtype=np.int64)
    parts: list[tuple[Ints, Ints, Ints, Ints]] = []
    links: list[tuple[Ints, Ints]] = []
    levels: list[Ints] = []
    base = 0
    while len(starts):
        depth = common_length(keys, starts, ends - 1)
        single = ends - starts == 1
        depth = np.where(single, keys.length[starts], depth)
        inner = np.flatnonzero(~single & ~closed(starts, ends, origin))
        parts.append((starts, ends, depth, origin))
        count = len(starts)
        left = np.full(count, -1, dtype=np.int64)
        right = np.full(count, -1, dtype=np.int64)
        left[inner] = base + count + np.arange(len(inner))
        right[inner] = left[inner] + len(inner)
        links.append((left, right))
        if len(inner):
            levels.append(base + inner)
        middle = _branch(keys, starts[inner], ends[inner], depth[inner])
        starts, ends, origin = (
            np.concatenate((starts[inner], middle)),
            np.concatenate((middle, ends[inner])),
            np.concatenate((origin[inner], origin[inner])),
        )
        base += count
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    left, right = (np.concatenate(column) for column in zip(*links, strict=True))
    return Trie(
        keys, columns[0], columns[1], columns[2], left, right, columns[3], tuple(levels), len(first)
    )


def _branch(keys: Keys, first: Ints, last: Ints, depth: Ints) -> Ints:
    """The first row of each range whose bit after the common prefix is set."""
    if keys.family is Family.IPV4:
        bit = np.uint64(31) - depth.astype(np.uint64)
        target = (keys.low[last - 1] >> bit) << bit
        found: Ints = np.searchsorted(keys.low, target).astype(np.int64)
        return found
    middle = np.empty(len(first), dtype=np.int64)
    upper = depth < 64
    bit = np.uint64(63) - depth[upper].astype(np.uint64)
    target = (keys.high[last[upper] - 1] >> bit) << bit
    middle[upper] = np.searchsorted(keys.high, target)
    deep = ~upper
    start, end = first[deep], last[deep]
    shift = np.uint64(127) - depth[deep].astype(np.uint64)
    wanted = (keys.low[end - 1] >> shift) << shift
    middle[deep] = lower_bounds(keys.low, start, end, wanted)
    return middle
