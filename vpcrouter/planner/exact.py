"""The least load of small problems of the hard kind, by trying everything that could be less.

Unequal capacities, scattered owners and scarce forwarders make the problem hard in general; while
a subnet has at most ``ITEMS`` items (blocks, or neighbouring ones of one owner) it is solved all
the same. Three things keep the search small, and none of them leaves out an optimum:

- where a vertex is cut, one of its children is, never both: instead of both, the vertex itself and
  one child can be cut, for the same pieces and entries. So n items have 3^(n-1) partitions;
- a piece that is too heavy for every node stays so, whatever joins it;
- with more pieces only what is less than the best with fewer is looked for.

Then pieces are given to nodes, heaviest first, by branch and bound; nodes that are alike in all
that matters are tried once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.direct import item_trie
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.trie import Trie

ITEMS = 9  # of a subnet
_IN_ALL = 36
_LESS = 1 - 1e-9  # what is called less is less by more than rounding


def least_entries(problem: Problem, owned: Owners, below: float) -> dict[Prefix, int] | None:
    """Entries with the least largest load, if that is below this one; None: it is not.

    Raises ValueError for a problem that ``is_small`` does not hold for.
    """
    trie = item_trie(problem, owned, problem.trees)
    if not _fits(trie, problem):
        raise ValueError("the problem has too many items for an exact search")
    subnets = sorted({tree.subnet for tree in problem.trees})
    spare = problem.budget - len(problem.trees)
    if problem.worst_standing >= below * _LESS:
        return None
    frontiers = [_Subnet(problem, trie, subnet).frontier(spare, below) for subnet in subnets]
    return _combined(frontiers, spare)


def is_small(problem: Problem, owned: Owners) -> bool:
    """Whether ``least_entries`` takes this problem."""
    if len(owned.runs.node) > _IN_ALL:
        return False
    return _fits(item_trie(problem, owned, problem.trees), problem)


def _fits(trie: Trie, problem: Problem) -> bool:
    counts: dict[int, int] = {}
    for leaf in trie.leaves.tolist():
        subnet = problem.trees[int(trie.root[leaf])].subnet
        counts[subnet] = counts.get(subnet, 0) + 1
    return sum(counts.values()) <= _IN_ALL and max(counts.values()) <= ITEMS


_Frontier = Mapping[int, tuple[float, Mapping[Prefix, int]]]
"""Number of cuts to the least load with so many, and entries for it; none: not below the limit."""


def _combined(frontiers: Sequence[_Frontier], spare: int) -> dict[Prefix, int] | None:
    """The choice for each subnet with the least largest load and at most so many cuts in all."""
    best: dict[int, tuple[float, dict[Prefix, int]]] = {0: (0.0, {})}
    for frontier in frontiers:
        following: dict[int, tuple[float, dict[Prefix, int]]] = {}
        for (cuts, (load, entries)), (more, (other, mine)) in product(
            best.items(), frontier.items()
        ):
            both = max(load, other)
            number = cuts + more
            if number <= spare and (number not in following or both < following[number][0]):
                following[number] = both, {**entries, **mine}
        best = following
    if not best:
        return None
    return min(best.values(), key=lambda each: each[0])[1]


@dataclass(frozen=True, slots=True)
class _State:
    """A partition of a subtree: pieces that are closed (items, where cut), and the open rest."""

    closed: tuple[tuple[int, Prefix], ...]
    rest: int


class _Subnet:
    """One subnet's trees; sets of items are bits of an integer."""

    def __init__(self, problem: Problem, trie: Trie, subnet: int) -> None:
        self.trie = trie
        self.roots = [r for r, tree in enumerate(problem.trees) if tree.subnet == subnet]
        self.covers = [problem.trees[root].prefix for root in self.roots]
        view = problem.view
        leaves = [leaf for leaf in trie.leaves.tolist() if int(trie.root[leaf]) in self.roots]
        self.bit = {leaf: 1 << number for number, leaf in enumerate(leaves)}
        self.items = len(leaves)
        self.weight: list[float] = []
        owner: list[int] = []
        for leaf in leaves:
            first, last = int(trie.first[leaf]), int(trie.last[leaf])
            self.weight.append(float(problem.weight[first:last].sum()))
            owner.append(int(view.owner[first]))
        self.owner = owner
        self.healthy = [view.role[node] != Role.NOTHING for node in owner]
        self.nodes = self._nodes(problem, subnet)
        self.capacity = {n: float(view.capacity[n]) for n in {*self.nodes, *owner}}
        self.standing = {n: problem.standing.get(n, 0.0) for n in self.nodes}
        self.burden = problem.burden

    def _nodes(self, problem: Problem, subnet: int) -> list[int]:
        """The forwarders that may be needed: owners, and of others that are alike a few."""
        crew = problem.view.crew.of_subnet(subnet).tolist()
        owners = set(self.owner)
        alike: dict[tuple[float, float], int] = {}
        found = []
        for node in sorted(crew, key=lambda n: (problem.burden[n], n)):
            if node not in owners:
                kind = float(problem.view.capacity[node]), problem.standing.get(node, 0.0)
                alike[kind] = alike.get(kind, 0) + 1
                if alike[kind] > self.items:
                    continue
            found.append(node)
        return found

    def frontier(self, spare: int, below: float) -> _Frontier:
        """For each number of cuts up to ``spare`` the least load, where that is below the limit."""
        self._prepare(below)
        states = [self._states(root, spare) for root in self.roots]
        by_cuts: dict[int, list[tuple[tuple[int, Prefix], ...]]] = {}
        for choice in product(*states):
            pieces = tuple(piece for state in choice for piece in state.closed)
            if len(pieces) <= spare:
                covers = ((s.rest, c) for s, c in zip(choice, self.covers, strict=True))
                by_cuts.setdefault(len(pieces), []).append((*pieces, *covers))
        found: dict[int, tuple[float, Mapping[Prefix, int]]] = {}
        limit = below
        for cuts in sorted(by_cuts):
            for pieces in by_cuts[cuts]:
                answer = _Giving(self, [items for items, _ in pieces], limit).best()
                if answer is not None:
                    limit, hops = answer
                    entries = {p: n for (_, p), n in zip(pieces, hops, strict=True)}
                    found[cuts] = limit, entries
        return found

    def _prepare(self, below: float) -> None:
        self.below = below * _LESS

        @cache
        def weight_of(items: int) -> float:
            return sum(self.weight[i] for i in self.positions(items))

        @cache
        def costs(items: int) -> tuple[tuple[float, int], ...]:
            """What each node would carry by these items, the least first."""
            total = weight_of(items)
            owners = {self.owner[i] for i in self.positions(items)}
            if len(owners) == 1 and all(self.healthy[i] for i in self.positions(items)):
                return ((0.0, min(owners)),)
            rows = []
            for node in self.nodes:
                if node in owners:
                    others = [i for i in self.positions(items) if self.owner[i] != node]
                    rows.append((sum(self.weight[i] for i in others) / self.capacity[node], node))
                else:
                    rows.append((total / self.capacity[node], node))
            rows.sort(key=lambda row: (row[0], self.burden[row[1]] if len(self.burden) else 0.0))
            return tuple(rows)

        self.costs = costs
        self.weight_of = weight_of

    def positions(self, items: int) -> Iterator[int]:
        """The numbers of a set of items."""
        while items:
            low = items & -items
            yield low.bit_length() - 1
            items ^= low

    def _can_be(self, items: int) -> bool:
        """Whether any node may carry these items and stay below the limit."""
        if not items:
            return True
        return any(
            cost + self.standing.get(node, 0.0) < self.below or cost == 0.0
            for cost, node in self.costs(items)
        )

    def _states(self, vertex: int, spare: int) -> list[_State]:
        """The partitions of a subtree with at most so many cuts that may still become a plan."""
        left, right = int(self.trie.left[vertex]), int(self.trie.right[vertex])
        if left < 0:
            return [_State((), self.bit[vertex])]
        found = []
        names = self.trie.widest(vertex, left), self.trie.widest(vertex, right)
        others = self._states(right, spare)
        for one, other in product(self._states(left, spare), others):
            closed = one.closed + other.closed
            if len(closed) > spare:
                continue
            if self._can_be(one.rest | other.rest):
                found.append(_State(closed, one.rest | other.rest))
            if len(closed) == spare:
                continue
            if self._can_be(one.rest):
                found.append(_State((*closed, (one.rest, names[0])), other.rest))
            if self._can_be(other.rest):
                found.append(_State((*closed, (other.rest, names[1])), one.rest))
        return found


