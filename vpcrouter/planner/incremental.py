"""A plan that follows single events: a node joins, leaves, fails or recovers, a weight changes.

An event touches the entry that catches the block and, where its node gets too much, the entries
around it: what has to be looked at is the way from a block to the top of its tree, whatever the
number of blocks. Next hops that can no longer be are replaced, a piece that has become too heavy
gets another next hop or is cut, and where there is no entry for that, light pieces join.

The lower bound is carried (see ``carried``) and drifts from the truth; a full pass renews it.
``stale`` says when it must: when no plan within the slack is known any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipam.prefix import Family, Prefix
from vpcrouter.model import Block, Entry, Node, Snapshot
from vpcrouter.planner.arrays import Ints, Positions
from vpcrouter.planner.part import Part, part_of
from vpcrouter.planner.plan import choose_all
from vpcrouter.planner.problem import FamilyView, NodeView
from vpcrouter.planner.roster import Roster


@dataclass(frozen=True, slots=True)
class Joined:
    """A node that was not there, with its blocks."""

    node: Node
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """A node that is gone, and its blocks with it."""

    node: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A node that is no longer healthy; its blocks stay."""

    node: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A node that is healthy again."""

    node: str


@dataclass(frozen=True, slots=True)
class Weighed:
    """A block of which another weight is known."""

    prefix: Prefix
    weight: float


Event = Joined | Left | Failed | Recovered | Weighed


@dataclass(frozen=True, slots=True)
class Changed:
    """An entry that an event changed: ``interface`` None, it goes; ``before`` None, it is new."""

    table: str
    destination: Prefix
    interface: str | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and what it takes to follow events; values, each event makes a new one.

    ``stale``: some table may have a load above the slack, or something that only a full pass
    decides; then, and now and then, plan afresh (``Planned.of`` with these entries in the tables).
    """

    snapshot: Snapshot
    slack: float
    roster: Roster
    parts: tuple[Part, ...]
    blocks: Mapping[Family, Ints]
    moved: Mapping[int, tuple[Block, ...]]

    @classmethod
    def of(cls, snapshot: Snapshot, slack: float) -> Planned:
        """A full pass; ``slack`` as in ``plan``."""
        nodes = NodeView.of(snapshot)
        views = [FamilyView.of(snapshot, family, nodes) for family in Family]
        order = {view.family: np.argsort(view.owner, kind="stable") for view in views}
        parts = [
            part_of(view, table, chosen, slack)
            for view, table, chosen in choose_all(snapshot, views, slack)
        ]
        return cls(snapshot, slack, Roster.of(nodes, snapshot), tuple(parts), order, {})

    @property
    def stale(self) -> bool:
        """Whether only a full pass can tell that this is within the slack."""
        return any(part.stale(self.slack) for part in self.parts)

    @property
    def entries(self) -> Mapping[str, tuple[Entry, ...]]:
        """What each table should hold."""
        found: dict[str, list[Entry]] = {table.id: [] for table in self.snapshot.route_tables}
        for part in self.parts:
            found[part.table.id] += part.entries(self.roster)
        return {table: tuple(sorted(entries)) for table, entries in found.items()}

    def after(self, event: Event) -> tuple[Planned, tuple[Changed, ...]]:
        """The plan once this has happened, and the entries that it changes.

        Raises KeyError for a node or block that is not there, ValueError for one that joins twice
        or outside of the prefixes of its subnet.
        """
        match event:
            case Joined(node, blocks):
                following = self._joined(node, blocks)
            case Left(name):
                following = self._left(self.roster.index(name))
            case Failed(name):
                following = self._failed(self.roster.index(name))
            case Recovered(name):
                following = self._recovered(self.roster.index(name))
            case Weighed(prefix, weight):
                following = self._weighed(prefix, weight)
        return following, following.changes_from(self)

    def _joined(self, node: Node, blocks: Sequence[Block]) -> Planned:
        roster, index = self.roster.joined(node)
        parts = [
            part.grown(self.roster, roster, index).joined(roster, index, blocks)
            for part in self.parts
        ]
        moved = {**self.moved, index: tuple(blocks)}
        return replace(self, roster=roster, parts=_known(roster, index, parts), moved=moved)

    def _left(self, index: int) -> Planned:
        gone = self._blocks_of(index)
        roster = self.roster.left(index)
        parts = [part.left(roster, index, gone) for part in self.parts]
        return replace(self, roster=roster, parts=_known(roster, index, parts))

    def _failed(self, index: int) -> Planned:
        roster = self.roster.failed(index)
        parts = [part.failed(roster, index) for part in self.parts]
        return replace(self, roster=roster, parts=_known(roster, index, parts))

    def _recovered(self, index: int) -> Planned:
        before, roster = self.roster, self.roster.recovered(index)
        parts = [part.grown(before, roster, index) for part in self.parts]
        if index not in before.able:
            blocks = self._blocks_of(index)
            parts = [part.revived(roster, index, blocks) for part in parts]
        return replace(self, roster=roster, parts=_known(roster, index, parts))

    def _weighed(self, prefix: Prefix, weight: float) -> Planned:
        parts = [part.weighed(self.roster, prefix, weight) for part in self.parts]
        return replace(self, parts=tuple(parts))

    def _blocks_of(self, index: int) -> tuple[Prefix, ...]:
        """The blocks of a node."""
        if index in self.moved:
            return tuple(block.prefix for block in self.moved[index])
        found: list[Prefix] = []
        for family, order in self.blocks.items():
            columns = self.snapshot.blocks[family]
            owner = np.frombuffer(columns.node, dtype=np.uint32)
            low = _first_at(owner, order, index)
            while low < len(order) and int(owner[order[low]]) == index:
                found.append(columns.prefix(int(order[low])))
                low += 1
        return tuple(found)

    def changes_from(self, before: Planned) -> tuple[Changed, ...]:
        """The entries that differ from those of a plan that this one follows."""
        found = []
        for old, new in zip(before.parts, self.parts, strict=True):
            for destination, (was, now) in old.changes(new).items():
                mine = None if now is None else self.roster.interface(now)
                theirs = None if was is None else before.roster.interface(was)
                found.append(Changed(new.table.id, destination, mine, theirs))
        return tuple(found)


def _known(roster: Roster, node: int, parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts after something has happened to a node, with no bound where it may not hold.

    Where its subnet has nobody better, nodes to be avoided forward for others after all, and more
    is possible than before.
    """
    has_better = next(roster.forwarders(roster.home(node)), None) is not None
    return tuple(part if has_better else part.lapsed() for part in parts)


def _first_at(owner: Positions, order: Ints, node: int) -> int:
    """Where a node's rows begin among all rows in the order of their owners."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if int(owner[order[middle]]) < node:
            low = middle + 1
        else:
            high = middle
    return low
