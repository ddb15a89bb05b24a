"""``vpcrouter topology check``: what would follow from another cluster file's networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ipam.topology_change import Consequence, Effect
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import complain, counted, few, listing, write
from vpcrouter.cli.source import opened

_EXAMPLES = """
vpcrouter topology check new.yaml -f cluster.yaml
vpcrouter topology check new.yaml -o json
"""
_LISTED = 60


@documented("Show what would follow from another cluster file's networks.", _EXAMPLES)
@click.argument("new", metavar="NEW.yaml", type=click.Path(path_type=Path))
@cluster_option
@output_option
@click.option("--all", "everything", is_flag=True, help="List every row, however many.")
def command(new: Path, cluster_file: str | None, output: Output, everything: bool) -> ExitCode:
    """Show what would follow if the networks of NEW.yaml came into force; changes nothing.

    Whatever is given out stays where it is: networks, levels and groups are added, closed, ended
    or changed for what comes next, and nodes move in name only. Ends with exit code 2 where
    something given out would not be valid any more, 3 where nodes would belong nowhere.
    """
    with opened(cluster_file) as cluster:
        found = cluster.consequences(new)
    if output.is_document:
        write(output.text({"consequences": [_document(one) for one in found]}))
    else:
        write(_listed(found, everything))
    return _ended(found)


def _listed(found: Sequence[Consequence], everything: bool) -> str:
    if not found:
        return "nothing would change\n"
    shown = found if everything else found[:_LISTED]
    rows = ((one.effect.value, one.subject, str(one.nodes or ""), one.text) for one in shown)
    text = listing(("EFFECT", "WHAT", "#NODES", "HOW"), rows)
    hidden = len(found) - len(shown)
    return text + (f"\n{hidden:,} more: list them with --all\n" if hidden else "")


def _ended(found: Sequence[Consequence]) -> ExitCode:
    refused = [one for one in found if one.effect is Effect.REFUSED]
    unplaced = [one for one in found if one.effect is Effect.UNPLACED]
    if refused:
        complain(
            f"{counted(len(refused), 'thing')} would not be valid any more: the file would be "
            "refused; change what is named"
        )
        return ExitCode.BAD_INPUT
    if unplaced:
        names = few(one.subject.removeprefix("node ") for one in unplaced)
        complain(
            f"{counted(len(unplaced), 'node')} would belong nowhere: {names}; they keep what they "
            "have and get no further blocks"
        )
        return ExitCode.UNSERVED
    return ExitCode.DONE


def _document(one: Consequence) -> dict[str, object]:
    return {
        "effect": one.effect.value,
        "subject": one.subject,
        "nodes": one.nodes,
        "text": one.text,
    }
