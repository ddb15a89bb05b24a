"""Which blocks a node gets: the least loaded group of its subnet, an empty node prefix in it.

Pure: every function takes a state and returns a new one, always the same for the same input,
whatever the order of the claims of a batch.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ipam import groups
from ipam.draft import Draft
from ipam.model import Claim, Node, State
from ipam.prefix import Family, Prefix
from ipam.space import Space

UNKNOWN_BUDGET: Mapping[Family, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node that could not be served, and why: one line for the operator."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state afterwards, and who was refused (of whom nothing has changed)."""

    state: State
    refused: tuple[Refusal, ...]


def join(state: State, claims: Iterable[Claim], budget: Mapping[Family, int]) -> Outcome:
    """Give each new node one block per family of the networks.

    ``budget`` is, per family, the smallest number of route entries that any table can hold; it
    decides into how many groups the subnets are divided. A claim of a node that is there already
    changes nothing; the same name with another identity is a new node, and what the former one
    owns stays its own until it is released.
    """
    draft = Draft(state)
    fresh, refused = _fresh(draft, claims)
    if not fresh:
        return Outcome(state, tuple(refused))
    joining = Counter(claim.subnet for claim in fresh)
    draft.add_subnets(joining)
    plans = {
        family: groups.rearrange(draft, family, joining, budget.get(family, 0))
        for family in draft.families
    }
    for subnet in sorted(joining):
        pickers = [
            _Picker(draft, subnet, family, plans[family], budget.get(family, 0))
            for family in draft.families
        ]
        for claim in fresh:
            if claim.subnet == subnet:
                reason = _admit(draft, claim, pickers)
                if reason is not None:
                    refused.append(Refusal(claim.node, reason))
    for family in draft.families:
        groups.fit(draft, family, budget.get(family, 0))  # further prefixes made new groups
    return Outcome(draft.state(), tuple(sorted(refused, key=lambda refusal: refusal.node)))


def leave(state: State, names: Iterable[str]) -> State:
    """Free the blocks of nodes that are gone; names that are not known are no error."""
    known = [name for name in names if name in state.nodes]
    if not known:
        return state
    draft = Draft(state)
    for name in known:
        draft.remove_node(name)
    return draft.state()


def release(state: State, owners: Iterable[tuple[str, str]]) -> State:
    """Free what nodes own, by name and identity, whose name has come back as another node."""
    known = [owner for owner in owners if owner in state.former]
    if not known:
        return state
    draft = Draft(state)
    for name, identity in known:
        draft.remove_former(name, identity)
    return draft.state()


def grow(
    state: State,
    name: str,
    blocks: int | Mapping[Family, int],
    budget: Mapping[Family, int] = UNKNOWN_BUDGET,
) -> Outcome:
    """Give a node so many further blocks per family: in its own node prefixes while they last.

    ``blocks`` is one count for all families, or one for each. All or none of them.
    """
    node = state.nodes.get(name)
    if node is None:
        return Outcome(state, (Refusal(name, f"node {name} is not known: let it join first"),))
    draft = Draft(state)
    owned = list(node.blocks)
    for family in draft.families:
        plan = groups.Arrangement(0, frozenset())
        picker = _Picker(draft, node.subnet, family, plan, budget.get(family, 0))
        for _ in range(blocks if isinstance(blocks, int) else blocks.get(family, 0)):
            block = picker.beside([block for block in owned if block.family is family])
            if block is None:
                reason = _exhausted(draft, name, node.subnet, family)
                return Outcome(state, (Refusal(name, reason),))
            owned.append(block)
        if family in budget:
            groups.fit(draft, family, budget[family])
    draft.nodes[name] = replace(node, blocks=tuple(sorted(owned)))
    return Outcome(draft.state(), ())


def _fresh(draft: Draft, claims: Iterable[Claim]) -> tuple[list[Claim], list[Refusal]]:
    """The claims of nodes that are not there yet, in order, and the contradictions among all."""
    fresh: list[Claim] = []
    refused: list[Refusal] = []
    by_node: dict[str, Claim] = {}
    for claim in sorted(set(claims)):
        earlier = by_node.setdefault(claim.node, claim)
        known = draft.nodes.get(claim.node)
        same = known is not None and known.identity == claim.identity
        owner = known if same else draft.former.get((claim.node, claim.identity))
        if earlier is not claim:
            if not any(refusal.node == claim.node for refusal in refused):
                refused.append(Refusal(claim.node, _contradiction(earlier, claim)))
        elif not all(text and text.isprintable() for text in _texts(claim)):
            reason = f"node {claim.node!r}: its name, subnet and identity must be printable text"
            refused.append(Refusal(claim.node, reason))
        elif owner is not None and owner.subnet != claim.subnet:
            reason = (
                f"node {claim.node} has its addresses in subnet {owner.subnet} and claims others "
                f"in {claim.subnet}: release it first"
            )
            refused.append(Refusal(claim.node, reason))
        elif not same:
            fresh.append(claim)
    contradicting = {refusal.node for refusal in refused}
    return [claim for claim in fresh if claim.node not in contradicting], refused


def _texts(claim: Claim) -> tuple[str, str, str]:
    return claim.node, claim.subnet, claim.identity


