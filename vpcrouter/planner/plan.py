"""The planner's front: every table and family in turn, present entries kept where they are good.

Tables share no budget. They are planned family by family in the order of their ids, and a choice
among equally good forwarders looks at the loads that have been given out before, in either family:
so no table gets worse, and what a node carries in all of them is kept low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ipam.prefix import Family, Prefix
from vpcrouter.model import (
    Entry,
    Kind,
    Plan,
    PlannedEntry,
    Proof,
    ProofStatus,
    Role,
    RouteTable,
    Snapshot,
    Step,
    TablePlan,
    Unserved,
)
from vpcrouter.planner.arrays import Floats
from vpcrouter.planner.direct import direct_entries
from vpcrouter.planner.owners import owners
from vpcrouter.planner.problem import FamilyView, NodeView, Problem, Tree, pose, table_weights
from vpcrouter.planner.retain import retain
from vpcrouter.planner.select import Selection, select
from vpcrouter.planner.solve import Assigned, Solved, judge, near, solve
from vpcrouter.planner.solve import Kind as How
from vpcrouter.reachability.ground import Ground
from vpcrouter.transition import transition_on


@dataclass(frozen=True, slots=True)
class _FamilyPlan:
    """One table's plan in one family."""

    entries: tuple[PlannedEntry, ...]
    proof: Proof
    unserved: tuple[Unserved, ...]
    node_load: Mapping[int, float]
    max_load: float
    detour_weight: float
    weight: float


def plan(snapshot: Snapshot, slack: float = 0.0) -> Plan:
    """What every route table should hold, and the steps to it.

    ``slack`` (a fraction) is how far above the least largest load a table may stay in order to
    change less. Without any node nothing is planned and nothing changes: an empty input removes
    nothing.
    """
    decided = decide(snapshot, slack)
    if not snapshot.nodes:
        return decided
    ground = Ground.physical(snapshot)
    return Plan(
        tuple(
            replace(each, steps=_steps(ground, table, each))
            for table, each in zip(snapshot.route_tables, decided.tables, strict=True)
        )
    )


def decide(snapshot: Snapshot, slack: float = 0.0) -> Plan:
    """What every route table should hold: a plan as ``plan`` makes it, but without steps."""
    nodes = NodeView.of(snapshot)
    views = {f: FamilyView.of(snapshot, f, nodes) for f in Family}
    burden = np.zeros(len(snapshot.nodes))
    parts: dict[str, dict[Family, _FamilyPlan]] = {table.id: {} for table in snapshot.route_tables}
    for family in Family:
        for table in snapshot.route_tables:
            part = _plan_family(views[family], table, slack, burden)
            parts[table.id][family] = part
            if part.node_load and shares_nodes(snapshot):
                burden = _added(burden, part.node_load)
    return Plan(tuple(_table_plan(snapshot, t, parts[t.id]) for t in snapshot.route_tables))


def shares_nodes(snapshot: Snapshot) -> bool:
    """Whether a node can carry a load in more than one table or family."""
    families = sum(bool(len(columns)) for columns in snapshot.blocks.values())
    return families * len(snapshot.route_tables) > 1


def _steps(ground: Ground, table: RouteTable, decided: TablePlan) -> tuple[Step, ...]:
    target = [Entry(entry.destination, entry.interface) for entry in decided.entries]
    return transition_on(ground, table, target).steps


def _table_plan(
    snapshot: Snapshot, table: RouteTable, families: Mapping[Family, _FamilyPlan]
) -> TablePlan:
    return TablePlan(
        id=table.id,
        entries=tuple(entry for family in Family for entry in families[family].entries),
        steps=(),
        max_load=max(part.max_load for part in families.values()),
        detour_weight=sum(part.detour_weight for part in families.values()),
        weight=sum(part.weight for part in families.values()),
        proof={
            family: part.proof for family, part in families.items() if len(snapshot.blocks[family])
        },
        unserved=tuple(item for part in families.values() for item in part.unserved),
    )


def _plan_family(view: FamilyView, table: RouteTable, slack: float, burden: Floats) -> _FamilyPlan:
    return _assemble(view, table, choose(view, table, slack, burden))


