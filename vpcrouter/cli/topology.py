"""``vpcrouter topology``: the address space as a tree, and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from ipam.errors import UnavailableError
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import LISTED, check_known, check_subnet, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.lazy import ListingGroup
from vpcrouter.cli.nodes import largest_loads
from vpcrouter.cli.options import cluster_option, documented, filter_options, output_option
from vpcrouter.cli.output import complain, counted, few, listing, number, percent, write
from vpcrouter.cli.source import Look, known_state, look
from vpcrouter.cli.space import free_fields
from vpcrouter.views.tree import Branch, trees
from vpcrouter.wire.dump import Json

_EXAMPLES = """
vpcrouter topology -f cluster.yaml
vpcrouter topology --subnet subnet-0a --depth 3 -o wide
vpcrouter topology --html addresses.html
vpcrouter topology check new.yaml -f cluster.yaml
vpcrouter topology import romana.json > cluster.yaml
"""
_COMMANDS = {
    "check": ("topology_check", "Show what would follow from another cluster file's networks."),
    "import": ("topology_import", "Print the cluster file for a topology of Romana."),
}
_HEADINGS = (
    *("NAME", "KIND", "PREFIX", "#NODES", "#BLOCKS", "#GIVEN OUT", "#FREE NODES"),
    *("LARGEST FREE", "#LOAD"),
)


@documented("Show the address space as a tree, or as a picture.", _EXAMPLES)
@cluster_option
@output_option
@filter_options("subnet", "family")
@click.option("--network", metavar="NAME", help="Only this network.")
@click.option("--depth", type=click.IntRange(1), help="So many levels; 1 is networks alone.")
@click.option("--html", metavar="FILE", help="Write a page that draws all addresses to scale.")
def listing_command(
    cluster_file: str | None,
    output: Output,
    everything: bool,
    subnet: str | None,
    family: str | None,
    network: str | None,
    depth: int | None,
    html: str | None,
) -> ExitCode:
    """Show networks, the places they are divided into, subnets and prefix groups, as a tree.

    Each has its prefixes, the nodes with blocks in it, what is left, and the largest load of a
    node. A network with both families is two trees. Levels that would take more than 60 lines
    are left out unless --all, --depth or --subnet asks for them.
    """
    page = _writable(html) if html is not None else None
    seen = look(cluster_file, None)
    state = known_state(seen, "a topology")
    check_subnet(seen.snapshot, subnet)
    check_known("network", network, (one.name for one in state.networks))
    every = trees(state, largest_loads(seen.snapshot))
    found = [
        tree if subnet is None else pruned(tree, subnet)
        for tree in every
        if wants(network, tree.network) and wants(family, tree.family.value)
    ]
    if page is not None:
        return _draw(page, seen, found)
    if output.is_document:
        levels = depth or max((tree.height for tree in found), default=1)
        write(output.text({"networks": [branch_document(tree, levels) for tree in found]}))
        return ExitCode.DONE
    asked = everything or subnet is not None
    deepest = max((tree.height for tree in found), default=1)
    levels = depth or (deepest if asked else fitting_depth(found, deepest))
    rows = [row for tree in found for row in tree.walk(levels)]
    hidden = sum(1 for tree in found for _ in tree.walk(deepest)) - len(rows)
    hint = f"\n{counted(hidden, 'branch', 'branches')} below: show all with --all, or --depth N\n"
    write(_listed(rows, output) + (hint if hidden and not depth else ""))
    return ExitCode.DONE


def fitting_depth(found: Sequence[Branch], deepest: int) -> int:
    """The most levels that fit into a listing, but two at least."""
    for depth in range(deepest, 2, -1):
        if sum(1 for tree in found for _ in tree.walk(depth)) <= LISTED:
            return depth
    return 2


def pruned(branch: Branch, subnet: str) -> Branch:
    """A tree without what has nothing to do with a subnet; the figures stay those of all."""
    children = (
        child if child.subnet == subnet else pruned(child, subnet)
        for child in branch.children
        if child.subnet in (None, subnet)
    )
    kept = (child for child in children if child.subnet == subnet or child.children)
    return replace(branch, children=tuple(kept))


def branch_document(branch: Branch, depth: int) -> dict[str, Json]:
    """A branch and what is below it, for programs."""
    return {
        "kind": branch.kind.value,
        "name": branch.name,
        "family": branch.family.value,
        "path": list(branch.path),
        "subnet": branch.subnet,
        "prefixes": [str(prefix) for prefix in branch.prefixes],
        "closed": branch.closed,
        "nodes": branch.nodes,
        "blocks": branch.blocks,
        **free_fields(branch.free),
        "load": branch.load,
        "children": [branch_document(child, depth - 1) for child in branch.children if depth > 1],
    }


def _listed(rows: Iterable[tuple[int, Branch]], output: Output) -> str:
    headings = list(_HEADINGS)
    if output is Output.WIDE:
        headings += ["#FREE BLOCKS", "#FREE PREFIXES", "FAMILY", "PATH"]
    return listing(headings, (_cells(*row, output) for row in rows))


def _cells(level: int, branch: Branch, output: Output) -> Sequence[str]:
    cells = [
        "  " * level + branch.name,
        branch.kind.value,
        few(map(str, branch.prefixes)),
        f"{branch.nodes:,}",
        f"{branch.blocks:,}",
        percent(branch.given_share),
        f"{branch.free.node_prefixes:,}",
        "closed" if branch.closed else str(branch.free.largest or "none"),
        number(branch.load),
    ]
    if output is Output.WIDE:
        cells += [
            f"{branch.free.blocks:,}",
            f"{len(branch.free.pieces):,}",
            branch.family.value,
            "/".join(branch.path) or "-",
        ]
    return cells


def _writable(name: str) -> Path:
    """Where to write a page; refused before anything is looked at if it cannot be a file."""
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        raise click.BadParameter(
            f"{name!r} cannot be written: name a file in a folder that is there",
            param_hint="'--html'",
        )
    return path


def _draw(path: Path, seen: Look, found: Sequence[Branch]) -> ExitCode:
    from vpcrouter.views.page import page

    text = page(known_state(seen, "a picture"), found, largest_loads(seen.snapshot))
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}") from error
    complain(f"{path}: written; open it in a browser")
    return ExitCode.DONE


command = ListingGroup(_COMMANDS, "topology", listing_command)
