"""``vpcrouter nodes``: nodes with their blocks and load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vpcrouter.cli.details import Details, addresses, state_of
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import check_node, check_subnet, is_listed, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import documented, filter_options, source_options
from vpcrouter.cli.output import listing, number, write
from vpcrouter.cli.source import look
from vpcrouter.model import Node, Snapshot
from vpcrouter.traffic import Traffic
from vpcrouter.wire.dump import Json, node_document

_EXAMPLES = """
vpcrouter nodes -f cluster.yaml
vpcrouter nodes --subnet subnet-0a
vpcrouter nodes --all -o json
"""

_HEADINGS = ("NODE", "SUBNET", "INTERFACE", "ADDRESS", "STATE", "#BLOCKS", "#WEIGHT", "#LOAD")


@dataclass(frozen=True, slots=True)
class _Row:
    """A node with what it owns and the most that it forwards for others in any table."""

    node: Node
    blocks: int
    weight: float
    load: float


@documented("Show nodes with their blocks and load.", _EXAMPLES)
@source_options
@filter_options("subnet", "node")
def command(
    cluster_file: str | None,
    snapshot_file: str | None,
    output: Output,
    everything: bool,
    subnet: str | None,
    node: str | None,
) -> ExitCode:
    """Show the nodes with their blocks, and the largest load that any table puts on them.

    Up to 60 are listed; more are summarised by subnet unless --all or a filter asks for them.
    """
    seen = look(cluster_file, snapshot_file)
    snapshot = seen.snapshot
    check_subnet(snapshot, subnet)
    check_node(snapshot, node)
    rows = [
        row
        for row in _rows(snapshot)
        if wants(subnet, row.node.subnet) and wants(node, row.node.name)
    ]
    if output.is_document:
        write(output.text({"nodes": [_document(row) for row in rows]}))
    elif not rows:
        write("no nodes\n")
    elif is_listed(everything, (subnet, node), len(rows)):
        write(_wide(rows, Details(seen)) if output is Output.WIDE else _listed(rows))
    else:
        write(_summed(rows) + f"\n{len(rows):,} nodes: list them with --all, or --subnet ID\n")
    return ExitCode.DONE


def _rows(snapshot: Snapshot) -> list[_Row]:
    blocks = [0] * len(snapshot.nodes)
    weights = [0.0] * len(snapshot.nodes)
    for columns in snapshot.blocks.values():
        for index, weight in zip(columns.node, columns.weight, strict=True):
            blocks[index] += 1
            weights[index] += weight
    loads = largest_loads(snapshot)
    return [
        _Row(node, blocks[index], weights[index], loads.get(node.name, 0.0))
        for index, node in enumerate(snapshot.nodes)
    ]


def largest_loads(snapshot: Snapshot) -> dict[str, float]:
    """The largest load of every node that forwards, in any table and family."""
    loads: dict[str, float] = {}
    for traffic in Traffic(snapshot).tables():
        for one in traffic.forwarding:
            loads[one.node.name] = max(loads.get(one.node.name, 0.0), one.load)
    return loads


def _listed(rows: Iterable[_Row]) -> str:
    return listing(_HEADINGS, map(_cells, rows))


def _wide(rows: Iterable[_Row], details: Details) -> str:
    return listing(
        (*_HEADINGS, "#CAPACITY", "ZONE", "GROUP", "IDENTITY"),
        (
            (
                *_cells(row),
                number(row.node.capacity),
                details.zone(row.node.subnet),
                details.groups(row.node.name),
                details.identity(row.node.name),
            )
            for row in rows
        ),
    )


def _cells(row: _Row) -> Sequence[str]:
    return (
        row.node.name,
        row.node.subnet,
        row.node.interface,
        addresses(row.node),
        state_of(row.node),
        f"{row.blocks:,}",
        number(row.weight),
        number(row.load),
    )


def _summed(rows: Iterable[_Row]) -> str:
    groups: dict[str, list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.node.subnet, []).append(row)
    headings = ("SUBNET", "#NODES", "#HEALTHY", "#TO AVOID", "#DO NOT FORWARD", "#BLOCKS")
    return listing(
        (*headings, "#WEIGHT", "#FORWARDERS", "#LARGEST LOAD"),
        ((subnet, *_sums(group)) for subnet, group in sorted(groups.items())),
    )


def _sums(group: Sequence[_Row]) -> tuple[str, ...]:
    return (
        f"{len(group):,}",
        f"{sum(row.node.healthy for row in group):,}",
        f"{sum(row.node.avoid for row in group):,}",
        f"{sum(not row.node.forwards for row in group):,}",
        f"{sum(row.blocks for row in group):,}",
        number(sum(row.weight for row in group)),
        f"{sum(row.load > 0 for row in group):,}",
        number(max(row.load for row in group)),
    )


def _document(row: _Row) -> dict[str, Json]:
    return {
        **node_document(row.node),
        "blocks": row.blocks,
        "weight": row.weight,
        "load": row.load,
    }
