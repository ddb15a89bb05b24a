"""Messages to the kernel's routing sockets (rtnetlink(7)) as bytes, and what it answers.

Only what a pod's link needs. Written by hand since encoding is most of the time of a pod's start:
0.02 ms a message here, 0.5 ms with pyroute2, which the tests read these bytes with.

Most messages ask for no acknowledgement: then the kernel answers errors only, and one request for a
link at the end of a batch says that all before it is done.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipam.prefix import Family, Prefix

NEW_LINK, DELETE_LINK, GET_LINK, SET_LINK = 16, 17, 18, 19
NEW_ADDRESS = 20
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR = 28
DELETE_RULE = 33
ERROR, DONE = 2, 3

REQUEST, ACKNOWLEDGE, INTERRUPTED, DUMP = 0x1, 0x4, 0x10, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400

UP = 1
"""The flag of a link that is switched on."""
CARRIES = 6
"""The operational state of a link that passes packets (RFC 2863: up)."""
LOCAL, UNREACHABLE = 2, 7
"""Types of routes: to an address of this network namespace; to what is refused."""

SOCKET_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}
MAIN_TABLE = 254

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NUMBER = struct.Struct("=I")
_SHORT = struct.Struct("=H")
_NESTED = 0x8000

_PERMANENT = 0x80
_WITHOUT_DETECTION = 0x02  # IFA_F_NODAD
_ON_LINK = 4  # RTNH_F_ONLINK
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_UNICAST = 1
_BOOT_PROTOCOL = 3  # what `ip route add` writes

# Attributes, by the names that the kernel's headers give them.
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK = 1, 3, 4, 5
_IFLA_OPERSTATE, _IFLA_LINKINFO, _IFLA_IFALIAS = 16, 18, 20
_IFLA_GROUP, _IFLA_NET_NS_FD = 27, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER, _IPVLAN_MODE = 1, 2, 1, 1
_L3S = 2
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_TABLE = 1, 4, 5, 6, 15
_NDA_DST, _NDA_LLADDR = 1, 2
_FRA_PRIORITY = 6


@dataclass(frozen=True, slots=True)
class Link:
    """What the kernel says of a link.

    ``peer`` is the index of a veth's other end or of the link that an ipvlan interface hangs on, 0
    for none.
    """

    index: int
    name: str
    flags: int
    state: int
    peer: int
    mac: str
    mtu: int
    alias: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route of one table; ``via`` is None without a gateway, or with several."""

    destination: Prefix
    via: int | None
    link: int | None
    table: int
    protocol: int
    kind: int
    metric: int


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: ``kind`` is its message type, ``error`` a positive errno or 0, and its body.

    ``port`` is the socket's that asked for it, be it for a change that all are told of.
    """

    kind: int
    flags: int
    sequence: int
    error: int
    body: bytes
    port: int = 0


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request; ``numbered`` gives it its place in a batch."""
    return _HEADER.pack(_HEADER.size + len(body), kind, REQUEST | flags, 0, 0) + body


def numbered(messages: Iterable[bytes], first: int) -> bytes:
    """The messages one after the other, with sequence numbers from ``first`` on."""
    batch = bytearray()
    for sequence, content in enumerate(messages, first):
        start = len(batch)
        batch += content
        _NUMBER.pack_into(batch, start + 8, sequence)
    return bytes(batch)


def replies(datagram: bytes) -> Iterator[Reply]:
    """The answers in what one read of the socket gave."""
    position = 0
    while position + _HEADER.size <= len(datagram):
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, position)
        body = datagram[position + _HEADER.size : position + length]
        error = -int.from_bytes(body[:4], "little", signed=True) if kind == ERROR else 0
        yield Reply(kind, flags, sequence, error, body, port)
        position += max((length + 3) & ~3, _HEADER.size)


def parse_link(body: bytes) -> Link:
    """The link in a reply of kind NEW_LINK."""
    _family, _type, index, flags, _change = _LINK.unpack_from(body)
    found = _attributes(body, _LINK.size)
    state = found.get(_IFLA_OPERSTATE, b"\0")[0]
    peer = int.from_bytes(found.get(_IFLA_LINK, b""), "little")
    name, alias = (found.get(a, b"").rstrip(b"\0") for a in (_IFLA_IFNAME, _IFLA_IFALIAS))
    mac = found.get(_IFLA_ADDRESS, b"").hex(":")
    mtu = int.from_bytes(found.get(_IFLA_MTU, b""), "little")
    beside = alias.decode("utf-8", "replace")
    return Link(index, name.decode(), flags, state, peer, mac, mtu, beside)


