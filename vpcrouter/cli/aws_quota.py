"""``vpcrouter aws quota``: how many entries each route table takes, and who has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vpcrouter.cli.details import UNKNOWN
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import complain, few, listing, number, percent, write
from vpcrouter.cli.source import opened
from vpcrouter.wire.dump import Json

if TYPE_CHECKING:
    from vpcrouter.fabric.port import Observation
    from vpcrouter.usage import Usage

_EXAMPLES = """
vpcrouter aws quota -f cluster.yaml
vpcrouter aws quota -o json
"""

_HEADINGS = (
    *("TABLE", "FAMILY", "#QUOTA", "#OURS", "#LOCAL", "#PREFIX LISTS", "#OTHERS"),
    *("#RESERVE", "#FREE"),
)


@documented("Show how many entries each route table takes, and who has them.", _EXAMPLES)
@cluster_option
@output_option
def command(cluster_file: str | None, output: Output) -> ExitCode:
    """Show the quota of every route table that a subnet uses, and what is left of it.

    FREE is what further plans may use: the quota less all entries and the reserve. Propagated
    entries have a quota of their own and are not counted.
    """
    from vpcrouter.usage import running_short, usage

    with opened(cluster_file) as cluster:
        short = running_short(cluster.present().snapshot)
        seen = cluster.fabric.read()
        rows = usage(seen, cluster.records(), cluster.file.fabric.reserve)
    if output.is_document:
        write(output.text({"quota_source": seen.quota_source, "tables": [_json(r) for r in rows]}))
    else:
        source = f"The quota is {seen.quota_source}.\n" if seen.quota_source else ""
        write((_wide(rows, seen) if output is Output.WIDE else _listed(rows)) + source)
    for warning in (*seen.warnings, *short):
        complain(warning)
    return ExitCode.DONE


def _listed(rows: Iterable[Usage]) -> str:
    return listing(_HEADINGS, map(_cells, rows))


def _wide(rows: Iterable[Usage], seen: Observation) -> str:
    """The same with the share of the quota that is taken, and who uses the table."""
    subnets: dict[str, list[str]] = {}
    for subnet in seen.subnets:
        zone = f" ({subnet.zone})" if subnet.zone else ""
        subnets.setdefault(subnet.table, []).append(subnet.id + zone)
    return listing(
        (*_HEADINGS, "#TAKEN", "USED BY"),
        ((*_cells(row), _taken(row), few(subnets.get(row.table, ()))) for row in rows),
    )


def _taken(row: Usage) -> str:
    taken = row.ours + row.local + row.prefix_lists + row.others
    return percent(taken / row.quota) if row.quota else UNKNOWN


def _cells(row: Usage) -> tuple[str, ...]:
    parts = (row.quota, row.ours, row.local, row.prefix_lists, row.others, row.reserve, row.free)
    return (row.table, row.family.value, *map(number, parts))


def _json(row: Usage) -> Json:
    return {
        "id": row.table,
        "family": row.family.value,
        "quota": row.quota,
        "ours": row.ours,
        "local": row.local,
        "prefix_lists": row.prefix_lists,
        "others": row.others,
        "reserve": row.reserve,
        "free": row.free,
    }
