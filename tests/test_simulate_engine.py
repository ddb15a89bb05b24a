"""Living through events: what is counted, what is measured, and that broken promises are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.histories import Story, network, start, stories, table
from tests.strict_model import Vpc
from vpcrouter.model import Action, Plan, Snapshot, Step
from vpcrouter.planner import plan
from vpcrouter.simulate.engine import History, Planner, live
from vpcrouter.simulate.events import Change, Event, Fail, Grow, Join, Leave, Load, Recover
from vpcrouter.simulate.report import document, figures
from vpcrouter.simulate.world import World

SLACK = 0.05


def _world(*sizes: int, budget: int = 8) -> World:
    return start(sizes, [table("t0", budget)], network((Family.IPV4,)), {})


def _live(world: World, *changes: tuple[float, str, Change], make_plan: Planner = plan) -> History:
    events = [Event(at, node, change, line) for line, (at, node, change) in enumerate(changes, 2)]
    return live(world, events, SLACK, make_plan)


@settings(max_examples=examples(test=40, prove=1_000))
@given(stories())
def test_generated_histories_keep_every_promise(story: Story) -> None:
    assert figures(live(story.world, story.events, SLACK, plan)).violations == ()


@settings(max_examples=examples(test=25, prove=600))
@given(stories(max_events=4))
def test_the_largest_load_is_what_packets_meet(story: Story) -> None:
    history = live(story.world, story.events, SLACK, plan)
    end = (history.start, *history.moments)[-1]
    if not end.unserved:
        vpc = Vpc(history.end.snapshot())
        loads = [load for name in vpc.rows for load in vpc.loads(name).values()]
        assert math.isclose(end.max_load, max(loads, default=0), abs_tol=1e-9)


@settings(max_examples=examples(test=25, prove=600))
@given(stories(max_events=4))
def test_a_settled_world_stands_still(story: Story) -> None:
    history = live(story.world, story.events, SLACK, plan)
    again = live(history.end, (), SLACK, plan)
    assert again.start.steps == 0
    assert again.end.tables == history.end.tables


def test_the_start_is_not_counted() -> None:
    history = _live(_world(3, 2))
    assert history.start.steps == 5
    result = figures(history)
    assert (result.steps_total, result.steps_per_event, result.unserved_seconds) == (0, 0, 0)
    assert (result.max_load.worst, result.max_load_over_least.worst) == (0, 1)


def test_events_of_one_second_settle_once() -> None:
    history = _live(
        _world(3, 2),
        (5, "x", Join("s0")),
        (5, "y", Join("s0")),
        (5, "x", Leave()),
        (9, "y", Fail()),
    )
    assert [(m.seconds, m.events) for m in history.moments] == [(5, 3), (9, 1)]
    assert figures(history).steps_per_event == sum(m.steps for m in history.moments) / 4


def test_unserved_seconds_run_until_the_next_settled_one_and_add_up_over_subnets() -> None:
    history = _live(
        _world(1, 1, 1),
        (10, "s0n0", Fail()),
        (15, "s1n0", Fail()),
        (35, "s0n0", Recover()),
        (40, "s0n0", Fail()),
    )
    assert [m.unserved for m in history.moments] == [("s0",), ("s0", "s1"), ("s1",), ("s0", "s1")]
    assert figures(history).unserved_seconds == 5 * 1 + 20 * 2 + 5 * 1


def test_a_cluster_that_starts_unserved_is_so_from_second_zero() -> None:
    world = start([1], [table("t0", 8)], network((Family.IPV4,)), {"s0n0": "down"})
    assert figures(_live(world, (7, "s0n0", Recover()), (9, "s0n0", Fail()))).unserved_seconds == 7


def test_loads_are_of_settled_seconds_over_the_least_possible() -> None:
    history = _live(_world(4, budget=1), (1, "s0n0", Load(9.0)), (2, "s0n0", Load(1.0)))
    assert [moment.max_load for moment in history.moments] == [3.0, 3.0]
    result = figures(history)
    assert (result.max_load.mean, result.max_load.worst) == (3.0, 3.0)
    assert (result.max_load_over_least.mean, result.max_load_over_least.worst) == (1.0, 1.0)


def test_a_ratio_without_a_number_is_null_in_json() -> None:
    """The entries of a subnet without healthy nodes stay: what is left makes others detour."""
    world = _world(2, 2, budget=4)
    history = _live(world, (1, "s0n0", Fail()), (1, "s0n1", Fail()), (2, "x", Join("s1")))
    result = figures(history)
    assert result.max_load_over_least.worst == math.inf
    assert document(result)["max_load_over_least"] == {"mean": None, "worst": None}
    assert result.violations == ()


def test_a_full_table_that_would_need_a_wider_cover_leaves_what_is_new_unserved() -> None:
    """Without a reserve there is no hitless way to it; with one there is."""
    pods = network((Family.IPV4,), 22)
    for reserve, unserved in ((0, ("s0",)), (1, ())):
        world = start([3, 3], [table("t0", 2, reserve)], pods, {})
        history = _live(world, (1, "s0n0", Grow(2)))
        (moment,) = history.moments
        assert moment.unserved == unserved
        assert figures(history).violations == ()
        assert moment.steps == (0 if unserved else 2)


def test_the_document_has_the_keys_that_programs_read() -> None:
    found = document(figures(_live(_world(2), (1, "s0n0", Grow(1)))))
    assert list(found) == [
        "steps_total",
        "steps_per_event",
        "max_load",
        "max_load_over_least",
        "unserved_seconds",
        "violations",
        "violation_list",
    ]
    assert found["violations"] == 0
    assert found["violation_list"] == []


# Planners that are wrong on purpose.


def _with_steps(*steps: Step) -> Planner:
    """A planner whose first plan begins with other steps than it needs."""
    wrong = [steps]

    def make_plan(cluster: Snapshot, slack: float) -> Plan:
        (only,) = plan(cluster, slack).tables
        first = wrong.pop() if wrong else ()
        return Plan((replace(only, steps=(*first, *only.steps)),))

    return make_plan


def _rules(history: History) -> set[str]:
    return {violation.rule for _, violation in figures(history).violations}


COVER = Prefix.parse("100.64.0.0/22")
OTHER = Prefix.parse("100.64.8.0/22")


@pytest.mark.parametrize(
    ("steps", "rules"),
    [
        ([Step(Action.DELETE, COVER, None, "eni-s0n0", "")], {"R7"}),
        ([Step(Action.REPLACE, COVER, "eni-s1n0", "eni-s0n0", "")], {"R2", "R3", "R7"}),
        ([Step(Action.CREATE, COVER, "eni-s0n0", None, "")], {"R7"}),
        ([Step(Action.CREATE, Prefix.parse("10.0.0.0/8"), "eni-s0n0", None, "")], {"R2"}),
        ([Step(Action.CREATE, h, "eni-s0n0", None, "") for h in COVER.halves()], {"R6"}),
    ],
    ids=["uncovers", "astray", "twice", "outside", "beyond the limit"],
)
def test_steps_that_break_promises_are_seen(steps: Sequence[Step], rules: set[str]) -> None:
    start_ = live(_world(1, 1, budget=3), (), SLACK, plan)
    assert {e.destination for t in start_.end.tables for e in t.entries} == {COVER, OTHER}
    found = live(start_.end, [Event(1, "s0n0", Recover(), 2)], SLACK, _with_steps(*steps))
    assert _rules(found) == rules


def test_addresses_that_nothing_reaches_are_seen() -> None:
    def idle(cluster: Snapshot, slack: float) -> Plan:
        return Plan(tuple(replace(table, steps=()) for table in plan(cluster, slack).tables))

    assert _rules(live(_world(2), (), SLACK, idle)) == {"R1"}


def _lazy(cluster: Snapshot, slack: float) -> Plan:
    """A plan with one entry, whatever the budget; with the proof of a good one."""
    tight = [replace(t, budget=dict.fromkeys(Family, 1)) for t in cluster.route_tables]
    found = plan(replace(cluster, route_tables=tuple(tight)), slack)
    honest = plan(cluster, slack)
    return Plan(
        tuple(replace(t, proof=h.proof) for t, h in zip(found.tables, honest.tables, strict=True))
    )


@pytest.mark.parametrize(("nodes", "rule"), [(3, "R4"), (4, "R5")])
def test_detours_that_were_not_needed_are_seen(nodes: int, rule: str) -> None:
    assert _rules(live(_world(nodes, budget=3), (), SLACK, _lazy)) == {rule}


def test_a_least_load_that_is_not_the_least_is_seen() -> None:
    def boastful(cluster: Snapshot, slack: float) -> Plan:
        found = plan(cluster, slack)
        if not any(table.entries for table in cluster.route_tables):
            return found
        (only,) = found.tables
        proof = {f: replace(p, least_load=p.least_load + 1) for f, p in only.proof.items()}
        return Plan((replace(only, proof=proof),))

    world = live(_world(4, budget=2), (), SLACK, plan).end
    assert _rules(live(world, (), SLACK, boastful)) == {"R5"}
