"""Networks: address ranges that may be given out, and the rules that they keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix
from ipam.topology import PLAIN, StaticAddress, Topology, shown


@dataclass(frozen=True, slots=True)
class Network:
    """Address ranges that may be given out.

    ``block`` and ``node`` are the prefix lengths, per family, of a block and of the aligned prefix
    that a node gets to itself. What overlaps ``exclude`` is never given out.

    ``topology`` says how it is divided; ``tenants`` are the Kubernetes namespaces that it is for
    (none: every namespace that no other network of the family is for). Of ``static`` addresses
    each is granted by its name, and part of no block. In ``closed`` ranges nothing more is given
    out, and what is given out stays.
    """

    name: str
    cidrs: tuple[Prefix, ...]
    block: Mapping[Family, int]
    node: Mapping[Family, int]
    exclude: tuple[Prefix, ...] = ()
    topology: Topology = PLAIN
    tenants: tuple[str, ...] = ()
    static: tuple[StaticAddress, ...] = ()
    closed: tuple[Prefix, ...] = ()

    @property
    def withheld(self) -> tuple[Prefix, ...]:
        """What is part of no block: excluded ranges and static addresses."""
        return (*self.exclude, *(address.prefix for address in self.static))

    def is_closed(self, prefix: Prefix) -> bool:
        """Whether nothing more is given out of a prefix of this network."""
        return any(closed.contains(prefix) for closed in self.closed)


def families_of(networks: Iterable[Network]) -> tuple[Family, ...]:
    """The families of these networks, in their usual order."""
    present = {cidr.family for network in networks for cidr in network.cidrs}
    return tuple(family for family in Family if family in present)


def network_of(networks: Iterable[Network], prefix: Prefix) -> Network:
    """The network around a prefix; raises BadInputError if there is none."""
    for network in networks:
        if any(cidr.contains(prefix) for cidr in network.cidrs):
            return network
    raise BadInputError(f"{prefix} is in no network: add its network to the cluster file again")


def check_networks(networks: Sequence[Network]) -> None:
    """Raises BadInputError, naming the object, where networks break a rule."""
    for network in networks:
        check_network(network)
    _check_apart(networks)
    _check_static(networks)
    _check_tenants(networks)


def check_network(network: Network) -> None:
    """Raises BadInputError, naming the object, where a network by itself breaks a rule."""
    _check_lengths(network)
    _check_groups_fit(network)
    for closed in network.closed:
        if closed not in network.cidrs:
            raise BadInputError(
                f"network {network.name}: {closed} is closed, but none of its cidrs: close one"
            )


def _check_lengths(network: Network) -> None:
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


def _check_groups_fit(network: Network) -> None:
    """Groups' own prefixes and reserves lie inside the network and hold node prefixes."""
    for path, group in network.topology.by_path.items():
        what = f"network {network.name}: {shown(path)}"
        for cidr in group.cidrs:
            around = [outer for outer in network.cidrs if outer.contains(cidr)]
            if not around:
                raise BadInputError(f"{what}: {cidr} is in none of the network's cidrs")
            longest = max(network.node[cidr.family], around[0].length)
            if cidr.length > longest:
                raise BadInputError(
                    f"{what}: {cidr} is smaller than a node's prefix (/{longest}): widen it"
                )
        for family, length in group.reserve.items():
            widest = min((c.length for c in network.cidrs if c.family is family), default=None)
            if widest is None:
                raise BadInputError(f"{what}: reserves {family}, which the network does not have")
            if not widest <= length <= max(network.node[family], widest):
                raise BadInputError(
                    f"{what}: a reserve of /{length} should be from /{widest} (the network) to "
                    f"/{max(network.node[family], widest)} (a node's prefix)"
                )


def _check_tenants(networks: Sequence[Network]) -> None:
    holders: dict[tuple[Family, str], str] = {}
    for network in networks:
        for family in families_of([network]):
            for tenant in network.tenants:
                other = holders.setdefault((family, tenant), network.name)
                if other != network.name:
                    raise BadInputError(
                        f"namespace {tenant} is a tenant of two {family} networks, {other} and "
                        f"{network.name}: choose one"
                    )
    if networks and all(network.tenants for network in networks):
        raise BadInputError("every network has tenants: add one for everybody else")


def _check_apart(networks: Iterable[Network]) -> None:
    ranges = sorted((cidr, network.name) for network in networks for cidr in network.cidrs)
    for (left, one), (right, other) in pairwise(ranges):
        if left.contains(right):
            raise BadInputError(f"{left} of network {one} and {right} of network {other} overlap")


def _check_static(networks: Iterable[Network]) -> None:
    """Static addresses: single ones, inside their network, and one for each name and address."""
    holders: dict[str | Prefix, StaticAddress] = {}
    for network in networks:
        for static in network.static:
            prefix = static.prefix
            around = any(cidr.contains(prefix) for cidr in network.cidrs)
            if prefix.length != prefix.family.width or not around:
                raise BadInputError(
                    f"network {network.name}: static address {static.name}: {prefix} should be a "
                    "single address of the network"
                )
            if any(excluded.contains(prefix) for excluded in network.exclude):
                raise BadInputError(
                    f"network {network.name}: static address {static} is excluded: leave it out of "
                    "one of the two"
                )
            for key in (f"{prefix.family} {static.name}", prefix):
                other = holders.setdefault(key, static)
                if other is not static:
                    raise BadInputError(
                        f"network {network.name}: static addresses {other} and {static}: a name "
                        "has one address of a family, and an address one name"
                    )
