"""A transition reaches its target without a step that makes anything worse, wherever it stops."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.prefix import Family, Prefix
from tests.counts import examples
from tests.snapshots import ANY, snapshots
from tests.tables import check_hitless, held, random_target, replay, with_limit, world_of
from vpcrouter.model import (
    Action,
    Entry,
    RouteTable,
    Snapshot,
    Step,
)
from vpcrouter.reachability import Ground
from vpcrouter.transition import transition

COUNT = settings(max_examples=examples(test=200, prove=8_000))
FEW = settings(max_examples=examples(test=60, prove=2_500))


@st.composite
def changes(draw: st.DrawFn) -> tuple[Snapshot, RouteTable, list[Entry]]:
    """A table with anything in it, or with an earlier target, and a target for it that fits.

    The table's limit leaves room for up to four entries more than the target has.
    """
    snap = draw(snapshots(ANY))
    random = Random(draw(st.integers(0, 2**32)))
    table = random.choice(snap.route_tables)
    if draw(st.booleans()):
        table = replace(table, entries=tuple(random_target(random, snap, table)))
    target = random_target(random, snap, table)
    spare = draw(st.integers(0, 4))
    return snap, with_limit(table, limits(held(target), spare)), target


def limits(entries: dict[Prefix, str], spare: int) -> dict[Family, int]:
    return {f: sum(prefix.family is f for prefix in entries) + spare for f in Family}


def difference(table: RouteTable, target: list[Entry]) -> int:
    present, wanted = held(table.entries), held(target)
    return sum(present.get(d) != wanted.get(d) for d in present.keys() | wanted.keys())


def fits_at_once(table: RouteTable, target: list[Entry]) -> bool:
    """Whether the table has room for everything old and new together."""
    both = held(table.entries) | held(target)
    return all(sum(p.family is f for p in both) <= table.limit[f] for f in Family)


def after(table: RouteTable, state: dict[Prefix, str]) -> RouteTable:
    return replace(table, entries=tuple(Entry(*item) for item in state.items()))


@COUNT
@given(changes())
def test_no_step_makes_an_address_worse_and_the_end_is_the_target(
    change: tuple[Snapshot, RouteTable, list[Entry]],
) -> None:
    snap, table, target = change
    done = transition(snap, table, target)
    end = check_hitless(world_of(snap, table, target), table, done.steps)
    assert (end == held(target)) == (not done.blocked)
    if fits_at_once(table, target):
        assert not done.blocked
        assert len(done.steps) == difference(table, target)


@FEW
@given(changes())
def test_it_converges_from_wherever_it_was_interrupted(
    change: tuple[Snapshot, RouteTable, list[Entry]],
) -> None:
    snap, table, target = change
    first = transition(snap, table, target)
    world = world_of(snap, table, target)
    *_, end = replay(table, first.steps)
    for state in replay(table, first.steps):
        again = after(table, state)
        rest = transition(snap, again, target)
        reached = check_hitless(world, again, rest.steps)
        assert reached == held(target) or first.blocked
    assert transition(snap, after(table, end), target).steps == ()


@COUNT
@given(changes())
def test_with_room_the_order_is_that_of_urgency(
    change: tuple[Snapshot, RouteTable, list[Entry]],
) -> None:
    snap, table, target = change
    if not fits_at_once(table, target):
        table = with_limit(table, limits(held(table.entries) | held(target), 0))
    dead = Ground.physical(snap).is_dead
    steps = transition(snap, table, target).steps

    def rank(step: Step) -> int:
        if step.action is Action.REPLACE:
            return 0 if dead(step.previous_interface) else 2
        return 1 if step.action is Action.CREATE else 3

    for family in Family:
        mine = [step for step in steps if step.destination.family is family]
        assert [rank(step) for step in mine] == sorted(rank(step) for step in mine)
        for number, step in enumerate(mine):
            for later in mine[number + 1 :]:
                if step.action is later.action is Action.CREATE:
                    nested = later.destination.contains(step.destination)
                    assert (
                        nested
                        or not step.destination.contains(later.destination)
                        or dead(cover_of(table, step))
                    )


def cover_of(table: RouteTable, step: Step) -> str | None:
    around = [e for e in table.entries if e.destination.contains(step.destination)]
    return max(around, key=lambda e: e.destination.length).interface if around else None