def _contradiction(one: Claim, other: Claim) -> str:
    return (
        f"node {one.node!r} is claimed twice, in subnet {one.subnet!r} as {one.identity!r} and in "
        f"{other.subnet!r} as {other.identity!r}: let each node have a name of its own"
    )


def _exhausted(draft: Draft, node: str, subnet: str, family: Family) -> str:
    held = ", ".join(str(space.prefix) for space in draft.spaces_of(subnet, family)) or "none"
    return (
        f"node {node}: no {family} block is left for subnet {subnet} (its prefixes: {held}): "
        "add a network, or release nodes that are gone"
    )


def _admit(draft: Draft, claim: Claim, pickers: Sequence[_Picker]) -> str | None:
    """Give a new node its blocks; the reason where it cannot be done, and then nothing is given."""
    former = draft.former.get((claim.node, claim.identity))
    if former is not None:
        draft.supersede(former)
        return None
    given: list[Prefix] = []
    for picker in pickers:
        block = picker.pick()
        if block is None:
            for other in given:
                draft.release(claim.subnet, other)
            return _exhausted(draft, claim.node, claim.subnet, picker.family)
        given.append(block)
    draft.supersede(Node(claim.node, claim.identity, claim.subnet, tuple(sorted(given))))
    return None


class _Picker:
    """Takes blocks for new nodes of one subnet in one family, one after the other."""

    def __init__(
        self, draft: Draft, subnet: str, family: Family, plan: groups.Arrangement, budget: int
    ) -> None:
        self.family = family
        self._draft = draft
        self._subnet = subnet
        self._cap = plan.cap
        self._budget = budget
        self._is_full = False
        self._open: list[tuple[int, Prefix]] = []
        self._closing: list[tuple[int, Prefix]] = []
        for group in groups.measured(draft, subnet, family):
            if group.free:
                heap = self._closing if group.prefix in plan.closing else self._open
                heapq.heappush(heap, (group.load, group.prefix))

    def pick(self) -> Prefix | None:
        """A block in an empty node prefix, else in one that is in use; None if all is full."""
        block = None if self._is_full else self._in_lightest_group() or self._beyond()
        self._is_full = block is None
        return block

    def beside(self, owned: Sequence[Prefix]) -> Prefix | None:
        """A further block for the owner of these, as close to them as can be."""
        return self._within(owned) or self._next_to(owned) or self.pick()

    def _put(self, taken: tuple[Space, Prefix] | None) -> Prefix | None:
        if taken is None:
            return None
        space, block = taken
        self._draft.put_space(self._subnet, space)
        return block

    def _within(self, owned: Sequence[Prefix]) -> Prefix | None:
        for space, node_prefix in self._node_prefixes(owned):
            taken = space.take_shared(node_prefix)
            if taken is not None:
                return self._put(taken)
        return None

    def _next_to(self, owned: Sequence[Prefix]) -> Prefix | None:
        """An empty node prefix beside one of the owner's, or else in one of its groups."""
        for space, node_prefix in self._node_prefixes(owned):
            if node_prefix.length > space.prefix.length:
                taken = space.take_free(node_prefix.ancestor(node_prefix.length - 1))
                if taken is not None:
                    return self._put(taken)
        for space, node_prefix in self._node_prefixes(owned):
            for group in self._draft.groups(self._subnet, self.family):
                taken = space.take_free(group) if group.contains(node_prefix) else None
                if taken is not None:
                    return self._put(taken)
        return None

    def _node_prefixes(self, owned: Sequence[Prefix]) -> list[tuple[Space, Prefix]]:
        found = {}
        for block in owned:
            space = self._draft.space(self._subnet, block)
            found[space.node_prefix(block)] = space
        return [(found[node_prefix], node_prefix) for node_prefix in sorted(found)]

    def _in_lightest_group(self) -> Prefix | None:
        while self._open or self._closing:
            heap = self._fuller_last()
            load, group = heap[0]
            taken = self._draft.space(self._subnet, group).take_free(group)
            if taken is not None:
                heapq.heapreplace(heap, (load + 1, group))
                return self._put(taken)
            heapq.heappop(heap)
        return None

    def _fuller_last(self) -> list[tuple[int, Prefix]]:
        """The heap to take a group from: closing groups when the others are full or heavier."""
        if not self._closing:
            return self._open
        if not self._open or (self._open[0][0] >= self._cap and self._closing[0] < self._open[0]):
            return self._closing
        return self._open

    def _beyond(self) -> Prefix | None:
        """In a further prefix of the subnet, or a block in somebody's node prefix.

        A further prefix needs an entry in every table, sharing none: while the prefixes of all
        subnets are few for the budget, nobody shares.
        """
        prefixes = sum(
            len(self._draft.spaces_of(subnet, self.family)) for subnet in self._draft.subnets
        )
        if 2 * (prefixes + 1) <= self._budget:
            return self._further() or self._shared()
        return self._shared() or self._further()

    def _further(self) -> Prefix | None:
        prefix = self._draft.add_prefix(self._subnet, self.family)
        if prefix is None:
            return None
        heapq.heappush(self._open, (0, prefix))
        return self._in_lightest_group()

    def _shared(self) -> Prefix | None:
        for space in self._draft.spaces_of(self._subnet, self.family):
            taken = space.take_shared(space.prefix)
            if taken is not None:
                return self._put(taken)
        return None
