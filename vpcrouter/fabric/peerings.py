"""Who is at the other side of a VPC's peerings, as EC2 describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ipam.errors import BadInputError
from ipam.prefix import Prefix

Item = Mapping[str, Any]

_OVER = frozenset({"deleted", "deleting", "expired", "failed", "rejected"})
_CIDRS = (("CidrBlockSet", "CidrBlock"), ("Ipv6CidrBlockSet", "Ipv6CidrBlock"))


@dataclass(frozen=True, slots=True)
class Peering:
    """A peering with another VPC, in force or about to be, and the ranges of that one.

    ``unread`` are those that make no sense.
    """

    id: str
    peer: str
    cidrs: tuple[Prefix, ...]
    unread: tuple[str, ...] = ()


def parse_peerings(vpc: str, items: Iterable[Item]) -> tuple[Peering, ...]:
    """From what the describing call answers about the peerings of ``vpc``, by id."""
    found = {}
    for item in items:
        sides = (item.get("RequesterVpcInfo", {}), item.get("AccepterVpcInfo", {}))
        other = sides[1] if sides[0].get("VpcId") == vpc else sides[0]
        if item.get("Status", {}).get("Code") not in _OVER:
            name = item["VpcPeeringConnectionId"]
            found[name] = _peering(name, other)
    return tuple(found[name] for name in sorted(found))


def _peering(name: str, other: Item) -> Peering:
    cidrs: list[Prefix] = []
    unread: list[str] = []
    for text in _texts(other):
        try:
            cidrs.append(Prefix.parse(text))
        except BadInputError:
            unread.append(text)
    return Peering(name, other.get("VpcId", "unknown"), tuple(sorted(cidrs)), tuple(unread))


def _texts(side: Item) -> list[str]:
    """Each CIDR once; none of the accepter is known until it has accepted."""
    texts = {side.get("CidrBlock")}
    for key, name in _CIDRS:
        texts.update(part.get(name) for part in side.get(key, []))
    return sorted(text for text in texts if text)
