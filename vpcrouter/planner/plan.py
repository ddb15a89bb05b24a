"""The planner's front: every table and family in turn, present entries kept where they are good.

Tables share no budget. They are planned family by family in the order of their ids, and a choice
among equally good forwarders looks at the loads that have been given out before, in either family.
Then next hops are moved from nodes that carry much in all of them, within what each table carries
anyway: so no table gets worse, and what a node carries in all of them is kept low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from vpcrouter.planner.ahead import with_room
from vpcrouter.planner.arrays import Floats
from vpcrouter.planner.direct import direct_entries
from vpcrouter.planner.owners import owners
from vpcrouter.planner.problem import FamilyView, NodeView, Problem, Tree, pose, table_weights
from vpcrouter.planner.retain import retain
from vpcrouter.planner.select import Selection, select
from vpcrouter.planner.solve import Assigned, Solved, judge, near, solve
from vpcrouter.planner.solve import Kind as How
from vpcrouter.planner.spread import Share, spread
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
    nothing. Where the snapshot says which blocks are to come, there is room for them afterwards
    if that takes few changes.
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
    made = _decide(snapshot, slack)
    return with_room(snapshot, slack, made, _decide) if snapshot.coming else made


def _decide(snapshot: Snapshot, slack: float) -> Plan:
    nodes = NodeView.of(snapshot)
    views = {f: FamilyView.of(snapshot, f, nodes) for f in Family}
    parts: dict[str, dict[Family, _FamilyPlan]] = {table.id: {} for table in snapshot.route_tables}
    for view, table, chosen in choose_all(snapshot, [views[family] for family in Family], slack):
        parts[table.id][view.family] = _assemble(view, table, chosen)
    return Plan(tuple(_table_plan(snapshot, t, parts[t.id]) for t in snapshot.route_tables))


def choose_all(
    snapshot: Snapshot, views: Sequence[FamilyView], slack: float
) -> list[tuple[FamilyView, RouteTable, Chosen]]:
    """What every table should hold in every family, for these views of a snapshot."""
    burden = np.zeros(len(snapshot.nodes))
    found: _Parts = []
    families = sum(bool(len(columns)) for columns in snapshot.blocks.values())
    shares_nodes = families * len(snapshot.route_tables) > 1
    for view in views:
        for table in snapshot.route_tables:
            chosen = choose(view, table, slack, burden)
            found.append((view, table, chosen))
            if shares_nodes:
                burden = _added(burden, _node_loads(_whole(view, table, chosen)))
    return _spread(found, burden, slack) if shares_nodes else found


_Parts = list[tuple[FamilyView, RouteTable, "Chosen"]]


def _spread(parts: _Parts, carried: Floats, slack: float) -> _Parts:
    """The same with next hops that differ from table to table, where they are new anyway.

    A plan from nothing within the slack has large pieces, to have few. Where they leave too little
    choice of next hops, the plan with the least load is held against it.
    """
    shares = {n: _share(*part, slack) for n, part in enumerate(parts) if _carries(part[2])}
    if not shares:
        return parts
    plans, most = spread(list(shares.values()), carried)
    least = {
        n: replace(share, plan=solved.best)
        if not share.stays and (solved := parts[n][2].solved) is not None
        else share
        for n, share in shares.items()
    }
    others = any(least[n].plan is not share.plan for n, share in shares.items())
    if others and most > max(max(s.allowed, s.plan.load) for s in shares.values()):
        carried = carried.copy()
        for n, share in shares.items():
            _add(carried, share.plan, -1)
            _add(carried, least[n].plan, 1)
        other, less = spread(list(least.values()), carried)
        plans = other if less < most else plans
    for number, plan_ in zip(shares, plans, strict=True):
        view, table, chosen = parts[number]
        parts[number] = view, table, replace(chosen, settled=plan_)
    return parts


def _carries(chosen: Chosen) -> bool:
    return chosen.settled is not None and chosen.settled.load > 0


def _share(view: FamilyView, table: RouteTable, chosen: Chosen, slack: float) -> Share:
    if chosen.problem is None or chosen.solved is None or chosen.settled is None:
        raise AssertionError(f"nothing was solved for {table.id}")
    stays = _standing_hops(view, table, chosen.settled)
    return Share(chosen.problem, chosen.settled, stays, chosen.solved.best.load * (1 + slack))


def _add(carried: Floats, plan_: Assigned, sign: int) -> None:
    np.add.at(carried, plan_.hops, sign * plan_.entry_load)
    np.maximum(carried, 0.0, out=carried)


def _standing_hops(view: FamilyView, table: RouteTable, plan_: Assigned) -> frozenset[Prefix]:
    """The destinations that have this next hop already."""
    present = _present(view, table) if table.entries else {}
    wanted = plan_.as_entries() if present else {}
    return frozenset(prefix for prefix, node in wanted.items() if present.get(prefix) == node)


def _steps(ground: Ground, table: RouteTable, decided: TablePlan) -> tuple[Step, ...]:
    return transition_on(ground, table, decided.target).steps


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
    interfaces = {entry.destination: entry.interface for entry in chosen.kept}
    plan_ = _whole(view, table, chosen)
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
        weight=float(table_weights(view, table, view.trees).sum()),
    )


def _whole(view: FamilyView, table: RouteTable, chosen: Chosen) -> Assigned:
    """All entries of a table with what they do, those included that are not solved for."""
    if chosen.settled is not None and not (chosen.kept or chosen.fixed):
        return chosen.settled
    index = view.nodes.by_interface
    entries = {entry.destination: index.get(entry.interface, -1) for entry in chosen.kept}
    entries.update(chosen.fixed)
    entries.update(chosen.settled.as_entries() if chosen.settled else {})
    weight = table_weights(view, table, view.trees)
    return judge(pose(view, table, view.trees, weight, 0, np.zeros(0), {}), entries)


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
