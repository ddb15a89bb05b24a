"""Host routes to the blocks of the other nodes of the subnet: wanted against present, and changes.

Only routes that carry our protocol number are ours; a route of anybody else is never touched, and
where one stands in the way of ours, that is said and ours is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix

PROTOCOL = 117
"""The number in a route's protocol field by which ours are known."""


@dataclass(frozen=True, slots=True, order=True)
class HostRoute:
    """A route to a block by way of a neighbour's address on the uplink; both of one family."""

    destination: Prefix
    via: int


@dataclass(frozen=True, slots=True)
class PresentRoute:
    """A route of the kernel's main table, of whatever kind; ``via`` is None without a gateway."""

    destination: Prefix
    via: int | None
    link: int | None
    protocol: int
    metric: int


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """What makes present routes the wanted ones.

    ``put`` creates or replaces, ``remove`` deletes; ``in_the_way`` are destinations that a route of
    somebody else already has. Puts come first, so that no block that stays wanted is without one.
    """

    put: tuple[HostRoute, ...]
    remove: tuple[PresentRoute, ...]
    in_the_way: tuple[Prefix, ...]


def wanted_routes(
    blocks: Mapping[str, Sequence[Prefix]], uplinks: Mapping[str, Mapping[Family, int]]
) -> tuple[HostRoute, ...]:
    """The host routes of a node: to each block of every other node of its subnet.

    ``blocks`` are those of the other nodes and ``uplinks`` the addresses of nodes on the subnet,
    both by name. Nodes whose address is not known get no route: their blocks are reached through
    the VPC router.
    """
    found = (
        HostRoute(block, uplinks[name][block.family])
        for name, owned in blocks.items()
        for block in owned
        if block.family in uplinks.get(name, {})
    )
    return tuple(sorted(found, key=_place))


def _place(route: HostRoute) -> tuple[Family, int, int, int]:
    """Their order; comparing routes as such takes ten times as long, and there are thousands."""
    block = route.destination
    return block.family, block.value, block.length, route.via


def route_changes(
    wanted: Iterable[HostRoute], present: Iterable[PresentRoute], link: int, metric: int
) -> RouteChanges:
    """The changes that lead from present routes to wanted ones on this link with this metric.

    Applied, they leave nothing to change. Routes of others stay, ours that nobody wants go. What
    is put keeps the order of what is wanted.
    """
    targets = {route.destination: route for route in wanted}
    foreign: set[Prefix] = set()
    right: set[Prefix] = set()
    remove: list[PresentRoute] = []
    for route in present:
        target = targets.get(route.destination)
        if route.protocol != PROTOCOL:
            # The kernel tells routes apart by destination and metric.
            if route.metric == metric:
                foreign.add(route.destination)
        elif target is None or route.metric != metric:
            remove.append(route)
        elif route.via == target.via and route.link == link:
            right.add(route.destination)
    missing = targets.keys() - right - foreign
    return RouteChanges(
        tuple(target for destination, target in targets.items() if destination in missing),
        tuple(remove),
        tuple(sorted(foreign & targets.keys())),
    )
