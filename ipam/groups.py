"""How many prefix groups each subnet has, and which: the budget of the smallest table, shared out.

A table can hold one entry for each group, so a node forwards for its group at most. What counts is
the largest load of a group. The *cap* is the least number such that groups of that load suffice for
everybody within the budget. Groups only name parts of the address space (each divides into halves,
which placement keeps equally loaded), so splitting one or joining two costs nobody anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ipam.draft import Draft
from ipam.prefix import Family, Prefix


@dataclass(frozen=True, slots=True)
class Group:
    """A group with what is known of it: load in blocks, empty node prefixes."""

    subnet: str
    prefix: Prefix
    load: int
    free: int


def least_cap(loads: Mapping[str, int], least: Mapping[str, int], usable: int) -> int:
    """The least load per group with which the groups of all subnets are at most ``usable``.

    ``least`` is how many groups a subnet has whatever its load. Where even those are too many, the
    whole load of the largest subnet.
    """
    low, high = 1, max(1, *loads.values()) if loads else 1
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


def held_back(budget: int) -> int:
    """How many entries no group gets, for subnets that are still to come."""
    return 1 if budget >= 16 else 0


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the groups should fill: up to ``cap`` blocks each, and those of ``closing`` last.

    A subnet with more groups than its share lets its lightest siblings run dry, until the two are
    small enough to be one and the entry is free for another subnet.
    """

    cap: int
    closing: frozenset[Prefix]


def rearrange(draft: Draft, family: Family, joining: Mapping[str, int], budget: int) -> Arrangement:
    """Split and join groups so that the blocks of so many joining nodes per subnet spread well."""
    least = _least(draft, family)
    loads = {
        subnet: joining.get(subnet, 0) + sum(s.load for s in draft.spaces_of(subnet, family))
        for subnet in least
    }
    fit(draft, family, budget)
    have = {subnet: len(draft.groups(subnet, family)) for subnet in loads}
    usable = max(budget - held_back(budget), sum(least.values()))
    cap = least_cap(loads, least, usable)
    target = wanted(loads, least, cap)
    spare = usable - sum(have.values())
    lacking = 0
    for subnet in sorted(loads, key=lambda s: (have[s] - target[s], s)):
        while have[subnet] < target[subnet]:
            if spare <= 0:
                if not _join(draft, family, have, target, cap):
                    lacking += target[subnet] - have[subnet]
                    break
                spare += 1
            if not _split(draft, subnet, family):
                break
            have[subnet] += 1
            spare -= 1
    return Arrangement(cap, frozenset(_closing(draft, family, have, target, lacking)))


def fit(draft: Draft, family: Family, budget: int) -> None:
    """Join groups, the lightest first, until there are no more than the budget allows.

    A prefix of a subnet has at least one group, whatever the budget.
    """
    least = _least(draft, family)
    have = {subnet: len(draft.groups(subnet, family)) for subnet in least}
    excess = sum(have.values()) - max(budget - held_back(budget), sum(least.values()))
    while excess > 0 and _join(draft, family, have, least, None):
        excess -= 1


def _least(draft: Draft, family: Family) -> dict[str, int]:
    """How many groups each subnet has at least: one for each of its prefixes."""
    counts = {subnet: len(draft.spaces_of(subnet, family)) for subnet in draft.subnets}
    return {subnet: count for subnet, count in counts.items() if count}


def measured(draft: Draft, subnet: str, family: Family) -> list[Group]:
    """The groups of a subnet with their load."""
    found = []
    for prefix in draft.groups(subnet, family):
        load, free, _ = draft.space(subnet, prefix).measure(prefix)
        found.append(Group(subnet, prefix, load, free))
    return found


def _split(draft: Draft, subnet: str, family: Family) -> bool:
    """Split the group with the largest load, or else the most room; False if none can be."""
    best = None
    for group in measured(draft, subnet, family):
        if group.prefix.length >= draft.space(subnet, group.prefix).node_length:
            continue
        if best is None or (group.load, group.free) > (best.load, best.free):
            best = group
    if best is None:
        return False
    draft.replace_groups(subnet, [best.prefix], list(best.prefix.halves()))
    return True


def _join(
    draft: Draft, family: Family, have: dict[str, int], keep: Mapping[str, int], cap: int | None
) -> bool:
    """Join the two siblings with the least load together, of a subnet with more groups than kept.

    False if there are none, or none whose load together is within the cap.
    """
    pairs = [
        pair
        for subnet in have
        if have[subnet] > keep[subnet]
        for pair in _sibling_pairs(draft, subnet, family)
        if cap is None or pair[0].load + pair[1].load <= cap
    ]
    if not pairs:
        return False
    one, other = min(pairs, key=_pair_order)
    parent = one.prefix.ancestor(one.prefix.length - 1)
    draft.replace_groups(one.subnet, [one.prefix, other.prefix], [parent])
    have[one.subnet] -= 1
    return True


def _closing(
    draft: Draft,
    family: Family,
    have: Mapping[str, int],
    target: Mapping[str, int],
    lacking: int,
) -> set[Prefix]:
    """The lightest pairs of siblings in subnets with too many groups, as many as are lacking."""
    pairs: list[tuple[Group, Group]] = []
    if lacking:
        for subnet in have:
            extra = have[subnet] - target[subnet]
            if extra > 0:
                pairs += sorted(_sibling_pairs(draft, subnet, family), key=_pair_order)[:extra]
    pairs.sort(key=_pair_order)
    return {group.prefix for pair in pairs[:lacking] for group in pair}


def _sibling_pairs(draft: Draft, subnet: str, family: Family) -> list[tuple[Group, Group]]:
    groups = measured(draft, subnet, family)
    return [
        (left, right)
        for left, right in pairwise(groups)
        if left.prefix.length == right.prefix.length > 0
        and left.prefix.ancestor(left.prefix.length - 1).contains(right.prefix)
        and any(
            space.prefix.length < left.prefix.length
            for space in draft.spaces[subnet]
            if space.prefix.contains(left.prefix)
        )
    ]


def _pair_order(pair: tuple[Group, Group]) -> tuple[int, str, Prefix]:
    return pair[0].load + pair[1].load, pair[0].subnet, pair[0].prefix
