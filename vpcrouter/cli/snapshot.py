"""``vpcrouter snapshot``: everything that a plan is made from, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ipam.prefix import merge
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, document_option, documented, snapshot_option
from vpcrouter.cli.output import few, listing, write
from vpcrouter.cli.report import families_of, say_view
from vpcrouter.cli.source import opened, read_snapshot, refuse_both
from vpcrouter.model import Snapshot
from vpcrouter.wire.dump import snapshot_document

_EXAMPLES = """
vpcrouter snapshot -f cluster.yaml > snapshot.json
vpcrouter snapshot -f cluster.yaml | vpcrouter plan --snapshot -
vpcrouter snapshot --snapshot other.json      # the canonical text of a file
vpcrouter snapshot --snapshot other.json -o table
"""


@documented("Print everything that a plan is made from, as JSON.", _EXAMPLES)
@cluster_option
@snapshot_option
@document_option
def command(cluster_file: str | None, snapshot_file: str | None, output: Output) -> ExitCode:
    """Print what 'vpcrouter plan' plans from, as one JSON snapshot: nodes, blocks, subnets, tables.

    New nodes have the addresses that they would get; nothing is written. The text is canonical:
    the same content gives the same bytes. 'vpcrouter plan --snapshot' plans from it anywhere; it
    reads JSON and no other format.
    """
    refuse_both(cluster_file, snapshot_file)
    if snapshot_file is not None:
        write(_text(read_snapshot(snapshot_file), output))
        return ExitCode.DONE
    with opened(cluster_file) as cluster:
        view = cluster.planned()
    write(_text(view.snapshot, output))
    return ExitCode.DONE if say_view(view) else ExitCode.UNSERVED


def _text(snapshot: Snapshot, output: Output) -> str:
    if output.is_document:
        return output.text(snapshot_document(snapshot))
    return f"{_subnets(snapshot, output)}\n{_tables(snapshot, output)}"


def _subnets(snapshot: Snapshot, output: Output) -> str:
    """What is in each subnet, counted; wide: also by family, and its prefixes."""
    nodes = Counter(node.subnet for node in snapshot.nodes)
    healthy = Counter(node.subnet for node in snapshot.nodes if node.healthy)
    blocks = {
        family: Counter(snapshot.nodes[index].subnet for index in columns.node)
        for family, columns in snapshot.blocks.items()
    }
    rows: list[Sequence[str]] = []
    for subnet in snapshot.subnets:
        name = subnet.id
        row = [name, subnet.zone, subnet.route_table, f"{nodes[name]:,}", f"{healthy[name]:,}"]
        row.append(f"{sum(count[name] for count in blocks.values()):,}")
        if output is Output.WIDE:
            row += [f"{count[name]:,}" for count in blocks.values()]
            row.append(few(map(str, merge(subnet.prefixes))))
        rows.append(row)
    headings = ["SUBNET", "ZONE", "TABLE", "#NODES", "#HEALTHY", "#BLOCKS"]
    if output is Output.WIDE:
        headings += [f"#{family.upper()}" for family in blocks] + ["PREFIXES"]
    return listing(headings, rows)


def _tables(snapshot: Snapshot, output: Output) -> str:
    """What each table holds and takes; wide: also what is foreign."""
    rows: list[Sequence[str]] = []
    for table in snapshot.route_tables:
        for family in families_of(snapshot):
            held = sum(entry.destination.family is family for entry in table.entries)
            room = table.budget.get(family, 0), table.limit.get(family, 0)
            row = [table.id, family.value, *(f"{n:,}" for n in (held, *room, len(table.foreign)))]
            if output is Output.WIDE:
                row += [f"{table.own_subnet_weight:g}", few(map(str, sorted(table.foreign)))]
            rows.append(row)
    headings = ["TABLE", "FAMILY", "#ENTRIES", "#BUDGET", "#LIMIT", "#FOREIGN"]
    if output is Output.WIDE:
        headings += ["#OWN SUBNET WEIGHT", "FOREIGN DESTINATIONS"]
    return listing(headings, rows)
