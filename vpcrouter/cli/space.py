"""``vpcrouter blocks --free`` and ``--fragmentation``: what is left, and what lies apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ipam.model import State
from vpcrouter.cli.details import UNKNOWN
from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.filters import LISTED, check_known, wants
from vpcrouter.cli.formats import Output
from vpcrouter.cli.output import few, listing, number, percent, write
from vpcrouter.views.fragments import Fragment, Fragmentation, fragmentation, fragments
from vpcrouter.views.free import Free
from vpcrouter.views.tree import Branch, Kind, trees
from vpcrouter.wire.dump import Json


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a listing was asked for."""

    everything: bool
    subnet: str | None
    node: str | None
    family: str | None


# What is left


def show_free(state: State, chosen: Chosen, output: Output) -> ExitCode:
    """Print what is left of networks, subnets and groups."""
    check_known("subnet", chosen.subnet, state.subnets)
    check_known("node", chosen.node, state.nodes)
    rows = [
        branch
        for tree in trees(state, {})
        if wants(chosen.family, tree.family.value)
        for _, branch in tree.walk(tree.height)
        if _is_chosen(branch, state, chosen)
    ]
    if output.is_document:
        write(output.text({"free": [free_document(branch) for branch in rows]}))
        return ExitCode.DONE
    few_rows = [branch for branch in rows if branch.kind is not Kind.GROUP]
    shortened = not chosen.everything and len(rows) > LISTED and chosen.subnet is None
    shown = few_rows if shortened else rows
    wide = output is Output.WIDE
    text = _free_listing(shown, wide=wide) if shown else "nothing is given out of any network\n"
    hidden = len(rows) - len(shown)
    hint = f"\n{hidden:,} prefix groups: list them with --all, or --subnet ID\n" if hidden else ""
    write(text + hint)
    return ExitCode.DONE


def _is_chosen(branch: Branch, state: State, chosen: Chosen) -> bool:
    """Whether it passes the filters; a node passes where it has blocks."""
    if chosen.subnet is not None and branch.subnet != chosen.subnet:
        return False
    if chosen.node is None:
        return True
    return any(
        prefix.contains(block)
        for block in state.nodes[chosen.node].blocks
        for prefix in branch.prefixes
    )


def _free_listing(rows: Iterable[Branch], *, wide: bool) -> str:
    headings = ["KIND", "NAME", "FAMILY", "#GIVEN OUT", "#FREE NODES", "#FREE BLOCKS"]
    headings += ["LARGEST FREE", "#FREE PREFIXES"]
    if wide:
        headings += ["NETWORK", "PLACE", "PREFIXES", "#NODES", "#BLOCKS"]
    return listing(headings, (_free_cells(branch, wide=wide) for branch in rows))


def _free_cells(branch: Branch, *, wide: bool) -> Sequence[str]:
    free = branch.free
    cells = [
        branch.kind.value,
        branch.name,
        branch.family.value,
        percent(branch.given_share),
        f"{free.node_prefixes:,}",
        f"{free.blocks:,}",
        "closed" if branch.closed else str(free.largest or "none"),
        f"{len(free.pieces):,}",
    ]
    if wide:
        cells += [
            branch.network,
            "/".join(branch.path) or UNKNOWN,
            few(map(str, branch.prefixes)),
            f"{branch.nodes:,}",
            f"{branch.blocks:,}",
        ]
    return cells


def free_document(branch: Branch) -> dict[str, Json]:
    """What is left of one branch, for programs."""
    return {
        "kind": branch.kind.value,
        "name": branch.name,
        "network": branch.network,
        "family": branch.family.value,
        "subnet": branch.subnet,
        "prefixes": [str(prefix) for prefix in branch.prefixes],
        "closed": branch.closed,
        "nodes": branch.nodes,
        "blocks": branch.blocks,
        **free_fields(branch.free),
    }


