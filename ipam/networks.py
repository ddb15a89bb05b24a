"""What may change about the networks of a cluster in which addresses have been given out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ipam.errors import BadInputError
from ipam.model import Network, Node, Place, State, SubnetShare, state
from ipam.network import check_networks
from ipam.pools import still_valid
from ipam.prefix import Prefix
from ipam.topology import Path, shown


def changed(before: State, networks: Sequence[Network]) -> State:
    """The state under other networks: everybody keeps what they own.

    Raises BadInputError where the networks break a rule, or one of ``conflicts``.
    """
    if tuple(networks) == before.networks:
        return before
    check_networks(networks)
    owners = tuple(before.owners())
    shares = before.subnets.values()
    check_change(before.networks, networks, shares, owners, before.places.values())
    return state(
        before.cluster,
        networks,
        shares,
        before.nodes.values(),
        before.former.values(),
        still_valid(networks, before.places.values()).values(),
    )


def check_change(
    recorded: Iterable[Network],
    wanted: Sequence[Network],
    shares: Iterable[SubnetShare],
    owners: Iterable[Node],
    places: Iterable[Place] = (),
) -> None:
    """Whether the wanted networks can take the place of those recorded in the store.

    Raises BadInputError for the first of the ``conflicts``.
    """
    for conflict in conflicts(recorded, wanted, shares, owners, places):
        raise BadInputError(conflict)


def conflicts(
    recorded: Iterable[Network],
    wanted: Sequence[Network],
    shares: Iterable[SubnetShare],
    owners: Iterable[Node],
    places: Iterable[Place] = (),
) -> Iterator[str]:
    """Where something that is given out would not be valid any more: what, whose, what to do.

    Ranges, levels and groups may come, and what nobody uses may go.
    """
    recorded = tuple(recorded)
    if recorded == tuple(wanted):
        return
    shares, owners = tuple(shares), tuple(owners)
    before = {network.name: network for network in recorded}
    for share in shares:
        for prefix in share.prefixes:
            yield from _share_conflicts(recorded, wanted, share.id, prefix)
    yield from _withheld_conflicts(before, wanted, owners)
    yield from _tenant_conflicts(before, wanted, owners)
    kept = still_valid(wanted, places)
    for network in wanted:
        yield from _group_conflicts(network, kept.values(), shares)


def _share_conflicts(
    recorded: Sequence[Network], wanted: Sequence[Network], subnet: str, prefix: Prefix
) -> Iterator[str]:
    family = prefix.family
    after = _around(wanted, prefix)
    before = _around(recorded, prefix)
    if after is None:
        name = before.name if before is not None else "?"
        yield (
            f"network {name}: {prefix} is given to subnet {subnet}, but no network of the cluster "
            "file holds it any more: put its range back, and close it until it is empty"
        )
        return
    if before is None:
        return
    for what, old, new in (
        ("block", before.block.get(family), after.block.get(family)),
        ("node", before.node.get(family), after.node.get(family)),
    ):
        if old != new:
            yield (
                f"network {after.name}: `{what}: {{{family}: {new}}}` was {old} when {prefix} was "
                f"given to subnet {subnet}: put it back to {old}"
            )


def _withheld_conflicts(
    before: Mapping[str, Network], wanted: Iterable[Network], owners: Sequence[Node]
) -> Iterator[str]:
    """Excluded ranges and static addresses that are inside of what somebody owns."""
    blocks = sorted((block, node.name) for node in owners for block in node.blocks)
    granted = {prefix: node.name for node in owners for prefix in node.static}
    static: set[Prefix] = set()
    for network in wanted:
        old = before.get(network.name)
        known = set(old.withheld) if old is not None else set()
        static |= {address.prefix for address in network.static}
        for prefix in network.exclude:
            for block, name in _overlapping(blocks, prefix) if prefix not in known else ():
                yield (
                    f"network {network.name}: {prefix} cannot be excluded while node {name} owns "
                    f"{block} of it: release the node first"
                )
        for address in network.static:
            around = _overlapping(blocks, address.prefix) if address.prefix not in known else ()
            for block, name in around:
                yield (
                    f"network {network.name}: {address} cannot be a static address while node "
                    f"{name} owns {block} around it: release the node first, or choose another"
                )
    for prefix, name in sorted(granted.items()):
        if prefix not in static:
            yield (
                f"static address {prefix} is granted to node {name}, but is not in the cluster "
                "file any more: put it back, or release it first"
            )


def _tenant_conflicts(
    before: Mapping[str, Network], wanted: Iterable[Network], owners: Sequence[Node]
) -> Iterator[str]:
    """Networks for everybody that would be for tenants while others have addresses of them."""
    for network in wanted:
        old = before.get(network.name)
        if old is None or old.tenants or not network.tenants:
            continue
        inside = [
            node.name
            for node in owners
            if any(cidr.contains(block) for block in node.blocks for cidr in old.cidrs)
        ]
        if inside:
            yield (
                f"network {network.name}: cannot be for tenants while {len(inside):,} nodes have "
                f"blocks of it for everybody ({inside[0]} for one): add a network for the tenants"
            )


def _group_conflicts(
    network: Network, places: Iterable[Place], shares: Iterable[SubnetShare]
) -> Iterator[str]:
    """Groups whose own prefixes belong to other places, or are a part of a subnet's prefix."""
    ranges = sorted(
        (cidr, path) for path, group in network.topology.by_path.items() for cidr in group.cidrs
    )
    if not ranges:
        return
    held = [
        (prefix, place)
        for place in places
        if place.network == network.name
        for prefix in place.prefixes
    ]
    for prefix, place in held:
        for cidr, path in _touching(ranges, prefix):
            inside = cidr.contains(prefix) and place.path[: len(path)] == path
            around = prefix.contains(cidr) and path[: len(place.path)] == place.path
            if not inside and not around:
                yield (
                    f"network {network.name}: {cidr} of {shown(path)} overlaps {prefix}, which "
                    f"{shown(place.path)} has: choose a range that nobody has"
                )
    for share in shares:
        for prefix in share.prefixes:
            for cidr, path in _touching(ranges, prefix):
                if not cidr.contains(prefix):
                    yield (
                        f"network {network.name}: {cidr} of {shown(path)} is a part of {prefix}, "
                        f"which subnet {share.id} has: choose a range that nobody has"
                    )


