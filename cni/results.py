"""Results of the CNI specification: one value, written and read in the shape of every version.

Shapes: 0.1.0 and 0.2.0 know one address of each family (``ip4``, ``ip6``); 0.3.0 to 0.4.0 a list
with a ``version`` in each item, 1.0.0 without; 1.1.0 adds the MTU of interfaces and details of
routes. What an older shape cannot say is left out of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cni.values import (
    Json,
    address,
    address_with_length,
    mapping,
    number,
    objects,
    prefix,
    text,
    texts,
    wrong,
)
from cni.versions import LATEST, VERSIONS
from ipam.prefix import Family, Prefix, format_address

_ONE_OF_EACH_FAMILY = frozenset({"0.1.0", "0.2.0"})
_WITHOUT_VERSION = frozenset({"1.0.0", "1.1.0"})
_ROUTE_NUMBERS = ("mtu", "advmss", "priority", "table", "scope")


@dataclass(frozen=True, slots=True)
class Interface:
    """A link; ``sandbox`` is the path of its network namespace, empty for the host's."""

    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int | None = None
    socket_path: str = ""
    pci_id: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """An address on an interface, which ``interface`` names by its position in the result."""

    family: Family
    value: int
    length: int
    gateway: int | None = None
    interface: int | None = None

    def __str__(self) -> str:
        return f"{format_address(self.family, self.value)}/{self.length}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route inside the pod; ``numbers`` are mtu, advmss, priority, table and scope, if given."""

    destination: Prefix
    gateway: int | None = None
    numbers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Dns:
    """What the pod's resolver should use; handed through."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


NO_DNS = Dns()


@dataclass(frozen=True, slots=True)
class Result:
    """What an ADD has made, and what plugins before it in the chain have."""

    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = NO_DNS

    def after(self, previous: Result) -> Result:
        """Both results in one, the other plugins' first: nothing of theirs is lost."""
        shift = len(previous.interfaces)
        own = tuple(
            a if a.interface is None else replace(a, interface=a.interface + shift)
            for a in self.addresses
        )
        return Result(
            previous.interfaces + self.interfaces,
            previous.addresses + own,
            previous.routes + self.routes,
            self.dns if self.dns != NO_DNS else previous.dns,
        )


def dump(result: Result, version: str) -> dict[str, object]:
    """The result in the shape of a version of the specification."""
    if version in _ONE_OF_EACH_FAMILY:
        body = _dump_old(result)
    else:
        body = {
            "interfaces": [_dump_interface(i, version) for i in result.interfaces],
            "ips": [_dump_address(a, version) for a in result.addresses],
            "routes": [_dump_route(r, version) for r in result.routes],
        }
    return {"cniVersion": version, **body, "dns": _dump_dns(result.dns)}


def _dump_old(result: Result) -> dict[str, object]:
    body: dict[str, object] = {}
    for family, key in ((Family.IPV4, "ip4"), (Family.IPV6, "ip6")):
        first = next((a for a in result.addresses if a.family is family), None)
        if first is None:
            continue
        routes = [r for r in result.routes if r.destination.family is family]
        fields: dict[str, object] = {"ip": str(first)}
        if first.gateway is not None:
            fields["gateway"] = format_address(family, first.gateway)
        fields["routes"] = [_dump_route(r, "0.2.0") for r in routes]
        body[key] = fields
    return body


def _dump_interface(interface: Interface, version: str) -> dict[str, object]:
    fields: dict[str, object] = {"mac": interface.mac, "sandbox": interface.sandbox}
    if version == LATEST:
        fields["mtu"] = interface.mtu
        fields["socketPath"] = interface.socket_path
        fields["pciID"] = interface.pci_id
    said = {key: content for key, content in fields.items() if content not in ("", None)}
    return {"name": interface.name, **said}


def _dump_address(address: Address, version: str) -> dict[str, object]:
    fields: dict[str, object] = {"address": str(address)}
    if version not in _WITHOUT_VERSION:
        fields["version"] = "4" if address.family is Family.IPV4 else "6"
    if address.gateway is not None:
        fields["gateway"] = format_address(address.family, address.gateway)
    if address.interface is not None:
        fields["interface"] = address.interface
    return fields


def _dump_route(route: Route, version: str) -> dict[str, object]:
    fields: dict[str, object] = {"dst": str(route.destination)}
    if route.gateway is not None:
        fields["gw"] = format_address(route.destination.family, route.gateway)
    if version == LATEST:
        fields.update(route.numbers)
    return fields


