"""Endpoints, and which address a new one gets: any free one of the node's blocks, first ones too.

An address that was released is left alone for a while, so that what still arrives for the old pod
does not reach a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cni.protocol import Attachment, Mode
from ipam.errors import ExhaustedError
from ipam.prefix import Family, Prefix

Addresses = tuple[tuple[Family, int], ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod's interface: who it belongs to, its hardware address, one address of each family.

    In mode ipvlan its hardware address is the uplink's instead, and it has no link on the host.
    """

    attachment: Attachment
    network: str
    mac: str
    addresses: Addresses
    mode: Mode = Mode.VETH

    @property
    def link(self) -> str:
        """The name of its link on the host: 14 characters made from the attachment."""
        return LINK_PREFIX + _digest(self.attachment)[:12]


LINK_PREFIX = "vr"
"""How the names of the links on the host start."""


def _digest(attachment: Attachment) -> str:
    named = f"{attachment.container}/{attachment.ifname}".encode()
    return hashlib.sha256(named).hexdigest()


def mac_of(attachment: Attachment) -> str:
    """The hardware address of a pod's interface where the runtime wants none: always the same."""
    digest = _digest(attachment)
    return ":".join(("0a", "58", *(digest[i : i + 2] for i in range(12, 20, 2))))


def choose(
    family: Family,
    blocks: Sequence[Prefix],
    taken: Collection[int],
    cooling: Collection[int],
    after: int | None,
) -> int:
    """The next address of the blocks behind the one given out last that nobody has or had lately.

    ``taken`` and ``cooling`` are addresses of this family. Takes as many steps as these hold, so
    large IPv6 blocks cost nothing. Raises ExhaustedError if no address is left.
    """
    own = [block for block in blocks if block.family is family]
    for address in _from(own, after):
        if address not in taken and address not in cooling:
            return address
    resting = sum(any(block.holds(address) for block in own) for address in cooling)
    raise ExhaustedError(
        f"no {family} address is left in the {len(own)} blocks of this node ({resting} were "
        "released a moment ago): wait, or give the node another block"
    )


def _from(blocks: Sequence[Prefix], after: int | None) -> Iterator[int]:
    """All addresses of the blocks once, beginning behind one of them."""
    if after is None:
        after = -1
    for block in blocks:
        yield from range(max(block.value, after + 1), block.last + 1)
    for block in blocks:
        yield from range(block.value, min(block.last, after) + 1)


def free_addresses(
    blocks: Sequence[Prefix], used: Mapping[Family, Collection[int]]
) -> dict[Family, int]:
    """How many addresses of each family of the blocks are not in use."""
    free: dict[Family, int] = {}
    for block in blocks:
        inside = sum(map(block.holds, used.get(block.family, ())))
        free[block.family] = free.get(block.family, 0) + block.size - inside
    return free
