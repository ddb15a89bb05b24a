"""Who owns what in a problem: totals, and whose blocks stand together in one subtree.

A node whose blocks of a table fill one subtree alone ("compact") is a single leaf of the
partition; only for those is the pass of ``partition`` exact. Others are "scattered".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpcrouter.model import Role
from vpcrouter.planner.arrays import Flags, Floats, Ints, sums
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.trie import common_length


@dataclass(frozen=True, slots=True)
class Owners:
    """``total`` weight per node; ``scattered`` per node (healthy owners only).

    ``run`` numbers the runs of rows with one owner: a range of rows has a single owner where its
    first and last row have the same run. ``count`` is how many nodes own a row,
    ``healthy`` whether all of those are.
    """

    total: Floats
    scattered: Flags
    run: Ints
    count: int
    healthy: bool


def owners(problem: Problem) -> Owners:
    """Totals and scatter of every owner in the trees of the problem."""
    view = problem.view
    served = problem.served()
    number = len(view.role)
    owner = view.owner if served.all() else np.where(served, view.owner, number)
    total = sums(owner, problem.weight, number)
    bounds = np.zeros(len(owner), dtype=np.bool_)
    bounds[1:] = owner[1:] != owner[:-1]
    for tree in problem.trees:
        bounds[tree.first] = True
    run: Ints = np.cumsum(bounds, dtype=np.int64)
    starts = (
        np.flatnonzero(np.concatenate(([True], bounds[1:]))) if len(owner) else np.empty(0, int)
    )
    ends = np.append(starts[1:], len(owner))
    real = owner[starts] < number
    starts, ends = starts[real], ends[real]
    runs_of = np.bincount(owner[starts], minlength=number)
    scattered = (runs_of > 1) & (view.role != Role.NOTHING)
    _mark_unaligned(problem, scattered, starts, ends)
    having = runs_of > 0
    healthy = bool((view.role[having] != Role.NOTHING).all())
    return Owners(total, scattered, run, int(having.sum()), healthy)


def _mark_unaligned(problem: Problem, scattered: Flags, starts: Ints, ends: Ints) -> None:
    """A run of several rows is no subtree where a neighbour shares its common prefix."""
    view = problem.view
    long = ends - starts > 1
    first, last = starts[long], ends[long] - 1
    if not len(first):
        return
    depth = common_length(view.keys, first, last)
    before = np.maximum(first - 1, 0)
    after = np.minimum(last + 1, len(view.owner) - 1)
    inside = (first > 0) & (common_length(view.keys, before, first) >= depth)
    inside |= (last + 1 < len(view.owner)) & (common_length(view.keys, last, after) >= depth)
    nodes = view.owner[first[inside]]
    scattered[nodes[view.role[nodes] != Role.NOTHING]] = True
