"""The least load of one problem, with what proves it, and entries for any load above it.

Where each owner is compact, capacities are equal and forwarders suffice, the partition pass is
exact and its answer is proven. Elsewhere (3-partition and bin packing hide in it) partitions of
several coarsenesses are assigned, spare entries are spent on the most loaded nodes, and the best
is held against the lower bounds: where they meet, it is proven all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.planner.arrays import Floats, Ints, sums
from vpcrouter.planner.assign import assign, entry_loads
from vpcrouter.planner.bounds import Ground, mean_load, prepare
from vpcrouter.planner.direct import direct_entries, present_between, weightless_entries
from vpcrouter.planner.exact import is_small, least_entries
from vpcrouter.planner.improve import MOST_ITEMS, improve, refine
from vpcrouter.planner.layout import Layout, lay, shares, without_idle
from vpcrouter.planner.owners import Owners, owners
from vpcrouter.planner.partition import Cut, count, cuts, least_load
from vpcrouter.planner.problem import Problem

_TOLERANCE = 1e-9  # relative: sums of weights differ by the order in which they are added
_COARSENESS = 32  # partitions looked at where none is known to be best
_PROMISING = 8  # of them are improved: those with the least loads
_SPREAD = 4  # and each of so many, since coarse ones leave more entries to spend


@dataclass(frozen=True, slots=True)
class Assigned:
    """Destinations with their next hops (node indices) and the largest load of a node."""

    layout: Layout
    hops: Ints
    own_blocks: Ints
    others_weight: Floats
    entry_load: Floats
    load: float

    def as_entries(self) -> dict[Prefix, int]:
        """Destination to node index."""
        return dict(zip(self.layout.destinations, self.hops.tolist(), strict=True))

    def load_of_hops(self, problem: Problem) -> Floats:
        """The load of each destination's next hop over all entries, those that stay included."""
        nodes, position = np.unique(self.hops, return_inverse=True)
        standing = [problem.standing.get(node, 0.0) for node in nodes.tolist()]
        loads: Floats = (sums(position, self.entry_load, len(nodes)) + standing)[position]
        return loads


class Kind(Enum):
    """How a plan came about, which is how one like it can be made again."""

    DIRECT = 1  # no detour at all
    WEIGHTLESS = 2  # detours of what weighs nothing
    PARTITION = 3  # cut at the proven load
    SEARCH = 4  # found by local search


@dataclass(frozen=True, slots=True)
class Solved:
    """The best plan found with slack 0, and what is known about it.

    ``ground`` is None where the plan has no load. ``entries_for_less`` counts the entries of this
    problem only.
    """

    best: Assigned
    lower_bound: float
    entries_for_less: int | None
    kind: Kind
    owned: Owners
    ground: Ground | None


def judge(problem: Problem, entries: Mapping[Prefix, int]) -> Assigned:
    """These entries with what they do, whoever chose them."""
    layout = lay(problem, tuple(entries))
    hops = np.array([entries[prefix] for prefix in layout.destinations], dtype=np.int64)
    return weigh(problem, layout, hops)


def weigh(problem: Problem, layout: Layout, hops: Ints) -> Assigned:
    """A layout whose destinations have these next hops, with what they do."""
    share = shares(problem, layout, hops)
    per_entry = entry_loads(problem, hops, share.others_weight)
    plan = Assigned(layout, hops, share.own_blocks, share.others_weight, per_entry, 0.0)
    worst = float(plan.load_of_hops(problem).max()) if len(hops) else 0.0
    return replace(plan, load=max(worst, problem.worst_standing))


def forward(
    problem: Problem,
    owned: Owners,
    destinations: Sequence[Prefix],
    present: Mapping[Prefix, int],
    allowed: float,
) -> Assigned:
    """These destinations with the next hops that suit them best, or their present ones."""
    return _forward_on(problem, owned, lay(problem, destinations), present, allowed)


def _forward_on(
    problem: Problem,
    owned: Owners,
    layout: Layout,
    present: Mapping[Prefix, int],
    allowed: float,
) -> Assigned:
    subnets = np.array(
        [problem.trees[_position(problem, prefix)].subnet for prefix in layout.destinations]
    )
    preferred = {
        piece: present[prefix]
        for piece, prefix in enumerate(layout.destinations)
        if prefix in present
    }
    hops = assign(problem, owned, layout, subnets, preferred, allowed)
    return weigh(problem, layout, hops)


