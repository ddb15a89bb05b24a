"""``vpcrouter store backup``: a copy of the store while it is in use."""

from __future__ import annotations

from pathlib import Path

import click

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import write
from vpcrouter.cli.source import cluster_path
from vpcrouter.keeping import keeping

_EXAMPLES = """
vpcrouter store backup -f cluster.yaml backup.db
"""


@documented("Copy the store while it is in use.", _EXAMPLES)
@cluster_option
@click.argument("file", type=click.Path(path_type=Path))
def command(cluster_file: str | None, file: Path) -> ExitCode:
    """Copy the store, as it is at one moment, into a new FILE while others read and write.

    An existing file is not overwritten. To go back to it, stop everything that uses the store,
    remove the store's file and its journal (the same name with -wal and -shm), and put the copy in
    its place.
    """
    with keeping(cluster_path(cluster_file)) as keeper:
        keeper.store.backup(file)
        write(f"Copied {keeper.store.location} to {file}.\n")
    return ExitCode.DONE
