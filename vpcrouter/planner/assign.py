"""Who forwards: a next hop for each destination of a layout.

What one healthy node owns alone goes to that node. For the rest the best owner inside a piece
forwards it, since its own blocks do not count; a piece without one goes to an idle node, and only
where nodes are scarce does a node forward several pieces (longest processing time first; Graham,
"Bounds on multiprocessing timing anomalies", 1969). A present next hop stays where the load
allows; of others as good, one that no present entry points to, and then the one with the least load
in other tables is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vpcrouter.model import Role
from vpcrouter.planner.arrays import Floats, Ints, Positions, range_greatest
from vpcrouter.planner.layout import Layout
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.problem import Problem

_SPARE = 4  # candidates kept for a piece: the best may be taken by then
_TIES = 64  # equally good owners looked at in one segment: enough for every table to differ


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that owns part of a piece, and the weight of that part."""

    node: int
    own: float


def assign(
    problem: Problem,
    owned: Owners,
    layout: Layout,
    subnets: Ints,
    preferred: Mapping[int, int],
    allowed: float,
) -> Ints:
    """The next hop of every destination, as node indices.

    ``subnets`` gives each destination's subnet; ``preferred`` the present next hops by destination
    position (all of that subnet and healthy); ``allowed`` the load up to which they are kept.
    """
    return _Assignment(problem, owned, layout, subnets, preferred, allowed).run()


