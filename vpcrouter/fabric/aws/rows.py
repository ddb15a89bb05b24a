"""What the rows of the tables are, as well as is known: the last look, and what was changed since.

Reads lag behind changes by up to minutes. So where a look shows what was there before a change made
here, the change stands; where it shows a third thing, somebody else has changed the row.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ipam.prefix import Prefix
from vpcrouter.fabric.port import Clock, Origin, Row, Table

LOOK_SECONDS = 30.0
"""For so long a look at a table is good enough to decide whether a row is ours to change."""

LAG_SECONDS = 120.0
"""For so long a look may show what was there before a change."""


@dataclass(frozen=True, slots=True)
class _Change:
    """``before`` is where the row led within the time that a look may lag."""

    before: frozenset[str | None]
    interface: str | None
    at: float


@dataclass(frozen=True, slots=True)
class _Look:
    rows: dict[Prefix, Row]
    at: float


class Rows:
    """The rows that were made by calls, by table and destination; for several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looks: dict[str, _Look] = {}
        self._changes: dict[tuple[str, Prefix], _Change] = {}
        self._lock = threading.Lock()

    def look(self, table: Table) -> None:
        """Take note of a table as it was read just now."""
        rows = {
            row.destination: row
            for row in table.rows
            if isinstance(row.destination, Prefix) and row.origin is not Origin.PROPAGATED
        }
        with self._lock:
            self._looks[table.id] = _Look(rows, self._clock.now())

    def is_fresh(self, table: str) -> bool:
        """Whether the last look at a table is good enough."""
        look = self._looks.get(table)
        return look is not None and self._clock.now() - look.at <= LOOK_SECONDS

    def forget(self, table: str) -> None:
        """A table is not as was thought: look again before the next change."""
        with self._lock:
            self._looks.pop(table, None)

    def note(self, table: str, destination: Prefix, before: str | None, after: str | None) -> None:
        """A row led to ``before`` (None: was not there) and leads to ``after`` from now on."""
        now = self._clock.now()
        earlier = {before}
        with self._lock:
            last = self._changes.get((table, destination))
            if last is not None and now - last.at <= LAG_SECONDS:
                earlier |= {last.interface, *last.before}
            self._changes[table, destination] = _Change(frozenset(earlier), after, now)

    def get(self, table: str, destination: Prefix) -> Row | None:
        """The row as far as known; None where none is known of."""
        with self._lock:
            return self._get(table, destination)

    def _get(self, table: str, destination: Prefix) -> Row | None:
        look = self._looks.get(table)
        seen = look.rows.get(destination) if look else None
        change = self._changes.get((table, destination))
        if change is None:
            return seen
        target = seen.target if seen else None
        is_old = self._clock.now() - change.at > LAG_SECONDS
        is_later = look is None or look.at >= change.at
        if is_old or (is_later and target not in (*change.before, change.interface)):
            del self._changes[table, destination]
            return seen
        if change.interface is None:
            return None
        return Row(destination, change.interface, to_interface=True)
