"""The frozen values of addresses: networks, claims, nodes, and the state of it all.

A state is never changed: placement makes new ones, which share with the old one whatever is the
same. It can be kept, compared and thrown away freely.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix, merge
from ipam.space import Space


@dataclass(frozen=True, slots=True)
class Network:
    """Address ranges that may be given out.

    ``block`` and ``node`` are the prefix lengths, per family, of a block and of the aligned prefix
    that a node gets to itself. What overlaps ``exclude`` is never given out.
    """

    name: str
    cidrs: tuple[Prefix, ...]
    block: Mapping[Family, int]
    node: Mapping[Family, int]
    exclude: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A node that asks for addresses: its name, its subnet, and its instance id or UID."""

    node: str
    subnet: str
    identity: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node and the blocks that it owns, of all families, in order."""

    name: str
    identity: str
    subnet: str
    blocks: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class SubnetShare:
    """The part of the networks that belongs to one subnet.

    ``prefixes`` are disjoint from those of every other subnet. ``groups`` divide them: every
    address of a prefix is in exactly one group. Groups are names for parts of the address space,
    by which load is spread; joining or splitting them changes nobody's addresses.
    """

    id: str
    prefixes: tuple[Prefix, ...]
    groups: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class State:
    """Who owns what in one cluster. Make one with ``state()``.

    ``former`` holds, by name and identity, nodes whose name has come back with another identity:
    their blocks stay theirs until they are released. ``spaces`` is derived from the rest: of each
    subnet, one space for each of its prefixes.
    """

    cluster: str
    networks: tuple[Network, ...]
    subnets: Mapping[str, SubnetShare]
    nodes: Mapping[str, Node]
    former: Mapping[tuple[str, str], Node]
    spaces: Mapping[str, tuple[Space, ...]] = field(repr=False, compare=False)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families in which a node gets addresses: those of the networks."""
        present = {cidr.family for network in self.networks for cidr in network.cidrs}
        return tuple(family for family in Family if family in present)

    def prefixes(self, subnet: str) -> tuple[Prefix, ...]:
        """The prefixes of a subnet, none if it is not known."""
        share = self.subnets.get(subnet)
        return share.prefixes if share is not None else ()

    def blocks(self, node: str) -> tuple[Prefix, ...]:
        """The blocks of a node, none if it is not known."""
        known = self.nodes.get(node)
        return known.blocks if known is not None else ()

    def node_prefixes(self, node: str) -> tuple[Prefix, ...]:
        """The aligned node prefixes in which a node has blocks."""
        known = self.nodes[node]
        return tuple(
            sorted({self.space(known.subnet, block).node_prefix(block) for block in known.blocks})
        )

    def space(self, subnet: str, prefix: Prefix) -> Space:
        """The space of a subnet around a prefix; raises ValueError if there is none."""
        for space in self.spaces.get(subnet, ()):
            if space.prefix.contains(prefix):
                return space
        raise ValueError(f"{prefix} is outside the prefixes of subnet {subnet}")

    def owners(self) -> Iterator[Node]:
        """Everybody who owns blocks: nodes that are there, and those that came back as new ones."""
        yield from self.nodes.values()
        yield from self.former.values()


def network_of(networks: Iterable[Network], prefix: Prefix) -> Network:
    """The network around a prefix; raises BadInputError if there is none."""
    for network in networks:
        if any(cidr.contains(prefix) for cidr in network.cidrs):
            return network
    raise BadInputError(f"{prefix} is in no network: add its network to the cluster file again")


def empty_space(networks: Iterable[Network], prefix: Prefix) -> Space:
    """The space of a subnet's prefix before anything is given out."""
    network = network_of(networks, prefix)
    family = prefix.family
    return Space.empty(prefix, network.node[family], network.block[family], network.exclude)


def state(
    cluster: str,
    networks: Iterable[Network],
    subnets: Iterable[SubnetShare] = (),
    nodes: Iterable[Node] = (),
    former: Iterable[Node] = (),
) -> State:
    """A state from its parts; raises BadInputError, naming both, where two of them contradict."""
    networks = tuple(networks)
    for network in networks:
        check_network(network)
    _check_apart(networks)
    shares = {share.id: share for share in sorted(subnets, key=lambda share: share.id)}
    _check_disjoint(shares.values())
    spaces = {
        share.id: [empty_space(networks, prefix) for prefix in sorted(share.prefixes)]
        for share in shares.values()
    }
    for share in shares.values():
        check_groups(share, spaces[share.id])
    members = {node.name: node for node in nodes}
    past = {(node.name, node.identity): node for node in former}
    for node in (*members.values(), *past.values()):
        _take(spaces, node)
    return State(
        cluster, networks, shares, members, past, {id_: tuple(s) for id_, s in spaces.items()}
    )


def check_network(network: Network) -> None:
    """Raises BadInputError, naming the field, where a network cannot be given out in blocks."""
    for cidr in network.cidrs:
        block, node = network.block[cidr.family], network.node[cidr.family]
        if cidr.length > block:
            raise BadInputError(
                f"network {network.name}: {cidr} is smaller than a block (/{block}): widen it"
            )
        if not node <= block <= node + 16:
            raise BadInputError(
                f"network {network.name}: a node prefix of /{node} cannot hold blocks of "
                f"/{block}: use a block length from {node} to {node + 16}"
            )


def _check_apart(networks: Iterable[Network]) -> None:
    ranges = sorted((cidr, network.name) for network in networks for cidr in network.cidrs)
    for (left, one), (right, other) in pairwise(ranges):
        if left.contains(right):
            raise BadInputError(f"{left} of network {one} and {right} of network {other} overlap")


def _check_disjoint(shares: Iterable[SubnetShare]) -> None:
    owned = sorted((prefix, share.id) for share in shares for prefix in share.prefixes)
    for (left, one), (right, other) in pairwise(owned):
        if left.contains(right):
            raise BadInputError(
                f"prefix {left} of subnet {one} and {right} of subnet {other} overlap: "
                "restore the store from a backup"
            )


def check_groups(share: SubnetShare, spaces: Iterable[Space]) -> None:
    """Raises BadInputError unless the groups of a subnet divide its prefixes."""
    spaces = tuple(spaces)
    apart = not any(left.contains(right) for left, right in pairwise(sorted(share.groups)))
    inside = all(
        any(s.prefix.contains(group) and group.length <= s.node_length for s in spaces)
        for group in share.groups
    )
    wanted = sum(space.prefix.size for space in spaces)
    if not (apart and inside and sum(group.size for group in share.groups) == wanted):
        raise BadInputError(
            f"the groups of subnet {share.id} do not divide its prefixes: "
            "restore the store from a backup"
        )


def _take(spaces: Mapping[str, list[Space]], node: Node) -> None:
    own = spaces.get(node.subnet, [])
    for block in node.blocks:
        around = [position for position, space in enumerate(own) if space.prefix.contains(block)]
        if not around:
            raise BadInputError(
                f"block {block} of node {node.name} is outside the prefixes of subnet "
                f"{node.subnet}: restore the store from a backup"
            )
        try:
            own[around[0]] = own[around[0]].given(block)
        except ValueError as error:
            raise BadInputError(
                f"block of node {node.name}: {error}: restore the store from a backup"
            ) from error


def trees(share: SubnetShare) -> tuple[Prefix, ...]:
    """The maximal prefixes of a subnet: each needs a route entry of its own."""
    return merge(share.prefixes)
