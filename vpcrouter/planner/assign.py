"""Who forwards: a next hop for each destination of a layout.

What one healthy node owns alone goes to that node. For the rest the best owner inside a piece
forwards it, since its own blocks do not count; a piece without one goes to an idle node, and only
where nodes are scarce does a node forward several pieces (longest processing time first; Graham,
"Bounds on multiprocessing timing anomalies", 1969). A present next hop stays where the load
allows, then the node with the least load in other tables is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vpcrouter.model import Role
from vpcrouter.planner.arrays import Floats, Ints, sums
from vpcrouter.planner.layout import Layout
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.problem import Problem

_Number = TypeVar("_Number", np.int64, np.float64)
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
        self.load = problem.standing.copy()
        self.spoken_for = np.zeros(len(self.view.role), dtype=np.bool_)
        self.hops = np.full(len(layout.destinations), -1, dtype=np.int64)

    def run(self) -> Ints:
        shared = self._settle_own()
        candidates = self._candidates(shared)
        for piece in shared:
            if candidates[piece]:
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
        layout, owner = self.layout, self.view.owner
        if not len(layout.start):
            return []
        size = len(layout.destinations)
        least = np.full(size, np.iinfo(np.int64).max)
        most = np.full(size, -1, dtype=np.int64)
        low, high = _segment_extremes(owner, layout)
        np.minimum.at(least, layout.piece, low)
        np.maximum.at(most, layout.piece, high)
        single = (least == most) & (self.view.role[np.maximum(most, 0)] != Role.NOTHING)
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
        if self.owned.scattered.any():
            return {piece: self._sums(piece) for piece in shared}
        found: dict[int, list[Candidate]] = {piece: [] for piece in shared}
        worth = np.where(self.view.role == Role.FORWARD, self.owned.total, -1.0)[self.view.owner]
        layout = self.layout
        _, best = _segment_extremes(worth, layout)
        order = np.lexsort((np.arange(len(best)), -best, layout.piece))
        for segment in order.tolist():
            piece = int(layout.piece[segment])
            if piece not in found or best[segment] < 0:
                continue
            known = found[piece]
            if known and (best[segment] < known[0].own or len(known) >= _TIES):
                continue
            start, end = int(layout.start[segment]), int(layout.end[segment])
            rows = start + np.flatnonzero(worth[start:end] == best[segment])[:_TIES]
            nodes = np.unique(self.view.owner[rows])
            nodes = nodes[np.argsort(self.problem.burden[nodes], kind="stable")[:_SPARE]]
            known.extend(Candidate(node, float(best[segment])) for node in nodes.tolist())
        burden = self.problem.burden
        return {
            piece: sorted(known, key=lambda c: (burden[c.node], c.node))[:_SPARE]
            for piece, known in found.items()
        }

    def _sums(self, piece: int) -> list[Candidate]:
        rows = self.layout.rows(piece)
        nodes, inverse = np.unique(self.view.owner[rows], return_inverse=True)
        sums = np.bincount(inverse, weights=self.problem.weight[rows])
        able = np.flatnonzero(self.view.role[nodes] == Role.FORWARD)
        able = able[np.lexsort((nodes[able], self.problem.burden[nodes[able]], -sums[able]))]
        return [Candidate(int(nodes[i]), float(sums[i])) for i in able[:_TIES].tolist()]

    def _choose(self, piece: int, candidates: list[Candidate]) -> int:
        weight = float(self.layout.weight[piece])

        def after(node: int, own: float) -> float:
            return float(self.load[node] + (weight - own) / self.view.capacity[node])

        options = [(after(c.node, c.own), self.problem.burden[c.node], c.node) for c in candidates]
        if not options or not self.problem.even or min(options)[0] > self.allowed:
            node = self._elsewhere(piece, weight)
            options.append((after(node, 0.0), self.problem.burden[node], node))
        best = min(options)
        present = self.preferred.get(piece)
        if present is not None and self.view.role[present] == Role.FORWARD:
            own = next((c.own for c in candidates if c.node == present), None)
            if own is None:
                own = self._own(piece, present)
            if after(present, own) <= max(best[0], self.allowed):
                best = (after(present, own), 0.0, present)
        self.load[best[2]] = best[0]
        self.spoken_for[best[2]] = True
        return best[2]

    def _own(self, piece: int, node: int) -> float:
        rows = self.layout.rows(piece)
        return float(self.problem.weight[rows][self.view.owner[rows] == node].sum())

    def _elsewhere(self, piece: int, weight: float) -> int:
        """The forwarder of the subnet that carries this weight best, idle ones first."""
        crew = self.view.crew.of_subnet(int(self.subnets[piece]))
        result = self.load[crew] + weight / self.view.capacity[crew]
        taken = self.spoken_for[crew]
        order = np.lexsort(
            (crew, self.problem.burden[crew], result, taken & (self.load[crew] == 0))
        )
        return int(crew[order[0]])

    def _keeper_of_empty_space(self, piece: int) -> int:
        """Any healthy node may hold a cover that catches no block; prefer one that may forward."""
        if piece in self.preferred:
            return self.preferred[piece]
        subnet = int(self.subnets[piece])
        crew = self.view.crew.of_subnet(subnet)
        if not len(crew):
            crew = np.flatnonzero((self.view.home == subnet) & (self.view.role == Role.OWN))
        order = np.lexsort((crew, self.problem.burden[crew], self.load[crew]))
        return int(crew[order[0]])


def _segment_extremes(
    values: npt.NDArray[_Number], layout: Layout
) -> tuple[npt.NDArray[_Number], npt.NDArray[_Number]]:
    """The least and the greatest value in each segment."""
    bounds = np.empty(2 * len(layout.start), dtype=np.int64)
    bounds[0::2] = layout.start
    bounds[1::2] = layout.end
    if bounds[-1] == len(values):
        bounds = bounds[:-1]
    return np.minimum.reduceat(values, bounds)[0::2], np.maximum.reduceat(values, bounds)[0::2]


def node_loads(problem: Problem, hops: Ints, others_weight: Floats) -> tuple[Floats, Floats]:
    """The load of each destination's entry, and of each node over all its entries.

    A next hop of -1 is no node: it bears nothing.
    """
    number = len(problem.view.role)
    known = hops >= 0
    capacity = np.append(problem.view.capacity, 1.0)[hops]
    per_entry: Floats = np.where(known, others_weight / capacity, 0.0)
    return per_entry, sums(hops[known], per_entry[known], number)