class _Giving:
    """Pieces to nodes, so that the largest load is least and below a limit."""

    def __init__(self, subnet: _Subnet, pieces: Sequence[int], below: float) -> None:
        self.costs = [subnet.costs(items) for items in pieces]
        self.load = dict(subnet.standing)
        self.limit = below * _LESS
        self.capacity = subnet.capacity
        owners = {o for items in pieces for o in (subnet.owner[i] for i in subnet.positions(items))}
        self.plain = {node for node in subnet.nodes if node not in owners}
        # what goes to its owner costs nothing; the rest by weight
        self.hops = [row[0][1] if row[0][0] == 0.0 else -1 for row in self.costs]
        order = [p for p, row in enumerate(self.costs) if row[0][0] > 0.0]
        self.order = sorted(order, key=lambda p: -self.costs[p][0][0])
        self.found: tuple[float, list[int]] | None = None

    def best(self) -> tuple[float, list[int]] | None:
        """The least largest load and the node of each piece; None if it is not below the limit."""
        start = max(self.load.values(), default=0.0)
        if start < self.limit:
            self._give(0, start)
        return self.found

    def _give(self, number: int, worst: float) -> None:
        if number == len(self.order):
            self.found = worst, list(self.hops)
            self.limit = worst * _LESS
            return
        piece = self.order[number]
        tried: set[tuple[float, float]] = set()
        for cost, node in self.costs[piece]:
            load = self.load[node] + cost
            if load >= self.limit:
                continue
            if node in self.plain:
                kind = self.capacity[node], self.load[node]
                if kind in tried:
                    continue
                tried.add(kind)
            before = self.load[node]
            self.load[node], self.hops[piece] = load, node
            self._give(number + 1, max(worst, load))
            self.load[node] = before
            self.hops[piece] = -1
