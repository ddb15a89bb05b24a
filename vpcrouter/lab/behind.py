"""Which nodes' host routes do not reflect yet what they would have to forward. Pure.

A node forwards for others only once its agent has reported that its host routes reflect the blocks
that it would catch: until then it would refuse packets for them, or lead them to a former owner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from cni.reports import Report
from ipam.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Owned:
    """A block, its owner by name with its subnet, and the store's revision that last changed it."""

    prefix: Prefix
    node: str
    subnet: str
    revision: int


def behind(
    blocks: Iterable[Owned], reports: Mapping[str, Report | None], asked: Mapping[str, str]
) -> Mapping[str, str]:
    """Of the nodes that are asked about, by name with their subnets, those that lag, and why.

    ``reports`` are what their agents say, None where that cannot be read. Only blocks of nodes
    that are asked about count: what no packet reaches needs no host route.
    """
    of_subnet: dict[str, list[Owned]] = {}
    for block in blocks:
        if asked.get(block.node) == block.subnet:
            of_subnet.setdefault(block.subnet, []).append(block)
    found = {
        name: _why(name, reports.get(name), of_subnet.get(subnet, ()))
        for name, subnet in sorted(asked.items())
    }
    return {name: why for name, why in found.items() if why}


def _why(name: str, report: Report | None, blocks: Collection[Owned]) -> str:
    """Why a node's host routes do not reflect these blocks, empty if they do."""
    others = [block for block in blocks if block.node != name]
    if not others:
        return ""
    if report is None:
        return "its agent has not reported what they reflect"
    unrouted = set(report.unrouted)
    for block in others:
        if block.prefix in unrouted:
            return f"they lack {block.prefix} of {block.node}"
        if block.revision > report.revision:
            return (
                f"they reflect revision {report.revision} of the store, "
                f"and {block.prefix} of {block.node} is of revision {block.revision}"
            )
    return ""
