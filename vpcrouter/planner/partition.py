"""Tree partitioning: the fewest entries for a largest load, and the least load for a budget.

For a given load L one bottom-up pass finds the fewest cuts. A vertex keeps its fewest cuts and,
for that number, the least residual weight twice: ``away`` with the forwarder outside of the
subtree and ``inside`` with the forwarder among its owners (whose own blocks do not count). Two
children join as ``away = away_l + away_r`` and ``inside = min(away_l + inside_r,
inside_l + away_r)``; where neither fits L, one child is cut, and both minima are taken on their
own. A cut at the vertex itself leaves nothing, so no state with more cuts below can be better:
the pass is exact (Kundu and Misra, "A linear tree partitioning algorithm", 1977, with two
residuals in place of one).

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


@dataclass(frozen=True, slots=True)
class Weights:
    """What a partition weighs, one row per vertex of the trie (only leaves matter).

    ``away``: weight where the forwarder is elsewhere. ``inside``: weight left where the best owner
    of the leaf forwards (infinite where none may). ``allowance``, per root: how much a piece may
    exceed L without a forwarder inside; 0, or what makes the pass a relaxation (a lower bound).
    """

    away: Floats
    inside: Floats
    allowance: Floats


@dataclass(frozen=True, slots=True)
class Counts:
    """For each load asked for: the fewest entries, and the least load at which that may change."""

    entries: Ints
    next_load: Floats


@dataclass(frozen=True, slots=True)
class _States:
    away: Floats
    inside: Floats
    cuts: npt.NDArray[np.int32]
    joined: npt.NDArray[np.bool_]
    next_load: Floats


def _pass(trie: Trie, weights: Weights, loads: Floats) -> _States:
    shape = (len(trie.first), len(loads))
    away = np.empty(shape)
    inside = np.empty(shape)
    leaves = trie.leaves
    away[leaves] = weights.away[leaves, None]
    inside[leaves] = weights.inside[leaves, None]
    cuts = np.zeros(shape, dtype=np.int32)
    joined = np.ones(shape, dtype=np.bool_)
    next_load = np.full(len(loads), np.inf)
    relaxed = bool(weights.allowance.any())
    for level in reversed(trie.levels):
        left, right = trie.left[level], trie.right[level]
        away_l, away_r = away[left], away[right]
        inside_l, inside_r = inside[left], inside[right]
        both = away_l + away_r
        within = np.minimum(away_l + inside_r, inside_l + away_r)
        load = (
            np.minimum(both * (1 - _ROUNDING) - weights.allowance[trie.root[level], None], within)
            if relaxed
            else (np.minimum(both, within))
        )
        fits = load <= loads
        rejected = np.where(fits, np.inf, load)
        np.minimum(next_load, rejected.min(axis=0), out=next_load)
        away[level] = np.where(fits, both, np.minimum(away_l, away_r))
        inside[level] = np.where(fits, within, np.minimum(inside_l, inside_r))
        cuts[level] = cuts[left] + cuts[right] + ~fits
        joined[level] = fits
    return _States(away, inside, cuts, joined, next_load)


def count(trie: Trie, weights: Weights, loads: Floats) -> Counts:
    """The fewest entries for each of these loads (a column each), all trees together.

    Every load must be at least the weight of the heaviest leaf without an owner that may be its
    next hop: such a leaf cannot be lightened by cuts.
    """
    states = _pass(trie, weights, loads)
    roots = len(weights.allowance)
    return Counts(states.cuts[:roots].sum(axis=0).astype(np.int64) + roots, states.next_load)


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
    while True:
        loads = np.unique(np.append(np.linspace(low, high, _WIDTH), low))
        counts = count(trie, weights, loads)
        best = int(np.flatnonzero(counts.entries <= budget)[0])
        if best == 0:
            return low
        high = float(loads[best])
        low = float(counts.next_load[best - 1])
        if low >= high:
            return high


@dataclass(frozen=True, slots=True)
class Cut:
    """One piece of a partition: the subtree of ``vertex``, less the cuts inside it.

    ``parent`` is the vertex above it in the trie, -1 for a root.
    """

    vertex: int
    parent: int


def cuts(trie: Trie, weights: Weights, load: float) -> tuple[Cut, ...]:
    """A partition with the fewest entries for this load, roots included."""
    states = _pass(trie, weights, np.array([load]))
    away, inside = states.away[:, 0], states.inside[:, 0]
    number, joined = states.cuts[:, 0], states.joined[:, 0]
    left, right = trie.left, trie.right
    found = [Cut(root, -1) for root in range(len(weights.allowance))]
    pending = [(cut.vertex, bool(inside[cut.vertex] <= away[cut.vertex])) for cut in found]
    while pending:
        vertex, owner_forwards = pending.pop()
        if number[vertex] == 0:
            continue
        one, other = int(left[vertex]), int(right[vertex])
        if joined[vertex]:
            one_inside = owner_forwards and inside[one] + away[other] < away[one] + inside[other]
            pending.append((one, one_inside))
            pending.append((other, owner_forwards and not one_inside))
            continue
        values = inside if owner_forwards else away
        kept, closed = (one, other) if values[one] <= values[other] else (other, one)
        pending.append((kept, owner_forwards))
        pending.append((closed, bool(inside[closed] <= away[closed])))
        found.append(Cut(closed, vertex))
    return tuple(found)