def choose(view: FamilyView, table: RouteTable, slack: float, burden: Floats) -> Chosen:
    """What one table should hold in one family; ``burden`` is what nodes carry in others."""
    budget = table.budget.get(view.family, 0)
    if not view.snapshot.nodes:
        everything = tuple(e for e in table.entries if e.destination.family is view.family)
        return Chosen({}, everything, None, None, None, ())
    weight = table_weights(view, table, view.trees)
    forced = _direct_only(view, table, weight, budget)
    counts = {subnet: part.count for subnet, part in forced.items()}
    selection = select(view, table, weight, counts, budget)
    present = _present(view, table)
    fixed: dict[Prefix, int] = {}
    trees: list[Tree] = []
    for tree in selection.trees:
        if view.crew.size(tree.subnet):
            trees.append(tree)
        else:
            fixed.update(forced[tree.subnet].entries or {})
    problem = solved = settled = None
    if trees:
        room = budget - len(selection.kept) - len(fixed)
        standing = _standing(view, table, weight, selection)
        problem = pose(view, table, trees, weight, room, burden, standing)
        within = {p: n for p, n in present.items() if problem.tree_of(p) is not None}
        solved = solve(problem)
        settled = _settle(problem, solved, within, slack)
    return Chosen(fixed, selection.kept, problem, solved, settled, selection.unserved)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The parts of a plan: entries that are the only way, those that stay, those solved for."""

    fixed: Mapping[Prefix, int]
    kept: tuple[Entry, ...]
    problem: Problem | None
    solved: Solved | None
    settled: Assigned | None
    unserved: tuple[Unserved, ...]


def _present(view: FamilyView, table: RouteTable) -> dict[Prefix, int | None]:
    """The present entries with their nodes; None where the next hop is not a healthy node."""
    present: dict[Prefix, int | None] = {}
    for entry in table.entries:
        if entry.destination.family is not view.family:
            continue
        node = view.nodes.by_interface.get(entry.interface)
        usable = node is not None and view.role[node] != Role.NOTHING
        inside = usable and any(p.contains(entry.destination) for p in view.merged[view.home[node]])
        present[entry.destination] = node if inside else None
    return present


def _usable(present: Mapping[Prefix, int | None]) -> dict[Prefix, int]:
    return {prefix: node for prefix, node in present.items() if node is not None}


@dataclass(frozen=True, slots=True)
class _Forced:
    """The plan of a subnet where nobody may forward for others; ``entries`` None: too many."""

    count: int
    entries: dict[Prefix, int] | None


def _direct_only(
    view: FamilyView, table: RouteTable, weight: Floats, budget: int
) -> dict[int, _Forced]:
    """The only plan of each subnet where nobody may forward for others, if it has one."""
    result: dict[int, _Forced] = {}
    trees_of: dict[int, list[Tree]] = {}
    for tree in view.trees:
        if not view.crew.size(tree.subnet):
            trees_of.setdefault(tree.subnet, []).append(tree)
    present = _usable(_present(view, table)) if trees_of else {}
    for subnet, trees in trees_of.items():
        problem = pose(view, table, trees, weight, budget, np.zeros(0), {})
        owned = owners(problem)
        least = max(owned.count, len(owned.runs.node) // 2)  # n entries make at most 2 n runs
        if least > budget:
            if owned.healthy:
                result[subnet] = _Forced(least, None)
            continue
        entries = direct_entries(problem, owned, trees, present)
        if entries is not None:
            result[subnet] = _Forced(len(entries), entries)
    return result


def _settle(
    problem: Problem, solved: Solved, present: Mapping[Prefix, int | None], slack: float
) -> Assigned:
    """The plan to go for: the present table mended, or the best one, whichever changes less."""
    allowed = solved.best.load * (1 + slack)
    if not present:
        return near(problem, solved, {}, allowed)
    kept = retain(problem, solved.owned, present, allowed, solved.kind is How.DIRECT)
    if kept is not None and _changes(kept, present) <= _forced(problem, present):
        return kept
    fresh = near(problem, solved, _usable(present), allowed)
    if kept is None:
        return fresh
    by_changes = (_changes(kept, present), kept.load)
    return kept if by_changes <= (_changes(fresh, present), fresh.load) else fresh


def _changes(plan: Assigned, present: Mapping[Prefix, int | None]) -> int:
    wanted = plan.as_entries()
    changed = sum(present.get(prefix, -1) != node for prefix, node in wanted.items())
    return changed + sum(prefix not in wanted for prefix in present)


def _forced(problem: Problem, present: Mapping[Prefix, int | None]) -> int:
    """Changes that no plan can do without: next hops that may not be."""
    missing = sum(tree.prefix not in present for tree in problem.trees)
    return missing + sum(node is None for node in present.values())


def _assemble(view: FamilyView, table: RouteTable, chosen: Chosen) -> _FamilyPlan:
    """Entries with what they do, the loads they cause together, and the proof."""
    nodes = view.snapshot.node_columns
    weight = table_weights(view, table, view.trees)
    interfaces = {entry.destination: entry.interface for entry in chosen.kept}
    plan_ = chosen.settled
    if plan_ is None or chosen.kept or chosen.fixed:
        index = view.nodes.by_interface
        entries = {prefix: index.get(name, -1) for prefix, name in interfaces.items()}
        entries.update(chosen.fixed)
        entries.update(plan_.as_entries() if plan_ else {})
        whole = pose(view, table, view.trees, weight, 0, np.zeros(0), {})
        plan_ = judge(whole, entries)
    planned = tuple(
        PlannedEntry(
            destination=prefix,
            interface=interfaces[prefix] if prefix in interfaces else nodes.interface[hop],
            node=nodes.name[hop] if hop >= 0 else None,
            kind=Kind.DIRECT if own == blocks else Kind.AGGREGATE,
            blocks=blocks,
            weight=total,
            load=load,
        )
        for prefix, hop, own, blocks, total, load in zip(
            plan_.layout.destinations,
            plan_.hops.tolist(),
            plan_.own_blocks.tolist(),
            plan_.layout.blocks.tolist(),
            plan_.layout.weight.tolist(),
            plan_.entry_load.tolist(),
            strict=True,
        )
    )
    detour = float(plan_.others_weight.sum())
    node_load = _node_loads(plan_)
    largest = max(node_load.values(), default=0.0)
    return _FamilyPlan(
        entries=planned,
        proof=_proof(chosen.solved, largest, len(chosen.kept) + len(chosen.fixed)),
        unserved=chosen.unserved,
        node_load=node_load,
        max_load=largest,
        detour_weight=detour,
        weight=float(weight.sum()),
    )


def _standing(
    view: FamilyView,
    table: RouteTable,
    weight: Floats,
    selection: Selection,
) -> dict[int, float]:
    """The load that entries which stay for unserved subnets put on nodes."""
    if not selection.kept:
        return {}
    whole = pose(view, table, view.trees, weight, 0, np.zeros(0), {})
    index = view.nodes.by_interface
    entries = {entry.destination: index.get(entry.interface, -1) for entry in selection.kept}
    entries.update({tree.prefix: -1 for tree in selection.trees})
    return _node_loads(judge(whole, entries))


def _node_loads(plan_: Assigned) -> dict[int, float]:
    """The load of each node that is a next hop."""
    found: dict[int, float] = {}
    for node, load in zip(plan_.hops.tolist(), plan_.entry_load.tolist(), strict=True):
        if node >= 0:
            found[node] = found.get(node, 0.0) + load
    return found


def _added(burden: Floats, node_load: Mapping[int, float]) -> Floats:
    """The burden with one table's loads on top."""
    burden = burden.copy()
    for node, load in node_load.items():
        burden[node] += load
    return burden


def _proof(solved: Solved | None, largest: float, others: int) -> Proof:
    """The proof of a table with ``others`` entries that are not the solved problem's."""
    if solved is None:
        return Proof(ProofStatus.OPTIMAL, largest, largest, None)
    less = solved.entries_for_less
    if less is not None:
        less += others
    proven = solved.lower_bound >= solved.best.load
    return Proof(
        ProofStatus.OPTIMAL if proven else ProofStatus.BOUNDED,
        solved.best.load,
        solved.lower_bound,
        less,
    )
