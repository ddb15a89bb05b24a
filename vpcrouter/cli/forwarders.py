"""``vpcrouter forwarders``: which nodes forward for others, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from vpcrouter.cli.details import Details, addresses, state_of
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import check_node, check_subnet, check_table, is_listed, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import documented, filter_options, source_options
from vpcrouter.cli.output import few, listing, number, write
from vpcrouter.cli.source import look
from vpcrouter.combined import combined_loads
from vpcrouter.traffic import Forwarding, Traffic
from vpcrouter.wire.dump import Json

_EXAMPLES = """
vpcrouter forwarders -f cluster.yaml
vpcrouter forwarders --table rtb-0a
vpcrouter forwarders --node node-7 -o json
"""
_HEADINGS = ("NODE", "SUBNET", "TABLE", "FAMILY", "#ENTRIES", "#OTHERS' BLOCKS", "#LOAD")

Row = tuple[str, Forwarding]  # the table's id and what a node forwards in it


@documented("Show which nodes forward for others, and how much.", _EXAMPLES)
@source_options
@filter_options("table", "subnet", "node", "family")
def command(
    cluster_file: str | None,
    snapshot_file: str | None,
    output: Output,
    everything: bool,
    table: str | None,
    subnet: str | None,
    node: str | None,
    family: str | None,
) -> ExitCode:
    """Show the nodes that get packets for others' blocks, with the load in each table.

    Up to 60 are listed, the most loaded first; more are summarised by table and subnet unless
    --all or a filter asks for them.
    """
    seen = look(cluster_file, snapshot_file)
    snapshot = seen.snapshot
    check_table(snapshot, table)
    check_subnet(snapshot, subnet)
    check_node(snapshot, node)
    everybody = [
        (traffic.table.id, one)
        for traffic in Traffic(snapshot).tables()
        for one in traffic.forwarding
    ]
    combined = combined_loads((one.node.name, one.load) for _, one in everybody)
    rows = [
        (table_id, one)
        for table_id, one in everybody
        if wants(table, table_id)
        and wants(subnet, one.node.subnet)
        and wants(node, one.node.name)
        and wants(family, one.family)
    ]
    if output.is_document:
        write(output.text({"forwarders": [_document(*row, combined) for row in rows]}))
    elif not rows:
        write("no node forwards for others\n")
    elif is_listed(everything, (table, subnet, node, family), len(rows)):
        heaviest = sorted(rows, key=lambda row: (-row[1].load, row[0], row[1].node.name))
        write(
            _wide(heaviest, combined, Details(seen)) if output is Output.WIDE else _listed(heaviest)
        )
    else:
        write(_summed(rows) + f"\n{len(rows):,} forwarders: list them with --all\n")
    return ExitCode.DONE


def _listed(rows: Iterable[Row]) -> str:
    return listing(_HEADINGS, (_cells(*row) for row in rows))


def _wide(rows: Iterable[Row], combined: Mapping[str, float], details: Details) -> str:
    headings = ("#ALL TABLES", "#WEIGHT", "#CAPACITY", "STATE", "INTERFACE", "ADDRESS", "ZONE")
    return listing(
        (*_HEADINGS, *headings, "IDENTITY"),
        (
            (
                *_cells(table_id, one),
                number(combined[one.node.name]),
                number(one.weight),
                number(one.node.capacity),
                state_of(one.node),
                one.node.interface,
                addresses(one.node),
                details.zone(one.node.subnet),
                details.identity(one.node.name),
            )
            for table_id, one in rows
        ),
    )


def _cells(table_id: str, one: Forwarding) -> Sequence[str]:
    return (
        one.node.name,
        one.node.subnet,
        table_id,
        one.family.value,
        f"{one.entries:,}",
        f"{one.blocks:,}",
        number(one.load),
    )


def _summed(rows: Sequence[Row]) -> str:
    groups: dict[tuple[str, str, str], list[Forwarding]] = {}
    for table_id, one in rows:
        groups.setdefault((table_id, one.node.subnet, one.family.value), []).append(one)
    headings = ("TABLE", "SUBNET", "FAMILY", "#FORWARDERS", "#LEAST", "#MEDIAN", "#LARGEST LOAD")
    return listing(
        (*headings, "MOST LOADED"),
        (
            (
                *key,
                f"{len(group):,}",
                number(min(one.load for one in group)),
                number(median(one.load for one in group)),
                number(max(one.load for one in group)),
                few(_most_loaded(group)[:2]),
            )
            for key, group in sorted(groups.items())
        ),
    )


def _most_loaded(group: Iterable[Forwarding]) -> list[str]:
    return [one.node.name for one in sorted(group, key=lambda one: (-one.load, one.node.name))]


def _document(table_id: str, one: Forwarding, combined: Mapping[str, float]) -> dict[str, Json]:
    return {
        "node": one.node.name,
        "subnet": one.node.subnet,
        "table": table_id,
        "family": one.family.value,
        "entries": one.entries,
        "blocks": one.blocks,
        "weight": one.weight,
        "load": one.load,
        "combined_load": combined[one.node.name],
    }
