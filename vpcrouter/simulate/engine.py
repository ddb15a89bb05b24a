"""Lets a cluster live through events: plan, change tables step by step, check, measure.

Pure: planning is a function of a snapshot, steps take no time, nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from vpcrouter.model import Plan, Snapshot
from vpcrouter.planner.headroom import headroom
from vpcrouter.reachability import Ground, Violation
from vpcrouter.simulate.baselines import Rival
from vpcrouter.simulate.checks import Claims, StepChecks, settled_violations
from vpcrouter.simulate.events import Event, Leave
from vpcrouter.simulate.standing import Standing, standing
from vpcrouter.simulate.stuck import held_back, is_as_planned
from vpcrouter.simulate.world import World, happen

Planner = Callable[[Snapshot, float], Plan]
"""Makes the plan for a snapshot with a slack."""

_ROUNDS = 8  # plans in a row until nothing is left to do; one is enough unless steps are blocked


@dataclass(frozen=True, slots=True)
class Moment:
    """A settled second: what it took to settle, and how it stands then.

    ``max_load`` is the largest of all tables, ``least`` that of a plan from nothing with slack 0;
    ``unserved`` are subnets that some table cannot serve in some family. ``standing`` is the same
    moment in the figures by which we compare, ``rivals`` that of each other way to fill tables.
    """

    seconds: float
    events: int
    steps: int
    max_load: float
    least: float
    unserved: tuple[str, ...]
    violations: tuple[Violation, ...]
    standing: Standing
    rivals: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class History:
    """Every settled second in order, the start (planned and applied) apart, and how it ended."""

    start: Moment
    moments: tuple[Moment, ...]
    end: World


def live(
    world: World,
    events: Sequence[Event],
    slack: float,
    plan: Planner,
    rivals: Sequence[Rival] = (),
) -> History:
    """Settle the world, then again after each distinct second of the events, which are in order.

    ``rivals`` live through the same, from empty tables, and see the addresses that we gave out.
    """
    start, world = _settle(world, 0.0, 0, slack, plan, rivals)
    moments = []
    for seconds, together in groupby(events, key=lambda event: event.seconds):
        count = 0
        leave = False
        for event in together:
            world = happen(world, event)
            count += 1
            leave |= isinstance(event.change, Leave)
        moment, world = _settle(world, seconds, count, slack, plan, rivals, with_room=leave)
        moments.append(moment)
    return History(start, tuple(moments), world)


def _settle(
    world: World,
    seconds: float,
    events: int,
    slack: float,
    make_plan: Planner,
    rivals: Sequence[Rival],
    *,
    with_room: bool = False,
) -> tuple[Moment, World]:
    """Plan and change the tables until nothing is left to change.

    ``with_room``: so that the next nodes to join change nothing, as far as that can be.
    """
    broken: list[Violation] = []
    steps = 0
    snapshot = world.snapshot()
    if with_room:
        snapshot = replace(snapshot, coming=world.coming())
    ground, claims = Ground.physical(snapshot), Claims(snapshot.subnets)
    for _ in range(_ROUNDS):
        plan = make_plan(snapshot, slack)
        made = sum(len(table.steps) for table in plan.tables)
        if not made:
            break
        tables = []
        for table, changes in zip(snapshot.route_tables, plan.tables, strict=True):
            checks = StepChecks(ground, claims, table)
            for step in changes.steps:
                broken += checks.make(step)
            tables.append(checks.table())
        steps += made
        snapshot = replace(snapshot, route_tables=tuple(tables))
        if all(map(is_as_planned, snapshot.route_tables, plan.tables)):
            break
    plan = held_back(snapshot, plan)
    least = make_plan(_from_nothing(snapshot), 0.0)
    broken += settled_violations(snapshot, plan, least, slack)
    moment = Moment(
        seconds=seconds,
        events=events,
        steps=steps,
        max_load=_largest(plan),
        least=_largest(least),
        unserved=tuple(sorted({each.subnet for table in plan.tables for each in table.unserved})),
        violations=tuple(broken),
        standing=standing(snapshot, ground, steps),
        rivals=tuple(rival.settle(snapshot) for rival in rivals),
    )
    room = headroom(plan, snapshot, slack)
    return moment, replace(world, tables=snapshot.route_tables, room=room)


def _from_nothing(snapshot: Snapshot) -> Snapshot:
    """The same cluster with empty tables."""
    tables = tuple(replace(table, entries=()) for table in snapshot.route_tables)
    return replace(snapshot, route_tables=tables, coming=())


def _largest(plan: Plan) -> float:
    return max((table.max_load for table in plan.tables), default=0.0)
