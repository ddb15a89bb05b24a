"""``vpcrouter routes``: the entries of the route tables and what each one carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix, merge
from vpcrouter.cli.details import Details
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import check_node, check_subnet, check_table, is_listed, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import documented, filter_options, source_options
from vpcrouter.cli.output import listing, number, percent, write
from vpcrouter.cli.report import families_of, table_heading, table_zones
from vpcrouter.cli.source import look
from vpcrouter.model import Kind, PlannedEntry, Snapshot
from vpcrouter.traffic import TableTraffic, Traffic
from vpcrouter.wire.dump import Json, entry_document

_EXAMPLES = """
vpcrouter routes -f cluster.yaml
vpcrouter routes --table rtb-0a --kind aggregate
vpcrouter routes --node node-7 -o json
"""


@documented("Show the entries of the route tables and what each one carries.", _EXAMPLES)
@source_options
@filter_options("table", "subnet", "node", "family", "kind")
def command(
    cluster_file: str | None,
    snapshot_file: str | None,
    output: Output,
    everything: bool,
    table: str | None,
    subnet: str | None,
    node: str | None,
    family: str | None,
    kind: str | None,
) -> ExitCode:
    """Show the entries of ours that the route tables hold at present, and what each one carries.

    Up to 60 entries are listed; more are summarised by subnet unless --all or a filter asks for
    them. An entry's load is the weight of the blocks that it catches and that are not its own
    node's, over that node's capacity.
    """
    seen = look(cluster_file, snapshot_file)
    snapshot = seen.snapshot
    check_table(snapshot, table)
    check_subnet(snapshot, subnet)
    check_node(snapshot, node)
    homes = Homes(snapshot)
    tables = [
        (
            traffic,
            [
                entry
                for entry in traffic.entries
                if wants(subnet, homes.of(entry.destination))
                and wants(node, entry.node)
                and wants(family, entry.destination.family)
                and wants(kind, entry.kind)
            ],
        )
        for traffic in Traffic(snapshot).tables()
        if wants(table, traffic.table.id)
    ]
    if output.is_document:
        write(output.text({"tables": [_document(one, rows, homes) for one, rows in tables]}))
        return ExitCode.DONE
    count = sum(len(rows) for _, rows in tables)
    if is_listed(everything, (table, subnet, node, family, kind), count):
        shown = _Wide(Details(seen), homes) if output is Output.WIDE else _Narrow(homes)
        write(_text(snapshot, tables, lambda rows: _listed(rows, shown)))
    else:
        write(_text(snapshot, tables, lambda rows: _summed(rows, homes)))
        write(f"\n{count:,} entries: list them with --all, or some with --table, --subnet ...\n")
    return ExitCode.DONE


def _text(
    snapshot: Snapshot,
    tables: Sequence[tuple[TableTraffic, Sequence[PlannedEntry]]],
    shown: Callable[[Sequence[PlannedEntry]], str],
) -> str:
    """Every table under its heading."""
    zones, families = table_zones(snapshot), families_of(snapshot)
    return "\n".join(
        table_heading(traffic.table, zones[traffic.table.id], families)
        + _described(traffic)
        + shown(rows)
        for traffic, rows in tables
    )


class Homes:
    """Which subnet a destination lies in."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._merged = [
            (prefix, subnet.id) for subnet in snapshot.subnets for prefix in merge(subnet.prefixes)
        ]

    def of(self, destination: Prefix) -> str | None:
        """The subnet whose prefixes contain it, None if there is none."""
        found = (subnet for prefix, subnet in self._merged if prefix.contains(destination))
        return next(found, None)


def _described(traffic: TableTraffic) -> str:
    missed = traffic.missed_weight
    return (
        f"  {len(traffic.entries):,} entries of ours, {len(traffic.table.foreign):,} foreign "
        + f"destinations; largest load {number(traffic.max_load)}, detour "
        + percent(traffic.detour_share)
        + (f"; weight {number(missed)} has no entry" if missed else "")
        + "\n"
    )


def _listed(entries: Sequence[PlannedEntry], shown: _Narrow | _Wide) -> str:
    if not entries:
        return "  no entries\n"
    return listing(shown.headings, map(shown.cells, entries), indent=2)


@dataclass(frozen=True, slots=True)
class _Narrow:
    """The columns of an entry that a terminal has room for."""

    homes: Homes
    headings = ("DESTINATION", "SUBNET", "NEXT HOP", "INTERFACE", "KIND", "#BLOCKS", "#LOAD")

    def cells(self, entry: PlannedEntry) -> Sequence[str]:
        """One entry."""
        return (
            str(entry.destination),
            self.homes.of(entry.destination) or "none",
            entry.node or "no node: stale",
            entry.interface,
            entry.kind.value,
            f"{entry.blocks:,}",
            number(entry.load),
        )


@dataclass(frozen=True, slots=True)
class _Wide:
    """All columns of an entry."""

    details: Details
    homes: Homes
    headings = (
        *_Narrow.headings,
        *("#WEIGHT", "ZONE", "ADDRESS", "#CAPACITY", "GROUP", "IDENTITY"),
    )

    def cells(self, entry: PlannedEntry) -> Sequence[str]:
        """One entry."""
        home = self.homes.of(entry.destination)
        return (
            *_Narrow(self.homes).cells(entry),
            number(entry.weight),
            self.details.zone(home),
            self.details.addresses(entry.node),
            self.details.capacity(entry.node),
            self.details.group(home, entry.destination),
            self.details.identity(entry.node),
        )


def _summed(entries: Iterable[PlannedEntry], homes: Homes) -> str:
    """One line for each subnet and family."""
    groups: dict[tuple[str, Family], list[PlannedEntry]] = {}
    for entry in entries:
        home = homes.of(entry.destination) or "none"
        groups.setdefault((home, entry.destination.family), []).append(entry)
    headings = ("SUBNET", "FAMILY", "#ENTRIES", "#DIRECT", "#AGGREGATE", "#BLOCKS", "#LARGEST LOAD")
    rows = (
        (
            subnet,
            family.value,
            f"{len(group):,}",
            f"{sum(entry.kind is Kind.DIRECT for entry in group):,}",
            f"{sum(entry.kind is Kind.AGGREGATE for entry in group):,}",
            f"{sum(entry.blocks for entry in group):,}",
            number(max(_node_loads(group).values(), default=0.0)),
        )
        for (subnet, family), group in sorted(groups.items())
    )
    return listing(headings, rows, indent=2)


def _node_loads(entries: Iterable[PlannedEntry]) -> Mapping[str, float]:
    loads: dict[str, float] = {}
    for entry in entries:
        if entry.node is not None:
            loads[entry.node] = loads.get(entry.node, 0.0) + entry.load
    return loads


def _document(
    traffic: TableTraffic, entries: Sequence[PlannedEntry], homes: Homes
) -> dict[str, Json]:
    present_table = traffic.table
    return {
        "id": present_table.id,
        "limit": {family.value: present_table.limit.get(family, 0) for family in Family},
        "budget": {family.value: present_table.budget.get(family, 0) for family in Family},
        "max_load": traffic.max_load,
        "detour_share": traffic.detour_share,
        "missed_weight": traffic.missed_weight,
        "entries": [
            {**entry_document(entry), "subnet": homes.of(entry.destination)} for entry in entries
        ],
        "foreign": [str(prefix) for prefix in present_table.foreign],
    }
