"""Fewer entries than a table could take, while the load allows it. Pure.

Clouds warn of slower networks beyond their default quota. A table then has two budgets: the soft
one holds as long as it serves everybody and no node carries more than it should; else the table
gets as many entries as that takes, up to the hard one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ipam.prefix import Family
from vpcrouter.model import Plan, RouteTable, Snapshot

Budgets = Mapping[str, Mapping[Family, int]]
"""Soft budgets by table and family; a missing one is the hard one."""

Planner = Callable[[Snapshot], Plan]
"""Makes the plan with the least load."""


def softened(
    tables: Sequence[RouteTable], quota: Mapping[Family, int], soft_limit: int
) -> dict[str, dict[Family, int]]:
    """The soft budget of each table: as if the quota were that limit."""
    return {
        table.id: {
            family: max(0, budget - max(0, quota.get(family, 0) - soft_limit))
            for family, budget in table.budget.items()
        }
        for table in tables
    }


def without_load(tables: Sequence[RouteTable], soft: Budgets) -> dict[Family, int]:
    """What each table takes before anything is known about loads, and the least of that.

    What a table holds already counts: it has been found to be needed.
    """
    return {
        family: min((_present(table, soft, family) for table in tables), default=0)
        for family in Family
    }


def within(snapshot: Snapshot, soft: Budgets, max_load: float | None, make: Planner) -> Snapshot:
    """The snapshot with the budgets to plan with.

    A table keeps to its soft budget in a family if that serves all that the hard one does and the
    least possible largest load is no more than ``max_load`` (None: whatever the load). Else it
    gets the fewest entries that do, and no fewer than it holds; all it can take where none do.
    """
    tables = tuple(_table(snapshot, table, soft, max_load, make) for table in snapshot.route_tables)
    return replace(snapshot, route_tables=tables)


def _table(
    snapshot: Snapshot, table: RouteTable, soft: Budgets, max_load: float | None, make: Planner
) -> RouteTable:
    budget = dict(table.budget)
    for family, hard in table.budget.items():
        low = min(hard, soft.get(table.id, {}).get(family, hard))
        if low == hard or not len(snapshot.blocks[family]):
            continue

        least_unserved, _ = _planned(snapshot, table, family, hard, make)

        def does(entries: int, family: Family = family, most: int = least_unserved) -> bool:
            unserved, load = _planned(snapshot, table, family, entries, make)
            return unserved <= most and (max_load is None or load <= max_load)

        if does(low):
            budget[family] = low
        else:
            budget[family] = min(hard, max(_fewest(low, hard, does), _held(table, family)))
    return replace(table, budget=budget)


def _fewest(low: int, high: int, does: Callable[[int], bool]) -> int:
    """The fewest entries above ``low`` that do, by halving; ``high`` where none do."""
    while high - low > 1:
        middle = (low + high) // 2
        if does(middle):
            high = middle
        else:
            low = middle
    return high


def _planned(
    snapshot: Snapshot, table: RouteTable, family: Family, entries: int, make: Planner
) -> tuple[int, float]:
    """Blocks that go unserved with so many entries from nothing, and the least largest load."""
    alone = replace(table, budget={family: entries}, entries=())
    (made,) = make(replace(snapshot, route_tables=(alone,))).tables
    unserved = sum(one.blocks for one in made.unserved if one.family is family)
    proof = made.proof.get(family)
    return unserved, proof.least_load if proof is not None else 0.0


def _present(table: RouteTable, soft: Budgets, family: Family) -> int:
    hard = table.budget.get(family, 0)
    low = soft.get(table.id, {}).get(family, hard)
    return min(hard, max(low, _held(table, family)))


def _held(table: RouteTable, family: Family) -> int:
    return sum(entry.destination.family is family for entry in table.entries)
