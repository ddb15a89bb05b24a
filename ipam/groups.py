"""How many prefix groups each subnet has, and which: the budget of the smallest table, shared out.

A table can hold one entry for each group, so a node forwards for its group at most. What counts is
the largest load of a group. Groups only name parts of the address space, each of which divides
into halves that placement keeps equally loaded. So splitting a group or joining two costs nobody
anything; what it costs is that two groups which became one have the load of both.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

from ipam.draft import Draft
from ipam.model import space_around
from ipam.prefix import Family, Prefix
from ipam.space import Space, measured


@dataclass(frozen=True, slots=True)
class Group:
    """A group with its load in blocks and its empty node prefixes."""

    prefix: Prefix
    load: int
    free: int


_CHEAP = 1.15  # times the cap: what two groups may carry that are to become one for a new subnet

# An entry is worth one part in ``budget`` of everybody's load. A subnet waits for a spare one until
# its groups miss this many parts, though never for more than what plans usually leave as slack.
_PARTS_MISSED = 1.5
_SLACK = 0.05

_SUFFERING = 1.06  # times the cap: more is not carried to hold an entry back for new subnets


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the groups should fill: up to ``cap`` blocks each, and those of ``closing`` last.

    In each subnet these are its lightest siblings. What all others cannot take below the cap is
    theirs: so they can be one group whenever another subnet needs the entry more, and two again
    later, and nobody waits until nodes have left. A subnet with more groups than its share, where
    others lack some, lets as many pairs run dry. Where some subnet has to carry more in its groups,
    all others may as well: their pairs run dry sooner, and give it the entry that it lacks.
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


def rearrange(draft: Draft, family: Family, joining: Mapping[str, int], budget: int) -> Arrangement:
    """Split and join groups so that the blocks of so many joining nodes per subnet spread well."""
    division = _Division(draft, family, joining, budget)
    division.fit()
    arrangement = division.arrange()
    division.write()
    return arrangement


def fit(draft: Draft, family: Family, budget: int) -> None:
    """Join groups, the lightest first, until there are no more than the budget allows.

    A prefix of a subnet has at least one group, whatever the budget.
    """
    division = _Division(draft, family, {}, budget)
    division.fit()
    division.write()


class _Division:
    """The groups of all subnets in one family while they are divided anew.

    ``share`` is how many groups each subnet ought to have, ``have`` how many it has.
    """

    def __init__(
        self, draft: Draft, family: Family, joining: Mapping[str, int], budget: int
    ) -> None:
        self._draft = draft
        self._family = family
        self._opened: dict[str, _Subnet] = {}
        self._joining = joining.keys()
        self._patience = 1 + min(_SLACK, _PARTS_MISSED / max(budget, 1))
        spaces = {subnet: draft.spaces_of(subnet, family) for subnet in draft.subnet_names}
        self._least = {subnet: len(own) for subnet, own in spaces.items() if own}
        self._have = {subnet: len(draft.groups(subnet, family)) for subnet in self._least}
        self._loads = {
            subnet: joining.get(subnet, 0) + sum(space.load for space in spaces[subnet])
            for subnet in self._least
        }
        self._over = sum(self._have.values()) - max(budget, sum(self._least.values()))
        self._far = math.inf  # the load from which on a group is worth an entry held back
        self._divide(budget)
        if not self._can_give_back():
            self._hold_back(budget)

    def _hold_back(self, budget: int) -> None:
        """Share out one entry less, if that costs little, for a subnet that is still to come."""
        apart, far = held_back(budget), _SUFFERING * self._cap
        if apart and budget > sum(self._least.values()):
            self._divide(budget - apart)
            if self._cap <= far:
                self._far = far
            else:
                self._divide(budget)

    def _divide(self, entries: int) -> None:
        """Share so many entries out."""
        usable = max(entries, sum(self._least.values()))
        self._cap = least_cap(self._loads, self._least, usable)
        self._share = wanted(self._loads, self._least, self._cap)
        self._spare = usable - sum(self._have.values())

    def _can_give_back(self) -> bool:
        """Whether two groups could become one at little cost once all others are at the cap."""
        return any(
            2 <= share > self._least[subnet]
            and self._loads[subnet] - (share - 2) * self._cap <= _CHEAP * self._cap
            for subnet, share in self._share.items()
        )

    def fit(self) -> None:
        """Join until nothing is over the budget."""
        while self._over > 0:
            subnet = self._lightest(self._least)
            if subnet is None:
                return
            self._join(subnet)

    def arrange(self) -> Arrangement:
        """Split where load per group is too large, with an entry that is spare or hurts less.

        A further group is a further entry of every table, while some more load in all groups of
        the subnet is within the usual slack of plans: then nodes join without any change.
        """
        tolerated = self._cap * self._patience if self._spare > 0 else self._cap
        lacking = {
            s for s in self._have if self._have[s] < self._share[s] and self._mean(s) > tolerated
        }
        while lacking:
            subnet = max(lacking, key=lambda s: (self._mean(s), s))
            if self._has_entry(subnet, lacking) and self._open(subnet).split():
                self._have[subnet] += 1
                self._spare -= 1
            else:
                lacking.discard(subnet)
            if self._have[subnet] >= self._share[subnet]:
                lacking.discard(subnet)
        cap = max([self._cap, *map(self._mean, self._have)])
        return Arrangement(cap, frozenset(self._closing()))

    def write(self) -> None:
        """Put the groups that have changed into the draft."""
        for subnet, opened in self._opened.items():
            self._draft.set_groups(subnet, self._family, sorted(opened.groups))

    def _mean(self, subnet: str) -> int:
        """The least possible load of its fullest group, if loads were even."""
        return -(-self._loads[subnet] // self._have[subnet])

    def _has_entry(self, subnet: str, lacking: Set[str]) -> bool:
        """Whether there is an entry for one more group: spare, freed, or else one held back."""
        mean = self._mean(subnet)
        if self._spare > 0 or self._free_entry(mean, lacking):
            return True
        return self._spare == 0 and mean > self._far

    def _free_entry(self, worth: int, lacking: Set[str]) -> bool:
        """Join two groups of a subnet with more than its share, if they stay below a load.

        Or else those of any subnet that lacks nothing: whatever its share, the largest load falls.
        """
        served = {s: least for s, least in self._least.items() if s not in lacking}
        for keep in (self._share, served):
            subnet = self._lightest(keep)
            if subnet is not None and self._open(subnet).lightest_pair()[0] < worth:
                self._join(subnet)
                return True
        return False

    def _open(self, subnet: str) -> _Subnet:
        if subnet not in self._opened:
            spaces = self._draft.spaces_of(subnet, self._family)
            self._opened[subnet] = _Subnet(spaces, self._draft.groups(subnet, self._family))
        return self._opened[subnet]

    def _join(self, subnet: str) -> None:
        self._open(subnet).join_lightest()
        self._have[subnet] -= 1
        self._spare += 1
        self._over -= 1

    def _lightest(self, keep: Mapping[str, int]) -> str | None:
        """The subnet with the lightest siblings, of those that have more groups than to keep."""
        many = [s for s in keep if self._have[s] > keep[s] and self._open(s).has_pair()]
        return min(many, key=lambda s: (self._open(s).lightest_pair()[0], s), default=None)

    def _closing(self) -> Iterable[Prefix]:
        """The lightest siblings where nodes join; with too many groups, as many as others lack."""
        for subnet in self._joining & self._have.keys():
            if self._open(subnet).has_pair():
                yield from self._open(subnet).lightest_pair()[1].halves()
        lacking = sum(max(0, self._share[s] - self._have[s]) for s in self._have)
        pairs: list[tuple[int, Prefix]] = []
        for subnet in self._have if lacking else ():
            extra = self._have[subnet] - self._share[subnet]
            if extra > 0:
                pairs += heapq.nsmallest(extra, self._open(subnet).pairs())
        for _, parent in heapq.nsmallest(lacking, pairs):
            yield from parent.halves()


class _Subnet:
    """The groups of one subnet, with the heaviest to split and the lightest siblings to join.

    Both heaps may hold what is not true any more; it is dropped when it comes up.
    """

    def __init__(self, spaces: list[Space], groups: Iterable[Prefix]) -> None:
        self._spaces = spaces
        self._tops = {space.prefix for space in spaces}
        self.groups: dict[Prefix, Group] = {}
        self._heavy: list[tuple[int, int, Prefix]] = []
        self._pairs: list[tuple[int, Prefix]] = []
        self._look(sorted(groups))
        heapq.heapify(self._heavy)
        heapq.heapify(self._pairs)

    def split(self) -> bool:
        """Split the group with the largest load, or else the most room; False if none can be."""
        while self._heavy:
            prefix = heapq.heappop(self._heavy)[-1]
            if prefix in self.groups:
                del self.groups[prefix]
                for half in prefix.halves():
                    self._add(half)
                return True
        return False

    def has_pair(self) -> bool:
        """Whether there are siblings to join."""
        while self._pairs and not self._is_pair(self._pairs[0][1]):
            heapq.heappop(self._pairs)
        return bool(self._pairs)

    def lightest_pair(self) -> tuple[int, Prefix]:
        """The load of the siblings with the least together, and what they would become."""
        assert self.has_pair()  # noqa: S101 - the caller has asked
        return self._pairs[0]

    def join_lightest(self) -> None:
        """Make one group of the lightest siblings."""
        _, parent = self.lightest_pair()
        for half in parent.halves():
            del self.groups[half]
        self._add(parent)

    def pairs(self) -> Iterable[tuple[int, Prefix]]:
        """All siblings: their load together, and what they would become."""
        return {pair for pair in self._pairs if self._is_pair(pair[1])}

    def _look(self, groups: Sequence[Prefix]) -> None:
        """Take in groups, in order: as adding each, but siblings are neighbours there."""
        before: Group | None = None
        for space, prefix, load, free in measured(partial(space_around, self._spaces), groups):
            self.groups[prefix] = group = Group(prefix, load, free)
            if prefix.length < space.node_length:
                self._heavy.append((-load, -free, prefix))
            if before is not None and prefix.length > space.prefix.length:
                other, half = before.prefix, prefix.family.width - prefix.length
                if other.length == prefix.length and other.value == prefix.value ^ (1 << half):
                    parent = prefix.ancestor(prefix.length - 1)
                    self._pairs.append((before.load + load, parent))
            before = group

    def _add(self, prefix: Prefix) -> None:
        group = _measure(self._spaces, prefix)
        self.groups[prefix] = group
        if prefix.length < _around(self._spaces, prefix).node_length:
            heapq.heappush(self._heavy, (-group.load, -group.free, prefix))
        if prefix not in self._tops:
            parent = prefix.ancestor(prefix.length - 1)
            if self._is_pair(parent):
                load = sum(self.groups[half].load for half in parent.halves())
                heapq.heappush(self._pairs, (load, parent))

    def _is_pair(self, parent: Prefix) -> bool:
        return all(half in self.groups for half in parent.halves())


def _measure(spaces: Sequence[Space], prefix: Prefix) -> Group:
    load, free, _ = _around(spaces, prefix).measure(prefix)
    return Group(prefix, load, free)


def _around(spaces: Sequence[Space], prefix: Prefix) -> Space:
    space = space_around(spaces, prefix)
    assert space is not None  # noqa: S101 - groups divide the spaces
    return space
