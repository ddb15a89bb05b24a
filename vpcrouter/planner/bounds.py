"""What no plan of a problem can go under, and the trie on which that is searched.

Three relaxations, each sound for any capacities, owners and forwarders; the answer is the largest:

- *pieces*: the partition pass with every node at the largest capacity of its subnet, a forwarder
  free for each piece, and an owner with scattered blocks credited with all of them;
- *capacity*: all weight but what the heaviest owners keep, over the most capacity that so many
  forwarders can have;
- *crew*: the same for one subnet, whose forwarders are limited.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpcrouter.model import Role
from vpcrouter.planner.arrays import Flags, Floats, Ints
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.partition import Weights
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.trie import Trie, build

_ROUNDING = 1e-9  # a computed mean may lie this much above the true one


@dataclass(frozen=True, slots=True)
class Ground:
    """The contracted trie of a problem with the weights of the exact and of the relaxed pass.

    ``floor``: no plan has a smaller load, with any number of entries. ``known``: none within the
    budget has one.
    """

    trie: Trie
    exact: Weights
    relaxed: Weights
    floor: float
    known: float


def prepare(problem: Problem, owned: Owners, budget: int) -> Ground:
    """Contract the trees to what a partition into ``budget`` pieces can ever cut."""
    view = problem.view
    scale = _scale_of_rows(problem)
    weight = problem.weight if scale is None else problem.weight / scale
    mean = _mean_load(problem, owned, budget) * (1 - _ROUNDING)
    # half of the bound, so that the pass still holds for loads just below it
    trie = _contract(problem, owned, weight, mean / 2)
    exact, relaxed = _leaf_weights(problem, owned, trie, weight)
    orphaned = np.flatnonzero((view.role[view.owner] == Role.NOTHING) & problem.served())
    floor = float(weight[orphaned].max()) if len(orphaned) else 0.0
    known = max(mean, _capacity_bound(problem, owned, budget), _crew_bound(problem, owned, budget))
    return Ground(trie, exact, relaxed, floor, known * (1 - _ROUNDING))


def _scale_of_rows(problem: Problem) -> Floats | None:
    if bool((problem.scale == 1.0).all()):
        return None
    scale = np.ones(len(problem.weight))
    for tree, value in zip(problem.trees, problem.scale, strict=True):
        scale[tree.first : tree.last] = value
    return scale


def _node_scale(problem: Problem) -> Floats:
    scale = np.ones(len(problem.view.snapshot.subnets))
    for tree, value in zip(problem.trees, problem.scale, strict=True):
        scale[tree.subnet] = value
    result: Floats = scale[problem.view.home]
    return result


def _heaviest(values: Floats, number: int) -> float:
    """The sum of so many of the largest values."""
    if number >= len(values):
        return float(values.sum())
    return float(np.partition(values, len(values) - number)[len(values) - number :].sum())


def _rest(problem: Problem, totals: Floats, nodes: Ints | slice, number: int) -> float:
    """What some nodes cannot keep to themselves when ``number`` of them forward.

    It is all but the heaviest healthy owners' weight, added up without those: beside one weight of
    10**18 the rest would otherwise be lost.
    """
    values, healthy = totals[nodes], problem.view.role[nodes] != Role.NOTHING
    orphaned = 0.0 if healthy.all() else float(values[~healthy].sum())
    keeps = values if healthy.all() else values[healthy]
    left = len(keeps) - number
    if left <= 0:
        return orphaned
    if keeps.min() == (greatest := keeps.max()):
        return orphaned + left * float(greatest)
    return orphaned + float(np.partition(keeps, left)[:left].sum())


def _mean_load(problem: Problem, owned: Owners, budget: int) -> float:
    totals = owned.total
    if not bool((problem.scale == 1.0).all()):
        totals = totals / _node_scale(problem)
    return _rest(problem, totals, slice(None), budget) / budget


def _capacity_bound(problem: Problem, owned: Owners, budget: int) -> float:
    subnets = {tree.subnet for tree in problem.trees}
    crew = np.concatenate([problem.view.crew.of_subnet(s) for s in sorted(subnets)])
    rest = _rest(problem, owned.total, slice(None), budget)
    return rest / _heaviest(problem.view.capacity[crew], budget)


def _crew_bound(problem: Problem, owned: Owners, budget: int) -> float:
    """The largest bound of a single subnet, whose entries are what others must leave."""
    trees: dict[int, int] = {}
    for tree in problem.trees:
        trees[tree.subnet] = trees.get(tree.subnet, 0) + 1
    order = np.argsort(problem.view.home, kind="stable")
    homes = problem.view.home[order]
    best = 0.0
    for subnet, number in trees.items():
        nodes = order[np.searchsorted(homes, subnet) : np.searchsorted(homes, subnet, "right")]
        entries = budget - (len(problem.trees) - number)
        rest = _rest(problem, owned.total, nodes, entries)
        capacity = _heaviest(problem.view.capacity[problem.view.crew.of_subnet(subnet)], entries)
        best = max(best, rest / capacity)
    return best


def _contract(problem: Problem, owned: Owners, weight: Floats, light: float) -> Trie:
    """The trie whose leaves weigh at most ``light``, or belong to one healthy owner alone."""
    healthy = problem.view.role != Role.NOTHING
    # capped: running sums would lose what is small behind what is large
    capped = np.minimum(weight, 2 * light) if light > 0 else (weight > 0).astype(np.float64)
    below = np.concatenate(([0.0], np.cumsum(capped)))

    def closed(first: Ints, last: Ints, _root: Ints) -> Flags:
        single = owned.run[first] == owned.run[last - 1]
        flags: Flags = single & healthy[problem.view.owner[first]]
        return flags | (below[last] - below[first] <= light)

    trees = problem.trees
    return build(
        problem.view.keys, [tree.first for tree in trees], [tree.last for tree in trees], closed
    )


def _leaf_bounds(trie: Trie, rows: int) -> tuple[Ints, Ints]:
    """The leaves in order, and where each starts and ends, as ``reduceat`` wants it."""
    leaves = trie.leaves
    order = leaves[np.argsort(trie.first[leaves], kind="stable")]
    bounds = np.empty(2 * len(order), dtype=np.int64)
    bounds[0::2], bounds[1::2] = trie.first[order], trie.last[order]
    return order, bounds[:-1] if bounds[-1] == rows else bounds


def leaf_weights(problem: Problem, trie: Trie, rows: Ints, scale: float) -> Weights:
    """The weights of a constructive pass over some rows of one tree: one owner counts per leaf.

    The trie is over these rows alone, and its leaves are items (one healthy owner or one block).
    """
    order, bounds = _leaf_bounds(trie, len(rows))
    away = np.zeros(len(trie.first))
    away[order] = np.add.reduceat(problem.weight[rows] / scale, bounds)[0::2]
    inside = np.full(len(trie.first), np.inf)
    forwards = problem.view.role[problem.view.owner[rows[trie.first[order]]]] == Role.FORWARD
    inside[order[forwards]] = 0.0
    return Weights(away, inside, np.zeros(1))


def _leaf_weights(
    problem: Problem, owned: Owners, trie: Trie, weight: Floats
) -> tuple[Weights, Weights]:
    view = problem.view
    order, bounds = _leaf_bounds(trie, len(weight))
    away = np.zeros(len(trie.first))
    away[order] = np.add.reduceat(weight, bounds)[0::2]
    forwards = view.role[view.owner] == Role.FORWARD
    scattered = owned.scattered[view.owner]
    compact = forwards & ~scattered
    scale = _node_scale(problem)
    total = (owned.total / scale)[view.owner]
    none = -np.inf

    def inside(worth: Floats) -> Floats:
        result = np.full(len(trie.first), np.inf)
        best = np.maximum.reduceat(worth, bounds)[0::2]
        result[order] = np.maximum(away[order] - best, 0.0)
        return result

    relaxed = inside(np.where(compact, total, none))
    zero = np.zeros(len(problem.trees))
    if not scattered.any():
        weights = Weights(away, relaxed, zero)
        return weights, weights
    exact = inside(np.where(compact, total, np.where(forwards, weight, none)))
    sole = order[owned.run[trie.first[order]] == owned.run[trie.last[order] - 1]]
    exact[sole[forwards[trie.first[sole]]]] = 0.0
    allowance = zero.copy()
    for position, tree in enumerate(problem.trees):
        rows = slice(tree.first, tree.last)
        allowance[position] = np.where(scattered[rows], total[rows], 0.0).max()
    return Weights(away, exact, zero), Weights(away, relaxed, allowance)
