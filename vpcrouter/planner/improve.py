"""Local search for problems that no known algorithm solves exactly.

Three moves, as long as they lower the largest load: give a piece of the most loaded node to another
node; spend a spare entry on the heaviest blocks of one owner that it forwards, so that they go
straight to that owner; and slide a destination up or down the trie, so that a neighbouring piece
takes a part of its piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.direct import item_trie
from vpcrouter.planner.owners import Owners
from vpcrouter.planner.problem import Problem
from vpcrouter.planner.trie import Trie

MOST_ITEMS = 20_000  # beyond, a search item by item costs more than it can bring
_MOST_MOVES = 4_000
_DEEPER = 24  # prefixes of a piece that are looked into for a longer destination


def improve(problem: Problem, owned: Owners, entries: Mapping[Prefix, int]) -> dict[Prefix, int]:
    """Entries with a largest load that is no larger, within the budget of the problem.

    By the first two moves alone, for one of several plans.
    """
    search = _search_for(problem, owned, entries)
    return dict(entries) if search is None else search.run((search.move, search.peel))


def refine(problem: Problem, owned: Owners, entries: Mapping[Prefix, int]) -> dict[Prefix, int]:
    """The same by all three moves, which takes longer."""
    search = _search_for(problem, owned, entries)
    if search is None:
        return dict(entries)
    return search.run((search.move, search.peel, search.slide))


def _search_for(problem: Problem, owned: Owners, entries: Mapping[Prefix, int]) -> _Search | None:
    """A search that starts from these entries; None where it would be too long."""
    if len(owned.runs.node) > MOST_ITEMS:
        return None
    trie = item_trie(problem, owned, problem.trees)
    return None if len(trie.leaves) > MOST_ITEMS else _Search(problem, trie, entries)


class _Item:
    """The blocks of one healthy owner in one subtree, or one block; and its own destination."""

    __slots__ = ("holds", "owner", "prefix", "weight")

    def __init__(self, prefix: Prefix, holds: Prefix, owner: int, weight: float) -> None:
        self.prefix = prefix
        self.holds = holds  # the longest prefix around its blocks
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


@dataclass(frozen=True, slots=True)
class _Slide:
    """One entry gets another destination, by which items go from one piece to another."""

    moved: _Piece
    to: Prefix
    giver: _Piece
    taker: _Piece
    items: list[_Item]


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
            host = trie.keys.covering(first, int(trie.depth[leaf]))
            weight = float(self.problem.weight[first:last].sum())
            item = _Item(prefix, host, int(self.view.owner[first]), weight)
            for length in range(host.length, -1, -1):
                piece = self.pieces.get(host.ancestor(length))
                if piece is not None:
                    piece.add(item)
                    break

    def _cost(self, piece: _Piece, node: int) -> float:
        rest = piece.weight - piece.own.get(node, 0.0)
        return max(0.0, rest) / float(self.view.capacity[node])

    def run(self, steps: Sequence[Callable[[int], bool]]) -> dict[Prefix, int]:
        """Take the first of these steps that relieves the most loaded node, until none does."""
        for _ in range(_MOST_MOVES):
            worst = int(self.load.argmax())
            if self.load[worst] <= 0:
                break
            if not any(step(worst) for step in steps):
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

    def move(self, worst: int) -> bool:
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

    def peel(self, worst: int) -> bool:
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

    def slide(self, worst: int) -> bool:
        """Move a destination so that another node takes a part of what the most loaded one has."""
        best: tuple[float, _Slide] | None = None
        for slide in self._slides(worst):
            node, part = slide.taker.hop, slide.items
            if node == worst or self.view.role[node] != Role.FORWARD:
                continue
            gain = sum(item.weight for item in part if item.owner != worst)
            more = sum(item.weight for item in part if item.owner != node)
            after = max(
                float(self.load[worst] - gain / self.view.capacity[worst]),
                float(self.load[node] + more / self.view.capacity[node]),
            )
            if after < self.load[worst] * (1 - 1e-9) and (best is None or after < best[0]):
                best = after, slide
        if best is None:
            return False
        self._do(best[1])
        return True

    def _do(self, slide: _Slide) -> None:
        for piece in (slide.giver, slide.taker):
            self.load[piece.hop] -= self._cost(piece, piece.hop)
        for item in slide.items:
            slide.giver.add(item, -1)
            slide.taker.add(item)
        for piece in (slide.giver, slide.taker):
            self.load[piece.hop] += self._cost(piece, piece.hop)
        del self.pieces[slide.moved.prefix]
        slide.moved.prefix = slide.to
        self.pieces[slide.to] = slide.moved

    def _slides(self, worst: int) -> Iterator[_Slide]:
        """The ways to make a piece of a node smaller without another entry."""
        for piece in self._of(worst):
            outer = self._around(piece.prefix)
            if outer is not None:
                for to, items in self._within(piece):
                    yield _Slide(piece, to, piece, outer, items)
            for inner in list(self.pieces.values()):
                if inner is piece or not piece.prefix.contains(inner.prefix):
                    continue
                if self._around(inner.prefix) is not piece:
                    continue
                for length in range(inner.prefix.length - 1, piece.prefix.length, -1):
                    to = inner.prefix.ancestor(length)
                    items = [item for item in piece.items if to.contains(item.holds)]
                    if items:
                        yield _Slide(inner, to, piece, inner, items)

    def _within(self, piece: _Piece) -> Iterator[tuple[Prefix, list[_Item]]]:
        """Longer destinations for a piece, and what it no longer has with each."""
        at = [piece.prefix]
        for _ in range(_DEEPER):
            if not at:
                return
            prefix = at.pop(0)
            if prefix.length == prefix.family.width or any(
                item.holds.contains(prefix) for item in piece.items
            ):
                continue
            for half in prefix.halves():
                if half in self.pieces:
                    continue
                inside = sum(half.contains(item.holds) for item in piece.items)
                if inside and inside < len(piece.items):
                    yield half, [i for i in piece.items if not half.contains(i.holds)]
                if inside > 1:
                    at.append(half)

    def _around(self, prefix: Prefix) -> _Piece | None:
        for length in range(prefix.length - 1, -1, -1):
            piece = self.pieces.get(prefix.ancestor(length))
            if piece is not None:
                return piece
        return None

    def _of(self, node: int) -> list[_Piece]:
        return [piece for piece in self.pieces.values() if piece.hop == node]
