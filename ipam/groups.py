"""How many prefix groups each subnet has, and which: the budget of the smallest table, shared out.

A table can hold one entry for each group, so a node forwards for its group at most. What counts is
the largest load of a group. Groups only name parts of the address space, each of which divides
into halves that placement keeps equally loaded. So splitting a group or joining two costs nobody
anything; what it costs is that two groups which became one have the load of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ipam.draft import Draft
from ipam.prefix import Family, Prefix


@dataclass(frozen=True, slots=True)
class Group:
    """A group with its load in blocks, its empty node prefixes, and the length of a node prefix.

    ``top`` is the length of the subnet's prefix around it.
    """

    prefix: Prefix
    load: int
    free: int
    top: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the groups should fill: up to ``cap`` blocks each, and those of ``closing`` last.

    A subnet with more groups than its share lets its lightest siblings run dry, until the two are
    small enough to be one and the entry is free for another subnet.
    """

    cap: int
    closing: frozenset[Prefix]


def held_back(budget: int) -> int:
    """How many entries no group gets, for subnets that are still to come."""
    return 1 if budget >= 16 else 0


def least_cap(loads: Mapping[str, int], least: Mapping[str, int], usable: int) -> int:
    """The least load per group with which the groups of all subnets are at most ``usable``.

    ``least`` is how many groups a subnet has whatever its load. Where even those are too many, the
    whole load of the largest subnet.
    """
    low, high = 1, max([1, *loads.values()])
    while low < high:
        middle = (low + high) // 2
        if sum(wanted(loads, least, middle).values()) <= usable:
            high = middle
        else:
            low = middle + 1
    return low


