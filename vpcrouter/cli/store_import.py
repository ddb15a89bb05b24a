"""``vpcrouter store import``: the records of an export into the store."""

from __future__ import annotations

from pathlib import Path

import click

from ipam.errors import BadInputError, ConflictError
from vpcrouter.cli.apply import agreed
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.options import cluster_option, documented
from vpcrouter.cli.output import counted, few, write
from vpcrouter.cli.source import cluster_path
from vpcrouter.keeping import Keeper, keeping

_EXAMPLES = """
vpcrouter store import -f cluster.yaml store.json
vpcrouter store import -f cluster.yaml store.json --replace --yes
"""


@documented("Put the records of an export into the store.", _EXAMPLES)
@cluster_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Remove the records that the store holds now.")
@click.option("--yes", is_flag=True, help="Answer yes to the question whether to replace.")
def command(cluster_file: str | None, file: Path, replace: bool, yes: bool) -> ExitCode:
    """Put the records of an exported FILE into the store: all of them, or none.

    They are checked first, and refused where they contradict each other or the cluster file. A
    store that holds records already is left alone without --replace. Stop everything else that
    uses the store before.
    """
    with keeping(cluster_path(cluster_file)) as keeper:
        archive = keeper.load(file)
        found = keeper.check(archive)
        if found:
            first = few(map(str, found))
            raise BadInputError(
                f"{file} contradicts itself, nothing was imported: {first}: see all with "
                "'vpcrouter store check --export FILE'"
            )
        if replace and not yes and not agreed(_question(keeper)):
            raise NotConfirmedError("not confirmed, nothing was imported: answer y, or give --yes")
        try:
            written = keeper.restore(archive, replace=replace)
        except ConflictError as error:
            raise BadInputError(str(error)) from error
        write(
            f"Imported {counted(len(archive.records), 'record')} into {keeper.store.location}: "
            f"{counted(written, 'change')}.\n"
        )
    return ExitCode.DONE


def _question(keeper: Keeper) -> str:
    present = len(keeper.store.range("/").items)
    held = counted(present, "record")
    return f"Replace the {held} of store {keeper.store.location}?"
