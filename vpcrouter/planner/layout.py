"""What a set of entries does to the blocks: which rows each catches, and what that weighs.

Prefixes nest or are disjoint, so the rows that an entry catches are its range less the ranges of
the entries nested in it: a handful of segments of the sorted columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.planner.arrays import Floats, Ints, range_sums, sums
from vpcrouter.planner.problem import Problem

_FEW = 8  # rows that are one in so many or fewer are cut out of the sums around them


@dataclass(frozen=True, slots=True, eq=False)
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
    ordered = tuple(sorted(destinations, key=_order))
    parent, segments = _sweep(problem, ordered)
    table = np.array(segments, dtype=np.int64).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    start, end, piece = table[:, 0], table[:, 1], table[:, 2]
    weight = np.zeros(len(ordered))
    blocks = np.zeros(len(ordered), dtype=np.int64)
    if len(table):
        np.add.at(weight, piece, range_sums(problem.weight, start, end))
        np.add.at(blocks, piece, end - start)
    return Layout(ordered, tuple(parent), start, end, piece, blocks, weight)


def _order(prefix: Prefix) -> tuple[int, int]:
    return prefix.value, prefix.length


def _sweep(
    problem: Problem, ordered: Sequence[Prefix]
) -> tuple[list[int], list[tuple[int, int, int]]]:
    keys = problem.view.keys
    finals = [prefix.last for prefix in ordered]
    first = keys.starts([prefix.value for prefix in ordered])
    last = keys.starts([final + 1 for final in finals])
    if len(keys):
        length = np.array([prefix.length for prefix in ordered])
        around = keys.length[np.minimum(first, len(keys) - 1)] < length
        first += around & (first < last)  # a block that holds the prefix is not inside it
    parent: list[int] = []
    segments: list[tuple[int, int, int]] = []
    open_: list[
        list[int]
    ] = []  # [position, next row not yet given to a segment, end, last address]

    def close() -> None:
        position, at, end, _ = open_.pop()
        if at < end:
            segments.append((at, end, position))
        if open_:
            open_[-1][1] = end

    rows = zip(first.tolist(), last.tolist(), finals, strict=True)
    for position, (start, stop, final) in enumerate(rows):
        while open_ and open_[-1][3] < final:
            close()
        above = open_[-1] if open_ else None
        parent.append(above[0] if above else -1)
        if above and above[1] < start:
            segments.append((above[1], start, above[0]))
        open_.append([position, start, stop, final])
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
    """What each destination's next hop (a node index, -1: none) owns of what it catches."""
    size = len(layout.destinations)
    if not len(layout.start):
        return Shares(np.zeros(size, dtype=np.int64), np.zeros(size))
    forwards = np.zeros(len(problem.view.role), dtype=np.bool_)
    forwards[next_hops[next_hops >= 0]] = True
    candidates = forwards[problem.view.owner]
    if int(np.count_nonzero(candidates)) * _FEW >= len(candidates):
        return _shares_by_segment(problem, layout, next_hops)
    rows, pieces = _own_rows(problem, layout, next_hops, np.flatnonzero(candidates))
    found = _sums_around(problem.weight, layout, rows)
    return Shares(np.bincount(pieces, minlength=size), sums(layout.piece, found, size))


def _shares_by_segment(problem: Problem, layout: Layout, next_hops: Ints) -> Shares:
    """The same where next hops own much of all rows."""
    size = len(layout.destinations)
    own_blocks, others = np.zeros(size, dtype=np.int64), np.zeros(size)
    for start, end, piece in zip(layout.start, layout.end, layout.piece, strict=True):
        foreign = problem.view.owner[start:end] != next_hops[piece]
        own_blocks[piece] += end - start - np.count_nonzero(foreign)
        others[piece] += problem.weight[start:end][foreign].sum()
    return Shares(own_blocks, others)


def _sums_around(weight: Floats, layout: Layout, rows: Ints) -> Floats:
    """The weight of each segment without these rows, which lie in segments."""
    start = np.sort(np.concatenate((layout.start, rows, rows + 1)))
    segment = np.searchsorted(layout.start, start, side="right") - 1
    end = np.minimum(np.append(start[1:], layout.end[-1]), layout.end[segment])
    wanted = start < end
    wanted[np.searchsorted(start, rows, side="right") - 1] = False
    parts = range_sums(weight, start[wanted], end[wanted]) if wanted.any() else np.zeros(0)
    return sums(segment[wanted], parts, len(layout.start))


def _own_rows(problem: Problem, layout: Layout, next_hops: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Those of some rows whose owner is the next hop of the destination that catches them, and it.

    All rows of next hops must be among them.
    """
    segment = np.searchsorted(layout.start, rows, side="right") - 1
    caught = (segment >= 0) & (rows < layout.end[segment])
    rows, piece = rows[caught], layout.piece[segment[caught]]
    own = next_hops[piece] == problem.view.owner[rows]
    return rows[own], piece[own]
