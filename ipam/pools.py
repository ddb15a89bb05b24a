"""In which networks, and where in them, a node may get new blocks. Pure.

Networks that are divided by subnet alone are one pool: a subnet gets its prefixes wherever most is
spare. Every other network is a pool of its own, with its own levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipam.model import Network, Place, PlaceKey
from ipam.prefix import Family, Prefix
from ipam.topology import (
    AmbiguousPlaceError,
    Labels,
    Location,
    NoPlaceError,
    Path,
    Topology,
    is_path,
    is_subnet_segment,
    locate,
)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Networks that are divided as one, from which new blocks of one family may come.

    Compared by identity: those of one call of ``pools`` belong together.
    """

    networks: tuple[Network, ...]
    family: Family

    @property
    def name(self) -> str:
        """The network whose levels count: that of all places in the pool."""
        return self.networks[0].name

    @property
    def topology(self) -> Topology:
        """How it is divided."""
        return self.networks[0].topology

    @property
    def ranges(self) -> list[Prefix]:
        """Its ranges that are not closed, in order."""
        return sorted(
            cidr
            for network in self.networks
            for cidr in network.cidrs
            if cidr.family is self.family and not network.is_closed(cidr)
        )

    def key(self, path: Path) -> PlaceKey:
        """The place of a path."""
        return self.name, path


@dataclass(frozen=True, slots=True)
class Option:
    """Where a node may get blocks of one family: a pool, and a place in it."""

    pool: Pool
    location: Location

    @property
    def places(self) -> list[Path]:
        """The paths of the places on the way that are set aside, outermost first."""
        above, below = self.location.above, self.location.below
        inner = self.location.path[: len(above) + 1]
        around = [above[: depth + 1] for depth in range(len(above))]
        return around + [(*inner, *below[: depth + 1]) for depth in range(len(below))]


def pools(networks: Sequence[Network], family: Family, name: str = "") -> tuple[Pool, ...]:
    """The pools of a family: of the networks for everybody, or of the network of that name."""
    chosen = [
        network
        for network in networks
        if (network.name == name if name else not network.tenants)
        and any(c.family is family and not network.is_closed(c) for c in network.cidrs)
    ]
    plain = tuple(network for network in chosen if network.topology.is_plain)
    found: list[Pool] = []
    for network in chosen:
        if network not in plain:
            found.append(Pool((network,), family))
        elif network is plain[0]:
            found.append(Pool(plain, family))
    return tuple(found)


def options(
    available: Iterable[Pool], name: str, subnet: str, labels: Labels
) -> tuple[Option, ...]:
    """Where a node may get blocks of a family; none if no pool is open.

    Raises NoPlaceError, AmbiguousPlaceError among them, where it belongs nowhere in any of them, or
    to two groups of one.
    """
    found: list[Option] = []
    reasons: list[NoPlaceError] = []
    for pool in available:
        try:
            located = locate(pool.topology, name, subnet, labels)
        except AmbiguousPlaceError:
            raise
        except NoPlaceError as error:
            reasons.append(error)
        else:
            found += [Option(pool, location) for location in located]
    if not found and reasons:
        raise reasons[0]
    return tuple(found)


def networks_of_namespace(
    networks: Iterable[Network], namespace: str
) -> Mapping[Family, tuple[Network, ...]]:
    """From which networks pods of a Kubernetes namespace get addresses, by family.

    Those that it is a tenant of, or else those for everybody. Closed ones are among them: what is
    given out of them can be used.
    """
    networks = tuple(networks)
    found: dict[Family, tuple[Network, ...]] = {}
    for family in Family:
        present = [n for n in networks if any(cidr.family is family for cidr in n.cidrs)]
        own = tuple(network for network in present if namespace in network.tenants)
        shared = tuple(network for network in present if not network.tenants)
        if own or shared:
            found[family] = own or shared
    return found


def still_valid(networks: Iterable[Network], places: Iterable[Place]) -> dict[PlaceKey, Place]:
    """The places that the networks' topologies still have, with what they still may hold.

    A place ends with its level, its group or its network, and its room returns to the place around
    it. Nobody's blocks or prefixes change by that.
    """
    by_name = {network.name: network for network in networks}
    kept: dict[PlaceKey, Place] = {}
    for place in sorted(places, key=lambda place: (len(place.path), place.key)):
        network = by_name.get(place.network)
        if network is None or not is_path(network.topology, place.path):
            continue
        ranges = network.cidrs
        around = place.path[:-1]
        if around and is_subnet_segment(around[-1]):
            around = around[:-1]
        outer = kept.get((place.network, around))
        group = network.topology.group(place.path)
        if around:
            ranges = outer.prefixes if outer is not None else ()
        prefixes = tuple(p for p in place.prefixes if any(r.contains(p) for r in ranges))
        if group is not None and group.cidrs:
            prefixes = tuple(sorted(group.cidrs))
        if prefixes:
            same = prefixes == place.prefixes
            kept[place.key] = place if same else Place(place.network, place.path, prefixes)
    return kept
