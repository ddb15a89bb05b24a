"""Keep a present table where it is good enough: the fewest changes that make it so.

Present destinations stay as they are; a next hop changes only where it may not serve or carries
too much; a piece that is too heavy for everybody is cut further; where that takes more entries
than there are, the lightest pieces join the entry above them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.arrays import Flags, Ints
from vpcrouter.planner.bounds import leaf_weights
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.partition import Stays, Weights, cuts
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.solve import Assigned, forward
from vpcrouter.planner.trie import Trie, build

_ROUNDS = 6  # cutting may overload nobody new, so a few rounds settle all that can be settled


def retain(
    problem: Problem,
    owned: Owners,
    present: Mapping[Prefix, int | None],
    allowed: float,
    exclusive: bool,
) -> Assigned | None:
    """Entries close to the present ones with no node above ``allowed``; None where none are found.

    ``present`` holds the entries in the trees of the problem, destination to the node that is its
    next hop, None where that may not be. ``exclusive``: no entry may catch two nodes' blocks.
    """
    usable = {prefix: node for prefix, node in present.items() if node is not None}
    destinations = {prefix for prefix in present if not _splits_a_block(problem, prefix)}
    destinations |= {tree.prefix for tree in problem.trees}
    plan = _forward(problem, owned, destinations, usable, allowed)
    destinations -= _worthless(problem, plan, usable)
    for _ in range(_ROUNDS):
        plan = _forward(problem, owned, destinations, usable, allowed)
        heavy = _too_heavy(problem, plan, allowed, exclusive)
        if not len(heavy):
            break
        extra = {
            prefix
            for piece in heavy.tolist()
            for prefix in _cut_further(problem, owned, plan, piece, allowed, exclusive, usable)
        }
        if extra <= destinations:
            return None
        destinations |= extra
    if len(destinations) > problem.budget:
        destinations = _join(problem, plan, allowed, exclusive)
        plan = _forward(problem, owned, destinations, usable, allowed)
    over = len(destinations) > problem.budget or plan.load > allowed
    if over or len(_too_heavy(problem, plan, allowed, exclusive)):
        return None
    return plan


def _splits_a_block(problem: Problem, prefix: Prefix) -> bool:
    columns = problem.view.columns
    row = columns.row_holding(prefix.value)
    return row is not None and columns.length[row] < prefix.length


def _forward(
    problem: Problem,
    owned: Owners,
    destinations: set[Prefix],
    usable: Mapping[Prefix, int],
    allowed: float,
) -> Assigned:
    return forward(problem, owned, tuple(destinations), usable, allowed)


def _worthless(problem: Problem, plan: Assigned, usable: Mapping[Prefix, int]) -> set[Prefix]:
    """Destinations that catch no block and would need a new next hop: removing is no dearer."""
    tops = {tree.prefix for tree in problem.trees}
    return {
        prefix
        for prefix, blocks in zip(plan.layout.destinations, plan.layout.blocks, strict=True)
        if blocks == 0 and prefix not in usable and prefix not in tops
    }


def _too_heavy(problem: Problem, plan: Assigned, allowed: float, exclusive: bool) -> Ints:
    """Destinations whose node carries too much, or (exclusive) that catch others' blocks."""
    if exclusive:
        mixed: Ints = np.flatnonzero(plan.own_blocks < plan.layout.blocks)
        return mixed
    load = plan.load_of_hops(problem)
    heavy: Ints = np.flatnonzero((load > allowed) & (plan.entry_load > 0))
    return heavy


def _cut_further(
    problem: Problem,
    owned: Owners,
    plan: Assigned,
    piece: int,
    allowed: float,
    exclusive: bool,
    usable: Mapping[Prefix, int],
) -> list[Prefix]:
    """The fewest further destinations inside one piece that bring its parts under the load.

    The present next hop keeps what is left of the piece, where that takes no destination more.
    """
    destination, rows = plan.layout.destinations[piece], plan.layout.rows(piece)
    trie = _items(problem, owned, rows)
    leaves = trie.leaves
    owner = problem.view.owner[rows[trie.first[leaves]]]
    position = problem.tree_of(destination)
    scale = float(problem.scale[position]) if position is not None else 1.0
    if exclusive:
        sums = np.full(len(trie.first), np.inf)
        weights = Weights(sums, (np.zeros(len(trie.first)),))
    else:
        weights = leaf_weights(problem, trie, rows, scale)
        stuck = np.minimum(weights.away[leaves], weights.inside[0][leaves])
        sole = problem.view.role[owner] != Role.NOTHING
        if bool(((stuck > allowed) & ~sole).any()):
            return []
    stays = None
    hop = usable.get(destination, -1)
    if hop >= 0 and (exclusive or problem.view.role[hop] == Role.FORWARD):
        ratio = scale / float(problem.view.capacity[hop])
        stays = Stays.owning(leaves[owner == hop], weights, ratio)
    found = cuts(trie, weights, 0.0 if exclusive else allowed, stays)
    return [trie.widest(cut.parent, cut.vertex) for cut in found if cut.parent >= 0]


def _items(problem: Problem, owned: Owners, rows: Ints) -> Trie:
    """The trie over these rows of one tree whose leaves are of one healthy owner, or one block."""
    run = owned.runs.of(rows)
    healthy = problem.view.role[problem.view.owner[rows]] != Role.NOTHING

    def single_owner(first: Ints, last: Ints, _root: Ints) -> Flags:
        flags: Flags = (run[first] == run[last - 1]) & healthy[first]
        return flags

    return build(problem.view.keys.take(rows), [0], [len(rows)], single_owner)


def _join(problem: Problem, plan: Assigned, allowed: float, exclusive: bool) -> set[Prefix]:
    """Remove the lightest pieces that the entry above can take, until the budget is kept."""
    layout = plan.layout
    alive = dict(enumerate(layout.destinations))
    parent = list(layout.parent)
    weight = layout.weight.tolist()
    others = plan.others_weight.tolist()
    blocks = layout.blocks.tolist()
    capacity = problem.view.capacity
    order = sorted(alive, key=lambda p: (weight[p], p))
    for piece in order:
        if len(alive) <= problem.budget:
            break
        above = parent[piece]
        while above >= 0 and above not in alive:
            above = parent[above]
        if above < 0:
            continue
        hop = int(plan.hops[above])
        same = hop == int(plan.hops[piece])
        gained = others[piece] if same else weight[piece]
        load = (others[above] + gained) / capacity[hop]
        may = problem.view.role[hop] == Role.FORWARD and not exclusive and load <= allowed
        if blocks[piece] == 0 or may:
            del alive[piece]
            weight[above] += weight[piece]
            blocks[above] += blocks[piece]
            others[above] += gained
    return set(alive.values())
