"""What has happened between two snapshots, as events that a plan can follow. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ipam.prefix import Family, Prefix
from vpcrouter.model import Block, NodeColumns, RouteTable, Snapshot
from vpcrouter.planner.incremental import Event, Failed, Joined, Left, Planned, Recovered, Weighed

MOST = 32
"""So many events at once are followed; more are planned for in full."""

_Row = tuple[str, str, float, int, int, int]
"""A node: subnet, interface, capacity, whether it forwards, is avoided, is healthy."""

_Key = tuple[int, int, int]
_Owned = Mapping[_Key, tuple[str, float]]
"""Owner and weight of each block of a family, by the halves of its address and its length."""


def events(planned: Planned, before: Snapshot, after: Snapshot) -> tuple[Event, ...] | None:
    """What turns one snapshot into the other, in an order in which it can be followed.

    ``planned`` is the plan that ``before`` was followed to. None where something else has changed
    than single nodes and weights of blocks.
    """
    if before.subnets != after.subnets or _ground(before) != _ground(after):
        return None
    was, now = _rows(before.node_columns), _rows(after.node_columns)
    gone, new = was.keys() - now.keys(), now.keys() - was.keys()
    same = list(_of_those_that_stay(planned, was, now))
    if None in same or len(gone) + len(new) + len(same) > MOST:
        return None
    weighed: list[Weighed] = []
    for family in Family:
        found = _weighed(before, after, family, gone, new)
        if found is None:
            return None
        weighed += found
    if len(gone) + len(new) + len(same) + len(weighed) > MOST:
        return None
    return (
        *(Left(name) for name in sorted(gone)),
        *(event for event in same if event is not None),
        *_joined(after, new),
        *weighed,
    )


def within_subnets(table: RouteTable, snapshot: Snapshot) -> tuple[Prefix, ...]:
    """The foreign entries of a table that take addresses of nodes: all others change no plan."""
    prefixes = [prefix for subnet in snapshot.subnets for prefix in subnet.prefixes]
    return tuple(p for p in table.foreign if any(prefix.contains(p) for prefix in prefixes))


@dataclass(frozen=True, slots=True)
class _Table:
    """What of a table decides what it should hold, beside what it holds."""

    id: str
    budget: Mapping[Family, int]
    own_subnet_weight: float
    foreign: tuple[Prefix, ...]


def _ground(snapshot: Snapshot) -> tuple[_Table, ...]:
    return tuple(
        _Table(table.id, table.budget, table.own_subnet_weight, within_subnets(table, snapshot))
        for table in snapshot.route_tables
    )


def _rows(nodes: NodeColumns) -> dict[str, _Row]:
    subnets = map(nodes.subnets.__getitem__, nodes.subnet)
    columns = (nodes.interface, nodes.capacity, nodes.forwards, nodes.avoid, nodes.healthy)
    return dict(zip(nodes.name, zip(subnets, *columns, strict=True), strict=True))


def _of_those_that_stay(
    planned: Planned, before: Mapping[str, _Row], after: Mapping[str, _Row]
) -> Iterator[Event | None]:
    """Who fails and who recovers; None for whoever is not what it was."""
    for name, was in before.items():
        now = after.get(name)
        if now is None or now == was:
            continue
        if now[0] != was[0]:
            yield None
        elif was[-1]:
            yield None if now[-1] else Failed(name)
        elif now[-1]:
            known = planned.roster.node(planned.roster.index(name))
            like = (known.subnet, known.interface, known.capacity, known.forwards, known.avoid)
            yield Recovered(name) if now[:-1] == like else None


def _weighed(
    before: Snapshot, after: Snapshot, family: Family, gone: set[str], new: set[str]
) -> Sequence[Weighed] | None:
    """The blocks of which another weight is known; None where others have changed their owner."""
    was, now = before.blocks[family], after.blocks[family]
    if (was.high, was.low, was.length) == (now.high, now.low, now.length) and not (gone or new):
        if was.node != now.node:  # the nodes are the same, and so are their positions
            return None
        if was.weight == now.weight:
            return []
    old, current = _owned(before, family), _owned(after, family)
    found: list[Weighed] = []
    for key, (owner, weight) in current.items():
        held = old.get(key)
        if owner in new:
            if held is not None and held[0] not in gone:
                return None
        elif held is None or held[0] != owner:
            return None
        elif held[1] != weight:
            found.append(Weighed(_prefix(family, key), weight))
    if any(key not in current for key, (owner, _) in old.items() if owner not in gone):
        return None
    return found


def _owned(snapshot: Snapshot, family: Family) -> _Owned:
    columns = snapshot.blocks[family]
    owners = map(snapshot.node_columns.name.__getitem__, columns.node)
    keys = zip(columns.high, columns.low, columns.length, strict=True)
    return dict(zip(keys, zip(owners, columns.weight, strict=True), strict=True))


def _joined(after: Snapshot, new: set[str]) -> Iterator[Joined]:
    if not new:
        return
    blocks: dict[str, list[Block]] = {name: [] for name in sorted(new)}
    for family in Family:
        for key, (owner, weight) in _owned(after, family).items():
            if owner in new:
                blocks[owner].append(Block(_prefix(family, key), owner, weight))
    nodes = {name: at for at, name in enumerate(after.node_columns.name) if name in new}
    for name, mine in blocks.items():
        yield Joined(after.nodes[nodes[name]], tuple(mine))


def _prefix(family: Family, key: _Key) -> Prefix:
    return Prefix(family, key[0] << 64 | key[1], key[2])
