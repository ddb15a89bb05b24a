"""``vpcrouter store export``: the records of the store as JSON."""

from __future__ import annotations

from ipam.archive import dump_archive
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import write
from vpcrouter.cli.source import cluster_path
from vpcrouter.keeping import keeping

_EXAMPLES = """
vpcrouter store export -f cluster.yaml > store.json
"""


@documented("Print the records of the store as JSON.", _EXAMPLES)
@cluster_option
def command(cluster_file: str | None) -> ExitCode:
    """Print all records of the store, as they are at one moment, also where they contradict.

    The same records always give the same bytes.
    """
    with keeping(cluster_path(cluster_file)) as keeper:
        write(dump_archive(keeper.archive()).decode())
    return ExitCode.DONE
