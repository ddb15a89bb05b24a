"""``vpcrouter store check``: everything in the store that contradicts itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ipam.checking import Contradiction
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import complain, counted, write
from vpcrouter.cli.source import cluster_path
from vpcrouter.keeping import keeping

_EXAMPLES = """
vpcrouter store check -f cluster.yaml
vpcrouter store check -f cluster.yaml --export corrected.json
"""
_HINT = (
    "to correct records: 'vpcrouter store export', change the file, then "
    "'vpcrouter store import FILE --replace' with nothing else at work on the store"
)


@documented("Name everything in the store that contradicts itself.", _EXAMPLES)
@cluster_option
@output_option
@click.option(
    "--export",
    "file",
    type=click.Path(path_type=Path),
    help="Check this export in place of the store.",
)
def command(cluster_file: str | None, output: Output, file: Path | None) -> ExitCode:
    """Check the file of the store and all of its records, also against the cluster file.

    Reads only. Ends with exit code 4 where something contradicts itself, and names all of it.
    """
    with keeping(cluster_path(cluster_file)) as keeper:
        damage = keeper.damage() if file is None else ()
        archive = keeper.archive() if file is None else keeper.load(file)
        found = (*damage, *keeper.check(archive))
    if output.is_document:
        write(output.text(_document(len(archive.records), found)))
    else:
        write("".join(f"{one}\n" for one in found))
        records = counted(len(archive.records), "record")
        write(f"{records}, {counted(len(found), 'contradiction')}\n")
    if not found:
        return ExitCode.DONE
    complain(_HINT)
    return ExitCode.BROKEN_PROMISE


def _document(records: int, found: Sequence[Contradiction]) -> dict[str, object]:
    return {
        "records": records,
        "contradictions": [
            {"key": one.key, "problem": one.problem, "remedy": one.remedy} for one in found
        ],
    }
