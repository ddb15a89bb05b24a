"""Fragmentation: which nodes share a prefix with others, and whose blocks lie apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ipam.model import Node, State
from ipam.prefix import Family, Prefix, merge


@dataclass(frozen=True, slots=True)
class Fragment:
    """The blocks of one node in one family.

    ``node_prefixes`` are those in which it has blocks, ``shared`` those of them in which others
    have some too. ``routes`` is how many host routes the other nodes of its subnet need to reach
    all of its blocks, once neighbouring ones are merged.
    """

    node: str
    identity: str
    subnet: str
    family: Family
    blocks: int
    node_prefixes: int
    shared: int
    routes: int

    @property
    def is_whole(self) -> bool:
        """Whether it has one prefix to itself, reached by one route."""
        return self.routes == 1 and not self.shared


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """The nodes of one subnet in one family; ``shared`` counts each node prefix once."""

    subnet: str
    family: Family
    nodes: int
    blocks: int
    node_prefixes: int
    shared: int
    apart: int
    routes: int

    @property
    def routes_per_node(self) -> float:
        """Host routes per node in the mean."""
        return self.routes / self.nodes if self.nodes else 0.0


def fragments(state: State) -> list[Fragment]:
    """Every owner of blocks, in the order of subnets and names."""
    holders = _holders(state)
    found = [
        _fragment(state, node, family, blocks, holders)
        for node in state.owners()
        for family in Family
        if (blocks := [block for block in node.blocks if block.family is family])
    ]
    return sorted(found, key=lambda one: (one.subnet, one.family, one.node, one.identity))


def fragmentation(state: State, chosen: Iterable[Fragment]) -> list[Fragmentation]:
    """Some fragments of a state together, by subnet and family."""
    holders = _holders(state)
    together: dict[tuple[str, Family], list[Fragment]] = {}
    for one in chosen:
        together.setdefault((one.subnet, one.family), []).append(one)
    used: dict[tuple[str, Family], list[int]] = {}
    for (subnet, prefix), owners in holders.items():
        used.setdefault((subnet, prefix.family), []).append(len(owners))
    return [
        Fragmentation(
            subnet,
            family,
            nodes=len(group),
            blocks=sum(one.blocks for one in group),
            node_prefixes=len(used[subnet, family]),
            shared=sum(count > 1 for count in used[subnet, family]),
            apart=sum(one.node_prefixes > 1 for one in group),
            routes=sum(one.routes for one in group),
        )
        for (subnet, family), group in sorted(together.items())
    ]


_Holders = dict[tuple[str, Prefix], set[tuple[str, str]]]


def _holders(state: State) -> _Holders:
    """Who has blocks in each node prefix of each subnet."""
    holders: _Holders = {}
    for node in state.owners():
        for block in node.blocks:
            prefix = _node_prefix(state, node, block)
            holders.setdefault((node.subnet, prefix), set()).add((node.name, node.identity))
    return holders


def _node_prefix(state: State, node: Node, block: Prefix) -> Prefix:
    return state.space(node.subnet, block).node_prefix(block)


def _fragment(
    state: State, node: Node, family: Family, blocks: list[Prefix], holders: _Holders
) -> Fragment:
    prefixes = {_node_prefix(state, node, block) for block in blocks}
    return Fragment(
        node.name,
        node.identity,
        node.subnet,
        family,
        blocks=len(blocks),
        node_prefixes=len(prefixes),
        shared=sum(len(holders[node.subnet, prefix]) > 1 for prefix in prefixes),
        routes=len(merge(blocks)),
    )
