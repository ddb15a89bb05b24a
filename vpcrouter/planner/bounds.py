"""What no plan of a problem can go under, and the trie on which that is searched.

Three relaxations, each sound for any capacities, owners and forwarders; the answer is the largest:

- *pieces*: the partition pass with every node at the largest capacity of its subnet, a forwarder
  free for each piece, and an owner with scattered blocks credited with all of them;
- *capacity*: all weight but what the heaviest owners keep, over the most capacity that so many
  forwarders can have, entries being left for those owners who do not forward;
- *crew*: the same for one subnet, whose forwarders are limited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vpcrouter.model import Role
from vpcrouter.planner.arrays import (
    Flags,
    Floats,
    Ints,
    Positions,
    greatest,
    range_greatest,
    range_sums,
    without_greatest,
)
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.partition import Weights
from vpcrouter.planner.problem import Problem, Tree
from vpcrouter.planner.trie import Trie, build

_ROUNDING = 1e-9  # a computed mean may lie this much above the true one
JUST_BELOW = 0.99  # the pass still has to hold for loads a little below the bound
_SMALL = 20_000  # blocks up to which no trie is too large for a pass
_CAPACITIES = 12  # ratios of capacities kept apart in a pass
_FINEST = 64  # beyond that, the leaves for each entry where owners are scattered


@dataclass(frozen=True, slots=True)
class Ground:
    """The contracted trie of a problem with the weights of the exact and of the relaxed pass.

    ``floor``: no plan has a smaller load, with any number of entries. ``known``: none within the
    budget has one. ``fine``: the relaxed pass is a bound too; where owners are so scattered that
    the trie could only be contracted to more than a pass can take, it is not.
    """

    trie: Trie
    exact: Weights
    relaxed: Weights
    floor: float
    known: float
    fine: bool


def prepare(problem: Problem, owned: Owners, budget: int) -> Ground:
    """Contract the trees to what a partition into ``budget`` pieces can ever cut."""
    scale = _scale_of_rows(problem)
    weight = problem.weight if scale is None else problem.weight / scale
    mean = mean_load(problem, owned, budget) * (1 - _ROUNDING)
    light = mean * JUST_BELOW
    if len(weight) > _SMALL and not owned.compact:
        light = max(light, float(weight.sum()) / (_FINEST * budget))
    trie = _contract(problem, owned, weight, light)
    exact, relaxed = _leaf_weights(problem, owned, trie, weight)
    floor = _floor(problem, owned, weight)
    known = max(mean, _capacity_bound(problem, owned, budget))
    known = max(known, _crew_bound(problem, owned, budget, known))
    return Ground(trie, exact, relaxed, floor, known * (1 - _ROUNDING), light <= mean * JUST_BELOW)


def _floor(problem: Problem, owned: Owners, weight: Floats) -> float:
    """The heaviest block whose owner is not healthy: somebody has to carry it."""
    if owned.healthy:
        return 0.0
    orphaned = problem.view.role[problem.view.owner] == Role.NOTHING
    orphaned &= problem.served()
    return float(weight[orphaned].max()) if orphaned.any() else 0.0


def _scale_of_rows(problem: Problem) -> Floats | None:
    if bool((problem.scale == 1.0).all()):
        return None
    scale = np.ones(len(problem.weight))
    for tree, value in zip(problem.trees, problem.scale, strict=True):
        scale[tree.first : tree.last] = value
    return scale


def _subnet_scale(problem: Problem) -> Floats:
    """What the weight of each subnet is divided by."""
    scale = np.ones(len(problem.view.snapshot.subnets))
    for tree, value in zip(problem.trees, problem.scale, strict=True):
        scale[tree.subnet] = value
    return scale


def _rest(problem: Problem, nodes: Positions | Ints, totals: Floats, number: int) -> float:
    """What owners cannot keep to themselves when ``number`` of them forward.

    It is all but the heaviest healthy owners' weight.
    """
    if problem.view.nodes.all_healthy:
        return without_greatest(totals, number)
    healthy = problem.view.role[nodes] != Role.NOTHING
    return float(totals[~healthy].sum()) + without_greatest(totals[healthy], number)


def mean_load(problem: Problem, owned: Owners, budget: int) -> float:
    """What pieces weigh at least on average, each without the most that one owner has."""
    nodes, totals = owned.totals()
    if not bool((problem.scale == 1.0).all()):
        totals = totals / _subnet_scale(problem)[problem.view.home[nodes]]
    return _rest(problem, nodes, totals, budget) / budget


def _capacity_bound(problem: Problem, owned: Owners, budget: int) -> float:
    subnets = sorted({tree.subnet for tree in problem.trees})
    nodes, totals = owned.totals()
    return _share(problem, subnets, nodes, totals, budget)


def _crew_bound(problem: Problem, owned: Owners, budget: int, known: float) -> float:
    """The largest bound of a single subnet, whose entries are what others must leave.

    Subnets that cannot have a larger one than ``known`` are passed over.
    """
    trees: dict[int, list[Tree]] = {}
    for tree in problem.trees:
        trees.setdefault(tree.subnet, []).append(tree)
    if len(trees) == 1:  # the bound of all of them is the same
        return known
    for subnet, mine in trees.items():
        entries = budget - (len(problem.trees) - len(mine))
        strength = problem.view.crew.strength([subnet], entries)
        whole = sum(float(problem.weight[tree.first : tree.last].sum()) for tree in mine)
        if whole / strength <= known:
            continue
        nodes, totals = owned.totals()
        at_home = np.flatnonzero(problem.view.home[nodes] == subnet)
        share = _share(problem, [subnet], nodes[at_home], totals[at_home], entries)
        known = max(known, share)
    return known


def _share(
    problem: Problem,
    subnets: Sequence[int],
    nodes: Positions | Ints,
    totals: Floats,
    entries: int,
) -> float:
    """What forwarders of these subnets carry at least, over what those who carry it can.

    ``totals`` is what each of ``nodes`` owns. A next hop keeps what is its own. Where f of them
    carry others' weight, at most ``entries`` - f are left for owners who do not forward.
    """
    crew = problem.view.crew
    if not (problem.view.role == Role.OWN).any():  # every next hop may carry
        return _rest(problem, nodes, totals, entries) / crew.strength(subnets, entries)
    role = problem.view.role[nodes]
    parts = [totals[role == Role.FORWARD], totals[role == Role.OWN]]
    always = float(totals[role == Role.NOTHING].sum())
    always += sum(without_greatest(part, entries) for part in parts)
    forwarders, others = (_left_by_greatest(part, entries) for part in parts)
    strengths = crew.strengths(subnets, entries)
    number = np.arange(len(strengths) + 1)
    left = forwarders[number] + others[entries - number]
    left = always + np.minimum.accumulate(left[::-1])[::-1]  # more may be next hops than carry
    return float((left[1:] / strengths).min()) if left[0] > 0 else 0.0


def _left_by_greatest(values: Floats, most: int) -> Floats:
    """The sum of the greatest ``most`` less the greatest 0, 1, 2 and so on of them."""
    left = np.zeros(most + 1)
    ascending = greatest(values, most)[::-1]
    left[: len(ascending) + 1] = np.append(np.cumsum(ascending)[::-1], 0.0)
    return left


def _contract(problem: Problem, owned: Owners, weight: Floats, light: float) -> Trie:
    """The trie whose leaves weigh at most ``light``, or belong to one healthy owner alone."""
    # capped: running sums would lose what is small behind what is large
    below = np.zeros(len(weight) + 1)
    if light > 0:
        np.minimum(weight, 2 * light, out=below[1:])
    else:
        np.greater(weight, 0, out=below[1:], casting="unsafe")
    np.cumsum(below, out=below)
    trees = problem.trees
    healthy = problem.view.role != Role.NOTHING

    def closed(first: Ints, last: Ints, _root: Ints) -> Flags:
        single = owned.runs.same(first, last - 1)
        flags: Flags = single & healthy[problem.view.owner[first]]
        return flags | (below[last] - below[first] <= light)

    return build(
        problem.view.keys, [tree.first for tree in trees], [tree.last for tree in trees], closed
    )


def leaf_weights(problem: Problem, trie: Trie, rows: Ints, scale: float) -> Weights:
    """The weights of a constructive pass over some rows of one tree: one owner counts per leaf.

    The trie is over these rows alone, and its leaves are items (one healthy owner or one block).
    """
    leaves = trie.leaves
    away = np.zeros(len(trie.first))
    away[leaves] = range_sums(problem.weight[rows] / scale, trie.first[leaves], trie.last[leaves])
    inside = np.full(len(trie.first), np.inf)
    forwards = problem.view.role[problem.view.owner[rows[trie.first[leaves]]]] == Role.FORWARD
    inside[leaves[forwards]] = 0.0
    return Weights(away, (inside,))


def _leaf_weights(
    problem: Problem, owned: Owners, trie: Trie, weight: Floats
) -> tuple[Weights, Weights]:
    leaves = trie.leaves
    first, last = trie.first[leaves], trie.last[leaves]
    away = np.zeros(len(trie.first))
    away[leaves] = range_sums(weight, first, last)

    def inside(best: Floats | float) -> Floats:
        result = np.full(len(trie.first), np.inf)
        result[leaves] = np.maximum(away[leaves] - best, 0.0)
        return result

    view, runs = problem.view, owned.runs
    if owned.scattered is None:
        worth = runs.weight
        if not view.nodes.all_forward:
            worth = np.where(view.role[runs.node] == Role.FORWARD, worth, -np.inf)
        scale = problem.scale[trie.root[leaves]]
        start, end = runs.of(first), runs.of(last - 1) + 1
        if problem.even:
            weights = Weights(away, (inside(range_greatest(worth, start, end) / scale),))
            return weights, weights
        return _uneven_weights(problem, owned, trie, away, worth)
    return _scattered_weights(problem, owned, trie, weight, away)


def _uneven_weights(
    problem: Problem, owned: Owners, trie: Trie, away: Floats, worth: Floats
) -> tuple[Weights, Weights]:
    """The same where capacities differ; ``worth`` is what each run is to a forwarder of its own.

    With few capacities both passes are one. With many, they are taken for the next larger one of
    some that are kept in the relaxation, and for the next smaller one in the other.
    """
    view, runs = problem.view, owned.runs
    leaves = trie.leaves
    start, end = runs.of(trie.first[leaves]), runs.of(trie.last[leaves] - 1) + 1
    scale = problem.scale[trie.root[leaves]]
    ratio = _subnet_scale(problem)[view.home[runs.node]] / view.capacity[runs.node]
    ratio[worth < 0] = 1.0
    np.maximum(ratio, 1.0, out=ratio)  # a scale below the largest capacity
    ratios = np.unique(ratio)

    def weights(kept: Floats, position: Ints) -> Weights:
        found = []
        for number, times in enumerate(kept.tolist()):
            result = np.full(len(trie.first), np.inf)
            best = range_greatest(np.where(position == number, worth, -np.inf), start, end) / scale
            result[leaves] = np.maximum(away[leaves] - best, 0.0) * times
            result[leaves[np.isneginf(best)]] = np.inf
            found.append(result)
        return Weights(away, tuple(found), tuple(kept.tolist()))

    if len(ratios) <= _CAPACITIES:
        exact = weights(ratios, np.searchsorted(ratios, ratio))
        return exact, exact
    above = np.geomspace(1.0, ratios[-1], _CAPACITIES)
    above[-1] = ratios[-1]
    up = np.searchsorted(above, ratio)
    down = np.searchsorted(above, ratio, side="right") - 1
    return weights(above, up), weights(above, down)


def _scattered_weights(
    problem: Problem, owned: Owners, trie: Trie, weight: Floats, away: Floats
) -> tuple[Weights, Weights]:
    """The same where some owners have blocks in several places."""
    view = problem.view
    leaves = trie.leaves
    first, last = trie.first[leaves], trie.last[leaves]
    nodes, totals = owned.totals()
    forwards = view.role[nodes] == Role.FORWARD
    apart = np.zeros(len(nodes), dtype=np.bool_)
    if owned.scattered is not None:
        apart = owned.scattered[nodes]
    totals = totals / _subnet_scale(problem)[view.home[nodes]]
    worth = np.full(len(view.role), -np.inf)

    def best(of_nodes: Floats) -> Floats:
        worth[nodes] = of_nodes
        return range_greatest(worth[view.owner], first, last)

    alone = np.where(forwards & ~apart, totals, -np.inf)
    relaxed = np.full(len(trie.first), np.inf)
    relaxed[leaves] = np.maximum(away[leaves] - best(alone), 0.0)
    # whoever is scattered keeps what it has anywhere, wherever it may forward only for itself
    others = best(np.where(apart, totals, -np.inf)) * (1 + _ROUNDING)
    relaxed[leaves] = np.minimum(relaxed[leaves], away[leaves] - others)
    credit = np.zeros(len(trie.first))
    credit[leaves] = np.maximum(others, 0.0)
    most = _most_of_one(trie, view.owner, weight)
    return (
        _scattered_plan(problem, owned, trie, weight, away, most),
        Weights(away, (relaxed,), credit=credit, most=most * (1 + _ROUNDING)),
    )


def _scattered_plan(
    problem: Problem, owned: Owners, trie: Trie, weight: Floats, away: Floats, most: Floats
) -> Weights:
    """The weights for a plan: what the strongest keep, and weaker ones where they own all."""
    view, leaves = problem.view, trie.leaves
    times = _subnet_scale(problem)[view.home] / view.capacity
    kept = most
    if not view.nodes.all_forward or not problem.even:
        able = (view.role == Role.FORWARD) & (times <= 1.0)
        kept = _most_of_one(trie, view.owner, np.where(able[view.owner], weight, 0.0))
    kept = np.where(kept > 0, kept, -np.inf)
    strongest = np.full(len(trie.first), np.inf)
    strongest[leaves] = np.maximum(away[leaves] - kept[leaves], 0.0)
    sole = leaves[owned.runs.same(trie.first[leaves], trie.last[leaves] - 1)]
    sole = sole[view.role[view.owner[trie.first[sole]]] == Role.FORWARD]
    ratio = times[view.owner[trie.first[sole]]]
    strongest[sole[ratio <= 1.0]] = 0.0
    insides, ratios = [strongest], [1.0]
    for below, up_to in _classes(ratio[ratio > 1.0]):
        weaker = np.full(len(trie.first), np.inf)
        weaker[sole[(ratio > below) & (ratio <= up_to)]] = 0.0
        insides.append(weaker)
        ratios.append(up_to)
    return Weights(away, tuple(insides), tuple(ratios), most=kept)


def _classes(ratios: Floats) -> list[tuple[float, float]]:
    """These ratios in a few ranges, each above its first bound and up to its second."""
    bounds = np.unique(ratios)
    if len(bounds) >= _CAPACITIES:
        bounds = np.geomspace(bounds[0], bounds[-1], _CAPACITIES - 1)
        bounds[-1] = ratios.max()
    return list(pairwise([1.0, *bounds.tolist()]))


def _most_of_one(trie: Trie, owner: Positions, weight: Floats) -> Floats:
    """The most weight that a single owner has below each vertex."""
    most = np.zeros(len(trie.first))
    order = np.argsort(owner, kind="stable")
    owners_, weights = owner[order], weight[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    for vertices in (trie.leaves, *trie.levels):
        place = _places(trie, vertices, len(owner))[order]
        fresh[1:] = (owners_[1:] != owners_[:-1]) | (place[1:] != place[:-1])
        start = np.flatnonzero(fresh)
        found = np.add.reduceat(weights, start)
        inside = place[start] >= 0
        np.maximum.at(most, place[start[inside]], found[inside])
    return most


def _places(trie: Trie, vertices: Ints, rows: int) -> Ints:
    """Which of these disjoint vertices each row is below, -1 if none."""
    vertices = vertices[np.argsort(trie.first[vertices])]
    bounds = np.empty(2 * len(vertices) + 1, dtype=np.int64)
    bounds[0:-1:2], bounds[1::2], bounds[-1] = trie.first[vertices], trie.last[vertices], rows
    which = np.full(2 * len(vertices) + 1, -1, dtype=np.int64)
    which[1::2] = vertices
    return np.repeat(which, np.diff(bounds, prepend=0))
