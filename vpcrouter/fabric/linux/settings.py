"""What of a Linux router serves as route tables, and who can be a next hop there."""

from __future__ import annotations

from dataclasses import dataclass

from ipam.prefix import Prefix

PROTOCOL = 118
"""The number in a route's protocol field by which entries are known as made here."""

METRIC = 50
"""Of entries: no route that somebody else makes with the kernel's defaults has it."""


@dataclass(frozen=True, slots=True)
class RouterSubnet:
    """A subnet on one interface of the router.

    What comes from ``interface`` is routed by the kernel's table ``number``, which is called
    ``table``: ``ip rule add iif INTERFACE lookup NUMBER``.
    """

    id: str
    zone: str
    interface: str
    table: str
    number: int


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """A router by its name. ``namespace`` is the path of its network namespace, None: our own.

    ``limit`` is how many routes a table takes in each family, whoever made them. ``local`` are the
    ranges of machines: an entry is never more specific (none: the subnets' own addresses).
    """

    name: str
    namespace: str | None
    subnets: tuple[RouterSubnet, ...]
    limit: int
    local: tuple[Prefix, ...] = ()
