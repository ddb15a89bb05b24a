"""Plans without detours: the smallest table in which every block goes straight to its owner.

This is the construction of Draves, King, Venkatachary and Zill, "Constructing optimal IP routing
tables" (INFOCOM 1999), with space that is not given out as don't-care: bottom-up, a vertex takes
the owners common to both children, or all of either where there is none in common (each time one
more entry); top-down, an entry is made where the inherited owner is not in the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.arrays import Flags, Ints
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.problem import Problem, Tree
from vpcrouter.planner.trie import Trie, build


def item_trie(problem: Problem, owned: Owners, trees: Sequence[Tree]) -> Trie:
    """The trie whose leaves are the largest subtrees of one healthy owner, or single blocks."""
    healthy = problem.view.role != Role.NOTHING

    def single_owner(first: Ints, last: Ints, _root: Ints) -> Flags:
        same = owned.runs.same(first, last - 1)
        same &= healthy[problem.view.owner[first]]
        return same

    return build(
        problem.view.keys,
        [tree.first for tree in trees],
        [tree.last for tree in trees],
        single_owner,
    )


def direct_entries(
    problem: Problem, owned: Owners, trees: Sequence[Tree], present: Mapping[Prefix, int]
) -> dict[Prefix, int] | None:
    """The fewest entries (destination to node index) without a detour for these trees.

    ``trees`` are those of the problem or some of them. Where destinations or next hops may be
    chosen, those of ``present`` are. None where a block's owner is not healthy, or where it surely
    takes more than twice the problem's budget. Time is vertices times owners / 64.
    """
    if not trees:
        return {}
    # n entries part the rows into at most 2 n runs
    if len(owned.runs.node) > 4 * problem.budget:
        return None
    first = owned.runs.of(np.array([tree.first for tree in trees]))
    last = owned.runs.of(np.array([tree.last - 1 for tree in trees]))
    runs = [np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
    nodes = np.unique(owned.runs.node[np.concatenate(runs)])
    if (problem.view.role[nodes] == Role.NOTHING).any():
        return None
    names = {int(node): position for position, node in enumerate(nodes)}
    trie = item_trie(problem, owned, trees)
    owner = problem.view.owner
    sets = {leaf: 1 << names[int(owner[trie.first[leaf]])] for leaf in trie.leaves.tolist()}
    return _smallest(trie, trees, sets, list(names), present)


def weightless_entries(
    problem: Problem, owned: Owners, present: Mapping[Prefix, int]
) -> dict[Prefix, int] | None:
    """The fewest entries that put no load on anybody: blocks without weight may take a detour.

    They go to any node that may forward in their subnet. None where a block that weighs something
    has an owner who is not healthy, or where there are more owners than entries.
    """
    view, trees, runs = problem.view, problem.trees, owned.runs
    weighing = runs.weight > 0
    if owned.total is None and np.count_nonzero(weighing) > problem.budget:
        return None
    of_runs = runs.node[weighing]
    changes = int(np.count_nonzero(of_runs[1:] != of_runs[:-1]))
    if changes > 2 * problem.budget:  # as in direct_entries
        return None
    heavy = np.unique(of_runs)
    if (view.role[heavy] == Role.NOTHING).any() or len(heavy) > problem.budget:
        return None
    anybody = [int(view.crew.of_subnet(s)[0]) for s in sorted({tree.subnet for tree in trees})]
    names = {node: i for i, node in enumerate(dict.fromkeys([*heavy.tolist(), *anybody]))}
    forwards = [0] * len(view.snapshot.subnets)
    for node, position in names.items():
        if view.role[node] == Role.FORWARD:
            forwards[int(view.home[node])] |= 1 << position
    trie, weighs = _trie_of_weights(problem, owned)
    sets = {}
    for leaf in trie.leaves.tolist():
        first, last = int(trie.first[leaf]), int(trie.last[leaf])
        own = names.get(int(view.owner[first]))
        sets[leaf] = 0 if own is None else 1 << own
        if weighs[first] == weighs[last]:
            shared = forwards[int(view.home[view.owner[first]])]
            single = bool(runs.same(trie.first[leaf : leaf + 1], trie.last[leaf : leaf + 1] - 1)[0])
            sets[leaf] = sets[leaf] | shared if single else shared
    return _smallest(trie, trees, sets, list(names), present)


def _trie_of_weights(problem: Problem, owned: Owners) -> tuple[Trie, Ints]:
    """The trie whose leaves are items, or subtrees without weight; how many rows before each weigh.

    What several owners without weight share may go to any forwarder and to nobody else that is of
    use: in the construction their sets have the forwarders in common.
    """
    weighs = np.zeros(len(problem.weight) + 1, dtype=np.int64)
    np.cumsum(problem.weight > 0, out=weighs[1:])
    healthy = problem.view.role != Role.NOTHING

    def closed(first: Ints, last: Ints, _root: Ints) -> Flags:
        flags = owned.runs.same(first, last - 1)
        flags &= healthy[problem.view.owner[first]]
        flags |= weighs[first] == weighs[last]
        return flags

    trees = problem.trees
    trie = build(
        problem.view.keys, [tree.first for tree in trees], [tree.last for tree in trees], closed
    )
    return trie, weighs


def _smallest(
    trie: Trie,
    trees: Sequence[Tree],
    leaf_sets: Mapping[int, int],
    nodes: Sequence[int],
    present: Mapping[Prefix, int],
) -> dict[Prefix, int]:
    """The smallest table that sends every leaf to one of its set (bits of positions in nodes)."""
    names = {node: position for position, node in enumerate(nodes)}
    sets = _vertex_sets(trie, leaf_sets)
    entries: dict[Prefix, int] = {}
    pending = [(r, -1, tree.prefix, tree.prefix.length) for r, tree in enumerate(trees)]
    while pending:
        vertex, inherited, widest, longest = pending.pop()
        able = sets[vertex]
        if inherited < 0 or not able >> inherited & 1:
            address = trie.keys.value(int(trie.first[vertex]))
            destination = present_between(widest, address, longest, present)
            wanted = names.get(present.get(destination, -1), -1)
            inherited = wanted if wanted >= 0 and able >> wanted & 1 else _lowest(able)
            entries[destination] = nodes[inherited]
        for child in (int(trie.left[vertex]), int(trie.right[vertex])):
            if child >= 0:
                prefix = trie.widest(vertex, child)
                pending.append((child, inherited, prefix, int(trie.depth[child])))
    return entries


def _lowest(owner_set: int) -> int:
    return (owner_set & -owner_set).bit_length() - 1


def _vertex_sets(trie: Trie, leaf_sets: Mapping[int, int]) -> list[int]:
    """The next hops with which a vertex needs the fewest entries, as a bit set of positions."""
    sets = [leaf_sets.get(vertex, 0) for vertex in range(len(trie.first))]
    for level in reversed(trie.levels):
        for vertex in level.tolist():
            left, right = sets[trie.left[vertex]], sets[trie.right[vertex]]
            sets[vertex] = (left & right) or (left | right)
    return sets


def present_between(
    widest: Prefix, address: int, longest: int, present: Mapping[Prefix, int]
) -> Prefix:
    """The first present destination around an address, from ``widest`` down to ``longest``."""
    if not present:
        return widest
    host = Prefix(widest.family, address, widest.family.width)
    for length in range(widest.length, longest + 1):
        candidate = host.ancestor(length)
        if candidate in present:
            return candidate
    return widest
