"""Who owns what in a problem: totals, and whose blocks stand together in one subtree.

A node whose blocks of a table fill one subtree alone ("compact") is a single leaf of the
partition; only for those is the pass of ``partition`` exact. Others are "scattered".

Consecutive rows of one owner in one tree are a *run*. Where all owners are compact, nothing is
ever looked up per node: what an owner has is its run's weight, and runs stand in the order of
rows. That is what makes a million owners as cheap as a few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpcrouter.model import Role
from vpcrouter.planner.arrays import Flags, Floats, Ints, Positions, range_sums, sums
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.trie import common_length


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of the served rows, in order: first row, owner and weight of each.

    ``start`` is None where every row of the view is a run of its own.
    """

    start: Ints | None
    node: Positions
    weight: Floats

    def of(self, rows: Ints) -> Ints:
        """The position of the run that each of these served rows is in."""
        if self.start is None:
            return rows
        return np.searchsorted(self.start, rows, side="right").astype(np.int64) - 1

    def same(self, one: Ints, other: Ints) -> Flags:
        """Whether two served rows are in the same run (element-wise)."""
        flags: Flags = self.of(one) == self.of(other)
        return flags


@dataclass(frozen=True, slots=True)
class Owners:
    """``runs`` of rows with one owner; ``count`` nodes own a row, ``healthy``: all of those are.

    ``scattered`` and ``total`` weight per node are None where no healthy owner is scattered and
    no other has two runs; then each run is all that its owner has.
    """

    runs: Runs
    count: int
    healthy: bool
    scattered: Flags | None
    total: Floats | None

    @property
    def compact(self) -> bool:
        """Whether no healthy owner is scattered."""
        return self.scattered is None or not bool(self.scattered.any())

    def totals(self) -> tuple[Positions | Ints, Floats]:
        """The nodes that own something in the order of their runs or index, and what they own."""
        if self.total is None:
            return self.runs.node, self.runs.weight
        nodes = np.unique(self.runs.node)
        return nodes, self.total[nodes]


def owners(problem: Problem) -> Owners:
    """Totals and scatter of every owner in the trees of the problem."""
    view = problem.view
    runs, end = _runs(problem)
    seen = np.zeros(len(view.role), dtype=np.bool_)
    seen[runs.node] = True
    count = int(np.count_nonzero(seen))
    healthy = view.nodes.all_healthy or bool((view.role[seen] != Role.NOTHING).all())
    unaligned = _unaligned(problem, runs, end)
    if count == len(runs.node) and not len(unaligned):
        return Owners(runs, count, healthy, None, None)
    scattered = np.bincount(runs.node, minlength=len(view.role)) > 1
    scattered[unaligned] = True
    scattered &= view.role != Role.NOTHING
    return Owners(runs, count, healthy, scattered, sums(runs.node, runs.weight, len(view.role)))


def _runs(problem: Problem) -> tuple[Runs, Ints | None]:
    """The runs of the served rows and where each ends; None where each is a row."""
    owner, trees = problem.view.owner, problem.trees
    bounds = np.empty(len(owner), dtype=np.bool_)
    np.not_equal(owner[1:], owner[:-1], out=bounds[1:])
    for tree in trees:
        bounds[tree.first] = True
    every = problem.serves_all
    if every and bool(bounds.all()):
        return Runs(None, owner, problem.weight), None
    if not every:
        bounds &= problem.served()
    start = np.flatnonzero(bounds)
    end = np.append(start[1:], len(owner))
    lasts = np.array([tree.last for tree in trees], dtype=np.int64)
    end = np.minimum(end, lasts[np.searchsorted(lasts, start, side="right")])
    return Runs(start, owner[start], range_sums(problem.weight, start, end)), end


def _unaligned(problem: Problem, runs: Runs, end: Ints | None) -> Positions:
    """The owners of runs that are no subtree: a neighbour shares their common prefix."""
    if runs.start is None or end is None:
        return runs.node[:0]
    keys = problem.view.keys
    long = np.flatnonzero(end - runs.start > 1)
    first, last = runs.start[long], end[long] - 1
    if not len(first):
        return runs.node[:0]
    depth = common_length(keys, first, last)
    before = np.maximum(first - 1, 0)
    after = np.minimum(last + 1, len(keys) - 1)
    inside = (first > 0) & (common_length(keys, before, first) >= depth)
    inside |= (last + 1 < len(keys)) & (common_length(keys, last, after) >= depth)
    return runs.node[long[inside]]
