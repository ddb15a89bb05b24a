"""What was changed a moment ago, for as long as reads may not show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipam.prefix import Prefix
from vpcrouter.fabric.port import Clock
from vpcrouter.model import Entry, RouteTable

SECONDS = 120.0
"""For so long a read that contradicts a change made here is taken for old."""


@dataclass(frozen=True, slots=True)
class _Change:
    interface: str | None
    at: float


class Memory:
    """The latest changes of each destination, until a read shows them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changes: dict[tuple[str, Prefix], _Change] = {}

    def note(self, table: str, destination: Prefix, interface: str | None) -> None:
        """An entry leads there from now on (None: it is deleted)."""
        self._changes[table, destination] = _Change(interface, self._clock.now())

    def forget(self, table: str, destination: Prefix) -> None:
        """Somebody else has changed this entry: believe reads."""
        self._changes.pop((table, destination), None)

    def correct(self, tables: Sequence[RouteTable]) -> tuple[RouteTable, ...]:
        """Tables as read, with what was changed and does not show yet."""
        return tuple(map(self._correct, tables))

    def _correct(self, table: RouteTable) -> RouteTable:
        entries = {entry.destination: entry.interface for entry in table.entries}
        foreign = set(table.foreign)
        for (name, destination), change in list(self._changes.items()):
            if name != table.id:
                continue
            shows = entries.get(destination) == change.interface
            old = self._clock.now() - change.at > SECONDS
            if shows or old or destination in foreign:
                del self._changes[name, destination]
            elif change.interface is None:
                del entries[destination]
            else:
                entries[destination] = change.interface
        return replace(table, entries=tuple(Entry(*item) for item in sorted(entries.items())))
