"""``vpcrouter blocks release``: take blocks back because an operator says so."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ipam.errors import BadInputError
from ipam.prefix import Prefix
from vpcrouter.cli.exits import ExitCode, NotConfirmedError
from vpcrouter.cli.filters import close_to
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import few
from vpcrouter.cli.release import carry_out, guard_options
from vpcrouter.cli.source import opened
from vpcrouter.reclaiming import Judged, Wanted, choose

_EXAMPLES = """
vpcrouter blocks release node-7
vpcrouter blocks release 'node-7 (i-0a1b2c3d)'       # the one that had the name before
vpcrouter blocks release 100.64.3.0/26 --yes
"""


@documented("Take blocks back from nodes that are gone.", _EXAMPLES)
@cluster_option
@output_option
@guard_options
@click.option("--force", is_flag=True, help="Also from nodes that may be alive.")
@click.argument("names", nargs=-1, required=True, metavar="NODE|CIDR...")
def command(
    cluster_file: str | None,
    output: Output,
    most: int | None,
    yes: bool,
    force: bool,
    names: tuple[str, ...],
) -> ExitCode:
    """Take back all that a NODE owns, or the blocks inside a CIDR: they may be given to others.

    Only you know that a node is gone which neither the cloud nor the node list calls gone. A node
    that may be alive keeps its blocks unless --force is given: its pods would go on using
    addresses that others get.
    """
    with opened(cluster_file) as cluster:
        judged = cluster.judged()
        wanted = _wanted(judged, names)
        alive = [one for one in wanted.owners if one.alive]
        if alive and not force:
            reasons = few(f"{one}: {one.alive}" for one in alive)
            raise NotConfirmedError(
                f"{reasons}; nothing was released. Pods there would go on using addresses that "
                "others get: stop the node first, or give --force"
            )
        return carry_out(cluster, wanted, len(judged), output, most, yes)


def _wanted(judged: Sequence[Judged], names: Sequence[str]) -> Wanted:
    """What the arguments name. Raises BadInputError for one that names nothing."""
    nodes = {name for name in names if not _is_cidr(name)}
    cidrs = {name: Prefix.parse(name) for name in names if _is_cidr(name)}
    known = {one.owner.name for one in judged} | {str(one) for one in judged}
    for name in sorted(nodes - known):
        raise BadInputError(f"node {name} has no blocks: {close_to(name, known)}")
    owned = [block for one in judged for block in one.owner.owned]
    for name, cidr in cidrs.items():
        if not any(cidr.contains(block) for block in owned):
            raise BadInputError(f"no block inside {name} is given out: see 'vpcrouter blocks'")
    for name in sorted(nodes):
        several = [str(one) for one in judged if one.owner.name == name]
        if len(several) > 1:
            raise BadInputError(f"several nodes had the name {name}: name one, {few(several)}")
    return choose(judged, nodes, tuple(cidrs.values()))


def _is_cidr(name: str) -> bool:
    try:
        Prefix.parse(name)
    except BadInputError:
        return False
    return True
