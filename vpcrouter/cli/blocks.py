"""``vpcrouter blocks``: the address blocks and their owners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from ipam.prefix import Prefix, merge
from vpcrouter.cli.details import Details
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import check_node, check_subnet, is_listed, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.lazy import ListingGroup
from vpcrouter.cli.options import documented, filter_options, source_options
from vpcrouter.cli.output import listing, number, percent, write
from vpcrouter.cli.source import Look, known_state, look
from vpcrouter.cli.space import Chosen, show_fragmentation, show_free
from vpcrouter.model import Block, Snapshot
from vpcrouter.wire.dump import Json

_EXAMPLES = """
vpcrouter blocks -f cluster.yaml
vpcrouter blocks --subnet subnet-0a --family ipv4
vpcrouter blocks --node node-7 -o json
vpcrouter blocks --free --subnet subnet-0a
vpcrouter blocks --fragmentation
"""
_HEADINGS = ("BLOCK", "NODE", "SUBNET", "#WEIGHT")

Row = tuple[str, Block]  # the subnet's id and a block of one of its nodes


@documented("Show the address blocks and their owners.", _EXAMPLES)
@source_options
@filter_options("subnet", "node", "family")
@click.option("--free", is_flag=True, help="Show what is left, and in how large prefixes.")
@click.option(
    "--fragmentation",
    is_flag=True,
    help="Show which nodes share prefixes, and how many host routes each one takes.",
)
def listing_command(
    cluster_file: str | None,
    snapshot_file: str | None,
    output: Output,
    everything: bool,
    subnet: str | None,
    node: str | None,
    family: str | None,
    free: bool,
    fragmentation: bool,
) -> ExitCode:
    """Show the blocks that are given out, and who owns them; or what is left, or lies apart.

    Up to 60 are listed; more are summarised by subnet unless --all or a filter asks for them.
    """
    if free and fragmentation:
        raise click.UsageError("--free and --fragmentation exclude each other: give one")
    seen = look(cluster_file, snapshot_file)
    chosen = Chosen(everything, subnet, node, family)
    if free:
        return show_free(known_state(seen, "--free"), chosen, output)
    if fragmentation:
        return show_fragmentation(known_state(seen, "--fragmentation"), chosen, output)
    return _show_blocks(seen, chosen, output)


def _show_blocks(seen: Look, chosen: Chosen, output: Output) -> ExitCode:
    snapshot, subnet, node, family = seen.snapshot, chosen.subnet, chosen.node, chosen.family
    check_subnet(snapshot, subnet)
    check_node(snapshot, node)
    rows = [
        (home, block)
        for home, block in _rows(snapshot)
        if wants(subnet, home) and wants(node, block.node) and wants(family, block.prefix.family)
    ]
    if output.is_document:
        write(output.text({"blocks": [_document(*row) for row in rows]}))
    elif not rows:
        write("no blocks\n")
    elif is_listed(chosen.everything, (subnet, node, family), len(rows)):
        write(_wide(rows, Details(seen)) if output is Output.WIDE else _listed(rows))
    else:
        hint = f"\n{len(rows):,} blocks: list them with --all, or --subnet ID, --node NAME\n"
        write(_summed(rows, snapshot) + hint)
    return ExitCode.DONE


def _rows(snapshot: Snapshot) -> Iterator[Row]:
    for columns in snapshot.blocks.values():
        for row in range(len(columns)):
            node = snapshot.nodes[columns.node[row]]
            yield node.subnet, Block(columns.prefix(row), node.name, columns.weight[row])


def _listed(rows: Iterable[Row]) -> str:
    return listing(_HEADINGS, (_cells(*row) for row in rows))


def _wide(rows: Iterable[Row], details: Details) -> str:
    return listing(
        (*_HEADINGS, "ZONE", "GROUP", "INTERFACE", "ADDRESS", "IDENTITY"),
        (
            (
                *_cells(subnet, one),
                details.zone(subnet),
                details.group(subnet, one.prefix),
                details.interface(one.node),
                details.addresses(one.node),
                details.identity(one.node),
            )
            for subnet, one in rows
        ),
    )


def _cells(subnet: str, one: Block) -> Sequence[str]:
    return str(one.prefix), one.node, subnet, number(one.weight)


def _summed(rows: Iterable[Row], snapshot: Snapshot) -> str:
    groups: dict[tuple[str, str], list[Block]] = {}
    for subnet, block in rows:
        groups.setdefault((subnet, block.prefix.family.value), []).append(block)
    prefixes = {subnet.id: merge(subnet.prefixes) for subnet in snapshot.subnets}
    return listing(
        ("SUBNET", "FAMILY", "#BLOCKS", "#OWNERS", "#WEIGHT", "#PREFIXES", "#GIVEN OUT"),
        (
            (subnet, family, *_sums(group, prefixes[subnet]))
            for (subnet, family), group in sorted(groups.items())
        ),
    )


def _document(subnet: str, one: Block) -> dict[str, Json]:
    return {"cidr": str(one.prefix), "node": one.node, "subnet": subnet, "weight": one.weight}


def _sums(group: Sequence[Block], prefixes: Sequence[Prefix]) -> tuple[str, ...]:
    mine = [prefix for prefix in prefixes if prefix.family is group[0].prefix.family]
    share = sum(block.prefix.size for block in group) / sum(prefix.size for prefix in mine)
    return (
        f"{len(group):,}",
        f"{len({block.node for block in group}):,}",
        number(sum(block.weight for block in group)),
        f"{len(mine):,}",
        percent(share),
    )


command = ListingGroup(
    {
        "release": ("blocks_release", "Take blocks back from nodes that are gone."),
        "reclaim": ("blocks_reclaim", "Take blocks back from all nodes that are gone for certain."),
    },
    "blocks",
    listing_command,
)
