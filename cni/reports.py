"""What an agent reports about its node, as one versioned JSON object in the store.

``revision``: the node's host routes reflect all nodes and blocks up to this revision of the store,
but for ``unrouted`` blocks, whose nodes have said no address. ``blocks``: how many pods each has,
and how many bytes went to and from them in the last ``seconds``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix

VERSION = 1

Pods = Sequence[tuple[Sequence[tuple[Family, int]], int]]
"""Of each pod: its addresses, and how many bytes went to and from it."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much a block is used."""

    pods: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """See the module."""

    revision: int
    unrouted: tuple[Prefix, ...]
    blocks: Mapping[Prefix, Load]
    seconds: int


def loads(blocks: Sequence[Prefix], pods: Pods) -> dict[Prefix, Load]:
    """How much each block is used. A pod's bytes count for its blocks of both families."""
    counts = {block: [0, 0] for block in blocks}
    for addresses, transferred in pods:
        for family, value in addresses:
            for block in blocks:
                if block.family is family and block.holds(value):
                    counts[block][0] += 1
                    counts[block][1] += transferred
    return {block: Load(*numbers) for block, numbers in counts.items()}


def dump_report(report: Report) -> bytes:
    """The report as it is written."""
    fields = {
        "v": VERSION,
        "revision": report.revision,
        "unrouted": [str(block) for block in report.unrouted],
        "seconds": report.seconds,
        "blocks": {
            str(block): {"pods": load.pods, "bytes": load.bytes}
            for block, load in sorted(report.blocks.items())
        },
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
