"""Tree partitioning: the fewest entries for a largest load, and the least load for a budget.

For a given load L one bottom-up pass finds the fewest cuts. A vertex keeps its fewest cuts and,
for that number, the least residual weight twice: ``away`` with the forwarder outside of the
subtree and ``inside`` with the forwarder among its owners (whose own blocks do not count). Two
children join as ``away = away_l + away_r`` and ``inside = min(away_l + inside_r,
inside_l + away_r)``; where neither fits L, one child is cut, and both minima are taken on their
own. A cut at the vertex itself leaves nothing, so no state with more cuts below can be better:
the pass is exact (Kundu and Misra, "A linear tree partitioning algorithm", 1977, with two
residuals in place of one).

Where capacities differ, weights are over the largest capacity, and ``inside`` is kept for each
smaller one on its own: there others' weight counts as many times as the capacity is smaller.

A subtree that weighs no more than the least load is never cut inside, so it is one leaf.
The search for L evaluates many loads in one pass. Between a load and the next rejected residual
the pass does not change; that turns "this load is too small" into a proof for a whole interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vpcrouter.planner.arrays import Floats, Ints
from vpcrouter.planner.trie import Trie

_ROUNDING = 1e-12  # relative: keeps a relaxation one where large sums are subtracted
_ABOVE = 1e-9  # relative: far more than sums of the same weights differ by
_WIDTH = 16  # loads evaluated in one pass: wide enough to hide numpy's cost per call
# Where the least load mostly is, as multiples of what is known to be below it.
_NEAR = np.concatenate((np.linspace(1.0, 1.4, 9), (1.6, 2.0, 3.0, 6.0, 20.0)))


@dataclass(frozen=True, slots=True)
class Weights:
    """What a partition weighs, one row per vertex of the trie (only leaves matter).

    ``away``: weight where the forwarder is elsewhere. ``inside``: for each capacity the load where
    the best owner of the leaf with that capacity forwards (infinite where none may); ``ratios``
    tell how many times smaller each is than the largest, which comes first.

    ``credit`` makes the pass a relaxation (a lower bound) where owners are scattered: what an
    owner with blocks here has in all. There ``inside`` may be below 0, since the owner's other
    blocks may be in the same piece. ``most``, of every vertex and only where owners are scattered:
    the most that one owner has below it; without ``credit``, of those who may forward.
    """

    away: Floats
    inside: tuple[Floats, ...]
    ratios: tuple[float, ...] = (1.0,)
    credit: Floats | None = None
    most: Floats | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """For each load asked for: the fewest entries, and the least load at which that may change."""

    entries: Ints
    next_load: Floats


@dataclass(frozen=True, slots=True)
class _States:
    away: Floats
    inside: tuple[Floats, ...]
    cuts: npt.NDArray[np.int32]
    joined: npt.NDArray[np.bool_]
    next_load: Floats


def _pass(trie: Trie, weights: Weights, loads: Floats) -> _States:
    shape = (len(trie.first), len(loads))
    away = np.empty(shape)
    inside = tuple(np.empty(shape) for _ in weights.inside)
    leaves = trie.leaves
    away[leaves] = weights.away[leaves, None]
    for mine, given in zip(inside, weights.inside, strict=True):
        mine[leaves] = given[leaves, None]
    cuts = np.zeros(shape, dtype=np.int32)
    joined = np.ones(shape, dtype=np.bool_)
    next_load = np.full(len(loads), np.inf)
    credit = None if weights.credit is None else _credits(trie, weights.credit)
    for level in reversed(trie.levels):
        left, right = trie.left[level], trie.right[level]
        away_l, away_r = away[left], away[right]
        both = load = away_l + away_r
        within, cut = [], []
        for mine, ratio in zip(inside, weights.ratios, strict=True):
            inside_l, inside_r = mine[left], mine[right]
            if ratio == 1.0:
                within.append(np.minimum(away_l + inside_r, inside_l + away_r))
            else:
                within.append(np.minimum(away_l * ratio + inside_r, inside_l + away_r * ratio))
            cut.append(np.minimum(inside_l, inside_r))
        if credit is not None:
            # one entry more may also leave nothing but the right to the credit of one side
            np.minimum(cut[0], away_r - credit[left], out=cut[0])
            np.minimum(cut[0], away_l - credit[right], out=cut[0])
            within[0] -= both * _ROUNDING
        kept = within[0]
        if weights.most is not None:
            own_kept = both - weights.most[level, None]
            if credit is not None:
                kept = np.maximum(kept, own_kept - both * _ROUNDING)
            else:  # what is not cut inside is as heavy as that in truth
                whole = (cuts[left] == 0) & (cuts[right] == 0)
                within[0] = kept = np.where(whole, np.minimum(kept, own_kept), kept)
        for each in (kept, *within[1:]):
            load = np.minimum(load, each)
        fits = load <= loads
        rejected = np.where(fits, np.inf, load)
        np.minimum(next_load, rejected.min(axis=0), out=next_load)
        away[level] = np.where(fits, both, np.minimum(away_l, away_r))
        for mine, one, other in zip(inside, within, cut, strict=True):
            mine[level] = np.where(fits, one, other)
        cuts[level] = cuts[left] + cuts[right] + ~fits
        joined[level] = fits
    return _States(away, inside, cuts, joined, next_load)


def _credits(trie: Trie, leaves: Floats) -> Floats:
    """The greatest credit below each vertex, as a column."""
    credit = leaves.copy()
    for level in reversed(trie.levels):
        credit[level] = np.maximum(credit[trie.left[level]], credit[trie.right[level]])
    return credit[:, None]


def count(trie: Trie, weights: Weights, loads: Floats) -> Counts:
    """The fewest entries for each of these loads (a column each), all trees together.

    Every load must be at least the weight of the heaviest leaf without an owner that may be its
    next hop: such a leaf cannot be lightened by cuts.
    """
    states = _pass(trie, weights, loads)
    entries = states.cuts[: trie.roots].sum(axis=0).astype(np.int64) + trie.roots
    return Counts(entries, states.next_load)


def least_load(
    trie: Trie, weights: Weights, budget: int, floor: float, known: float | None = None
) -> float:
    """The least L for which the trees take at most ``budget`` entries.

    ``floor``: no smaller load exists at any number of entries. ``known``: a load that is below
    every answer at this budget but above ``floor`` (a bound), to start from. The budget must be at
    least the number of trees.
    """
    low = floor if known is None else max(floor, known)
    total = weights.away[trie.leaves]
    # the pass adds up in another order: its sum may be a little above this one
    high = max(float(total.sum()) * (1 + _ABOVE), low)
    loads = np.unique(np.clip(np.append(low * _NEAR, (low, high)), low, high))
    while True:
        counts = count(trie, weights, loads)
        best = int(np.flatnonzero(counts.entries <= budget)[0])
        if best == 0:
            return low
        high = float(loads[best])
        low = float(counts.next_load[best - 1])
        if low >= high:
            return high
        loads = np.unique(np.append(np.linspace(low, high, _WIDTH), low))


@dataclass(frozen=True, slots=True)
class Cut:
    """One piece of a partition: the subtree of ``vertex``, less the cuts inside it.

    ``parent`` is the vertex above it in the trie, -1 for a root.
    """

    vertex: int
    parent: int


@dataclass(frozen=True, slots=True)
class Stays:
    """The next hop of a single root, who is to keep what is left of it.

    ``leaf`` is the heaviest one that it owns alone, None where it owns none. Others' weight counts
    ``ratio`` times for it: as many as its capacity is below the largest.
    """

    leaf: int | None
    ratio: float

    @classmethod
    def owning(cls, leaves: Ints, weights: Weights, ratio: float) -> Stays:
        """One that owns these leaves."""
        return cls(int(leaves[weights.away[leaves].argmax()]) if len(leaves) else None, ratio)


def cuts(trie: Trie, weights: Weights, load: float, stays: Stays | None = None) -> tuple[Cut, ...]:
    """A partition with the fewest entries for this load, roots included; there is one per entry.

    Where that takes no entry more, what is left of the root is nothing that the next hop who
    ``stays`` could not carry: a present entry keeps it, and only the new ones are changes.
    """
    states = _pass(trie, weights, np.array([load]))
    joins = {} if stays is None else _joins(trie, states, load, stays)
    # the load with the forwarder elsewhere, and inside for each capacity
    values = np.concatenate((states.away, *states.inside), axis=1).tolist()
    number, joined = states.cuts[:, 0].tolist(), states.joined[:, 0].tolist()
    left, right = trie.left.tolist(), trie.right.tolist()

    def best(vertex: int) -> int:
        """Where the forwarder of a piece that closes here is; inside where that is no heavier."""
        mine = values[vertex]
        return min(range(len(mine)), key=lambda where: (mine[where], where == 0))

    def top(root: int) -> int:
        outside = stays is not None and values[root][0] * stays.ratio <= load
        return 0 if outside else best(root)

    found = [Cut(root, -1) for root in range(trie.roots)]
    pending = [(root, top(root)) for root in range(trie.roots) if root not in joins]
    for vertex, (beside, joined_there) in joins.items():
        pending.append((beside, 0 if joined_there else best(beside)))
        if not joined_there:
            found.append(Cut(beside, vertex))
    while pending:
        vertex, where = pending.pop()
        if number[vertex] == 0:
            continue
        one, other = left[vertex], right[vertex]
        if joined[vertex]:
            in_one = False
            if where:
                ratio = weights.ratios[where - 1]
                with_one = values[one][where] + values[other][0] * ratio
                in_one = with_one < values[one][0] * ratio + values[other][where]
            pending.append((one, where if in_one else 0))
            pending.append((other, 0 if in_one else where))
            continue
        kept, closed = (one, other) if values[one][where] <= values[other][where] else (other, one)
        pending.append((kept, where))
        pending.append((closed, best(closed)))
        found.append(Cut(closed, vertex))
    return tuple(found)


def _joins(trie: Trie, states: _States, load: float, stays: Stays) -> dict[int, tuple[int, bool]]:
    """The vertices above the leaf, each with its other child and whether that one stays joined.

    Empty if it takes more entries than there are at least. The side of the forwarder is never cut,
    and of the others, which are as in the pass, the heaviest are.
    """
    path = [] if stays.leaf is None else _path(trie, stays.leaf)
    joins, rest = {}, 0.0
    upwards = reversed(path)
    for vertex, beside in sorted(upwards, key=lambda step: float(states.away[step[1], 0])):
        rest += float(states.away[beside, 0]) * stays.ratio
        joins[vertex] = beside, rest <= load
    entries = sum(int(states.cuts[beside, 0]) + (not fits) for beside, fits in joins.values())
    return joins if entries <= states.cuts[0, 0] else {}


def _path(trie: Trie, leaf: int) -> list[tuple[int, int]]:
    """The vertices from the only root down to a leaf, each with its child beside the way."""
    row = int(trie.first[leaf])
    vertex, path = 0, []
    while vertex != leaf:
        one, other = int(trie.left[vertex]), int(trie.right[vertex])
        inside, beside = (other, one) if trie.first[other] <= row else (one, other)
        path.append((vertex, beside))
        vertex = inside
    return path
