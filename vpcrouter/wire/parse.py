"""A snapshot file (version 1) into a Snapshot: the only way in for snapshots from outside.

Whatever is malformed or contradicts itself is refused with file, field, what and what to do; see
``docs/files.md`` for the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ipam.prefix import Family, Prefix
from vpcrouter.model import BlockColumns, Entry, Node, RouteTable, Snapshot, Subnet
from vpcrouter.wire.checks import (
    check_addresses,
    check_loads,
    check_names,
    check_prefixes,
    check_table_names,
    owners,
)
from vpcrouter.wire.strict import Record, Shape, fail, load_json, shown

VERSION = 1

_SNAPSHOT = Shape(
    frozenset({"version", "subnets", "nodes", "blocks", "route_tables"}), frozenset({"coming"})
)
_SUBNET = Shape(frozenset({"id", "zone", "route_table", "prefixes"}))
_NODE = Shape(
    frozenset({"name", "subnet", "interface", "addresses"}),
    frozenset({"capacity", "healthy", "forwards", "avoid"}),
)
_BLOCK = Shape(frozenset({"cidr", "node"}), frozenset({"weight"}))
_TABLE = Shape(
    frozenset({"id", "limit", "budget"}), frozenset({"own_subnet_weight", "entries", "foreign"})
)
_ENTRY = Shape(frozenset({"destination", "interface"}))


def parse_snapshot(text: str | bytes, source: str) -> Snapshot:
    """The snapshot that the text holds; ``source`` names the file in errors.

    Raises BadInputError for the first thing that is malformed or contradicts another.
    """
    top = Record(load_json(text, source), _SNAPSHOT, source)
    top.version("version", VERSION)
    subnets = [_subnet(record) for record in top.records("subnets", _SUBNET)]
    tables = [_table(record) for record in top.records("route_tables", _TABLE)]
    nodes = [_node(record) for record in top.records("nodes", _NODE)]
    check_names(source, subnets, nodes, tables)
    check_table_names(source, subnets, tables)
    check_prefixes(source, subnets)
    check_addresses(source, nodes)
    ordered = tuple(sorted(nodes, key=lambda node: node.name))
    rows = _rows(top, ordered)
    columns = {
        family: _columns(source, family, rows[family], ordered, subnets) for family in Family
    }
    check_loads(source, nodes, columns, tables)
    return Snapshot(
        subnets=tuple(sorted(subnets, key=lambda subnet: subnet.id)),
        nodes=ordered,
        blocks=columns,
        route_tables=tuple(sorted(tables, key=lambda table: table.id)),
        coming=tuple(sorted(set(top.prefixes("coming")))),
    )


class _Row(NamedTuple):
    """One block: network address, prefix length, its place in the file, node index, weight."""

    value: int
    length: int
    position: int
    node: int
    weight: float


def _subnet(record: Record) -> Subnet:
    return Subnet(
        id=record.name("id"),
        zone=record.label("zone"),
        route_table=record.name("route_table"),
        prefixes=tuple(sorted(set(record.prefixes("prefixes")))),
    )


def _node(record: Record) -> Node:
    return Node(
        name=record.name("name"),
        subnet=record.name("subnet"),
        interface=record.name("interface"),
        addresses=record.addresses("addresses"),
        capacity=record.positive("capacity", 1.0),
        healthy=record.flag("healthy", True),
        forwards=record.flag("forwards", True),
        avoid=record.flag("avoid", False),
    )


def _table(record: Record) -> RouteTable:
    limit = record.counts("limit")
    budget = record.counts("budget")
    for family in Family:
        if budget[family] > limit[family]:
            record.fail(
                f"budget.{family}",
                f"{budget[family]} is above the limit of {limit[family]}: lower it",
            )
    entries: dict[Prefix, Entry] = {}
    for row in record.records("entries", _ENTRY):
        entry = Entry(row.prefix("destination"), row.name("interface"))
        if entry.destination in entries:
            row.fail("destination", f"{entry.destination} is in the table already: remove one")
        entries[entry.destination] = entry
    foreign: set[Prefix] = set()
    for position, destination in enumerate(record.prefixes("foreign")):
        if destination in entries:
            other = "is also in entries: an entry is ours or foreign, remove one"
            record.fail(f"foreign[{position}]", f"{destination} {other}")
        if destination in foreign:
            record.fail(f"foreign[{position}]", f"{destination} is listed twice: remove one")
        foreign.add(destination)
    return RouteTable(
        id=record.name("id"),
        limit=limit,
        budget=budget,
        own_subnet_weight=record.number("own_subnet_weight", 1.0),
        entries=tuple(sorted(entries.values())),
        foreign=tuple(sorted(foreign)),
    )


def _rows(top: Record, nodes: Sequence[Node]) -> dict[Family, list[_Row]]:
    """The blocks of each family, sorted by address."""
    index = {node.name: position for position, node in enumerate(nodes)}
    rows: dict[Family, list[_Row]] = {family: [] for family in Family}
    for position, record in enumerate(top.records("blocks", _BLOCK)):
        prefix = record.prefix("cidr")
        name = record.name("node")
        node = index.get(name)
        if node is None:
            record.fail("node", f"{shown(name)} is no node: add it to nodes or correct the name")
        weight = record.number("weight", 1.0)
        rows[prefix.family].append(_Row(prefix.value, prefix.length, position, node, weight))
    for found in rows.values():
        found.sort()
    return rows


def _columns(
    source: str,
    family: Family,
    rows: Sequence[_Row],
    nodes: Sequence[Node],
    subnets: Sequence[Subnet],
) -> BlockColumns:
    """Sorted rows as columns; refuses two owners of an address and blocks outside their subnet."""

    def cidr(row: _Row) -> Prefix:
        return Prefix(family, row.value, row.length)

    for row, following in pairwise(rows):
        if row.value + (1 << (family.width - row.length)) > following.value:
            first, second = sorted((row, following), key=lambda one: one.position)
            fail(
                source,
                f"blocks[{second.position}].cidr",
                f"{cidr(second)} of node {shown(nodes[second.node].name)} overlaps {cidr(first)} "
                f"of node {shown(nodes[first.node].name)} (blocks[{first.position}]): "
                "an address has one owner, remove one",
            )
    for row, owner in zip(rows, owners(family, rows, subnets), strict=True):
        node = nodes[row.node]
        if owner != node.subnet:
            fail(
                source,
                f"blocks[{row.position}].cidr",
                f"{cidr(row)} is outside the prefixes of subnet {shown(node.subnet)}, where node "
                f"{shown(node.name)} is: give it a block inside them",
            )
    return BlockColumns.build(
        family, ((row.value, row.length, row.node, row.weight) for row in rows)
    )