def link_index(body: bytes) -> int:
    """The index of the link in a reply of kind NEW_LINK or DELETE_LINK."""
    index: int = _LINK.unpack_from(body)[2]
    return index


def rule_priority(body: bytes) -> int:
    """The priority of the rule in a reply of kind DELETE_RULE."""
    return int.from_bytes(_attributes(body, _ROUTE.size).get(_FRA_PRIORITY, b""), "little")


def link_state(body: bytes) -> int:
    """The operational state of the link in a reply of kind NEW_LINK; 0 where it says none.

    It is among the first of dozens of attributes, and asked for again and again.
    """
    for kind, content in _each(body, _LINK.size):
        if kind == _IFLA_OPERSTATE:
            return content[0]
    return 0


def route_type(body: bytes) -> int:
    """What kind of route a reply of kind NEW_ROUTE holds."""
    kind: int = _ROUTE.unpack_from(body)[7]
    return kind


def parse_route(body: bytes) -> Route:
    """The route in a reply of kind NEW_ROUTE."""
    number, length, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    family = Family.IPV4 if number == SOCKET_FAMILY[Family.IPV4] else Family.IPV6
    found = _attributes(body, _ROUTE.size)
    via, link = found.get(_RTA_GATEWAY), found.get(_RTA_OIF)
    return Route(
        Prefix(family, int.from_bytes(found.get(_RTA_DST, b""), "big"), length),
        int.from_bytes(via, "big") if via is not None else None,
        int.from_bytes(link, "little") if link is not None else None,
        int.from_bytes(found[_RTA_TABLE], "little") if _RTA_TABLE in found else table,
        protocol,
        kind,
        int.from_bytes(found.get(_RTA_PRIORITY, b""), "little"),
    )


def new_pair(name: str, mac: str, mtu: int, peer: str, peer_mac: str, namespace: int) -> bytes:
    """A veth pair, whose peer is made in the namespace of this file descriptor.

    The link is switched on; the kernel refuses to do so for the peer before there is a pair.
    """
    inner = _LINK.pack(0, 0, 0, 0, 0) + _names(peer, peer_mac, mtu)
    inner += _attribute(_IFLA_NET_NS_FD, _NUMBER.pack(namespace))
    data = _attribute(_INFO_DATA | _NESTED, _attribute(_VETH_PEER | _NESTED, inner))
    info = _attribute(_IFLA_LINKINFO | _NESTED, _attribute(_INFO_KIND, b"veth\0") + data)
    body = _LINK.pack(0, 0, 0, UP, UP) + _names(name, mac, mtu) + info
    return message(NEW_LINK, CREATE | EXCLUSIVE | ACKNOWLEDGE, body)


def new_ipvlan(name: str, mtu: int, uplink: int, namespace: int | None = None) -> bytes:
    """An ipvlan interface in mode l3s of the link with this index.

    It is made in the namespace of this file descriptor, or beside its uplink. It has the hardware
    address of its uplink, whatever one asks for.
    """
    names = _text(_IFLA_IFNAME, name) + _attribute(_IFLA_MTU, _NUMBER.pack(mtu))
    names += _attribute(_IFLA_LINK, _NUMBER.pack(uplink))
    if namespace is not None:
        names += _attribute(_IFLA_NET_NS_FD, _NUMBER.pack(namespace))
    data = _attribute(_INFO_DATA | _NESTED, _attribute(_IPVLAN_MODE, _SHORT.pack(_L3S)))
    return _new_ipvlan(names, data)


def try_ipvlan() -> bytes:
    """Never makes anything, since it names no uplink.

    A kernel with ipvlan refuses it as invalid, one without as not supported.
    """
    return _new_ipvlan(b"", b"")


def _new_ipvlan(names: bytes, data: bytes) -> bytes:
    info = _attribute(_IFLA_LINKINFO | _NESTED, _attribute(_INFO_KIND, b"ipvlan\0") + data)
    body = _LINK.pack(0, 0, 0, 0, 0) + names + info
    return message(NEW_LINK, CREATE | EXCLUSIVE | ACKNOWLEDGE, body)


