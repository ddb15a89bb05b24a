"""Which addresses a table reaches: does it keep its promises, and would a step break one?

Every answer is exact and about all addresses, never about samples. An address has a *level* in a
table: UNREACHABLE (no entry of ours is its longest match, or the next hop is no healthy node of
its subnet), STRANDED (the next hop is one, but neither owns the block that holds the address nor
forwards), SERVED. Where no block holds it, any healthy node of its subnet serves it: the node
that gets the packet refuses it. No step may lower the level of any address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from ipam.prefix import Family, Prefix, format_address
from vpcrouter.model import Action, Entry, Role, RouteTable, Snapshot, Step
from vpcrouter.reachability.ground import Ground
from vpcrouter.reachability.matching import Destinations, TableState


class Level(IntEnum):
    """How well a table reaches an address."""

    UNREACHABLE = 0
    STRANDED = 1
    SERVED = 2


@dataclass(frozen=True, slots=True)
class Reach:
    """Consecutive addresses of one tree with the same level in a table."""

    family: Family
    first: int
    last: int
    subnet: str
    level: Level


@dataclass(frozen=True, slots=True)
class Fall:
    """Consecutive addresses of one tree whose level a change lowers."""

    family: Family
    first: int
    last: int
    subnet: str
    before: Level
    after: Level

    def __str__(self) -> str:
        return (
            f"{_addresses(self.family, self.first, self.last)} of subnet {self.subnet} would be "
            f"{self.after.name.lower()} instead of {self.before.name.lower()}"
        )


@dataclass(frozen=True, slots=True)
class Match:
    """The row of a table that an address takes; ``interface`` is None where the row is foreign."""

    destination: Prefix
    interface: str | None


def lookup(
    entries: Iterable[Entry], foreign: Iterable[Prefix], family: Family, address: int
) -> Match | None:
    """The longest match of an address among our entries and foreign destinations."""
    destinations = TableState(entries, foreign).destinations[family]
    found = destinations.match(address)
    return None if found is None else Match(found, destinations.interface(found))


def levels(snapshot: Snapshot, table: RouteTable, entries: Iterable[Entry]) -> Iterator[Reach]:
    """The level of every address of every tree if the table held these entries, in order."""
    ground = Ground.physical(snapshot)
    state = TableState(entries, table.foreign)
    for family in Family:
        for tree in ground.trees[family]:
            for span in state.destinations[family].spans(tree.prefix):
                interface = state.destinations[family].hop(span)
                yield from _levels(ground, family, tree.subnet, (span.first, span.last), interface)


def lowered(
    snapshot: Snapshot, table: RouteTable, before: Iterable[Entry], after: Iterable[Entry]
) -> Fall | None:
    """The first addresses whose level falls where the table's entries change at once."""
    ground = Ground.physical(snapshot)
    old, new = TableState(before, table.foreign), TableState(after, table.foreign)
    for family in Family:
        for tree in ground.trees[family]:
            spans = _joint_spans(old.destinations[family], new.destinations[family], tree.prefix)
            for first, last, *hops in spans:
                fall = _fall(ground, family, (first, last), *hops)
                if fall is not None:
                    return fall
    return None


def check_step(ground: Ground, state: TableState, step: Step) -> Fall | None:
    """The first addresses whose level this step would lower; looks at nothing that it leaves alone.

    The step must apply: see ``contradiction``.
    """
    destination = step.destination
    destinations = state.destinations[destination.family]
    around = _hop(destinations, destinations.cover(destination))
    before = around if step.action is Action.CREATE else state.interface(destination)
    after = around if step.action is Action.DELETE else step.interface
    return check_move(ground, state, destination, before, after)


def check_move(
    ground: Ground,
    state: TableState,
    destination: Prefix,
    before: str | None,
    after: str | None,
) -> Fall | None:
    """The first addresses whose level falls if a destination's piece moves between next hops.

    None stands for a foreign next hop, or none at all.
    """
    if before is None or before == after:
        return None
    for piece in state.destinations[destination.family].piece(destination):
        fall = _fall(ground, destination.family, piece, before, after)
        if fall is not None:
            return fall
    return None


def contradiction(state: TableState, limit: Mapping[Family, int], step: Step) -> str | None:
    """Why this step cannot be made on a table in this state, None if it can."""
    destination, family = step.destination, step.destination.family
    present = state.interface(destination)
    if present is None and destination in state.destinations[family]:
        return f"{destination} is the destination of a foreign entry"
    if step.previous_interface != present:
        return f"{destination} leads to {present}, not to {step.previous_interface}"
    if step.action is Action.CREATE and state.count(family) >= limit.get(family, 0):
        return f"the table is full with {state.count(family)} {family} entries"
    return None


def _joint_spans(
    old: Destinations, new: Destinations, prefix: Prefix
) -> Iterator[tuple[int, int, str | None, str | None]]:
    """All addresses of a prefix, cut wherever the longest match changes in either table."""
    news = new.spans(prefix)
    there = next(news)
    for here in old.spans(prefix):
        position = here.first
        while True:
            last = min(here.last, there.last)
            yield position, last, old.hop(here), new.hop(there)
            if last == there.last < prefix.last:
                there = next(news)
            if last == here.last:
                break
            position = last + 1


def _fall(
    ground: Ground, family: Family, piece: tuple[int, int], before: str | None, after: str | None
) -> Fall | None:
    """The first fall where consecutive addresses change from one next hop to another."""
    old, new = ground.node(before), ground.node(after)
    if old is None or old == new:
        return None
    owners = ground.owners[family]
    for tree, first, last in ground.trees_over(family, *piece):
        role_before, role_after = ground.role(old, tree.subnet), ground.role(new, tree.subnet)
        if role_before is Role.NOTHING or role_after is Role.FORWARD:
            continue
        if new is None or role_after is Role.NOTHING:
            reach = next(_levels(ground, family, tree.subnet, (first, last), before))
            level = (reach.level, Level.UNREACHABLE)
            return Fall(family, reach.first, reach.last, tree.subnet, *level)
        rows = owners.rows(first, last)
        row = (
            owners.first_foreign(rows, new)
            if role_before is Role.FORWARD
            else owners.first_owned(rows, old)
        )
        if row is not None:
            shared = max(first, owners.first(row)), min(last, owners.last(row))
            return Fall(family, *shared, tree.subnet, Level.SERVED, Level.STRANDED)
    return None


def _levels(
    ground: Ground,
    family: Family,
    subnet: str,
    piece: tuple[int, int],
    interface: str | None,
) -> Iterator[Reach]:
    """The levels of consecutive addresses of one tree that lead to one interface, in order."""
    first, last = piece
    node = ground.node(interface)
    role = ground.role(node, subnet)
    if role is not Role.OWN:
        level = Level.SERVED if role is Role.FORWARD else Level.UNREACHABLE
        yield Reach(family, first, last, subnet, level)
        return
    owners = ground.owners[family]
    position = first
    for row in owners.rows(first, last):
        if owners.owner(row) == node:
            continue
        begin, end = max(first, owners.first(row)), min(last, owners.last(row))
        if position < begin:
            yield Reach(family, position, begin - 1, subnet, Level.SERVED)
        yield Reach(family, begin, end, subnet, Level.STRANDED)
        position = end + 1
    if position <= last:
        yield Reach(family, position, last, subnet, Level.SERVED)


def _hop(destinations: Destinations, destination: Prefix | None) -> str | None:
    return None if destination is None else destinations.interface(destination)


def _addresses(family: Family, first: int, last: int) -> str:
    if first == last:
        return format_address(family, first)
    return f"{format_address(family, first)}-{format_address(family, last)}"
