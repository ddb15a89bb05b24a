"""What the entries of a plan can still take, until a load is above the least, or the slack."""

from __future__ import annotations

from collections import defaultdict
from math import floor

import numpy as np

from ipam.prefix import Family, Prefix
from ipam.room import Room, Takes
from vpcrouter.model import BlockColumns, Plan, Snapshot, TablePlan

_ROUNDING = 1e-9  # relative: a load that is exactly what is allowed is allowed


def headroom(plan: Plan, snapshot: Snapshot, slack: float) -> Room:
    """How many further blocks of usual weight each entry of a plan for this snapshot can take.

    Up to the least load, and up to what the slack allows. What a node carries by all its entries in
    a table counts. Where somebody carries nothing at all at best, every node that joins gets an
    entry of its own: nothing is said of such tables.
    """
    usual = {f: usual_weight(columns) for f, columns in snapshot.blocks.items() if len(columns)}
    nodes = snapshot.node_columns
    capacity = dict(zip(nodes.name, nodes.capacity, strict=True))
    return Room(
        tuple(
            _room(table, family, weight, capacity, slack)
            for table in plan.tables
            for family, weight in usual.items()
            if weight > 0 and family in table.proof and table.proof[family].least_load > 0
        )
    )


def usual_weight(columns: BlockColumns) -> float:
    """What a block of these weighs in the middle of all."""
    return float(np.median(columns.weight))


def _room(
    table: TablePlan, family: Family, usual: float, capacity: dict[str, float], slack: float
) -> dict[Prefix, Takes]:
    least = table.proof[family].least_load * (1 + _ROUNDING)
    entries = [entry for entry in table.entries if entry.destination.family is family]
    carried: defaultdict[str | None, float] = defaultdict(float)
    for entry in entries:
        carried[entry.node] += entry.load

    def takes(node: str | None, load: float) -> int:
        return floor(max(0.0, load - carried[node]) * capacity.get(node or "", 1.0) / usual)

    return {
        entry.destination: Takes(takes(entry.node, least), takes(entry.node, least * (1 + slack)))
        for entry in entries
    }
