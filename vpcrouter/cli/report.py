"""A plan as people read it: like a diff, table by table, with what it leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipam.prefix import Family
from vpcrouter.cli.formats import Output
from vpcrouter.cli.output import complain, counted, few, layout, number, paint, percent, strong
from vpcrouter.model import (
    Action,
    Kind,
    Plan,
    PlannedEntry,
    Proof,
    ProofStatus,
    RouteTable,
    Snapshot,
    Step,
    TablePlan,
)
from vpcrouter.reachability import TableState

if TYPE_CHECKING:
    from vpcrouter.cluster import View
    from vpcrouter.problems import Problem

SIGNS = {
    Action.CREATE: ("+", "green"),
    Action.REPLACE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
}


@dataclass(frozen=True, slots=True)
class StepColumns:
    """Which cells a step has in a report; ``right`` are those of numbers."""

    cells: Callable[[Step, PlannedEntry | None, Mapping[str, str]], Sequence[str]]
    right: frozenset[int]


def step_columns(output: Output) -> StepColumns:
    """The cells of a step for this width."""
    if output is Output.WIDE:
        return StepColumns(_wide_cells, frozenset({5, 6}))
    return StepColumns(_cells, frozenset({4}))


def plan_report(plan: Plan, snapshot: Snapshot, columns: StepColumns) -> str:
    """The changes of every table, what they lead to, and a summary."""
    nodes = snapshot.node_columns
    names = dict(zip(nodes.interface, nodes.name, strict=True))
    zones = table_zones(snapshot)
    parts = [
        table_heading(present, zones[table.id], families_of(snapshot))
        + "".join(_table_lines(table, names, columns))
        for table, present in zip(plan.tables, snapshot.route_tables, strict=True)
    ]
    return "\n".join([*parts, summary(plan, snapshot)])


def summary(plan: Plan, snapshot: Snapshot) -> str:
    """What the plan changes and what it leads to, over all tables."""
    weight = sum(table.weight for table in plan.tables)
    detour = sum(table.detour_weight for table in plan.tables)
    blocks = sum(len(columns) for columns in snapshot.blocks.values())
    entries = sum(len(table.entries) for table in plan.tables)
    load = max((table.max_load for table in plan.tables), default=0.0)
    tables = counted(len(plan.tables), "table")
    return (
        f"{strong('Plan:')} {_changes(step for table in plan.tables for step in table.steps)} "
        f"in {tables}.\n"
        f"{counted(len(snapshot.nodes), 'node')} with {counted(blocks, 'block')}; "
        f"{counted(entries, 'entry', 'entries')}; largest load {number(load)}; "
        f"{percent(detour / weight if weight else 0.0)} of the weight takes a detour.\n"
    )


def say_unserved(plan: Plan) -> bool:
    """Name on standard error what a table cannot serve, and why; whether there was anything."""
    reasons: dict[str, list[str]] = {}
    for table in plan.tables:
        for one in table.unserved:
            what = f"{one.subnet} in {table.id} ({one.family}, {counted(one.blocks, 'block')})"
            reasons.setdefault(one.reason, []).append(what)
    for reason, subnets in reasons.items():
        complain(f"subnet {few(subnets)} cannot be served: {reason}; its entries stay as they are")
    return bool(reasons)


def say_blocked(plan: Plan, snapshot: Snapshot) -> bool:
    """Name on standard error the changes that cannot be made without loss; whether any are."""
    blocked = [
        line
        for table, present in zip(plan.tables, snapshot.route_tables, strict=True)
        for line in _blocked(table, present, snapshot)
    ]
    if blocked:
        more = f" (and {len(blocked) - 1:,} more such changes)" if len(blocked) > 1 else ""
        complain(f"left as it is: {blocked[0]}{more}")
    return bool(blocked)


def _blocked(table: TablePlan, present: RouteTable, snapshot: Snapshot) -> tuple[str, ...]:
    """What stands in the way where the steps do not lead to the entries, line by line."""
    state = TableState(present.entries, present.foreign)
    for step in table.steps:
        state.apply(step)
    if set(state.entries()) == set(table.target):
        return ()
    from vpcrouter.transition import transition

    return transition(snapshot, present, table.target).blocked


def say_view(view: View) -> bool:
    """Name on standard error what is odd about a cluster; whether all of it can be served."""
    for warning in view.warnings:
        complain(warning)
    for reason, names in _by_reason((*view.problems, *view.notes)).items():
        complain(f"{few(names)}{': each' if len(names) > 1 else ''} {reason}")
    return not view.problems


def _by_reason(problems: Iterable[Problem]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for problem in problems:
        names.setdefault(problem.reason, []).append(problem.name)
    return names


def table_zones(snapshot: Snapshot) -> dict[str, str]:
    """For each table the zones of the subnets that use it, as people read them."""
    zones: dict[str, set[str]] = {table.id: set() for table in snapshot.route_tables}
    for subnet in snapshot.subnets:
        zones[subnet.route_table].add(subnet.zone)
    return {table: ", ".join(sorted(zone)) for table, zone in zones.items()}


def families_of(snapshot: Snapshot) -> tuple[Family, ...]:
    """The families that matter to people: those of blocks, else IPv4."""
    return tuple(family for family in Family if snapshot.blocks[family]) or (Family.IPV4,)


def table_heading(table: RouteTable, zone: str, families: Sequence[Family]) -> str:
    """One table as a heading: its id, who uses it, how many entries it takes."""
    used = f"zone {zone}" if zone else "no subnet uses it"
    room = "; ".join(
        f"{f'{family} ' if len(families) > 1 else ''}budget {table.budget.get(family, 0)} "
        f"of limit {table.limit.get(family, 0)}"
        for family in families
    )
    return f"{strong(f'Route table {table.id}')} ({used}; {room})\n"


def _table_lines(table: TablePlan, names: Mapping[str, str], columns: StepColumns) -> Iterator[str]:
    entries = {entry.destination: entry for entry in table.entries}
    rows = []
    for step in table.steps:
        entry = None if step.action is Action.DELETE else entries.get(step.destination)
        rows.append(columns.cells(step, entry, names))
    for step, line in zip(table.steps, layout(rows, columns.right), strict=True):
        yield paint(line, SIGNS[step.action][1]) + "\n"
    yield f"  {_changes(table.steps)}; {_outcome(table)}\n"


def _cells(step: Step, entry: PlannedEntry | None, names: Mapping[str, str]) -> tuple[str, ...]:
    hop = _hop(step, names)
    return _sign(step), str(step.destination), hop, *_does(entry), _reason(step, hop)


def _wide_cells(
    step: Step, entry: PlannedEntry | None, names: Mapping[str, str]
) -> tuple[str, ...]:
    """The same with the interfaces by themselves, the weight, and the reason in any case."""
    weight = "" if entry is None else f"weight {number(entry.weight)}"
    hops = _hop(step, names), _hop(step, {})
    return _sign(step), str(step.destination), *hops, *_does(entry), weight, step.reason


def _sign(step: Step) -> str:
    return f"  {SIGNS[step.action][0]}"


def _hop(step: Step, names: Mapping[str, str]) -> str:
    """The next hop of a step by its node's name, else its interface; both for a replacement."""

    def one(interface: str | None) -> str:
        return names.get(interface or "", str(interface))

    if step.action is Action.REPLACE:
        return f"{one(step.previous_interface)} -> {one(step.interface)}"
    return one(step.previous_interface if step.action is Action.DELETE else step.interface)