def _dump_dns(dns: Dns) -> dict[str, object]:
    fields: dict[str, object] = {}
    if dns.domain:
        fields["domain"] = dns.domain
    for key, listed in (
        ("nameservers", dns.nameservers),
        ("search", dns.search),
        ("options", dns.options),
    ):
        if listed:
            fields[key] = list(listed)
    return fields


def parse_result(value: Json, version: str) -> Result:
    """The result in ``prevResult``, written in the shape of its own version or else this one.

    Raises CniError where a field is not what the specification says.
    """
    version = text(value, "cniVersion", "prevResult.cniVersion") or version
    if version not in VERSIONS:
        raise wrong("prevResult.cniVersion", f"{version!r} is none of {', '.join(VERSIONS)}")
    dns = parse_dns(value, "prevResult.dns")
    if version in _ONE_OF_EACH_FAMILY:
        addresses, routes = _parse_old(value)
        return Result((), addresses, routes, dns)
    interfaces = tuple(
        _parse_interface(item, place)
        for place, item in objects(value, "interfaces", "prevResult.interfaces")
    )
    addresses = tuple(
        _parse_address(item, place, len(interfaces))
        for place, item in objects(value, "ips", "prevResult.ips")
    )
    routes = tuple(
        _parse_route(item, place) for place, item in objects(value, "routes", "prevResult.routes")
    )
    return Result(interfaces, addresses, routes, dns)


def _parse_old(value: Json) -> tuple[tuple[Address, ...], tuple[Route, ...]]:
    addresses: list[Address] = []
    routes: list[Route] = []
    for key, family in (("ip4", Family.IPV4), ("ip6", Family.IPV6)):
        place = f"prevResult.{key}"
        fields = mapping(value, key, place)
        if fields is None:
            continue
        found, number_, length = address_with_length(
            text(fields, "ip", f"{place}.ip"), f"{place}.ip"
        )
        if found is not family:
            raise wrong(f"{place}.ip", f"write an address of {family}")
        gateway = _gateway(fields, "gateway", place, family)
        addresses.append(Address(family, number_, length, gateway))
        routes += [_parse_route(r, p) for p, r in objects(fields, "routes", f"{place}.routes")]
    return tuple(addresses), tuple(routes)


def _parse_interface(item: Json, place: str) -> Interface:
    return Interface(
        text(item, "name", f"{place}.name"),
        text(item, "mac", f"{place}.mac"),
        text(item, "sandbox", f"{place}.sandbox"),
        number(item, "mtu", f"{place}.mtu"),
        text(item, "socketPath", f"{place}.socketPath"),
        text(item, "pciID", f"{place}.pciID"),
    )


def _parse_address(item: Json, place: str, interfaces: int) -> Address:
    family, value, length = address_with_length(
        text(item, "address", f"{place}.address"), f"{place}.address"
    )
    interface = number(item, "interface", f"{place}.interface")
    if interface is not None and interface >= interfaces:
        raise wrong(f"{place}.interface", f"there is no interface {interface} in the list")
    return Address(family, value, length, _gateway(item, "gateway", place, family), interface)


def _parse_route(item: Json, place: str) -> Route:
    destination = prefix(text(item, "dst", f"{place}.dst"), f"{place}.dst")
    numbers = []
    for key in _ROUTE_NUMBERS:
        found = number(item, key, f"{place}.{key}")
        if found is not None:
            numbers.append((key, found))
    gateway = _gateway(item, "gw", place, destination.family)
    return Route(destination, gateway, tuple(numbers))


def _gateway(fields: Json, key: str, place: str, family: Family) -> int | None:
    content = text(fields, key, f"{place}.{key}")
    if not content:
        return None
    found, value = address(content, f"{place}.{key}")
    if found is not family:
        raise wrong(f"{place}.{key}", f"write an address of {family}")
    return value


def parse_dns(value: Json, place: str) -> Dns:
    """The resolver settings of a configuration or a result; the last part of place is the key."""
    fields = mapping(value, "dns", place)
    if fields is None:
        return NO_DNS
    return Dns(
        texts(fields, "nameservers", f"{place}.nameservers"),
        text(fields, "domain", f"{place}.domain"),
        texts(fields, "search", f"{place}.search"),
        texts(fields, "options", f"{place}.options"),
    )