def _position(problem: Problem, prefix: Prefix) -> int:
    position = problem.tree_of(prefix)
    if position is None:
        raise AssertionError(f"{prefix} is in no tree of {problem.table.id}")
    return position


def solve(problem: Problem) -> Solved:
    """The least largest load with at most ``problem.budget`` entries.

    The budget is at least the number of trees, and each tree's subnet has a forwarder. What is
    present plays no part: the answer must not depend on how often it is asked for.
    """
    owned = problem.once("owners", lambda: owners(problem))
    if owned.count <= problem.budget:
        entries = direct_entries(problem, owned, problem.trees, {})
        if entries is not None and len(entries) <= problem.budget:
            return _without_load(problem, entries, Kind.DIRECT, owned)
    entries = weightless_entries(problem, owned, {})
    if entries is not None and len(entries) <= problem.budget:
        return _without_load(problem, entries, Kind.WEIGHTLESS, owned)
    ground = problem.once("ground", lambda: prepare(problem, owned, problem.budget))
    relaxed = problem.once("relaxed", lambda: _relaxed(problem, ground))
    bound = max(relaxed, problem.worst_standing)
    best = partitioned(problem, owned, ground, bound, {})
    if best is not None and best.load <= bound * (1 + _TOLERANCE):
        less = _proven_less(problem, owned, ground, best.load)
        return Solved(best, best.load, less, Kind.PARTITION, owned, ground)
    best = _search(problem, owned, ground, bound, best)
    if best.load <= bound * (1 + _TOLERANCE):
        less = _proven_less(problem, owned, ground, best.load)
        return Solved(best, best.load, less, Kind.SEARCH, owned, ground)
    if is_small(problem, owned):
        entries = least_entries(problem, owned, best.load)
        best = best if entries is None else judge(problem, without_idle(entries))
        return Solved(best, best.load, None, Kind.SEARCH, owned, ground)
    return Solved(best, bound, None, Kind.SEARCH, owned, ground)


def _relaxed(problem: Problem, ground: Ground) -> float:
    """The largest lower bound."""
    if not ground.fine:
        return max(ground.floor, ground.known)
    return least_load(ground.trie, ground.relaxed, problem.budget, ground.floor, ground.known)


def _without_load(
    problem: Problem, entries: Mapping[Prefix, int], kind: Kind, owned: Owners
) -> Solved:
    """A plan that adds no load to what stands; nothing can be less."""
    plan = judge(problem, entries)
    return Solved(plan, plan.load, None, kind, owned, None)


def near(
    problem: Problem, solved: Solved, present: Mapping[Prefix, int], allowed: float
) -> Assigned:
    """A plan from nothing within ``allowed``, with present destinations and next hops if it can.

    ``present`` maps destinations to nodes that may be their next hops; ``allowed`` is at least the
    load of ``solved.best``.
    """
    owned, best = solved.owned, solved.best
    if not present and allowed <= best.load:
        return best
    plan: Assigned | None = None
    if solved.kind is Kind.DIRECT:
        entries = direct_entries(problem, owned, problem.trees, present)
        plan = judge(problem, entries) if entries is not None else None
    elif solved.kind is Kind.WEIGHTLESS:
        entries = weightless_entries(problem, owned, present)
        plan = judge(problem, entries) if entries is not None else None
    elif solved.kind is Kind.PARTITION and solved.ground is not None:
        plan = partitioned(problem, owned, solved.ground, allowed, present)
    elif present:
        plan = forward(problem, owned, best.layout.destinations, present, allowed)
    return plan if plan is not None and plan.load <= allowed else best


def partitioned(
    problem: Problem, owned: Owners, ground: Ground, load: float, present: Mapping[Prefix, int]
) -> Assigned | None:
    """The fewest entries for this load per piece; None where they are more than the budget."""
    pieces = problem.once(("cuts", load), lambda: cuts(ground.trie, ground.exact, load))
    if len(pieces) > problem.budget:
        return None
    if present:
        layout = lay(problem, _destinations(problem, ground, pieces, present))
    else:
        layout = problem.once(
            ("layout", load), lambda: lay(problem, _destinations(problem, ground, pieces, {}))
        )
    plan = _forward_on(problem, owned, layout, present, load)
    parent = np.array(plan.layout.parent, dtype=np.int64)
    if not ((plan.hops == plan.hops[parent]) & (parent >= 0)).any():
        return plan
    return judge(problem, without_idle(plan.as_entries()))