def _reason(step: Step, hop: str) -> str:
    """Why a step is made, where that says more than the rest of its line."""
    return "" if step.action is Action.CREATE and hop in step.reason else step.reason


def _does(entry: PlannedEntry | None) -> tuple[str, str]:
    """What an entry catches and the load that it puts on its node."""
    if entry is None:
        return "", ""
    blocks = counted(entry.blocks, "block")
    if entry.kind is Kind.DIRECT:
        return f"direct, {blocks}", ""
    return f"aggregate, {blocks}", f"load {number(entry.load)}"


def _changes(steps: Iterable[Step]) -> str:
    count = Counter(step.action for step in steps)
    if not count:
        return "no changes"
    return ", ".join(f"{count[action]:,} to {action.value}" for action in Action)


def _outcome(table: TablePlan) -> str:
    families = [family for family in Family if family in table.proof]
    proofs = [
        f"{f'{family} ' if len(families) > 1 else ''}{_proven(table.proof[family])}"
        for family in families
    ]
    parts = [
        f"then {counted(len(table.entries), 'entry', 'entries')}",
        f"largest load {number(table.max_load)}" + (f" ({'; '.join(proofs)})" if proofs else ""),
        f"detour {percent(table.detour_share)}",
    ]
    return ", ".join(parts)


def _proven(proof: Proof) -> str:
    """What is known about how much less the load could be."""
    if proof.status is ProofStatus.OPTIMAL:
        text = f"least possible {number(proof.least_load)}"
    else:
        text = f"least found {number(proof.least_load)}, least possible at least "
        text += number(proof.lower_bound)
    if proof.entries_for_less is not None:
        text += f", less takes {counted(proof.entries_for_less, 'entry', 'entries')}"
    return text
