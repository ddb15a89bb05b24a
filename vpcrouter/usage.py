"""Who has which part of a route table's quota. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipam.prefix import Family, Prefix
from vpcrouter.fabric.port import Observation, Origin, PrefixList, Row, Table
from vpcrouter.model import Snapshot
from vpcrouter.ownership import RouteRecord
from vpcrouter.reachability import Ground


@dataclass(frozen=True, slots=True)
class Usage:
    """Entries of one table and family; ``free`` is what is left for us beyond the reserve."""

    table: str
    family: Family
    quota: int
    ours: int
    local: int
    prefix_lists: int
    others: int
    reserve: int

    @property
    def free(self) -> int:
        """Never below 0, also where others have more than the quota."""
        taken = self.ours + self.local + self.prefix_lists + self.others
        return max(0, self.quota - taken - self.reserve)


def usage(
    seen: Observation, records: Mapping[tuple[str, Prefix], RouteRecord], reserve: int
) -> tuple[Usage, ...]:
    """For every table that a subnet uses, each family that has any entry in it."""
    used = {subnet.table for subnet in seen.subnets}
    return tuple(
        _usage(table, family, seen, records, reserve)
        for table in seen.tables
        if table.id in used
        for family in Family
        if table.counted(family)
    )


def _usage(
    table: Table,
    family: Family,
    seen: Observation,
    records: Mapping[tuple[str, Prefix], RouteRecord],
    reserve: int,
) -> Usage:
    counts = {"ours": 0, "local": 0, "prefix lists": 0, "others": 0}
    for row in table.rows:
        if row.family is family:
            counts[_holder(table.id, row, records)] += row.weight
    return Usage(
        table=table.id,
        family=family,
        quota=seen.quota[family],
        ours=counts["ours"],
        local=counts["local"],
        prefix_lists=counts["prefix lists"],
        others=counts["others"],
        reserve=reserve,
    )


def _holder(table: str, row: Row, records: Mapping[tuple[str, Prefix], RouteRecord]) -> str:
    if isinstance(row.destination, PrefixList):
        return "prefix lists"
    record = records.get((table, row.destination))
    if record is not None and record.owns(row):
        return "ours"
    return "local" if row.origin is Origin.LOCAL else "others"


def running_short(snapshot: Snapshot) -> tuple[str, ...]:
    """Tables whose budget is less than twice what it takes to reach every subnet, a line each.

    Below what it takes, subnets go without; the warning comes while there is time to ask for more.
    """
    trees = Ground.physical(snapshot).trees
    return tuple(
        f"{table.id}: its budget of {budget:,} {family} entries is little above the {needed:,} "
        "that it takes to reach every subnet: raise the quota (L-93826ACB), or remove others' "
        "entries"
        for table in snapshot.route_tables
        for family in Family
        if (needed := len(trees[family])) > (budget := table.budget.get(family, 0)) / 2
    )