def _overlapping(
    blocks: Sequence[tuple[Prefix, str]], prefix: Prefix
) -> Sequence[tuple[Prefix, str]]:
    """Of disjoint blocks in order, those that share addresses with a prefix."""
    first = bisect_left(blocks, (Prefix(prefix.family, prefix.value, 0), ""))
    last = bisect_left(blocks, (Prefix(prefix.family, prefix.last + 1, 0), ""))
    if first and blocks[first - 1][0].contains(prefix):
        first -= 1
    return blocks[first:last]


def _touching(
    ranges: Sequence[tuple[Prefix, Path]], prefix: Prefix
) -> Iterator[tuple[Prefix, Path]]:
    """Of ranges in order, which may nest, those that share addresses with a prefix."""
    last = bisect_left(ranges, (Prefix(prefix.family, prefix.last + 1, 0), ()))
    first = bisect_left(ranges, (Prefix(prefix.family, prefix.value, 0), ()))
    yield from ranges[first:last]
    for length in range(prefix.length):
        outer = prefix.ancestor(length)
        position = bisect_left(ranges, (outer, ()))
        while position < first and ranges[position][0] == outer:
            yield ranges[position]
            position += 1


def _around(networks: Sequence[Network], prefix: Prefix) -> Network | None:
    for network in networks:
        if any(cidr.contains(prefix) for cidr in network.cidrs):
            return network
    return None
