"""The networks of a cluster file: the shape of their fields, and the values that they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ipam.errors import BadInputError
from ipam.network import Network, check_network, check_networks
from ipam.prefix import Family, Prefix, merge, parse_address, spanned
from ipam.topology import (
    GROUPS,
    PLAIN,
    SUBNET,
    Level,
    LevelKind,
    NamedGroup,
    StaticAddress,
    Topology,
    topology,
)
from vpcrouter.positioned import Document, Where

MAX_BLOCK_BITS = 16

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
GROUP_NAME = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, Field(pattern=NAME, max_length=63)]
_Text = Annotated[str, Field(pattern=GROUP_NAME, max_length=253)]


class Strict(BaseModel):
    """A mapping of the file: no unknown fields, no conversions, only finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class BlockLengths(Strict):
    """Prefix lengths of a block."""

    ipv4: int = Field(26, ge=1, le=32)
    ipv6: int = Field(80, ge=1, le=128)


class NodeLengths(Strict):
    """Prefix lengths of a node's prefix."""

    ipv4: int = Field(24, ge=1, le=32)
    ipv6: int = Field(64, ge=1, le=128)


class GroupFields(Strict):
    """An explicit group."""

    name: _Text
    hosts: list[_Text] = []
    labels: dict[str, str] = {}
    groups: list[GroupFields] = []
    weight: float = Field(1.0, gt=0, le=1_000_000)
    reserve: object = None
    cidrs: list[str] = []


class StaticFields(Strict):
    """A static address."""

    name: _Text
    address: str


class NetworkFields(Strict):
    """A network. Fields that can be of several kinds are looked at by hand."""

    name: Name
    cidrs: list[str] = Field(min_length=1)
    block: BlockLengths = BlockLengths()
    node: NodeLengths = NodeLengths()
    exclude: list[str] = []
    levels: list[object] = []
    groups: list[GroupFields] = []
    tenants: list[Name] = []
    static: list[StaticFields] = []
    closed: object = False


def read_networks(document: Document, fields: list[NetworkFields]) -> tuple[Network, ...]:
    """The networks; raises BadInputError with file, line and field where they break a rule."""
    names: set[str] = set()
    seen: list[tuple[Prefix, str]] = []
    networks: list[Network] = []
    for index, one in enumerate(fields):
        where: Where = ("networks", index)
        if one.name in names:
            raise document.error((*where, "name"), f"two networks are named {one.name}")
        names.add(one.name)
        network = _network(document, where, one)
        for position, cidr in enumerate(network.cidrs):
            for other, owner in seen:
                if cidr.overlaps(other):
                    place = (*where, "cidrs", position)
                    raise document.error(place, f"{cidr} overlaps {other} of network {owner}")
            seen.append((cidr, network.name))
        _checked(document, where, check_network, network)
        networks.append(network)
    _checked(document, ("networks",), check_networks, networks)
    return tuple(networks)


def _network(document: Document, where: Where, fields: NetworkFields) -> Network:
    cidrs = _prefixes(document, (*where, "cidrs"), fields.cidrs)
    exclude = tuple(_excluded(document, (*where, "exclude"), fields.exclude, cidrs))
    block = {Family.IPV4: fields.block.ipv4, Family.IPV6: fields.block.ipv6}
    node = {Family.IPV4: fields.node.ipv4, Family.IPV6: fields.node.ipv6}
    for family in sorted({cidr.family for cidr in cidrs}):
        _check_lengths(document, (*where, "node", family.value), node[family], block[family])
    for position, cidr in enumerate(cidrs):
        _check_cidr((*where, "cidrs", position), document, cidr, block[cidr.family], exclude)
    return Network(
        name=fields.name,
        cidrs=cidrs,
        block=block,
        node=node,
        exclude=exclude,
        topology=_topology(document, where, fields, cidrs),
        tenants=tuple(fields.tenants),
        static=tuple(_static(document, (*where, "static"), fields.static)),
        closed=_closed(document, (*where, "closed"), fields.closed, cidrs),
    )


def _check_lengths(document: Document, where: Where, node: int, block: int) -> None:
    if node > block:
        raise document.error(where, f"a node's prefix (/{node}) must hold its block (/{block})")
    if block > node + MAX_BLOCK_BITS:
        raise document.error(
            where,
            f"a node's prefix (/{node}) has too many blocks (/{block}): let the lengths differ by "
            f"at most {MAX_BLOCK_BITS}",
        )


def _prefixes(document: Document, where: Where, texts: list[str]) -> tuple[Prefix, ...]:
    return tuple(
        _checked(document, (*where, position), Prefix.parse, text)
        for position, text in enumerate(texts)
    )


_UNROUTABLE = tuple(
    Prefix.parse(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "fe80::/10",
        "ff00::/8",
    )
)


def _check_cidr(
    where: Where, document: Document, cidr: Prefix, block: int, exclude: tuple[Prefix, ...]
) -> None:
    if cidr.length > block:
        raise document.error(where, f"{cidr} is too small: one block of a node is a /{block}")
    for special in _UNROUTABLE:
        if cidr.overlaps(special):
            raise document.error(where, f"{cidr} holds {special}, which no VPC routes")
    if any(prefix.contains(cidr) for prefix in merge(exclude)):
        raise document.error(where, f"all of {cidr} is excluded")


