"""The rows that one entry catches, apart from all others, so that a change touches few rows.

A table of a million blocks in a thousand pieces is a thousand small sorted columns; what an event
does to one of them costs as much as that one has rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ipam.prefix import Prefix
from vpcrouter.model import Role
from vpcrouter.planner.arrays import Flags, Floats, Ints, range_sums, sums
from vpcrouter.planner.partition import Stays, Weights, cuts
from vpcrouter.planner.trie import Keys, build

_LOW_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry with its next hop (a node index) and the rows that it catches, sorted.

    ``total`` is the weight of all, ``others`` of those that the next hop does not own.
    """

    destination: Prefix
    hop: int
    keys: Keys
    owner: Ints
    weight: Floats
    total: float
    others: float

    @classmethod
    def of(cls, destination: Prefix, hop: int, keys: Keys, owner: Ints, weight: Floats) -> Piece:
        """The piece with these rows."""
        others = float(weight[owner != hop].sum())
        return cls(destination, hop, keys, owner, weight, float(weight.sum()), others)

    def through(self, hop: int) -> Piece:
        """The same with another next hop."""
        return Piece.of(self.destination, hop, self.keys, self.owner, self.weight)

    def row(self, prefix: Prefix) -> int | None:
        """The position of a block, None if it is not here."""
        row = int(self.keys.starts([prefix.value])[0])
        there = row < len(self.keys) and self.keys.value(row) == prefix.value
        return row if there and int(self.keys.length[row]) == prefix.length else None

    def with_block(self, prefix: Prefix, owner: int, weight: float) -> Piece:
        """One block more."""
        row = int(self.keys.starts([prefix.value])[0])
        keys = Keys(
            self.keys.family,
            np.insert(self.keys.high, row, np.uint64(prefix.value >> 64)),
            np.insert(self.keys.low, row, np.uint64(prefix.value & _LOW_64)),
            np.insert(self.keys.length, row, prefix.length),
        )
        owners = np.insert(self.owner, row, owner)
        return Piece.of(
            self.destination, self.hop, keys, owners, np.insert(self.weight, row, weight)
        )

    def without(self, rows: Sequence[int]) -> Piece:
        """The same without these rows."""
        kept = np.ones(len(self.owner), dtype=np.bool_)
        kept[list(rows)] = False
        return self._part(self.destination, self.hop, kept)

    def weighing(self, row: int, weight: float) -> Piece:
        """The same with another weight of one row."""
        weights = self.weight.copy()
        weights[row] = weight
        return Piece.of(self.destination, self.hop, self.keys, self.owner, weights)

    def split(self, inner: Prefix) -> tuple[Piece, Piece]:
        """What is left, and what an entry for ``inner`` takes (its next hop is ours)."""
        first, last = self.keys.starts([inner.value, inner.last + 1]).tolist()
        inside = np.zeros(len(self.owner), dtype=np.bool_)
        inside[first:last] = True
        return self._part(self.destination, self.hop, ~inside), self._part(inner, self.hop, inside)

    def joined(self, inner: Piece) -> Piece:
        """What this entry catches once the one for ``inner`` is gone."""
        keys = self.keys
        high = np.concatenate((keys.high, inner.keys.high))
        low = np.concatenate((keys.low, inner.keys.low))
        order = np.lexsort((low, high))
        length = np.concatenate((keys.length, inner.keys.length))[order]
        return Piece.of(
            self.destination,
            self.hop,
            Keys(keys.family, high[order], low[order], length),
            np.concatenate((self.owner, inner.owner))[order],
            np.concatenate((self.weight, inner.weight))[order],
        )

    def _part(self, destination: Prefix, hop: int, kept: Flags) -> Piece:
        keys = self.keys.take(np.flatnonzero(kept))
        return Piece.of(destination, hop, keys, self.owner[kept], self.weight[kept])

    def owns(self) -> tuple[Ints, Floats]:
        """The nodes that own something here, and what they own."""
        nodes, position = np.unique(self.owner, return_inverse=True)
        return nodes, sums(position, self.weight, len(nodes))

    def cut_for(self, most: float, role: Callable[[int], Role], ratio: float) -> list[Prefix]:
        """The fewest further destinations that leave no part with more of others' than ``most``.

        ``most`` is a weight, and ``ratio`` how many times less the present next hop can take; it
        keeps what is left, where that takes no destination more. A block whose owner is not healthy
        may weigh more all the same.
        """
        change = self.owner[1:] != self.owner[:-1]
        run = np.concatenate(([0], np.cumsum(change)))
        nodes, position = np.unique(self.owner, return_inverse=True)
        roles = np.array([role(int(node)) for node in nodes])[position]

        def closed(first: Ints, last: Ints, _root: Ints) -> Flags:
            flags: Flags = (run[first] == run[last - 1]) & (roles[first] != Role.NOTHING)
            return flags

        trie = build(self.keys, [0], [len(self.owner)], closed)
        leaves = trie.leaves
        away, inside = np.zeros(len(trie.first)), np.full(len(trie.first), np.inf)
        away[leaves] = range_sums(self.weight, trie.first[leaves], trie.last[leaves])
        inside[leaves[roles[trie.first[leaves]] == Role.FORWARD]] = 0.0
        weights = Weights(away, (inside,))
        mine = leaves[self.owner[trie.first[leaves]] == self.hop]
        may = role(self.hop) is Role.FORWARD
        found = cuts(trie, weights, most, Stays.owning(mine, weights, ratio) if may else None)
        return [trie.widest(cut.parent, cut.vertex) for cut in found if cut.parent >= 0]