def free_fields(free: Free) -> dict[str, Json]:
    """What is left, for programs."""
    return {
        "free_node_prefixes": free.node_prefixes,
        "free_blocks": free.blocks,
        "largest_free": None if free.largest is None else str(free.largest),
        "free_prefixes": len(free.pieces),
    }


# What lies apart


def show_fragmentation(state: State, chosen: Chosen, output: Output) -> ExitCode:
    """Print which nodes share prefixes, and how many host routes each one takes."""
    check_known("subnet", chosen.subnet, state.subnets)
    check_known("node", chosen.node, state.nodes)
    every = fragments(state)
    found = [
        one
        for one in every
        if wants(chosen.subnet, one.subnet)
        and wants(chosen.node, one.node)
        and wants(chosen.family, one.family.value)
    ]
    sums = [
        one
        for one in fragmentation(state, every)
        if (one.subnet, one.family) in {(one.subnet, one.family) for one in found}
    ]
    if output.is_document:
        write(output.text(_fragments_document(sums, found)))
        return ExitCode.DONE
    shown = found if chosen.everything or chosen.node is not None else _worst(found)
    if len(shown) > LISTED and not chosen.everything:
        hint = f"\n{len(shown):,} nodes share a prefix or lie apart: list them with --all\n"
        write(_sums_listing(sums) + hint)
        return ExitCode.DONE
    wide = output is Output.WIDE
    nodes = "\n" + _nodes_listing(shown, wide=wide) if shown else ""
    write((_sums_listing(sums) if sums else "no blocks\n") + nodes)
    return ExitCode.DONE


def _worst(found: Iterable[Fragment]) -> list[Fragment]:
    """The nodes that share a prefix or lie apart, those with most routes first."""
    apart = [one for one in found if not one.is_whole]
    return sorted(apart, key=lambda one: (-one.routes, -one.shared, one.subnet, one.node))


def _sums_listing(sums: Iterable[Fragmentation]) -> str:
    headings = ("SUBNET", "FAMILY", "#NODES", "#BLOCKS", "#NODE PREFIXES", "#SHARED", "#APART")
    return listing(
        (*headings, "#HOST ROUTES", "#PER NODE"),
        (
            (
                one.subnet,
                one.family.value,
                *(f"{n:,}" for n in (one.nodes, one.blocks, one.node_prefixes)),
                *(f"{n:,}" for n in (one.shared, one.apart, one.routes)),
                number(one.routes_per_node),
            )
            for one in sums
        ),
    )


def _nodes_listing(rows: Iterable[Fragment], *, wide: bool) -> str:
    headings = ["NODE", "SUBNET", "FAMILY", "#BLOCKS", "#NODE PREFIXES", "#SHARED", "#HOST ROUTES"]
    return listing(
        [*headings, "IDENTITY"] if wide else headings,
        (
            (
                one.node,
                one.subnet,
                one.family.value,
                *(f"{n:,}" for n in (one.blocks, one.node_prefixes, one.shared, one.routes)),
                *((one.identity,) if wide else ()),
            )
            for one in rows
        ),
    )


def _fragments_document(
    sums: Iterable[Fragmentation], found: Iterable[Fragment]
) -> dict[str, Json]:
    return {
        "subnets": [
            {
                "id": one.subnet,
                "family": one.family.value,
                "nodes": one.nodes,
                "blocks": one.blocks,
                "node_prefixes": one.node_prefixes,
                "shared_node_prefixes": one.shared,
                "nodes_apart": one.apart,
                "host_routes": one.routes,
                "host_routes_per_node": one.routes_per_node,
            }
            for one in sums
        ],
        "nodes": [
            {
                "node": one.node,
                "identity": one.identity,
                "subnet": one.subnet,
                "family": one.family.value,
                "blocks": one.blocks,
                "node_prefixes": one.node_prefixes,
                "shared_node_prefixes": one.shared,
                "host_routes": one.routes,
            }
            for one in found
        ],
    }