class _Assignment:
    """The state of one greedy assignment: loads so far, and who is spoken for."""

    def __init__(
        self,
        problem: Problem,
        owned: Owners,
        layout: Layout,
        subnets: Ints,
        preferred: Mapping[int, int],
        allowed: float,
    ) -> None:
        self.view = problem.view
        self.problem = problem
        self.owned = owned
        self.layout = layout
        self.subnets = subnets
        self.preferred = preferred
        self.allowed = allowed
        self.load = problem.standing_loads()
        self.pools: dict[int, _Pool] = {}
        self.spoken_for = np.zeros(len(self.view.role), dtype=np.bool_)
        self.hops = np.full(len(layout.destinations), -1, dtype=np.int64)
        self.held = np.zeros(len(self.view.role), dtype=np.bool_)
        self.held[list(preferred.values())] = True

    def run(self) -> Ints:
        shared = self._settle_own()
        candidates = self._candidates(shared)
        for piece in shared:
            if candidates[piece] and piece not in self.preferred:
                self.spoken_for[candidates[piece][0].node] = True
        for node in self.preferred.values():
            self.spoken_for[node] = True

        def lightest(piece: int) -> float:
            best = candidates[piece][0].own if candidates[piece] else 0.0
            return float(self.layout.weight[piece]) - best

        outside_last = sorted(shared, key=lambda p: (not candidates[p], -lightest(p), p))
        for piece in outside_last:
            self.hops[piece] = self._choose(piece, candidates[piece])
        for piece in np.flatnonzero((self.layout.blocks == 0) & (self.hops < 0)).tolist():
            self.hops[piece] = self._keeper_of_empty_space(piece)
        return self.hops

    def _settle_own(self) -> list[int]:
        """Give pieces with a single healthy owner to it; return the pieces that are shared."""
        layout = self.layout
        if not len(layout.start):
            return []
        size = len(layout.destinations)
        least = np.full(size, np.iinfo(np.int64).max)
        most = np.full(size, -1, dtype=np.int64)
        owner = self.view.owner[layout.start].astype(np.int64)
        np.minimum.at(least, layout.piece, owner)
        np.maximum.at(most, layout.piece, owner)
        mixed = ~self.owned.runs.same(layout.start, layout.end - 1)
        single = (least == most) & (self.view.role[np.maximum(most, 0)] != Role.NOTHING)
        single[layout.piece[mixed]] = False
        for piece, node in self.preferred.items():
            if single[piece] and node != most[piece] and self._may_stay(piece, node):
                most[piece] = node
                self.load[node] += layout.weight[piece] / self.view.capacity[node]
        self.hops[single] = most[single]
        shared = np.flatnonzero((layout.blocks > 0) & ~single)
        return [int(piece) for piece in shared]

    def _may_stay(self, piece: int, node: int) -> bool:
        """Whether a present next hop may go on forwarding what another node owns alone."""
        load = self.load[node] + self.layout.weight[piece] / self.view.capacity[node]
        return bool(self.view.role[node] == Role.FORWARD and 0 < load <= self.allowed)

    def _candidates(self, shared: list[int]) -> dict[int, list[Candidate]]:
        """For each shared piece the owners that may forward, those who own most first."""
        if not shared:
            return {}
        if self.owned.total is not None:
            return {piece: self._sums(piece) for piece in shared}
        runs, burden = self.owned.runs, self.problem.burden
        best = self.problem.once(("best", self.layout), self._best_runs)
        found: dict[int, list[Candidate]] = {}
        for piece in shared:
            tied = best[piece]
            if len(tied) > 1:
                nodes = runs.node[tied]
                order = np.lexsort((nodes, burden[nodes], self.held[nodes]))
                tied = tied[order[:_SPARE]]
            owns = zip(runs.node[tied].tolist(), runs.weight[tied].tolist(), strict=True)
            found[piece] = [Candidate(node, own) for node, own in owns]
        return found

    def _best_runs(self) -> list[Ints]:
        """For each piece the runs whose owners would forward it best, at most ``_TIES``."""
        runs, layout = self.owned.runs, self.layout
        found = [np.zeros(0, dtype=np.int64)] * len(layout.destinations)
        highest = [-np.inf] * len(found)
        first, last = runs.of(layout.start), runs.of(layout.end - 1) + 1
        merit = self._merit(first, last)
        best = range_greatest(merit, first, last)
        order = np.lexsort((np.arange(len(best)), -best, layout.piece))
        segments = zip(
            layout.piece[order].tolist(),
            best[order].tolist(),
            first[order].tolist(),
            last[order].tolist(),
            strict=True,
        )
        for piece, value, start, end in segments:
            if value == -np.inf or value < highest[piece] or len(found[piece]) >= _TIES:
                continue
            highest[piece] = value
            tied = start + (merit[start:end] == value).nonzero()[0][:_TIES]
            found[piece] = np.concatenate((found[piece], tied)) if len(found[piece]) else tied
        return found

    def _merit(self, first: Ints, last: Ints) -> Floats:
        """How well the owner of each run would forward the piece around it: more is better.

        ``first`` and ``last`` are the runs of each segment of the layout.
        """
        runs, layout, view = self.owned.runs, self.layout, self.view
        merit = runs.weight
        if not self.problem.even:
            whole = np.zeros(len(runs.node))
            for start, end, piece in zip(first, last, layout.piece, strict=True):
                whole[start:end] = layout.weight[piece]
            merit = (merit - whole) / view.capacity[runs.node]
        if not view.nodes.all_forward:
            merit = np.where(view.role[runs.node] == Role.FORWARD, merit, -np.inf)
        return merit

    def _sums(self, piece: int) -> list[Candidate]:
        rows = self.layout.rows(piece)
        nodes, inverse = np.unique(self.view.owner[rows], return_inverse=True)
        sums = np.bincount(inverse, weights=self.problem.weight[rows])
        able = np.flatnonzero(self.view.role[nodes] == Role.FORWARD)
        held, burden = self.held[nodes[able]], self.problem.burden[nodes[able]]
        able = able[np.lexsort((nodes[able], burden, held, -sums[able]))]
        return [Candidate(int(nodes[i]), float(sums[i])) for i in able[:_TIES].tolist()]

    def _choose(self, piece: int, candidates: list[Candidate]) -> int:
        weight = float(self.layout.weight[piece])

        def after(node: int, own: float) -> float:
            return float(self.load[node] + (weight - own) / self.view.capacity[node])

        def option(node: int, own: float) -> tuple[float, bool, float, int]:
            held, burden = self.held[node], self.problem.burden[node]
            return after(node, own), bool(held), float(burden), node

        options = [option(c.node, c.own) for c in candidates]
        if not options or not self.problem.even or min(options)[0] > self.allowed:
            options.append(option(self._elsewhere(piece, weight), 0.0))
        best = min(options)
        present = self.preferred.get(piece)
        if present is not None and self.view.role[present] == Role.FORWARD:
            own = next((c.own for c in candidates if c.node == present), None)
            if own is None:
                own = self._own(piece, present)
            if after(present, own) <= max(best[0], self.allowed):
                best = option(present, own)
        node = best[-1]
        idle = self.load[node] == 0
        self.load[node] = best[0]
        self.spoken_for[node] = True
        pool = self.pools.get(int(self.subnets[piece]))
        if pool is not None and idle and best[0] > 0:
            pool.has_load(node)
        return node

    def _own(self, piece: int, node: int) -> float:
        rows = self.layout.rows(piece)
        return float(self.problem.weight[rows][self.view.owner[rows] == node].sum())

    def _elsewhere(self, piece: int, weight: float) -> int:
        """The forwarder of the subnet that carries this weight best, idle ones first.

        One that is spoken for and has nothing yet comes last.
        """
        subnet = int(self.subnets[piece])
        if subnet not in self.pools:
            crew = self.view.crew.of_subnet(subnet)
            # more can neither be spoken for nor get a load
            number = 3 * len(self.layout.destinations) + 1
            self.pools[subnet] = _Pool(self, crew, number)
        return self.pools[subnet].best(weight)

    def _keeper_of_empty_space(self, piece: int) -> int:
        """Any healthy node may hold a cover that catches no block; prefer one that may forward."""
        if piece in self.preferred:
            return self.preferred[piece]
        subnet = int(self.subnets[piece])
        crew = self.view.crew.of_subnet(subnet)
        if not len(crew):
            own = (self.view.home == subnet) & (self.view.role == Role.OWN)
            crew = np.flatnonzero(own).astype(np.uint32)
        order = np.lexsort((crew, self.problem.burden[crew], self.load[crew]))
        return int(crew[order[0]])


