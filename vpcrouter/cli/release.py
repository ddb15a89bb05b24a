"""What ``blocks release`` and ``blocks reclaim`` share: what is shown, asked, done and said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vpcrouter.cli.apply import agreed
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import F
from vpcrouter.cli.output import counted, few, listing, write
from vpcrouter.reclaiming import Wanted, ceiling

if TYPE_CHECKING:
    from vpcrouter.cluster import Cluster


def guard_options(function: F) -> F:
    """``--most`` and ``--yes``."""
    function = click.option("--yes", is_flag=True, help="Answer yes to the question.")(function)
    return click.option(
        "--most",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many nodes may lose something at once.  [default: 10, or a tenth of all]",
    )(function)


def carry_out(
    cluster: Cluster, wanted: Wanted, owners: int, output: Output, most: int | None, yes: bool
) -> ExitCode:
    """Show what is taken back, ask, and do it. Raises NotConfirmedError; then nothing was done."""
    limit = ceiling(owners) if most is None else most
    if not output.is_document:
        write(_report(wanted))
    losing = counted(len(wanted.owners), "node")
    if len(wanted.owners) > limit:
        raise NotConfirmedError(
            f"{losing} would lose blocks, more than {limit:,} at once; "
            f"nothing was released: give --most {len(wanted.owners)} if that is meant"
        )
    nodes = few(map(str, wanted.owners))
    question = f"Release {counted(wanted.count, 'block')} of {nodes}?"
    if not yes and not agreed(question):
        raise NotConfirmedError("not confirmed, nothing was released: answer y, or give --yes")
    cluster.take_back(wanted)
    if output.is_document:
        write(output.text({"released": _document(wanted)}))
    else:
        write(
            f"Released {counted(wanted.count, 'block')}. Entries that lead to them stay until "
            "'vpcrouter apply'.\n"
        )
    return ExitCode.DONE


def _report(wanted: Wanted) -> str:
    whole = {one.identity for one in wanted.nodes}
    return listing(
        ("NODE", "IDENTITY", "SUBNET", "#BLOCKS", "LOSES", "WHY"),
        (
            (
                one.owner.name,
                one.owner.identity,
                one.owner.subnet,
                f"{len(one.owner.owned):,}",
                "everything"
                if one.identity in whole
                else few(map(str, wanted.blocks[one.identity])),
                one.gone or "an operator says so",
            )
            for one in wanted.owners
        ),
    )


def _document(wanted: Wanted) -> list[dict[str, object]]:
    whole = {one.identity for one in wanted.nodes}
    return [
        {
            "node": one.owner.name,
            "identity": one.owner.identity,
            "subnet": one.owner.subnet,
            "blocks": [
                str(block)
                for block in (
                    one.owner.owned if one.identity in whole else wanted.blocks[one.identity]
                )
            ],
            "why": one.gone or "an operator says so",
        }
        for one in wanted.owners
    ]
