"""Who is at the other side of a VPC's peerings, as EC2 describes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ipam.errors import BadInputError
from ipam.prefix import Prefix

Item = Mapping[str, Any]

_OVER = frozenset({"deleted", "deleting", "expired", "failed", "rejected"})
_CIDRS = (("CidrBlockSet", "CidrBlock"), ("Ipv6CidrBlockSet", "Ipv6CidrBlock"))


@dataclass(frozen=True, slots=True)
class Peering:
    """A peering with another VPC, in force or about to be, and the ranges of that one."""

    id: str
    peer: str
    cidrs: tuple[Prefix, ...]


def parse_peerings(vpc: str, items: Iterable[Item]) -> tuple[Peering, ...]:
    """From what the describing call answers about the peerings of ``vpc``, by id."""
    found = {}
    for item in items:
        sides = (item.get("RequesterVpcInfo", {}), item.get("AccepterVpcInfo", {}))
        other = sides[1] if sides[0].get("VpcId") == vpc else sides[0]
        if item.get("Status", {}).get("Code") not in _OVER:
            name = item["VpcPeeringConnectionId"]
            found[name] = Peering(name, other.get("VpcId", "unknown"), tuple(sorted(_cidrs(other))))
    return tuple(found[name] for name in sorted(found))


def _cidrs(side: Item) -> Iterator[Prefix]:
    """Each once; what cannot be read is none (not accepted yet: only the requester's are known)."""
    texts = {side.get("CidrBlock")}
    for key, name in _CIDRS:
        texts.update(part.get(name) for part in side.get(key, []))
    for text in texts:
        try:
            if text:
                yield Prefix.parse(text)
        except BadInputError:
            continue
