"""Whether a pass would remove so much that somebody should look at it first."""

from __future__ import annotations

from vpcrouter.config import Ceiling
from vpcrouter.model import Action, Plan, Snapshot
from vpcrouter.service.progress import Removal


def removals(snapshot: Snapshot, plan: Plan, ceiling: Ceiling) -> tuple[Removal, ...]:
    """The tables that would lose more than the ceiling's share of their entries, and than its few.

    Entries that are replaced by others elsewhere count as well: so much change at once means that
    the input has changed beyond what a cluster does by itself. A table that is filled for the
    first time loses nothing.
    """
    found = []
    for table, planned in zip(snapshot.route_tables, plan.tables, strict=True):
        removed = sum(step.action is Action.DELETE for step in planned.steps)
        if removed > ceiling.few and removed > ceiling.share * len(table.entries):
            found.append(Removal(table.id, removed, len(table.entries)))
    return tuple(found)
