"""All tables together: what the busiest node carries in all of them, made less, no table worse.

A local search over the next hops that are new anyway. The node with the largest sum of loads gives
a piece of some table to another node, whose load in that table stays within the table's largest
and whose sum stays below what was the largest. Where nobody can take it so, somebody who gives
away another piece for it can. It ends where one table alone may make as large a load, or no such
move is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.arrays import Floats, Ints
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.solve import Assigned, weigh

_LESS = 1 - 1e-9  # what is called less is less by more than rounding
_OWNERS = 32  # owners of a piece that are looked at, those who own most
_OTHERS = 8  # nodes that own nothing of a piece and are looked at, those who would carry least


@dataclass(frozen=True, slots=True)
class Share:
    """One table and family: its plan, the destinations whose next hops must stay, and the largest
    load that a node may have in it.
    """

    problem: Problem
    plan: Assigned
    stays: frozenset[Prefix]
    allowed: float


def spread(shares: Sequence[Share], carried: Floats) -> tuple[list[Assigned], float]:
    """The plans with other next hops where that lowers the largest sum of a node's loads, and it.

    ``carried`` is the load of each node over all tables and families, these plans included.
    """
    search = _Search(shares, carried)
    search.run()
    plans = [
        share.plan
        if bool((share.plan.hops == hops).all())
        else weigh(share.problem, share.plan.layout, hops)
        for share, hops in zip(shares, search.hops, strict=True)
    ]
    return plans, float(search.total.max())


@dataclass(frozen=True, slots=True)
class _Piece:
    """An entry of one of the plans, by their numbers."""

    share: int
    entry: int


@dataclass(frozen=True, slots=True)
class _Move:
    """A piece goes to a node that then carries ``load`` of it, and ``total`` in all."""

    piece: _Piece
    node: int
    load: float
    total: float


def _order(move: _Move) -> tuple[float, float, int]:
    return move.total, move.load, move.node


class _Search:
    """Loads so far: per node in all (``total``) and per table and family (``load``)."""

    def __init__(self, shares: Sequence[Share], carried: Floats) -> None:
        self.shares = shares
        self.total = carried.copy()
        self.hops = [share.plan.hops.copy() for share in shares]
        self.cost = [share.plan.entry_load.copy() for share in shares]
        self.limit = [max(share.plan.load, share.allowed) for share in shares]
        self.load = [self._loads(share) for share in shares]
        self.children = [_children(share.plan) for share in shares]
        self.view = shares[0].problem.view
        self.pieces: dict[int, set[_Piece]] = {}
        for number, share in enumerate(shares):
            for entry in np.flatnonzero(share.plan.entry_load > 0).tolist():
                if share.plan.layout.destinations[entry] not in share.stays:
                    hop = int(share.plan.hops[entry])
                    self.pieces.setdefault(hop, set()).add(_Piece(number, entry))
        self.known: dict[_Piece, tuple[Ints, Floats]] = {}
        self.idle: dict[int, Ints] = {}
        self.listed = np.zeros(len(carried), dtype=np.bool_)

    def _loads(self, share: Share) -> Floats:
        load = share.problem.standing_loads()
        np.add.at(load, share.plan.hops, share.plan.entry_load)
        return load

    def run(self) -> None:
        """Move until nothing is left to gain."""
        floor = max(self.limit)
        for _ in range(4 * sum(map(len, self.pieces.values()))):
            worst = int(self.total.argmax())
            if self.total[worst] * _LESS <= floor:
                return
            if not (self._relieve(worst) or self._relieve_by_two(worst)):
                return

    def _relieve(self, worst: int) -> bool:
        """Give one piece away to whoever then carries least in all."""
        limit = float(self.total[worst]) * _LESS
        found = [self._best(piece, limit) for piece in self._of(worst)]
        moves = [move for move in found if move is not None]
        if not moves:
            return False
        self._make(min(moves, key=_order))
        return True

    def _relieve_by_two(self, worst: int) -> bool:
        """Give one piece to a node that gives another one away for it."""
        limit = float(self.total[worst]) * _LESS
        for piece in self._of(worst):
            for first in self._moves(piece):
                back = self._back(piece)
                self._make(first)
                second = self._way_out(first, limit)
                if second is not None:
                    self._make(second)
                    return True
                self._make(back)
        return False

    def _back(self, piece: _Piece) -> _Move:
        node = int(self.hops[piece.share][piece.entry])
        cost = float(self.cost[piece.share][piece.entry])
        return _Move(piece, node, cost, 0.0)

    def _way_out(self, first: _Move, limit: float) -> _Move | None:
        """What the node that took a piece too many can give away to be below the limit again."""
        node, share = first.node, first.piece.share
        for other in self._of(node):
            if other == first.piece:
                continue
            cost = float(self.cost[other.share][other.entry])
            left = self.load[share][node] - (cost if other.share == share else 0.0)
            if left > self.limit[share] or self.total[node] - cost >= limit:
                continue
            move = self._best(other, limit)
            if move is not None:
                return move
        return None

    def _of(self, node: int) -> list[_Piece]:
        return sorted(self.pieces.get(node, ()), key=lambda p: (p.share, p.entry))

    def _best(self, piece: _Piece, limit: float) -> _Move | None:
        """The node that carries least in all with this piece, if that is below the limit."""
        nodes, cost, total = self._fitting(piece)
        fits = total < limit
        fits &= self.load[piece.share][nodes] + cost <= self.limit[piece.share]
        around = self._neighbours(piece)
        places = np.flatnonzero(fits)
        for place in places[np.lexsort((nodes[places], cost[places], total[places]))].tolist():
            if int(nodes[place]) not in around:
                return _Move(piece, int(nodes[place]), float(cost[place]), float(total[place]))
        return None

    def _moves(self, piece: _Piece) -> list[_Move]:
        """Where a piece could go if nodes had nothing else in its table."""
        nodes, cost, total = self._fitting(piece)
        around = self._neighbours(piece)
        return [
            _Move(piece, node, load, both)
            for node, load, both in zip(nodes.tolist(), cost.tolist(), total.tolist(), strict=True)
            if node not in around and load <= self.limit[piece.share]
        ]

    def _neighbours(self, piece: _Piece) -> set[int]:
        """Its own next hop, and those around it and inside it: with theirs, one entry is idle."""
        hops, layout = self.hops[piece.share], self.shares[piece.share].plan.layout
        near = [piece.entry, *self.children[piece.share].get(piece.entry, ())]
        if layout.parent[piece.entry] >= 0:
            near.append(layout.parent[piece.entry])
        return {int(hops[entry]) for entry in near}

    def _fitting(self, piece: _Piece) -> tuple[Ints, Floats, Floats]:
        """Nodes that could carry a piece, the load that it would be, and their sums with it."""
        if piece not in self.known:
            self.known[piece] = self._owners(piece)
        nodes, cost = self.known[piece]
        subnet = int(self.view.home[self.hops[piece.share][piece.entry]])
        weight = float(self.shares[piece.share].plan.layout.weight[piece.entry])
        if weight <= self.limit[piece.share] * self.view.crew.most[subnet]:
            others = self._others(subnet)
            self.listed[nodes] = True
            others = others[~self.listed[others]]
            self.listed[nodes] = False
            elsewhere = weight / self.view.capacity[others]
            order = np.argsort(self.total[others] + elsewhere, kind="stable")[:_OTHERS]
            nodes = np.concatenate((nodes, others[order]))
            cost = np.concatenate((cost, elsewhere[order]))
        return nodes, cost, self.total[nodes] + cost

    def _others(self, subnet: int) -> Ints:
        """The forwarders of a subnet that carry something, and the strongest that do not."""
        crew = self.view.crew.of_subnet(subnet)
        if subnet not in self.idle:
            free = crew[self.total[crew] == 0].astype(np.int64)
            self.idle[subnet] = free[np.argsort(-self.view.capacity[free], kind="stable")]
        idle = self.idle[subnet]
        while len(idle) and self.total[idle[0]] > 0:
            idle = idle[1:]
        self.idle[subnet] = idle
        return np.concatenate((crew[self.total[crew] > 0].astype(np.int64), idle[:_OTHERS]))

    def _owners(self, piece: _Piece) -> tuple[Ints, Floats]:
        share = self.shares[piece.share]
        rows = share.plan.layout.rows(piece.entry)
        nodes, where = np.unique(share.problem.view.owner[rows], return_inverse=True)
        own = np.bincount(where, weights=share.problem.weight[rows], minlength=len(nodes))
        able = np.flatnonzero(self.view.role[nodes] == Role.FORWARD)
        able = able[np.argsort(-own[able], kind="stable")][:_OWNERS]
        # added up from both sides: taken from the sum, what is small would be lost beside the large
        before = np.concatenate(([0.0], np.cumsum(own[:-1])))
        after = np.concatenate((np.cumsum(own[:0:-1])[::-1], [0.0]))
        rest = (before + after)[able]
        found = nodes[able].astype(np.int64)
        return found, rest / self.view.capacity[found]

    def _make(self, move: _Move) -> None:
        share, entry = move.piece.share, move.piece.entry
        before = int(self.hops[share][entry])
        cost = self.cost[share][entry]
        for loads in (self.total, self.load[share]):
            loads[before] = max(0.0, loads[before] - cost)
            loads[move.node] += move.load
        self.hops[share][entry] = move.node
        self.cost[share][entry] = move.load
        self.pieces[before].discard(move.piece)
        self.pieces.setdefault(move.node, set()).add(move.piece)


def _children(plan: Assigned) -> Mapping[int, list[int]]:
    """The entries right inside each entry."""
    found: dict[int, list[int]] = {}
    for entry, parent in enumerate(plan.layout.parent):
        found.setdefault(parent, []).append(entry)
    return found
