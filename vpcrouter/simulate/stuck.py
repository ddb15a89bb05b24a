"""Tables that cannot be brought to their plan without a hit: what of them stays unserved.

A table at its limit has no room for the wider cover that a subnet needs once its prefix has grown,
and must not lose the present one first. A reserve of one entry is enough; without it, what the new
part of the prefix holds is unserved in that table until the limit is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ipam.prefix import Family
from vpcrouter.model import Plan, RouteTable, Snapshot, TablePlan, Unserved
from vpcrouter.reachability import Ground, Level, levels
from vpcrouter.traffic import Traffic
from vpcrouter.transition import transition


def held_back(snapshot: Snapshot, plan: Plan) -> Plan:
    """The plan as far as it goes: where a table is stuck, what that leaves unserved is said.

    The tables of the snapshot hold what the steps of the plan have made of them. Of a stuck table,
    load and proof are left out: what it holds is not what was planned.
    """
    tables = (
        _held_back(snapshot, table, planned) if not is_as_planned(table, planned) else planned
        for table, planned in zip(snapshot.route_tables, plan.tables, strict=True)
    )
    return Plan(tuple(tables))


def is_as_planned(table: RouteTable, planned: TablePlan) -> bool:
    """Whether the table holds what the plan says, so that planning again would change nothing."""
    return set(table.entries) == set(planned.target)


def _held_back(snapshot: Snapshot, table: RouteTable, planned: TablePlan) -> TablePlan:
    blocked = transition(snapshot, table, planned.target).blocked
    if not blocked:
        return planned
    known = {(one.subnet, one.family) for one in planned.unserved}
    unserved = [
        one
        for one in _unreached(snapshot, table, blocked[0])
        if (one.subnet, one.family) not in known
    ]
    load = Traffic(snapshot).table(table).max_load
    return replace(planned, unserved=(*planned.unserved, *unserved), max_load=load, proof={})


def _unreached(snapshot: Snapshot, table: RouteTable, reason: str) -> Iterator[Unserved]:
    """The subnets of which the table reaches less than all, with how many blocks it does not."""
    owners = Ground.physical(snapshot).owners
    blocks: dict[tuple[str, Family], int] = {}
    for reach in levels(snapshot, table, table.entries):
        if reach.level is not Level.SERVED:
            count = len(owners[reach.family].rows(reach.first, reach.last))
            key = reach.subnet, reach.family
            blocks[key] = blocks.get(key, 0) + count
    for (subnet, family), count in blocks.items():
        yield Unserved(subnet, family, count, reason)
