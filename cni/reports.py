"""What an agent reports about its node, as one versioned JSON object in the store.

``revision``: the node's host routes reflect all nodes and blocks up to this revision of the store,
but for ``unrouted`` blocks, whose nodes have said no address or to which the kernel takes no route
of ours. ``blocks``: how many pods each has, and how many bytes went to and from them in the last
``seconds``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipam.errors import BadInputError
from ipam.prefix import Family, Prefix

VERSION = 1
_NO_REPORT = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

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


def load_report(key: str, value: bytes) -> Report:
    """The report under a key. Raises BadInputError where there is none that can be read."""
    try:
        fields = json.loads(value)
        if fields["v"] != VERSION:
            raise ValueError(f"version {fields['v']}")
        return Report(
            int(fields["revision"]),
            tuple(map(Prefix.parse, fields["unrouted"])),
            {
                Prefix.parse(block): Load(int(load["pods"]), int(load["bytes"]))
                for block, load in fields["blocks"].items()
            },
            int(fields["seconds"]),
        )
    except (*_NO_REPORT, BadInputError) as error:
        raise BadInputError(
            f"key {key} of the store holds no report ({error}): restart the agent of that node, "
            "which writes it anew"
        ) from error
