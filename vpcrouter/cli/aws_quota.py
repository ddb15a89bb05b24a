"""``vpcrouter aws quota``: how many entries each route table takes, and who has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import complain, listing, number, write
from vpcrouter.cli.source import opened
from vpcrouter.wire.dump import Json, dump_json

if TYPE_CHECKING:
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
def command(cluster_file: str | None, output: str) -> ExitCode:
    """Show the quota of every route table that a subnet uses, and what is left of it.

    FREE is what further plans may use: the quota less all entries and the reserve. Propagated
    entries have a quota of their own and are not counted.
    """
    from vpcrouter.usage import usage

    with opened(cluster_file) as cluster:
        seen = cluster.fabric.read()
        rows = usage(seen, cluster.records(), cluster.file.fabric.reserve)
    if output == "json":
        write(dump_json({"quota_source": seen.quota_source, "tables": [_json(r) for r in rows]}))
    else:
        source = f"The quota is {seen.quota_source}.\n" if seen.quota_source else ""
        write(listing(_HEADINGS, [_cells(row) for row in rows]) + source)
    for warning in seen.warnings:
        complain(warning)
    return ExitCode.DONE


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