class _Pool:
    """The forwarders of one subnet: those without a load as they should come, and the others.

    ``later`` are those without a load that are spoken for.
    """

    def __init__(self, assignment: _Assignment, crew: Positions, number: int) -> None:
        self.load = assignment.load
        self.spoken_for = assignment.spoken_for
        self.capacity = assignment.view.capacity
        self.burden = assignment.problem.burden
        loaded = self.load[crew] > 0
        self.busy = np.zeros(np.count_nonzero(loaded) + number, dtype=np.int64)
        self.size = int(np.count_nonzero(loaded))
        self.busy[: self.size] = crew[loaded]
        unused: Positions = crew[~loaded]
        idle = _leading(unused, (-self.capacity[unused], self.burden[unused]), number)
        order = np.lexsort((idle, self.burden[idle], -self.capacity[idle]))
        self.idle = deque([int(node) for node in idle[order]])
        self.later: list[int] = []

    def has_load(self, node: int) -> None:
        """Say that this node, which had no load, now has one."""
        self.busy[self.size] = node
        self.size += 1

    def best(self, weight: float) -> int:
        """The node that carries this weight best."""
        while self.idle and (self.spoken_for[self.idle[0]] or self.load[self.idle[0]] > 0):
            self.later.append(self.idle.popleft())
        options = self.busy[: self.size]
        if self.idle:
            options = np.append(options, self.idle[0])
        if not len(options):
            options = np.array(self.later, dtype=np.int64)
        result = self.load[options] + weight / self.capacity[options]
        return int(options[np.lexsort((options, self.burden[options], result))[0]])


def _leading(nodes: Positions, keys: tuple[Floats, ...], number: int) -> Positions:
    """At least the first ``number`` nodes by these keys and then by index, and not many more."""
    if len(nodes) <= number:
        return nodes
    if not keys:
        return nodes[:number]
    limit = np.partition(keys[0], number - 1)[number - 1]
    surely = keys[0] < limit
    tied = keys[0] == limit
    left = number - int(np.count_nonzero(surely))
    others = _leading(nodes[tied], tuple(key[tied] for key in keys[1:]), left)
    return np.concatenate((nodes[surely], others))


def entry_loads(problem: Problem, hops: Ints, others_weight: Floats) -> Floats:
    """The load of each destination's entry; a next hop of -1 is no node and bears nothing."""
    per_entry = np.zeros(len(hops))
    known = hops >= 0
    per_entry[known] = others_weight[known] / problem.view.capacity[hops[known]]
    return per_entry
