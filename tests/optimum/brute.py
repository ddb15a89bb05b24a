"""Everything tried: all sets of destinations with all next hops, for the smallest trees.

The trees are walked address bit by address bit. At each prefix there is no entry, or one with any
healthy node of the subnet; outcomes that load the nodes alike are one, and of them the one with
the fewest entries counts. Nothing is ever left out because it looks bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import lcm

from ipam.prefix import Prefix
from tests.optimum.case import Case, Owned, Tree

_Outcomes = Mapping[int, int]
"""Loads of the nodes of a subnet, packed into one number, to the fewest entries for them."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """What can be had: (entries, largest load), ever more entries for ever smaller loads."""

    points: tuple[tuple[int, Fraction], ...]

    def least_load(self, budget: int) -> Fraction | None:
        """The least largest load with so many entries; None where they do not reach everything."""
        return min((load for entries, load in self.points if entries <= budget), default=None)

    def entries_below(self, load: Fraction) -> int | None:
        """The fewest entries for a largest load that is less than this one; None: none are."""
        return min((entries for entries, each in self.points if each < load), default=None)

    @property
    def fewest(self) -> int | None:
        """The entries that serving all takes at least."""
        return min((entries for entries, _ in self.points), default=None)


def frontier(case: Case) -> Frontier:
    """All that the trees of a case can have, whatever its budget."""
    points = [(0, case.unavoidable)]
    for subnet in case.subnets:
        mine = _subnet_points(case, subnet)
        points = _pareto([(a + b, max(m, n)) for a, m in points for b, n in mine])
    return Frontier(tuple(points))


def fewest_direct(case: Case) -> int | None:
    """The fewest entries with which every block goes straight to its owner; None: impossible."""
    total = 0
    for tree in case.trees:
        outcomes = _Walk(case, tree, direct=True).all()
        if not outcomes:
            return None
        total += min(outcomes.values())
    return total


def _pareto(points: list[tuple[int, Fraction]]) -> list[tuple[int, Fraction]]:
    found: list[tuple[int, Fraction]] = []
    for entries, load in sorted(set(points)):
        if not found or load < found[-1][1]:
            found.append((entries, load))
    return found


def _subnet_points(case: Case, subnet: str) -> list[tuple[int, Fraction]]:
    hops = case.hops[subnet]
    bits = _bits(case)
    start = sum(
        int(case.standing.get(hop.node, 0) * case.unit) << bits * position
        for position, hop in enumerate(hops)
    )
    outcomes: _Outcomes = {start: 0}
    for tree in case.of_subnet(subnet):
        outcomes = _both(outcomes, _Walk(case, tree, direct=False).all())
    scale = lcm(*(hop.capacity.numerator for hop in hops))
    factors = [(int(scale / hop.capacity), bits * number) for number, hop in enumerate(hops)]
    mask = (1 << bits) - 1
    found = {
        (entries, max((packed >> shift & mask) * factor for factor, shift in factors))
        for packed, entries in outcomes.items()
    }
    return _pareto([(entries, Fraction(load, case.unit * scale)) for entries, load in found])


def _bits(case: Case) -> int:
    """Room for the weight of everything."""
    total = sum(block.weight for block in case.blocks) + sum(case.standing.values())
    return int(total * case.unit).bit_length() + 1


def _both(one: _Outcomes, other: _Outcomes) -> dict[int, int]:
    found: dict[int, int] = {}
    for load, entries in one.items():
        for more, further in other.items():
            both = load + more
            if found.get(both, entries + further) >= entries + further:
                found[both] = entries + further
    return found


class _Walk:
    """All outcomes of one tree; a next hop is its position among the nodes, -1 is none."""

    def __init__(self, case: Case, tree: Tree, *, direct: bool) -> None:
        self.top = tree.prefix
        self.blocks = tree.blocks
        self.hops = case.hops[tree.subnet]
        self.case = case
        self.direct = direct
        self.bits = _bits(case)
        self.at = cache(self._at)
        self.below = cache(self._below)

    def all(self) -> _Outcomes:
        """Every way in which no address of the tree is without a next hop."""
        return self.at(self.top, -1)

    def _at(self, vertex: Prefix, inherited: int) -> _Outcomes:
        """Outcomes inside a prefix around which addresses go to ``inherited``."""
        found = dict(self.below(vertex, inherited))
        for hop in range(len(self.hops)):
            for load, entries in self.below(vertex, hop).items():
                if found.get(load, entries + 1) >= entries + 1:
                    found[load] = entries + 1
        return found

    def _below(self, vertex: Prefix, hop: int) -> _Outcomes:
        """The same, where the prefix itself goes to ``hop``: what is more specific may differ."""
        blocks = [block for block in self.blocks if vertex.contains(block.prefix)]
        if not blocks:  # one entry or none does for space that weighs nothing
            return {} if hop < 0 else {0: 0}
        if blocks[0].prefix == vertex:
            return {} if hop < 0 else self._caught(blocks[0], hop)
        low, high = vertex.halves()
        return _both(self.at(low, hop), self.at(high, hop))

    def _caught(self, block: Owned, hop: int) -> _Outcomes:
        node = self.hops[hop]
        if node.node == block.owner:
            return {0: 0}
        if self.direct or not node.forwards:
            return {}
        return {int(block.weight * self.case.unit) << self.bits * hop: 0}