def _excluded(
    document: Document, where: Where, texts: list[str], cidrs: tuple[Prefix, ...]
) -> Iterator[Prefix]:
    """Prefixes, single addresses and ranges such as ``10.0.0.5-10.0.0.20``."""
    for position, text in enumerate(texts):
        for prefix in _checked(document, (*where, position), _parse_range, text):
            _check_exclude((*where, position), document, prefix, cidrs)
            yield prefix


def _parse_range(text: str) -> tuple[Prefix, ...]:
    first, dash, last = text.partition("-")
    if not dash and "/" in text:
        return (Prefix.parse(text),)
    family, low = parse_address(first.strip())
    other, high = parse_address(last.strip()) if dash else (family, low)
    if family is not other or low > high:
        raise BadInputError(f"{text!r} is no range: write it as 10.0.0.5-10.0.0.20")
    return spanned(family, low, high)


def _check_exclude(
    where: Where, document: Document, prefix: Prefix, cidrs: tuple[Prefix, ...]
) -> None:
    if any(cidr.contains(prefix) for cidr in cidrs):
        return
    families = {cidr.family for cidr in cidrs}
    if prefix.family not in families:
        raise document.error(where, f"{prefix} is excluded, but the network has no such family")
    raise document.error(where, f"{prefix} is excluded, but lies in none of the network's cidrs")


# Levels and groups

_LABEL = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_SHORT = {
    "region": "topology.kubernetes.io/region",
    "zone": "topology.kubernetes.io/zone",
}


def _topology(
    document: Document, where: Where, fields: NetworkFields, cidrs: tuple[Prefix, ...]
) -> Topology:
    levels = [
        _level(document, (*where, "levels", position), item)
        for position, item in enumerate(fields.levels)
    ]
    groups = [
        _group(document, (*where, "groups", position), group, cidrs)
        for position, group in enumerate(fields.groups)
    ]
    if not levels and not groups:
        return PLAIN
    field = "groups" if groups else "levels"
    return _checked(document, (*where, field), lambda parts: topology(*parts), (levels, groups))


def _level(document: Document, where: Where, item: object) -> Level:
    if isinstance(item, str) and item in _SHORT:
        return Level(LevelKind.LABEL, _SHORT[item])
    for known in (SUBNET, GROUPS):
        if item == str(known):
            return known
    if isinstance(item, dict) and item.keys() == {"label"}:
        label = item["label"]
        if isinstance(label, str) and re.fullmatch(_LABEL, label):
            return Level(LevelKind.LABEL, label)
    raise document.error(
        where, "a level is subnet, groups, region, zone, or {label: NAME} of a node's label"
    )


def _group(
    document: Document, where: Where, fields: GroupFields, cidrs: tuple[Prefix, ...]
) -> NamedGroup:
    return NamedGroup(
        name=fields.name,
        hosts=tuple(fields.hosts),
        labels=tuple(sorted(fields.labels.items())),
        groups=tuple(
            _group(document, (*where, "groups", position), inner, cidrs)
            for position, inner in enumerate(fields.groups)
        ),
        weight=fields.weight,
        reserve=_reserve(document, (*where, "reserve"), fields.reserve, cidrs),
        cidrs=_prefixes(document, (*where, "cidrs"), fields.cidrs),
    )


def _reserve(
    document: Document, where: Where, value: object, cidrs: tuple[Prefix, ...]
) -> Mapping[Family, int]:
    """Prefix lengths; a share is of the widest range of the network in each family."""
    widest: dict[Family, int] = {}
    for cidr in cidrs:
        widest[cidr.family] = min(cidr.length, widest.get(cidr.family, cidr.family.width))
    if value is None:
        return {}
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1:
        bits = math.ceil(-math.log2(value))
        return {family: length + bits for family, length in sorted(widest.items())}
    if isinstance(value, dict) and value and value.keys() <= set(map(str, Family)):
        lengths = {Family(family): length for family, length in value.items()}
        if all(isinstance(n, int) and not isinstance(n, bool) for n in lengths.values()):
            return lengths
    raise document.error(
        where, "a reserve is a share below 1, such as 0.25, or prefix lengths such as {ipv4: 20}"
    )


# Static addresses and closed ranges


def _static(document: Document, where: Where, items: list[StaticFields]) -> Iterator[StaticAddress]:
    for position, item in enumerate(items):
        place = (*where, position, "address")
        family, value = _checked(document, place, parse_address, item.address)
        yield StaticAddress(item.name, Prefix(family, value, family.width))


def _closed(
    document: Document, where: Where, value: object, cidrs: tuple[Prefix, ...]
) -> tuple[Prefix, ...]:
    if isinstance(value, bool):
        return cidrs if value else ()
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        closed = _prefixes(document, where, value)
        for position, prefix in enumerate(closed):
            if prefix not in cidrs:
                raise document.error(
                    (*where, position), f"{prefix} is none of the network's cidrs: close one"
                )
        return closed
    raise document.error(where, "should be true, false or a list of the network's cidrs")


_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


def _checked(
    document: Document, where: Where, function: Callable[[_Input], _Output], value: _Input
) -> _Output:
    """What a function makes of a value; its errors name the field."""
    try:
        return function(value)
    except BadInputError as error:
        raise document.error(where, str(error)) from error
