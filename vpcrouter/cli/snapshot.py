"""``vpcrouter snapshot``: everything that a plan is made from, as JSON."""

from __future__ import annotations

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented, snapshot_option
from vpcrouter.cli.output import write
from vpcrouter.cli.report import say_view
from vpcrouter.cli.source import opened, read_snapshot, refuse_both
from vpcrouter.wire import dump_snapshot

_EXAMPLES = """
vpcrouter snapshot -f cluster.yaml > snapshot.json
vpcrouter snapshot -f cluster.yaml | vpcrouter plan --snapshot -
vpcrouter snapshot --snapshot other.json      # the canonical text of a file
"""


@documented("Print everything that a plan is made from, as JSON.", _EXAMPLES)
@cluster_option
@snapshot_option
def command(cluster_file: str | None, snapshot_file: str | None) -> ExitCode:
    """Print what 'vpcrouter plan' plans from, as one JSON snapshot: nodes, blocks, subnets, tables.

    New nodes have the addresses that they would get; nothing is written. The text is canonical:
    the same content gives the same bytes. 'vpcrouter plan --snapshot' plans from it anywhere.
    """
    refuse_both(cluster_file, snapshot_file)
    if snapshot_file is not None:
        write(dump_snapshot(read_snapshot(snapshot_file)))
        return ExitCode.DONE
    with opened(cluster_file) as cluster:
        view = cluster.planned()
    write(dump_snapshot(view.snapshot))
    return ExitCode.DONE if say_view(view) else ExitCode.UNSERVED
