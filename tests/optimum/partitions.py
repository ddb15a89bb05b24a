"""The fewest entries for loads below a given one, counted for hundreds of blocks.

A plain recursion over the binary trie that keeps every state that could still matter. It holds
where `suits_exactness` does: each piece then has a forwarder to itself, and no owner has blocks in
two places. What it takes for granted is only this:

- a piece that is too heavy stays so, whatever joins it;
- of two states with the same owners, the one that is no worse in entries, in weight, and in the
  weight that is left where the best owner inside forwards, is no worse;
- a remainder that is empty is no worse than any other with as many entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from tests.optimum.case import Case, Owned, Tree


@dataclass(frozen=True, slots=True, order=True)
class _State:
    """What a subtree leaves to the piece around it, with the entries inside it so far.

    ``own``: the most of ``weight`` that one node owns who may forward. ``sole``: the only owner of
    all that is left, where that one may not forward for others. ``empty``: no block is left.
    """

    entries: int
    weight: int
    own: int
    sole: str
    empty: bool


def entries_below(case: Case, load: Fraction) -> int | None:
    """The fewest entries for a largest load below this one; None where there are none."""
    total = 0
    for tree in case.trees:
        best = min(_Count(case, tree, load).closed(tree.blocks), default=None)
        if best is None:
            return None
        total += best.entries
    return total


class _Count:
    """The states of one tree, for one load."""

    def __init__(self, case: Case, tree: Tree, load: Fraction) -> None:
        hops = case.hops[tree.subnet]
        crew = [hop for hop in hops if hop.forwards]
        self.unit = case.unit
        self.forwards = {hop.node for hop in crew}
        self.healthy = {hop.node for hop in hops}
        self.most = ceil(load * case.unit * crew[0].capacity) - 1 if crew else -1

    def closed(self, blocks: Sequence[Owned]) -> list[_State]:
        """One entry more, and nothing is left."""
        entries = min((state.entries for state in self._open(blocks)), default=None)
        return [] if entries is None else [_State(entries + 1, 0, 0, "", True)]

    def _open(self, blocks: Sequence[Owned]) -> list[_State]:
        """What may be left of these blocks, ordered by address."""
        if len(blocks) == 1:
            found = [self._block(blocks[0])]
        else:
            bit = 1 << (blocks[0].prefix.value ^ blocks[-1].prefix.value).bit_length() - 1
            low = self._at([block for block in blocks if not block.prefix.value & bit])
            high = self._at([block for block in blocks if block.prefix.value & bit])
            one_owner = len({block.owner for block in blocks}) == 1
            found = [_join(a, b, one_owner) for a in low for b in high]
        return _worth_keeping(state for state in found if self._fits(state))

    def _at(self, blocks: Sequence[Owned]) -> list[_State]:
        """The same, where the top of them may be a destination itself."""
        left = self._open(blocks)
        cut = min((state.entries for state in left), default=None)
        if cut is not None:
            left.append(_State(cut + 1, 0, 0, "", True))
        return _worth_keeping(left)

    def _block(self, block: Owned) -> _State:
        weight = int(block.weight * self.unit)
        if block.owner in self.forwards:
            return _State(0, weight, weight, "", False)
        return _State(0, weight, 0, block.owner if block.owner in self.healthy else "", False)

    def _fits(self, state: _State) -> bool:
        """Whether somebody may be the next hop of a piece that this is all of."""
        return state.empty or state.sole != "" or state.weight - state.own <= self.most


def _join(one: _State, other: _State, one_owner: bool) -> _State:
    entries = one.entries + other.entries
    if one.empty or other.empty:
        return replace(one if other.empty else other, entries=entries)
    return _State(
        entries,
        one.weight + other.weight,
        one.own + other.own if one_owner else max(one.own, other.own),
        one.sole if one.sole == other.sole else "",
        False,
    )


def _worth_keeping(states: Iterable[_State]) -> list[_State]:
    found: list[_State] = []
    for state in sorted(set(states), key=lambda s: (s.entries, s.weight - s.own, s.weight)):
        if not any(_no_worse(other, state) for other in found):
            found.append(state)
    return found


def _no_worse(one: _State, other: _State) -> bool:
    if one.entries > other.entries:
        return False
    alike = one.sole == other.sole and not other.empty
    lighter = one.weight <= other.weight and one.weight - one.own <= other.weight - other.own
    return one.empty or (alike and lighter)
