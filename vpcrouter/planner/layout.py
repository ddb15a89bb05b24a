"""What a set of entries does to the blocks: which rows each catches, and what that weighs.

Prefixes nest or are disjoint, so the rows that an entry catches are its range less the ranges of
the entries nested in it: a handful of segments of the sorted columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.planner.arrays import Floats, Ints, sums
from vpcrouter.planner.problem import Problem


@dataclass(frozen=True, slots=True)
class Layout:
    """Destinations in order, the segments of rows that they catch, and sums over them.

    Segment i is the rows ``start[i]`` to ``end[i]`` (excluded, never empty), caught by destination
    ``piece[i]``. ``parent`` is the position of the next less specific destination, -1 at the top.
    ``blocks`` and ``weight`` are per destination.
    """

    destinations: tuple[Prefix, ...]
    parent: tuple[int, ...]
    start: Ints
    end: Ints
    piece: Ints
    blocks: Ints
    weight: Floats

    def rows(self, piece: int) -> Ints:
        """The rows that one destination catches, in order."""
        parts = [np.arange(self.start[i], self.end[i]) for i in np.flatnonzero(self.piece == piece)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def lay(problem: Problem, destinations: Sequence[Prefix]) -> Layout:
    """The layout of these distinct destinations; each must lie in a tree of the problem."""
    ordered = tuple(sorted(destinations))
    parent, segments = _sweep(problem, ordered)
    table = np.array(segments, dtype=np.int64).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    start, end, piece = table[:, 0], table[:, 1], table[:, 2]
    weight = np.zeros(len(ordered))
    blocks = np.zeros(len(ordered), dtype=np.int64)
    if len(table):
        np.add.at(weight, piece, _segment_sums(problem.weight, start, end))
        np.add.at(blocks, piece, end - start)
    return Layout(ordered, tuple(parent), start, end, piece, blocks, weight)


def _segment_sums(values: Floats, start: Ints, end: Ints) -> Floats:
    """The sum of each disjoint, ascending, non-empty segment."""
    bounds = np.empty(2 * len(start), dtype=np.int64)
    bounds[0::2] = start
    bounds[1::2] = end
    if bounds[-1] == len(values):
        bounds = bounds[:-1]
    sums: Floats = np.add.reduceat(values, bounds)[0::2]
    return sums


def _sweep(
    problem: Problem, ordered: Sequence[Prefix]
) -> tuple[list[int], list[tuple[int, int, int]]]:
    keys = problem.view.keys
    first = keys.starts([prefix.value for prefix in ordered])
    last = keys.starts([prefix.last + 1 for prefix in ordered])
    if len(keys):
        length = np.array([prefix.length for prefix in ordered])
        around = keys.length[np.minimum(first, len(keys) - 1)] < length
        first += around & (first < last)  # a block that holds the prefix is not inside it
    ranges = zip(first.tolist(), last.tolist(), strict=True)
    parent: list[int] = []
    segments: list[tuple[int, int, int]] = []
    open_: list[tuple[int, int, int]] = []  # (position, next row not yet given to a segment, end)

    def close() -> None:
        position, at, end = open_.pop()
        if at < end:
            segments.append((at, end, position))
        if open_:
            above = open_[-1]
            open_[-1] = (above[0], end, above[2])

    for position, (prefix, (start, stop)) in enumerate(zip(ordered, ranges, strict=True)):
        while open_ and not ordered[open_[-1][0]].contains(prefix):
            close()
        parent.append(open_[-1][0] if open_ else -1)
        if open_ and open_[-1][1] < start:
            segments.append((open_[-1][1], start, open_[-1][0]))
        open_.append((position, start, stop))
    while open_:
        close()
    return parent, segments


def without_idle(entries: Mapping[Prefix, int]) -> dict[Prefix, int]:
    """These entries less those whose next hop is also that of the entry around them."""
    kept: dict[Prefix, int] = {}
    around: list[Prefix] = []
    for prefix in sorted(entries):
        while around and not around[-1].contains(prefix):
            around.pop()
        if not around or kept[around[-1]] != entries[prefix]:
            kept[prefix] = entries[prefix]
            around.append(prefix)
    return kept


@dataclass(frozen=True, slots=True)
class Shares:
    """For each destination: the rows that its next hop owns, and the weight that it does not.

    The weight is added up on its own, not got by taking one sum from another: beside a block of
    10**18 those of 1 would be lost.
    """

    own_blocks: Ints
    others_weight: Floats


def shares(problem: Problem, layout: Layout, next_hops: Ints) -> Shares:
    """What each destination's next hop (a node index) owns of what the destination catches."""
    size = len(layout.destinations)
    if not len(layout.start):
        return Shares(np.zeros(size, dtype=np.int64), np.zeros(size))
    first, last = int(layout.start[0]), int(layout.end[-1])
    piece = _piece_of_rows(layout, first, last)
    own = problem.view.owner[first:last] == np.append(next_hops, -1)[piece]
    rows = np.flatnonzero(own)
    weight = problem.weight[first:last]
    piece = np.where(piece < 0, size, piece)
    return Shares(
        np.bincount(piece[rows], minlength=size).astype(np.int64)[:size],
        sums(piece, np.where(own, 0.0, weight), size + 1)[:size],
    )


def _piece_of_rows(layout: Layout, first: int, last: int) -> Ints:
    """The destination that catches each row from first to last; -1 for rows of nobody."""
    piece = np.full(last - first, -1, dtype=np.int64)
    if int((layout.end - layout.start).sum()) == last - first:
        return np.repeat(layout.piece, layout.end - layout.start)
    for start, end, position in zip(layout.start, layout.end, layout.piece, strict=True):
        piece[start - first : end - first] = position
    return piece