def wanted(loads: Mapping[str, int], least: Mapping[str, int], cap: int) -> dict[str, int]:
    """How many groups each subnet needs so that none has a larger load than ``cap``."""
    return {subnet: max(least[subnet], -(-load // cap)) for subnet, load in loads.items()}


def measured(draft: Draft, subnet: str, family: Family) -> list[Group]:
    """The groups of a subnet with their load."""
    return [_group(draft, subnet, prefix) for prefix in draft.groups(subnet, family)]


def rearrange(draft: Draft, family: Family, joining: Mapping[str, int], budget: int) -> Arrangement:
    """Split and join groups so that the blocks of so many joining nodes per subnet spread well."""
    return _Division(draft, family, joining, budget).arrange()


def fit(draft: Draft, family: Family, budget: int) -> None:
    """Join groups, the lightest first, until there are no more than the budget allows.

    A prefix of a subnet has at least one group, whatever the budget.
    """
    _Division(draft, family, {}, budget).fit()


class _Division:
    """The groups of all subnets in one family while they are divided anew.

    ``share`` is how many groups each subnet ought to have, ``have`` how many it has.
    """

    def __init__(
        self, draft: Draft, family: Family, joining: Mapping[str, int], budget: int
    ) -> None:
        self._draft = draft
        self._family = family
        self._measured: dict[str, list[Group]] = {}
        spaces = {subnet: draft.spaces_of(subnet, family) for subnet in draft.subnets}
        self.least = {subnet: len(own) for subnet, own in spaces.items() if own}
        self.have = {subnet: len(draft.groups(subnet, family)) for subnet in self.least}
        self.loads = {
            subnet: joining.get(subnet, 0) + sum(space.load for space in spaces[subnet])
            for subnet in self.least
        }
        usable = max(budget - held_back(budget), sum(self.least.values()))
        self.cap = least_cap(self.loads, self.least, usable)
        self.share = wanted(self.loads, self.least, self.cap)
        self.spare = usable - sum(self.have.values())

    def fit(self) -> None:
        """Join until nothing is over the budget."""
        while self.spare < 0:
            pair = self._lightest_pair(self.least)
            if pair is None:
                return
            self._join(*pair)

    def arrange(self) -> Arrangement:
        """Split where load per group is too large, with an entry that is spare or hurts less."""
        self.fit()
        stuck: set[str] = set()
        while True:
            lacking = [s for s in self.have if self.have[s] < self.share[s] and s not in stuck]
            if not lacking:
                return Arrangement(self.cap, self._closing())
            subnet = max(lacking, key=lambda s: (self._mean(s), s))
            if (self.spare <= 0 and not self._take_entry(self._mean(subnet))) or not self._split(
                subnet
            ):
                stuck.add(subnet)

    def _mean(self, subnet: str) -> int:
        """The least possible load of its fullest group, if loads were even."""
        return -(-self.loads[subnet] // self.have[subnet])

    def _take_entry(self, worth: int) -> bool:
        """Join two groups of a subnet with more than its share, if they stay below a load."""
        pair = self._lightest_pair(self.share)
        if pair is None or pair[1].load + pair[2].load >= worth:
            return False
        self._join(*pair)
        return True

    def _groups(self, subnet: str) -> list[Group]:
        if subnet not in self._measured:
            self._measured[subnet] = measured(self._draft, subnet, self._family)
        return self._measured[subnet]

    def _split(self, subnet: str) -> bool:
        """Split the group with the largest load, or else the most room; False if none can be."""
        groups = [g for g in self._groups(subnet) if g.prefix.length < g.bottom]
        if not groups:
            return False
        heaviest = max(groups, key=lambda g: (g.load, g.free, -g.prefix.value))
        self._replace(subnet, [heaviest.prefix], list(heaviest.prefix.halves()))
        return True

    def _join(self, subnet: str, one: Group, other: Group) -> None:
        parent = one.prefix.ancestor(one.prefix.length - 1)
        self._replace(subnet, [one.prefix, other.prefix], [parent])

    def _replace(self, subnet: str, gone: list[Prefix], new: list[Prefix]) -> None:
        self._draft.replace_groups(subnet, gone, new)
        groups = [group for group in self._groups(subnet) if group.prefix not in gone]
        groups += [_group(self._draft, subnet, prefix) for prefix in new]
        self._measured[subnet] = sorted(groups, key=lambda group: group.prefix)
        self.have[subnet] += len(new) - len(gone)
        self.spare -= len(new) - len(gone)

    def _lightest_pair(self, keep: Mapping[str, int]) -> tuple[str, Group, Group] | None:
        """The siblings with the least load together, in subnets with more groups than to keep."""
        pairs = [
            (subnet, *pair)
            for subnet in self.have
            if self.have[subnet] > keep[subnet]
            for pair in _sibling_pairs(self._groups(subnet))
        ]
        return min(pairs, key=_pair_order, default=None)

    def _closing(self) -> frozenset[Prefix]:
        """The lightest siblings in subnets with too many groups, as many as others lack."""
        lacking = sum(max(0, self.share[s] - self.have[s]) for s in self.have)
        pairs: list[tuple[str, Group, Group]] = []
        for subnet in self.have if lacking else ():
            extra = self.have[subnet] - self.share[subnet]
            if extra > 0:
                own = [(subnet, *pair) for pair in _sibling_pairs(self._groups(subnet))]
                pairs += sorted(own, key=_pair_order)[:extra]
        chosen = sorted(pairs, key=_pair_order)[:lacking]
        return frozenset(group.prefix for _, *pair in chosen for group in pair)


def _group(draft: Draft, subnet: str, prefix: Prefix) -> Group:
    space = draft.space(subnet, prefix)
    load, free, _ = space.measure(prefix)
    return Group(prefix, load, free, space.prefix.length, space.node_length)


def _sibling_pairs(groups: list[Group]) -> Iterator[tuple[Group, Group]]:
    for left, right in pairwise(groups):
        length = left.prefix.length
        siblings = length == right.prefix.length > left.top
        if siblings and left.prefix.ancestor(length - 1).contains(right.prefix):
            yield left, right


def _pair_order(pair: tuple[str, Group, Group]) -> tuple[int, str, Prefix]:
    subnet, one, other = pair
    return one.load + other.load, subnet, one.prefix
