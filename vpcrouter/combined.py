"""The loads of all tables together: what one node forwards for others in every table at once.

Tables are planned each on its own, but a node has one network interface to forward with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vpcrouter.model import Plan


def combined_loads(loads: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    """The sum of each node's loads, by its name."""
    found: dict[str, float] = {}
    for node, load in loads:
        found[node] = found.get(node, 0.0) + load
    return found


def combined_load(plan: Plan) -> float:
    """The largest sum of a node's loads over all tables and families of a plan."""
    loads = combined_loads(
        (entry.node, entry.load)
        for table in plan.tables
        for entry in table.entries
        if entry.node is not None
    )
    return max(loads.values(), default=0.0)


def least_combined_load(plan: Plan) -> float:
    """No plan with the same tables can have less: one table and family alone needs as much."""
    return max(
        (proof.lower_bound for table in plan.tables for proof in table.proof.values()), default=0.0
    )
