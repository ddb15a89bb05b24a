"""From the present table to a target, step by step, so that no address is ever worse off (R7).

With room in the table this takes exactly one step per difference, in the order of urgency: dead
next hops are replaced, then entries created from more to less specific, other next hops replaced,
and entries deleted from less to more specific. Why that is safe wherever the target serves every
address: what an entry newly catches lies in its final piece, since all that the target nests in
it is there already; after the creates, so does what any entry of the target catches; and a
deleted entry's piece falls to an entry of the target, since all wider ones that had to go have.
Nothing rests on this argument: every step is checked where it is made.

Without room, entries are deleted and created in turn (``room``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipam.prefix import Family, Prefix
from vpcrouter.model import Entry, RouteTable, Snapshot, Step
from vpcrouter.reachability.ground import Ground
from vpcrouter.transition.change import Change
from vpcrouter.transition.loads import replaces_in_order
from vpcrouter.transition.room import make_room, shrink


@dataclass(frozen=True, slots=True)
class Transition:
    """Steps in order, and what is left out: a line per entry with what is in the way."""

    steps: tuple[Step, ...]
    blocked: tuple[str, ...]


def transition(snapshot: Snapshot, table: RouteTable, target: Sequence[Entry]) -> Transition:
    """The steps that lead from what the table holds to the target entries of both families.

    The fewest possible wherever there is room; none of them lowers the level of an address or
    takes the table over its limit (where it is over, it only shrinks until it is not). What
    cannot be done that way is left as it is. Applied in part and asked for again, it converges.
    """
    return transition_on(Ground.physical(snapshot), table, target)


def transition_on(ground: Ground, table: RouteTable, target: Sequence[Entry]) -> Transition:
    """The same for one of several tables of a snapshot; the ground is as packets meet it."""
    urgent: list[Step] = []
    later: list[Step] = []
    blocked: list[str] = []
    for family in Family:
        change = Change(ground, table, target, family)
        count = _run(change)
        urgent += change.steps[:count]
        later += change.steps[count:]
        blocked += _blocked(change, target)
    return Transition((*urgent, *later), tuple(blocked))


def _run(change: Change) -> int:
    """Make all steps; how many of them were the urgent ones at the beginning."""
    shrink(change)
    _attempt(change, _dead(change, change.replaces))
    urgent = len(change.steps)
    make_room(change)
    before = -1
    while not change.is_done and before != len(change.steps):
        before = len(change.steps)
        _attempt(change, _creates(change))
        _attempt(change, replaces_in_order(change))
        _attempt(change, _deletes(change))
        make_room(change)
    return urgent


def _attempt(change: Change, destinations: Sequence[Prefix]) -> None:
    for destination in destinations:
        change.attempt(destination)


def _dead(change: Change, destinations: set[Prefix]) -> list[Prefix]:
    dead = {d for d in destinations if change.ground.is_dead(change.hop(d))}
    return sorted(dead, key=_less_specific_first)


def _creates(change: Change) -> list[Prefix]:
    """From more to less specific, but first where nothing alive catches anything now."""

    def urgency(destination: Prefix) -> tuple[bool, int, int]:
        alive = not change.ground.is_dead(change.hop(change.cover(destination)))
        return alive, -destination.length, destination.value

    return sorted(change.creates, key=urgency)


def _deletes(change: Change) -> list[Prefix]:
    """From less to more specific, but first what leads nowhere."""
    dead = _dead(change, change.deletes)
    return dead + sorted(change.deletes - set(dead), key=_less_specific_first)


def _less_specific_first(prefix: Prefix) -> tuple[int, int]:
    return prefix.length, prefix.value


def _blocked(change: Change, target: Sequence[Entry]) -> list[str]:
    table, family = change.table.id, change.family
    lines = [
        f"{table}: {prefix} cannot be ours, it is the destination of a foreign entry: remove that"
        for prefix in change.in_the_way
    ]
    if change.is_done:
        return lines
    short = _missing_room(change, target)
    advice = (
        "no limit would help: let the plan serve them"
        if short is None
        else f"raise the limit of {family} entries by {short}"
    )
    for destination in sorted(change.creates | change.replaces | change.deletes):
        step = change.towards_target(destination)
        fall = change.fall(destination)
        cause = (
            f"the table is full ({change.state.count(family)} of {change.limit} entries)"
            if fall is None
            else str(fall)
        )
        lines.append(f"{table}: no hitless {step.action} of {destination}, {cause}: {advice}")
    return lines


def _missing_room(change: Change, target: Sequence[Entry]) -> int | None:
    """By how much the limit must be raised for nothing to be left out; None if that never helps."""

    def settles(more: int) -> bool:
        limit = {**change.table.limit, change.family: change.limit + more}
        table = replace(change.table, limit=limit)
        again = Change(change.ground, table, target, change.family)
        _run(again)
        return again.is_done

    fresh = Change(change.ground, change.table, target, change.family)
    low, high = 0, max(1, len(fresh.creates) - fresh.room)
    if not settles(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settles(middle) else (middle, high)
    return high