def get_link(name: str) -> bytes:
    """Ask for a link by its name."""
    return message(GET_LINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name))


def get_link_at(index: int) -> bytes:
    """Ask for a link by its index."""
    return message(GET_LINK, 0, _LINK.pack(0, 0, index, 0, 0))


def switch_on(index: int) -> bytes:
    """Switch a link on."""
    return message(SET_LINK, 0, _LINK.pack(0, 0, index, UP, UP))


def set_alias(index: int, alias: str) -> bytes:
    """Write a line of text beside a link."""
    return message(SET_LINK, 0, _LINK.pack(0, 0, index, 0, 0) + _text(_IFLA_IFALIAS, alias))


def set_aside(name: str, mac: str, group: int) -> bytes:
    """Give a link another hardware address and a group of links."""
    body = _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
    body += _attribute(_IFLA_ADDRESS, _mac(mac)) + _attribute(_IFLA_GROUP, _NUMBER.pack(group))
    return message(SET_LINK, ACKNOWLEDGE, body)


def delete_link(name: str) -> bytes:
    """Remove a link."""
    body = _LINK.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
    return message(DELETE_LINK, ACKNOWLEDGE, body)


def delete_group(group: int) -> bytes:
    """Remove all links of a group at once: the kernel waits once for all of them."""
    body = _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_GROUP, _NUMBER.pack(group))
    return message(DELETE_LINK, ACKNOWLEDGE, body)


