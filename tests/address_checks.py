"""What must be true of every state of addresses, computed the slow and plain way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from ipam.model import Network, State, changed_names, state
from ipam.prefix import Family, Prefix, merge
from ipam.space import Vertex


def assert_sound(now: State) -> None:
    """Unique blocks (R8), disjoint subnets (R2), groups that divide them, indexes that agree."""
    assert_disjoint(block for owner in now.owners() for block in owner.blocks)
    assert_disjoint(prefix for share in now.subnets.values() for prefix in share.prefixes)
    for owner in now.owners():
        for block in owner.blocks:
            network = network_around(now, block)
            assert any(prefix.contains(block) for prefix in now.prefixes(owner.subnet))
            assert block.length == network.block[block.family]
            assert not any(block.overlaps(excluded) for excluded in network.withheld)
    for share in now.subnets.values():
        assert_disjoint(share.groups)
        assert merge(share.groups) == merge(share.prefixes)
        for group in share.groups:
            assert any(prefix.contains(group) for prefix in share.prefixes)
            assert group.length <= now.space(share.id, group).node_length
    owners = (now.nodes.values(), now.former.values())
    parts = (now.subnets.values(), *owners, now.places.values())
    again = state(now.cluster, now.networks, *parts)
    assert now == again
    assert now.spaces == again.spaces


def assert_changes_known(before: State, after: State) -> None:
    """Whatever the lineage of states says, it leaves out nobody about whom something is new."""
    said = changed_names(before, after)
    for one, other in ((before, after), (after, before)):
        for owner in one.owners():
            key = owner.name, owner.identity
            if (one.nodes.get(owner.name) != other.nodes.get(owner.name)) or (
                one.former.get(key) != other.former.get(key)
            ):
                assert owner.name in said


def assert_lineage(past: list[State], now: State) -> list[State]:
    """What changed since some states and before is known; the latest few with this one."""
    for before in past:
        assert_changes_known(before, now)
        assert_changes_known(now, before)
    return [*past[-3:], now]


def assert_disjoint(prefixes: Iterator[Prefix] | tuple[Prefix, ...]) -> None:
    """No two of them share an address."""
    for left, right in pairwise(sorted(prefixes)):
        assert not left.contains(right), f"{left} and {right} overlap"


def network_around(now: State, prefix: Prefix) -> Network:
    """The network that holds a prefix."""
    (found,) = [n for n in now.networks if any(cidr.contains(prefix) for cidr in n.cidrs)]
    return found


def groups_within(now: State, budget: Mapping[Family, int]) -> bool:
    """Whether all groups fit into the budget, but for those that the prefixes make necessary."""
    for family in now.families:
        shares = now.subnets.values()
        groups = sum(group.family is family for share in shares for group in share.groups)
        prefixes = sum(prefix.family is family for share in shares for prefix in share.prefixes)
        if groups > max(budget.get(family, 0), prefixes):
            return False
    return True


def could_fit(now: State, subnet: str, family: Family) -> bool:
    """Whether any block is left for a subnet: in its prefixes, or in what no subnet has."""
    given = [block for owner in now.owners() for block in owner.blocks]
    others = [p for share in now.subnets.values() if share.id != subnet for p in share.prefixes]
    for network in now.networks:
        for cidr in network.cidrs:
            if cidr.family is family:
                for block in blocks_of(cidr, network.block[family]):
                    if not any(block.overlaps(p) for p in (*given, *others, *network.exclude)):
                        return True
    return False


def blocks_of(prefix: Prefix, length: int) -> Iterator[Prefix]:
    """All blocks of a length in a prefix."""
    step = 1 << (prefix.family.width - length)
    for value in range(prefix.value, prefix.last + 1, step):
        yield Prefix(prefix.family, value, length)


# How well the addresses can be aggregated: pieces of the address tree, each an entry less what
# more specific ones take from it.


def largest_piece(now: State, entries: int, family: Family = Family.IPV4) -> int:
    """The blocks in the largest piece when all is cut into so many entries as evenly as can be."""
    spaces = [space for own in now.spaces.values() for space in own if space.family is family]
    low, high = 1, max(1, sum(space.load for space in spaces))
    while low < high:
        middle = (low + high) // 2
        if sum(_pieces(space.root, middle) for space in spaces if space.load) <= entries:
            high = middle
        else:
            low = middle + 1
    return low


def ideal_piece(now: State, entries: int, family: Family = Family.IPV4) -> int:
    """The same if nodes could be moved within their subnet."""
    loads = [sum(s.load for s in own if s.family is family) for own in now.spaces.values()]
    size = 1
    while sum(-(-load // size) for load in loads) > entries:
        size += 1
    return size


def _pieces(root: Vertex | None, size: int) -> int:
    cuts, _ = _cut(root, size)
    return cuts + 1


def _cut(vertex: Vertex | None, size: int) -> tuple[int, int]:
    """The fewest cuts, and the least that is then left at the top."""
    if vertex is None or vertex.load <= size or (vertex.zero is None and vertex.one is None):
        return 0, vertex.load if vertex is not None else 0
    (cuts, left), (more, right) = _cut(vertex.zero, size), _cut(vertex.one, size)
    if left + right <= size:
        return cuts + more, left + right
    return cuts + more + 1, min(left, right)
