"""Plans for the loop: single events are followed, all else is planned for in full.

A node that joins, leaves, fails or recovers changes few entries, and what they are takes no longer
to find out in a large cluster than in a small one. A look at which nothing has happened since the
last plan plans in full, and so renews the bound: that is the look right after each pass with an
event, and each one on the timer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipam.prefix import Family, Prefix
from vpcrouter.model import (
    Entry,
    Kind,
    Plan,
    PlannedEntry,
    Proof,
    ProofStatus,
    RouteTable,
    Snapshot,
    TablePlan,
)
from vpcrouter.planner import plan
from vpcrouter.planner.incremental import Planned
from vpcrouter.planner.part import Part
from vpcrouter.planner.pieces import Piece
from vpcrouter.planner.roster import Roster
from vpcrouter.reachability import Ground
from vpcrouter.reconcile.changes import events, within_subnets
from vpcrouter.transition import transition_on

_ROUNDING = 1e-8  # relative: a carried bound keeps a little below what is proven


@dataclass(frozen=True, slots=True)
class _Known:
    """A plan, and the snapshot that it is for; ``fresh``: a full pass has made it."""

    snapshot: Snapshot
    planned: Planned
    fresh: bool


class Following:
    """A planner that follows what happens; ``slack`` as in ``plan``. Not for several threads.

    ``followed`` counts the plans that took no full pass.
    """

    def __init__(self, slack: float) -> None:
        self._slack = slack
        self._known: _Known | None = None
        self._owed: tuple[Prefix, ...] = ()  # room for these is made with the next full pass
        self.followed = 0

    def __call__(self, snapshot: Snapshot) -> Plan:
        """The plan for a snapshot, as ``plan`` makes it, or one within the slack of that."""
        known, self._known = self._known, None
        owed, self._owed = snapshot.coming or self._owed, ()
        if snapshot.coming:
            snapshot = replace(snapshot, coming=())
        following = None if known is None else _after(known, snapshot)
        if following is not None:
            self._known = _Known(snapshot, following, fresh=False)
            self._owed = owed
            self.followed += 1
            return _plan(following, snapshot)
        made = plan(replace(snapshot, coming=owed) if owed else snapshot, self._slack)
        if snapshot.nodes and not any(table.steps for table in made.tables):
            same = known is not None and known.fresh and known.snapshot == snapshot
            self._known = known if same else self._settled(snapshot)
        return made

    def _settled(self, snapshot: Snapshot) -> _Known | None:
        """What to follow events from: the tables are as they should be."""
        inside = [replace(t, foreign=within_subnets(t, snapshot)) for t in snapshot.route_tables]
        planned = Planned.of(replace(snapshot, route_tables=tuple(inside)), self._slack)
        held = {table.id: tuple(sorted(table.entries)) for table in snapshot.route_tables}
        if planned.entries != held or not _is_proven(planned):
            return None
        return _Known(snapshot, planned, fresh=True)


def _after(known: _Known, snapshot: Snapshot) -> Planned | None:
    """The plan once what has happened has; None where a full pass must tell."""
    happened = events(known.planned, known.snapshot, snapshot)
    if not happened:
        return None
    planned = known.planned
    for event in happened:
        planned, _ = planned.after(event)
    return planned if _is_proven(planned) else None


def _is_proven(planned: Planned) -> bool:
    """Whether it is within the slack for certain.

    ``stale`` compares with what the last full pass has found. Where that was above the bound, since
    forwarders were scarce, a node more may make less possible: only a full pass tells.
    """
    most = (1 + planned.slack) * (1 + _ROUNDING)
    return not planned.stale and all(
        part.max_load <= part.carried.bound * most for part in planned.parts
    )


def _plan(planned: Planned, snapshot: Snapshot) -> Plan:
    ground = Ground.physical(snapshot)
    parts: dict[str, list[Part]] = {table.id: [] for table in snapshot.route_tables}
    for part in planned.parts:
        parts[part.table.id].append(part)
    return Plan(
        tuple(
            _table_plan(ground, snapshot, table, parts[table.id], planned.roster)
            for table in snapshot.route_tables
        )
    )


def _table_plan(
    ground: Ground, snapshot: Snapshot, table: RouteTable, parts: Sequence[Part], roster: Roster
) -> TablePlan:
    parts = sorted(parts, key=lambda part: list(Family).index(part.family))
    pieces = [part.pieces[prefix] for part in parts for prefix in sorted(part.pieces)]
    entries = tuple(_entry(piece, roster) for piece in pieces)
    target = [Entry(entry.destination, entry.interface) for entry in entries]
    return TablePlan(
        id=table.id,
        entries=entries,
        steps=transition_on(ground, table, target).steps,
        max_load=max((part.max_load for part in parts), default=0.0),
        detour_weight=sum(piece.others for piece in pieces),
        weight=sum(piece.total for piece in pieces),
        proof={part.family: _proof(part) for part in parts if len(snapshot.blocks[part.family])},
        unserved=(),
    )


def _entry(piece: Piece, roster: Roster) -> PlannedEntry:
    node = roster.node(piece.hop)
    own = int((piece.owner == piece.hop).sum())
    return PlannedEntry(
        destination=piece.destination,
        interface=node.interface,
        node=node.name,
        kind=Kind.DIRECT if own == len(piece.owner) else Kind.AGGREGATE,
        blocks=len(piece.owner),
        weight=piece.total,
        load=piece.others / roster.capacity(piece.hop),
    )


def _proof(part: Part) -> Proof:
    """The bound is the one that is carried; what fewer entries would do was not looked at."""
    least = min(part.max_load, part.carried.least)
    proven = part.max_load <= part.carried.bound
    status = ProofStatus.OPTIMAL if proven else ProofStatus.BOUNDED
    return Proof(status, least, part.carried.bound, None)
