"""The frozen values of addresses: networks, claims, nodes, and the state of it all.

A state is never changed: placement makes new ones, which share with the old one whatever is the
same. It can be kept, compared and thrown away freely.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, pairwise
from operator import attrgetter, is_not

from msgspec import Struct

from ipam.errors import BadInputError
from ipam.lineage import Lineage
from ipam.network import Network, check_networks, families_of, network_of
from ipam.prefix import Family, Prefix, merge
from ipam.space import Space
from ipam.topology import Labels, Path, shown

__all__ = [
    "Claim",
    "Network",
    "Node",
    "Owner",
    "Place",
    "PlaceKey",
    "State",
    "SubnetShare",
    "changed_names",
    "check_groups",
    "empty_space",
    "families_of",
    "network_of",
    "space_around",
    "state",
    "trees",
]


class Claim(Struct, frozen=True, order=True, gc=False):
    """A node that asks for addresses: its name, its subnet, and its instance id or UID.

    ``labels`` are those that the networks' topologies ask for; others do no harm.
    """

    node: str
    subnet: str
    identity: str
    labels: Labels = ()


class Node(Struct, frozen=True, gc=False):
    """A node and the blocks that it owns, of all families, in order.

    ``labels`` are those with which it asked last. ``static`` are the static addresses that were
    granted to it: each is a block of one address, and not among ``blocks``.
    """

    name: str
    identity: str
    subnet: str
    blocks: tuple[Prefix, ...]
    labels: Labels = ()
    static: tuple[Prefix, ...] = ()

    @property
    def owned(self) -> tuple[Prefix, ...]:
        """All that it owns: blocks and static addresses, in order."""
        return tuple(sorted((*self.blocks, *self.static))) if self.static else self.blocks


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a network that is set aside for some nodes, around their subnets or inside one.

    ``prefixes`` lie inside those of the place around it, apart from those of its siblings. New
    blocks of its nodes come from there; blocks that were given out under an earlier topology may
    lie elsewhere in their subnet's prefixes, and stay.
    """

    network: str
    path: Path
    prefixes: tuple[Prefix, ...]

    @property
    def key(self) -> PlaceKey:
        """What tells it from all others."""
        return self.network, self.path

    def __str__(self) -> str:
        return f"{shown(self.path)} of network {self.network}"


PlaceKey = tuple[str, Path]
"""A place: the name of its network, and its path."""


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


Owner = tuple[str, str]
"""Who owns blocks: a node by name and identity."""


@dataclass(frozen=True, slots=True)
class State:
    """Who owns what in one cluster. Make one with ``state()``.

    ``former`` holds, by name and identity, nodes whose name has come back with another identity:
    their blocks stay theirs until they are released. ``places`` are the parts of networks whose
    topology has more than subnets. ``spaces`` is derived from the rest: of each subnet, one space
    for each of its prefixes, in order. ``lineage`` says from which states it was made.
    """

    cluster: str
    networks: tuple[Network, ...]
    subnets: Mapping[str, SubnetShare]
    nodes: Mapping[str, Node]
    former: Mapping[tuple[str, str], Node]
    spaces: Mapping[str, tuple[Space, ...]] = field(repr=False, compare=False)
    places: Mapping[PlaceKey, Place] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage, repr=False, compare=False)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families in which a node gets addresses: those of the networks for everybody."""
        return families_of(network for network in self.networks if not network.tenants)

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
        space = space_around(self.spaces.get(subnet, ()), prefix)
        if space is None:
            raise ValueError(f"{prefix} is outside the prefixes of subnet {subnet}")
        return space

    def grants(self, claim: Claim) -> bool:
        """Whether the node is there as it claims to be: then the claim changes nothing."""
        node = self.nodes.get(claim.node)
        return (
            node is not None
            and node.identity == claim.identity
            and node.subnet == claim.subnet
            and (not claim.labels or claim.labels == node.labels)
        )

    def owners(self) -> Iterator[Node]:
        """Everybody who owns blocks: nodes that are there, and those that came back as new ones."""
        yield from self.nodes.values()
        yield from self.former.values()


def changed_names(before: State, after: State) -> set[str]:
    """The names of which anybody, there or former, is another value in one state than in the other.

    There may be more among them. It takes as long as the changes, where one state was made from the
    other not long ago; else as long as all names.
    """
    known = after.lineage.names_since(before.lineage)
    if known is not None:
        return known
    earlier = map(before.nodes.get, after.nodes)
    names = set(compress(after.nodes, map(is_not, earlier, after.nodes.values())))
    names |= before.nodes.keys() - after.nodes.keys()
    names |= {name for name, _ in before.former.keys() ^ after.former.keys()}
    names |= {o[0] for o, node in after.former.items() if before.former.get(o, node) is not node}
    return names


def space_around(spaces: Sequence[Space], prefix: Prefix) -> Space | None:
    """Of spaces in order, the one around a prefix."""
    position = bisect_right(spaces, prefix, key=_prefix_of) - 1
    if position >= 0 and spaces[position].prefix.contains(prefix):
        return spaces[position]
    return None


def _prefix_of(space: Space) -> Prefix:
    return space.prefix


def empty_space(networks: Iterable[Network], prefix: Prefix) -> Space:
    """The space of a subnet's prefix before anything is given out."""
    network = network_of(networks, prefix)
    family = prefix.family
    return Space.empty(prefix, network.node[family], network.block[family], network.withheld)