def _destinations(
    problem: Problem, ground: Ground, pieces: Sequence[Cut], present: Mapping[Prefix, int]
) -> list[Prefix]:
    trie = ground.trie
    found = [problem.trees[cut.vertex].prefix for cut in pieces if cut.parent < 0]
    inner = [cut for cut in pieces if cut.parent >= 0]
    children = np.array([cut.vertex for cut in inner], dtype=np.int64)
    widest = trie.all_widest([cut.parent for cut in inner], children)
    if not present:
        return found + widest
    longest = trie.depth[children].tolist()
    for prefix, vertex, length in zip(widest, children.tolist(), longest, strict=True):
        address = trie.keys.value(int(trie.first[vertex]))
        found.append(present_between(prefix, address, length, present))
    return found


def _search(
    problem: Problem, owned: Owners, ground: Ground, bound: float, best: Assigned | None
) -> Assigned:
    """The best of several partitions, each with its spare entries spent; never proves anything."""
    if not problem.even and not _crews_suffice(problem, problem.budget):
        weaker = problem.weaker()
        prepared = prepare(weaker, owned, weaker.budget)
        load = least_load(prepared.trie, prepared.exact, weaker.budget, prepared.floor)
        plan = partitioned(weaker, owned, prepared, load, {})
        best = best if plan is None else _better(problem, owned, plan, best)
    for plan in _partitions(problem, owned, ground):
        best = _better(problem, owned, plan, best)
        if best.load <= bound * (1 + _TOLERANCE):
            break
    if best is None:
        raise AssertionError(f"no partition of {problem.table.id} fits its budget")
    if best.load <= bound * (1 + _TOLERANCE) or len(owned.runs.node) > MOST_ITEMS:
        return best
    refined = judge(problem, without_idle(refine(problem, owned, best.as_entries())))
    return refined if refined.load < best.load else best


def _partitions(problem: Problem, owned: Owners, ground: Ground) -> list[Assigned]:
    """Plans for some loads from the least that fits to the coarsest."""
    # the pass may go below the bound of the problem, which has fewer forwarders
    floor = max(ground.floor, mean_load(problem, owned, problem.budget) * (1 - _TOLERANCE))
    finest = least_load(ground.trie, ground.exact, problem.budget, ground.floor, floor)
    finest = max(finest, np.finfo(np.float64).tiny)
    coarsest = max(finest, float(ground.exact.away[ground.trie.leaves].sum()))
    loads = [max(load, finest) for load in np.geomspace(finest, coarsest, _COARSENESS).tolist()]
    if len(owned.runs.node) > MOST_ITEMS:  # nothing improves them
        # with a node for each piece the finest is the best
        loads = loads[:1] if _crews_suffice(problem, problem.budget) else loads[::_SPREAD]
    found = [partitioned(problem, owned, ground, load, {}) for load in loads]
    plans = [plan for plan in found if plan is not None]
    order = sorted(range(len(plans)), key=lambda number: plans[number].load)[:_PROMISING]
    spread = [number for number in range(0, len(plans), _SPREAD) if number not in order]
    return [plans[number] for number in [*order, *spread]]


def _better(problem: Problem, owned: Owners, plan: Assigned, best: Assigned | None) -> Assigned:
    """The better one of two plans, once the first has spent its spare entries."""
    plan = judge(problem, without_idle(improve(problem, owned, plan.as_entries())))
    return plan if best is None or plan.load < best.load else best


def _proven_less(problem: Problem, owned: Owners, ground: Ground, load: float) -> int | None:
    """The fewest entries for a smaller load, where a plan with that number shows it."""
    # clear of sums that differ from this load by rounding alone
    below = min(load * (1 - _TOLERANCE), float(np.nextafter(load, 0.0)))
    if not ground.fine or below < ground.floor or load <= problem.worst_standing:
        return None
    loads = np.array([below])
    less = int(count(ground.trie, ground.relaxed, loads).entries[0])
    if int(count(ground.trie, ground.exact, loads).entries[0]) != less:
        return None
    exact = problem.even or ground.exact is ground.relaxed
    idle = not problem.standing  # who carries more already may not be able to take its own piece
    if idle and owned.compact and exact and _crews_suffice(problem, less):
        return less
    pieces = cuts(ground.trie, ground.exact, below)
    plan = forward(problem, owned, _destinations(problem, ground, pieces, {}), {}, below)
    return less if plan.load <= below else None


def _crews_suffice(problem: Problem, entries: int) -> bool:
    """Whether every subnet has one of its strongest forwarders for each entry it could get."""
    crew = problem.view.crew
    return all(crew.strongest(s) >= entries for s in {tree.subnet for tree in problem.trees})
