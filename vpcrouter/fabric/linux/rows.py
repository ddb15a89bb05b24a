"""What a kernel has, in the port's words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ipam.prefix import Family, Prefix, parse_address
from vpcrouter.fabric.linux.kernel import KernelLink, KernelRoute
from vpcrouter.fabric.linux.settings import RouterSubnet
from vpcrouter.fabric.port import (
    FabricUnavailableError,
    NetworkInterface,
    Origin,
    Row,
    RowState,
)

Cidrs = Mapping[str, tuple[Prefix, ...]]
"""The prefixes of each subnet's addresses, by its id."""

Machine = tuple[str | None, Sequence[tuple[Family, str]]]
"""A node's instance id, if it has one, and its addresses."""


def subnet_cidrs(subnets: Iterable[RouterSubnet], links: Mapping[str, KernelLink]) -> Cidrs:
    """Which addresses are in which subnet.

    Raises FabricUnavailableError where an interface or its addresses are missing: without them
    the subnet's nodes would seem to be gone.
    """
    for subnet in subnets:
        if subnet.interface not in links or not links[subnet.interface].prefixes:
            raise FabricUnavailableError(
                "",
                f"subnet {subnet.id}: the router has no interface {subnet.interface} with an "
                "address: set it up again",
            )
    return {subnet.id: links[subnet.interface].prefixes for subnet in subnets}


def node_interfaces(nodes: Iterable[Machine], cidrs: Cidrs) -> Iterator[NetworkInterface]:
    """One interface for each node with an address in a subnet; its first address there names it."""
    for instance, addresses in nodes:
        for subnet, prefixes in cidrs.items():
            here = [(family, text) for family, text in addresses if _inside(text, prefixes)]
            if here:
                yield NetworkInterface(
                    id=here[0][1],
                    subnet=subnet,
                    addresses={f: tuple(a for g, a in here if g is f) for f, _ in here},
                    instance=instance,
                    device_index=0,
                    source_dest_check=False,
                )
                break


def _inside(text: str, prefixes: Iterable[Prefix]) -> bool:
    family, value = parse_address(text)
    return any(prefix.family is family and prefix.holds(value) for prefix in prefixes)


def names_by_address(interfaces: Iterable[NetworkInterface]) -> Mapping[str, str]:
    """The interface of each address."""
    return {
        address: interface.id
        for interface in interfaces
        for addresses in interface.addresses.values()
        for address in addresses
    }


def of_table(routes: Iterable[KernelRoute], number: int) -> list[KernelRoute]:
    """The routes of one table in order; at the same destination, ours come first."""
    found = [route for route in routes if route.table == number]
    return sorted(found, key=lambda r: (r.destination, not r.is_ours, r.metric, r.target))


def row(route: KernelRoute, names: Mapping[str, str]) -> Row:
    """A route as a row: to an interface only where it is ours, since others are never changed.

    A next hop that is no node's is named by its address.
    """
    return Row(
        destination=route.destination,
        target=names.get(route.target, route.target),
        to_interface=route.is_ours,
        origin=Origin.LOCAL if route.by_kernel else Origin.STATIC,
        state=RowState.BLACKHOLE if route.is_dead else RowState.ACTIVE,
    )


def overridden(routes: Iterable[KernelRoute], subnets: Iterable[RouterSubnet]) -> Iterator[str]:
    """Entries of ours beside a route of somebody else's, which the kernel may prefer: warnings."""
    for number, table in sorted({(subnet.number, subnet.table) for subnet in subnets}):
        present = of_table(routes, number)
        ours = {route.destination for route in present if route.is_ours}
        for route in present:
            if route.destination in ours and not route.is_ours:
                yield (
                    f"table {table} {route.destination}: somebody else has a route of metric "
                    f"{route.metric} beside ours: remove it"
                )


def missing_rules(
    present: Mapping[Family, set[tuple[str, int]]], subnets: Iterable[RouterSubnet], cidrs: Cidrs
) -> Iterator[str]:
    """Subnets that do not use their table: warnings. ``present`` are interface and table number."""
    for subnet in subnets:
        for family in sorted({prefix.family for prefix in cidrs[subnet.id]}):
            if (subnet.interface, subnet.number) not in present[family]:
                version = "-6 " if family is Family.IPV6 else ""
                yield (
                    f"subnet {subnet.id} does not use its table for {family}: "
                    f"ip {version}rule add iif {subnet.interface} lookup {subnet.number}"
                )
