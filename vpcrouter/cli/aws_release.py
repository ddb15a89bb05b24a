"""``vpcrouter aws release``: hand entries over to another controller."""

from __future__ import annotations

import click

from vpcrouter.cli.apply import agreed
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import counted, listing, write
from vpcrouter.cli.source import opened

_EXAMPLES = """
vpcrouter aws release -f cluster.yaml --within 100.96.0.0/11
"""


@documented("Let go of entries, for another controller to take them over.", _EXAMPLES)
@cluster_option
@click.option(
    "--within", "ranges", multiple=True, required=True, metavar="CIDR", help="Entries inside this."
)
@click.option("--yes", is_flag=True, help="Answer yes to the question.")
def command(cluster_file: str | None, ranges: tuple[str, ...], yes: bool) -> ExitCode:
    """Forget that entries are this cluster's own. They stay in the tables, as somebody else's.

    The way back from 'vpcrouter aws adopt'. Stop 'vpcrouter apply --follow' before.
    """
    from ipam.prefix import Prefix
    from ipam.store.port import Delete
    from vpcrouter.ownership import Stage, route_key

    within = [Prefix.parse(text) for text in ranges]
    with opened(cluster_file) as cluster:
        found = sorted(
            (table, destination)
            for (table, destination), record in cluster.records().items()
            if record.stage is Stage.DONE and any(c.contains(destination) for c in within)
        )
        if not found:
            write("Nothing to let go of.\n")
            return ExitCode.DONE
        write(listing(("TABLE", "DESTINATION"), [(table, str(d)) for table, d in found]))
        count = counted(len(found), "entry", "entries")
        if not yes and not agreed(f"Let go of {count}?"):
            raise NotConfirmedError("not confirmed, nothing was changed: answer y, or give --yes")
        for table, destination in found:
            cluster.store.txn([], [Delete(route_key(table, destination))])
    write(f"Let go of {count}; they stay in the tables.\n")
    return ExitCode.DONE
