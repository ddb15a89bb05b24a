"""``vpcrouter snapshot``: everything that a plan is made from, as JSON."""

from __future__ import annotations

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented, snapshot_option
from vpcrouter.cli.output import write
from vpcrouter.cli.source import present
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
    """Print nodes, blocks, subnets and tables as they are, as one JSON snapshot.

    It is canonical: the same content gives the same bytes. 'vpcrouter plan --snapshot' plans from
    it, on any machine.
    """
    write(dump_snapshot(present(cluster_file, snapshot_file)))
    return ExitCode.DONE
