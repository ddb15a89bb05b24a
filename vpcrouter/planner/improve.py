"""Local search for problems that no known algorithm solves exactly.

Two moves, as long as they lower the largest load: give a piece of the most loaded node to another
node, and spend a spare entry on the heaviest blocks of one owner that it forwards, so that they
go straight to that owner.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.direct import item_trie
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.trie import Trie

MOST_ITEMS = 20_000  # beyond, a search item by item costs more than it can bring
_MOST_MOVES = 4_000


def improve(problem: Problem, owned: Owners, entries: Mapping[Prefix, int]) -> dict[Prefix, int]:
    """Entries with a largest load that is no larger, within the budget of the problem."""
    if len(owned.runs.node) > MOST_ITEMS:
        return dict(entries)
    trie = item_trie(problem, owned, problem.trees)
    if len(trie.leaves) > MOST_ITEMS:
        return dict(entries)
    return _Search(problem, trie, entries).run()


class _Item:
    """The blocks of one healthy owner in one subtree, or one block; and its own destination."""

    __slots__ = ("owner", "prefix", "weight")

    def __init__(self, prefix: Prefix, owner: int, weight: float) -> None:
        self.prefix = prefix
        self.owner = owner
        self.weight = weight


class _Piece:
    """An entry under search: its items, and each owner's part of its weight."""

    __slots__ = ("hop", "items", "own", "prefix", "weight")

    def __init__(self, prefix: Prefix, hop: int) -> None:
        self.prefix = prefix
        self.hop = hop
        self.items: list[_Item] = []
        self.own: dict[int, float] = {}
        self.weight = 0.0

    def add(self, item: _Item, sign: int = 1) -> None:
        self.weight += sign * item.weight
        self.own[item.owner] = self.own.get(item.owner, 0.0) + sign * item.weight
        if sign > 0:
            self.items.append(item)
        else:
            self.items.remove(item)


class _Search:
    def __init__(self, problem: Problem, trie: Trie, entries: Mapping[Prefix, int]) -> None:
        self.problem = problem
        self.view = problem.view
        self.pieces = {prefix: _Piece(prefix, hop) for prefix, hop in entries.items()}
        self._spread(trie)
        self.load = problem.standing_loads()
        for piece in self.pieces.values():
            self.load[piece.hop] += self._cost(piece, piece.hop)

    def _spread(self, trie: Trie) -> None:
        parent = np.full(len(trie.first), -1, dtype=np.int64)
        for level in trie.levels:
            parent[trie.left[level]] = level
            parent[trie.right[level]] = level
        for leaf in trie.leaves.tolist():
            first, last = int(trie.first[leaf]), int(trie.last[leaf])
            up = int(parent[leaf])
            prefix = trie.widest(up, leaf) if up >= 0 else self.problem.trees[leaf].prefix
            item = _Item(
                prefix,
                int(self.view.owner[first]),
                float(self.problem.weight[first:last].sum()),
            )
            host = trie.keys.covering(first, int(trie.depth[leaf]))
            for length in range(host.length, -1, -1):
                piece = self.pieces.get(host.ancestor(length))
                if piece is not None:
                    piece.add(item)
                    break

    def _cost(self, piece: _Piece, node: int) -> float:
        rest = piece.weight - piece.own.get(node, 0.0)
        return max(0.0, rest) / float(self.view.capacity[node])

    def run(self) -> dict[Prefix, int]:
        for _ in range(_MOST_MOVES):
            worst = int(self.load.argmax())
            if self.load[worst] <= 0 or not (self._move(worst) or self._peel(worst)):
                break
        for piece in self.pieces.values():
            piece.hop = self._sole_owner(piece)
        return {prefix: piece.hop for prefix, piece in self.pieces.items()}

    def _sole_owner(self, piece: _Piece) -> int:
        """Whose blocks are all that a piece still has, else the node that has it now."""
        nodes = {item.owner for item in piece.items}
        if len(nodes) == 1 and self.view.role[min(nodes)] != Role.NOTHING:
            return min(nodes)
        return piece.hop

    def _move(self, worst: int) -> bool:
        """Give one piece of the most loaded node to the node that then has the least load."""
        best: tuple[float, int, Prefix] | None = None
        for piece in self._of(worst):
            node, load = self._best_other(piece, worst)
            after = max(load, float(self.load[worst]) - self._cost(piece, worst))
            if after < self.load[worst] * (1 - 1e-12) and (best is None or after < best[0]):
                best = (after, node, piece.prefix)
        if best is None:
            return False
        piece = self.pieces[best[2]]
        self.load[worst] -= self._cost(piece, worst)
        self.load[best[1]] += self._cost(piece, best[1])
        piece.hop = best[1]
        return True

    def _best_other(self, piece: _Piece, worst: int) -> tuple[int, float]:
        crew = self.view.crew.of_subnet(int(self.view.home[worst]))
        after = self.load[crew] + piece.weight / self.view.capacity[crew]
        for position in np.flatnonzero(np.isin(crew, list(piece.own))).tolist():
            node = int(crew[position])
            after[position] = self.load[node] + self._cost(piece, node)
        after[crew == worst] = np.inf
        position = int(after.argmin())
        return int(crew[position]), float(after[position])

    def _peel(self, worst: int) -> bool:
        """Spend one entry on the heaviest foreign item of the most loaded node."""
        if len(self.pieces) >= self.problem.budget:
            return False
        choice: tuple[float, _Piece, _Item] | None = None
        for piece in self._of(worst):
            for item in piece.items:
                able = item.owner != worst and self.view.role[item.owner] != Role.NOTHING
                able = able and item.prefix not in self.pieces
                if able and item.weight > (choice[0] if choice else 0.0):
                    choice = (item.weight, piece, item)
        if choice is None:
            return False
        _, piece, item = choice
        self.load[worst] -= self._cost(piece, worst)
        piece.add(item, -1)
        self.load[worst] += self._cost(piece, worst)
        fresh = _Piece(item.prefix, item.owner)
        fresh.add(item)
        self.pieces[item.prefix] = fresh
        return True

    def _of(self, node: int) -> list[_Piece]:
        return [piece for piece in self.pieces.values() if piece.hop == node]