def state(
    cluster: str,
    networks: Iterable[Network],
    subnets: Iterable[SubnetShare] = (),
    nodes: Iterable[Node] = (),
    former: Iterable[Node] = (),
    places: Iterable[Place] = (),
) -> State:
    """A state from its parts; raises BadInputError, naming both, where two of them contradict."""
    networks = tuple(networks)
    check_networks(networks)
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
    taken = _taken(spaces, (*members.values(), *past.values()))
    _check_grants(networks, (*members.values(), *past.values()))
    places = sorted(places, key=lambda place: place.key)
    _check_places(places)
    return State(
        cluster,
        networks,
        shares,
        members,
        past,
        taken,
        {place.key: place for place in places},
    )


def _check_grants(networks: Iterable[Network], owners: Iterable[Node]) -> None:
    """Every static address that is granted exists, and is granted once."""
    known = {static.prefix for network in networks for static in network.static}
    granted: dict[Prefix, Node] = {}
    for node in owners:
        for prefix in node.static:
            if prefix not in known:
                raise BadInputError(
                    f"{prefix} is granted to node {node.name}, but no static address any more: put "
                    "it back, or release it first"
                )
            other = granted.setdefault(prefix, node)
            if other is not node:
                raise BadInputError(
                    f"static address {prefix} is granted to nodes {other.name} and {node.name}: "
                    "restore the store from a backup"
                )


def _check_disjoint(shares: Iterable[SubnetShare]) -> None:
    owned = sorted((prefix, share.id) for share in shares for prefix in share.prefixes)
    for (left, one), (right, other) in pairwise(owned):
        if left.contains(right):
            raise BadInputError(
                f"prefix {left} of subnet {one} and {right} of subnet {other} overlap: "
                "restore the store from a backup"
            )


def _check_places(places: Iterable[Place]) -> None:
    """Places beside each other share no address."""
    beside: dict[PlaceKey, list[tuple[Prefix, Path]]] = {}
    for place in places:
        held = beside.setdefault((place.network, place.path[:-1]), [])
        held += [(prefix, place.path) for prefix in place.prefixes]
    for (network, _), held in beside.items():
        for (left, one), (right, other) in pairwise(sorted(held)):
            if left.contains(right):
                raise BadInputError(
                    f"network {network}: {left} of {shown(one)} and {right} of {shown(other)} "
                    "overlap: restore the store from a backup"
                )


def check_groups(share: SubnetShare, spaces: Iterable[Space]) -> None:
    """Raises BadInputError unless the groups of a subnet divide its prefixes.

    ``spaces`` are those of the prefixes, in order.
    """
    spaces = tuple(spaces)
    apart = not any(left.contains(right) for left, right in pairwise(sorted(share.groups)))
    around = [(group, space_around(spaces, group)) for group in share.groups]
    inside = all(space and group.length <= space.node_length for group, space in around)
    wanted = sum(space.prefix.size for space in spaces)
    if not (apart and inside and sum(group.size for group in share.groups) == wanted):
        raise BadInputError(
            f"the groups of subnet {share.id} do not divide its prefixes: "
            "restore the store from a backup"
        )


def _taken(
    spaces: Mapping[str, list[Space]], owners: Sequence[Node]
) -> dict[str, tuple[Space, ...]]:
    """The spaces with the blocks of all owners given out; raises BadInputError if one cannot be."""
    held: defaultdict[str, list[Prefix]] = defaultdict(list)
    for node in owners:
        held[node.subnet] += node.blocks
    try:
        filled = {
            subnet: tuple(_filled(own, sorted(held.pop(subnet, ()), key=attrgetter("value"))))
            for subnet, own in spaces.items()
        }
        if any(held.values()):
            raise ValueError("a block is of a subnet that has no prefixes")
        return filled
    except ValueError:
        for node in owners:  # one by one, to say whose block it is
            _take(spaces, node)
        return {subnet: tuple(own) for subnet, own in spaces.items()}


def _filled(spaces: Sequence[Space], blocks: Sequence[Prefix]) -> Iterator[Space]:
    """Spaces with these blocks given out, which are in the order of their addresses.

    Raises ValueError where one cannot be.
    """
    rest = len(blocks)
    for family in Family:
        mine = [block for block in blocks if block.family is family]
        values = [block.value for block in mine]
        for space in spaces:
            if space.family is family:
                start = bisect_left(values, space.prefix.value)
                end = bisect_right(values, space.prefix.last)
                rest -= end - start
                yield space.given_all(mine[start:end])
    if rest:
        raise ValueError("a block is outside all prefixes")


def _take(spaces: Mapping[str, list[Space]], node: Node) -> None:
    own = spaces.get(node.subnet, [])
    for block in node.blocks:
        position = bisect_right(own, block, key=_prefix_of) - 1
        if position < 0 or not own[position].prefix.contains(block):
            raise BadInputError(
                f"block {block} of node {node.name} is outside the prefixes of subnet "
                f"{node.subnet}: restore the store from a backup"
            )
        try:
            own[position] = own[position].given(block)
        except ValueError as error:
            raise BadInputError(
                f"block of node {node.name}: {error}: restore the store from a backup"
            ) from error


def trees(share: SubnetShare) -> tuple[Prefix, ...]:
    """The maximal prefixes of a subnet: each needs a route entry of its own."""
    return merge(share.prefixes)
