"""Applying a plan: safe against a crash at any moment, lost answers, refusals and old reads."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family
from tests.arena import PROMPT, Arena, CrashError, Incident, nothing
from tests.counts import examples
from tests.snapshots import ANY, snapshots
from tests.tables import random_target, with_limit
from vpcrouter.fabric.port import (
    FabricUnavailableError,
    RetryLaterError,
    UnknownOutcomeError,
)
from vpcrouter.fabric.simulated_vpc import Behaviour
from vpcrouter.model import Step

FEW = settings(max_examples=examples(test=15, prove=120))
CRASHES = examples(test=6, prove=1_000)


@st.composite
def arenas(draw: st.DrawFn) -> Arena:
    """A VPC whose tables hold anything, with a target for each and room to reach it."""
    snap = draw(snapshots(ANY))
    random = Random(draw(st.integers(0, 2**32)))
    used = {subnet.route_table for subnet in snap.subnets}
    tables = [
        replace(table, entries=tuple(random_target(random, snap, table)))
        if random.random() < 0.5
        else table
        for table in snap.route_tables
        if table.id in used
    ]
    targets = {table.id: random_target(random, snap, table) for table in tables}
    room = {
        family: max(
            sum(e.destination.family is family for e in (*table.entries, *targets[table.id]))
            for table in tables
        )
        for family in Family
    }
    tables = [with_limit(table, room) for table in tables]
    return Arena(replace(snap, route_tables=tuple(tables)), targets)


def anew(arena: Arena, behaviour: Behaviour = PROMPT) -> Arena:
    """The same VPC as it was at the start."""
    return Arena(arena.start, arena.targets, behaviour)


@FEW
@given(arenas())
def test_a_run_ends_as_planned_and_the_store_knows_it(arena: Arena) -> None:
    end = arena.run()
    assert end.is_settled
    arena.check_settled()
    assert len(arena.sent) == end.made
    assert arena.run().made == 0


@FEW
@given(arenas(), st.integers(0, 2**32))
def test_after_a_crash_at_any_moment_the_next_run_ends_as_planned(arena: Arena, seed: int) -> None:
    arena.run()
    moments = range(arena.crash.passed)
    for moment in Random(seed).sample(moments, min(len(moments), CRASHES)):
        crashing = anew(arena)
        crashing.crash = Incident(moment)
        with pytest.raises(CrashError):
            crashing.run()
        crashing.crash = Incident()
        assert crashing.run().is_settled
        crashing.check_settled()


# Faults on the way to the VPC.


def every(nth: int, error: Exception) -> Callable[[str, Step], None]:
    """Raises at every n-th call that comes by."""
    calls = count()

    def fault(table: str, step: Step) -> None:  # noqa: ARG001
        if next(calls) % nth == 0:
            raise error

    return fault


@FEW
@given(arenas(), st.integers(2, 5))
def test_lost_answers_are_no_trouble(arena: Arena, nth: int) -> None:
    arena.lose = every(nth, UnknownOutcomeError("InternalError", "the answer was lost"))
    assert arena.run().is_settled
    arena.check_settled()


@FEW
@given(arenas(), st.integers(2, 5))
def test_calls_that_never_arrived_are_repeated(arena: Arena, nth: int) -> None:
    lost = UnknownOutcomeError("InternalError", "the answer was lost")
    down = FabricUnavailableError("Unavailable", "not now")
    later = RetryLaterError("IncorrectState", "eni-1 is being attached", 5.0)
    faults = [every(nth, lost), every(nth, down), every(nth, later)]

    def refuse(table: str, step: Step) -> None:
        for fault in faults:
            fault(table, step)

    arena.refuse = refuse
    with suppress(FabricUnavailableError):  # where faults meet one step again and again
        arena.run()
    arena.refuse = nothing
    assert arena.run().is_settled
    arena.check_settled()


@FEW
@given(arenas())
def test_reads_that_lag_change_nothing_about_the_end(arena: Arena) -> None:
    arena.run()
    slow = anew(arena, Behaviour(lag=30.0, bucket=10_000))
    foreign = [table.foreign for table in slow.observe()]
    end = slow.run()
    assert end.is_settled
    assert end.made == len(arena.sent)  # nothing twice, though reads show nothing of it
    assert [table.foreign for table in slow.observe()] == foreign
    slow.clock.sleep(1.0)
    now = slow.clock.now()
    assert not slow.run().failed  # a new service, which only reads and the store tell
    assert slow.clock.now() < now + 30.0  # and waits at its own pace, not until reads show it
    slow.clock.sleep(31.0)
    assert slow.run().is_settled
    slow.check_settled()


@FEW
@given(arenas(), st.integers(0, 2**32))
def test_a_crash_and_old_reads_together_change_nothing_about_the_end(
    arena: Arena, seed: int
) -> None:
    arena.run()
    moments = range(arena.crash.passed)
    for moment in Random(seed).sample(moments, min(len(moments), CRASHES // 2)):
        crashing = anew(arena, Behaviour(lag=30.0, bucket=10_000))
        crashing.crash = Incident(moment)
        with suppress(CrashError):  # with old reads there may be fewer moments
            crashing.run()
        crashing.crash = Incident()
        crashing.run()
        crashing.clock.sleep(31.0)
        assert crashing.run().is_settled
        crashing.check_settled()
