"""What the parts of a snapshot must not contradict: names, prefixes, owners, sums.

Each check raises BadInputError with the path of the later of two objects that do not go together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from ipam.prefix import Family, Prefix, merge
from vpcrouter.model import BlockColumns, Node, RouteTable, Subnet
from vpcrouter.wire.strict import fail, shown


class Span(Protocol):
    """A prefix as address and length."""

    @property
    def value(self) -> int:
        """The network address."""

    @property
    def length(self) -> int:
        """The prefix length."""


def check_names(
    source: str, subnets: Sequence[Subnet], nodes: Sequence[Node], tables: Sequence[RouteTable]
) -> None:
    """Ids, names and interfaces are used once; the subnets of nodes exist."""
    _refuse_repeated(source, "subnets", "id", (subnet.id for subnet in subnets))
    _refuse_repeated(source, "route_tables", "id", (table.id for table in tables))
    _refuse_repeated(source, "nodes", "name", (node.name for node in nodes))
    _refuse_repeated(source, "nodes", "interface", (node.interface for node in nodes))
    known = {subnet.id for subnet in subnets}
    for position, node in enumerate(nodes):
        if node.subnet not in known:
            fail(
                source,
                f"nodes[{position}].subnet",
                f"{shown(node.subnet)} is no subnet: add it to subnets or correct the name",
            )


def check_table_names(source: str, subnets: Sequence[Subnet], tables: Sequence[RouteTable]) -> None:
    """The route tables that subnets use exist."""
    known = {table.id for table in tables}
    for position, subnet in enumerate(subnets):
        if subnet.route_table not in known:
            fail(
                source,
                f"subnets[{position}].route_table",
                f"{shown(subnet.route_table)} is no route table: add it to route_tables or "
                "correct the name",
            )


def check_prefixes(source: str, subnets: Sequence[Subnet]) -> None:
    """Prefixes of different subnets are disjoint."""
    rows = sorted(
        (prefix, position) for position, subnet in enumerate(subnets) for prefix in subnet.prefixes
    )
    widest: tuple[Prefix, int] | None = None
    for prefix, position in rows:
        if widest is None or not widest[0].contains(prefix):
            widest = prefix, position
            continue
        if widest[1] != position:
            (first, ours), (second, theirs) = sorted(
                ((position, prefix), (widest[1], widest[0])), key=lambda one: one[0]
            )
            fail(
                source,
                f"subnets[{second}].prefixes",
                f"{theirs} overlaps {ours} of subnet {shown(subnets[first].id)}: "
                "prefixes of different subnets must be disjoint",
            )


def check_addresses(source: str, nodes: Sequence[Node]) -> None:
    """No two nodes have the same address."""
    for family in Family:
        seen: dict[str, int] = {}
        for position, node in enumerate(nodes):
            address = node.addresses.get(family)
            if address is None:
                continue
            first = seen.setdefault(address, position)
            if first != position:
                fail(
                    source,
                    f"nodes[{position}].addresses.{family}",
                    f"{address} is also the address of node {shown(nodes[first].name)}: "
                    "correct one of them",
                )


def check_loads(
    source: str,
    nodes: Sequence[Node],
    blocks: Mapping[Family, BlockColumns],
    tables: Sequence[RouteTable],
) -> None:
    """No sum of weights, and no load made of it, is beyond what a number can hold."""
    total = sum(sum(columns.weight) for columns in blocks.values())
    factor = max((table.own_subnet_weight for table in tables), default=1.0)
    divisor = min((node.capacity for node in nodes), default=1.0)
    if not math.isfinite(total):
        fail(source, "blocks", "the sum of all weights is too large: use a larger unit")
    if not math.isfinite(total * max(factor, 1.0) / min(divisor, 1.0)):
        fail(
            source,
            "blocks",
            "weight over capacity is too large: use a larger unit for weights or for capacities",
        )


def owners(
    family: Family, spans: Iterable[Span], subnets: Sequence[Subnet]
) -> Iterator[str | None]:
    """For each of the sorted, disjoint spans the subnet whose prefixes hold all of it, or None."""
    areas = sorted(
        (prefix.value, prefix.last, subnet.id)
        for subnet in subnets
        for prefix in merge(prefix for prefix in subnet.prefixes if prefix.family is family)
    )
    at = 0
    for span in spans:
        last = span.value + (1 << (family.width - span.length)) - 1
        while at < len(areas) and areas[at][1] < span.value:
            at += 1
        inside = at < len(areas) and areas[at][0] <= span.value and last <= areas[at][1]
        yield areas[at][2] if inside else None


def _refuse_repeated(source: str, items: str, field: str, values: Iterable[str]) -> None:
    seen: dict[str, int] = {}
    for position, value in enumerate(values):
        first = seen.setdefault(value, position)
        if first != position:
            fail(
                source,
                f"{items}[{position}].{field}",
                f"{shown(value)} is taken by {items}[{first}]: every one has its own",
            )