def new_address(index: int, family: Family, value: int) -> bytes:
    """An address of full length, which nobody is asked about before it is used."""
    packed = value.to_bytes(family.width // 8, "big")
    flags = _WITHOUT_DETECTION if family is Family.IPV6 else 0
    body = _ADDRESS.pack(SOCKET_FAMILY[family], family.width, flags, _SCOPE_UNIVERSE, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return message(NEW_ADDRESS, CREATE | EXCLUSIVE, body)


def new_neighbour(index: int, family: Family, value: int, mac: str) -> bytes:
    """A neighbour whose hardware address never has to be asked for."""
    body = _NEIGHBOUR.pack(SOCKET_FAMILY[family], index, _PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, value.to_bytes(family.width // 8, "big"))
    body += _attribute(_NDA_LLADDR, _mac(mac))
    return message(NEW_NEIGHBOUR, CREATE | REPLACE, body)


def new_default_route(index: int, family: Family, gateway: int) -> bytes:
    """A default route by a gateway that is on the link though no prefix says so."""
    body = _ROUTE.pack(
        *(SOCKET_FAMILY[family], 0, 0, 0, MAIN_TABLE, _BOOT_PROTOCOL, _SCOPE_UNIVERSE, _UNICAST),
        _ON_LINK,
    )
    body += _attribute(_RTA_GATEWAY, gateway.to_bytes(family.width // 8, "big"))
    body += _attribute(_RTA_OIF, _NUMBER.pack(index))
    return message(NEW_ROUTE, CREATE | EXCLUSIVE, body)


def new_default_link_route(index: int, family: Family) -> bytes:
    """A default route without a gateway: everything is on the link."""
    body = _ROUTE.pack(
        *(SOCKET_FAMILY[family], 0, 0, 0, MAIN_TABLE, _BOOT_PROTOCOL, _SCOPE_LINK, _UNICAST), 0
    )
    return message(NEW_ROUTE, CREATE | EXCLUSIVE, body + _attribute(_RTA_OIF, _NUMBER.pack(index)))


def new_link_route(index: int, family: Family, value: int, protocol: int) -> bytes:
    """A route to one address that is on the link."""
    body = _to_address(family, value, protocol, _SCOPE_LINK, _UNICAST)
    body += _attribute(_RTA_OIF, _NUMBER.pack(index))
    return message(NEW_ROUTE, CREATE | REPLACE, body)


def delete_link_route(family: Family, value: int, protocol: int) -> bytes:
    """Remove the route to one address that this protocol number made."""
    return message(DELETE_ROUTE, 0, _to_address(family, value, protocol, 255, 0))


def new_gateway_route(
    destination: Prefix, gateway: int, index: int, protocol: int, metric: int
) -> bytes:
    """A route by way of a neighbour; refused where one with this destination and metric is."""
    body = _by_gateway(destination, gateway, index, protocol, metric)
    return message(NEW_ROUTE, CREATE | EXCLUSIVE | ACKNOWLEDGE, body)


def move_gateway_route(
    destination: Prefix, gateway: int, index: int, protocol: int, metric: int
) -> bytes:
    """A route by way of a neighbour, in place of the one with this destination and metric."""
    body = _by_gateway(destination, gateway, index, protocol, metric)
    return message(NEW_ROUTE, CREATE | REPLACE | ACKNOWLEDGE, body)


def _by_gateway(destination: Prefix, gateway: int, index: int, protocol: int, metric: int) -> bytes:
    width = destination.family.width
    body = _to_prefix(destination, protocol, _SCOPE_UNIVERSE, _UNICAST)
    body += _attribute(_RTA_GATEWAY, gateway.to_bytes(width // 8, "big"))
    body += _attribute(_RTA_OIF, _NUMBER.pack(index))
    return body + _attribute(_RTA_PRIORITY, _NUMBER.pack(metric))


def delete_gateway_route(destination: Prefix, protocol: int, metric: int) -> bytes:
    """Remove the route with this destination, protocol and metric."""
    body = _to_prefix(destination, protocol, 255, 0)
    body += _attribute(_RTA_PRIORITY, _NUMBER.pack(metric))
    return message(DELETE_ROUTE, ACKNOWLEDGE, body)


def refuse_prefix(destination: Prefix, protocol: int, metric: int) -> bytes:
    """A route that answers with *unreachable*, in place of the one with this metric."""
    body = _to_prefix(destination, protocol, _SCOPE_UNIVERSE, UNREACHABLE)
    body += _attribute(_RTA_PRIORITY, _NUMBER.pack(metric))
    return message(NEW_ROUTE, CREATE | REPLACE | ACKNOWLEDGE, body)


def delete_refusal(destination: Prefix, protocol: int, metric: int) -> bytes:
    """Remove such a route."""
    body = _to_prefix(destination, protocol, 255, UNREACHABLE)
    body += _attribute(_RTA_PRIORITY, _NUMBER.pack(metric))
    return message(DELETE_ROUTE, ACKNOWLEDGE, body)


def get_route(family: Family, value: int) -> bytes:
    """Ask where packets to an address go."""
    body = _ROUTE.pack(SOCKET_FAMILY[family], family.width, 0, 0, 0, 0, 0, 0, 0)
    body += _attribute(_RTA_DST, value.to_bytes(family.width // 8, "big"))
    return message(GET_ROUTE, 0, body)


def get_routes(family: Family) -> bytes:
    """Ask for all routes of a family."""
    body = _ROUTE.pack(SOCKET_FAMILY[family], 0, 0, 0, 0, 0, 0, 0, 0)
    return message(GET_ROUTE, DUMP, body)


def _to_address(family: Family, value: int, protocol: int, scope: int, kind: int) -> bytes:
    return _to_prefix(Prefix(family, value, family.width), protocol, scope, kind)


def _to_prefix(destination: Prefix, protocol: int, scope: int, kind: int) -> bytes:
    family = destination.family
    body = _ROUTE.pack(
        *(SOCKET_FAMILY[family], destination.length, 0, 0, MAIN_TABLE, protocol, scope, kind), 0
    )
    return body + _attribute(_RTA_DST, destination.value.to_bytes(family.width // 8, "big"))


def _names(name: str, mac: str, mtu: int) -> bytes:
    return (
        _text(_IFLA_IFNAME, name)
        + _attribute(_IFLA_ADDRESS, _mac(mac))
        + _attribute(_IFLA_MTU, _NUMBER.pack(mtu))
    )


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _text(kind: int, content: str) -> bytes:
    return _attribute(kind, content.encode() + b"\0")


def _attribute(kind: int, content: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(content)
    return _ATTRIBUTE.pack(size, kind) + content + bytes(-size & 3)


def _attributes(body: bytes, position: int) -> dict[int, bytes]:
    return dict(_each(body, position))


def _each(body: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    end = len(body) - _ATTRIBUTE.size
    while position <= end:
        size, kind = _ATTRIBUTE.unpack_from(body, position)
        yield kind & 0x3FFF, body[position + _ATTRIBUTE.size : position + size]
        position += (size + 3 & ~3) or _ATTRIBUTE.size
