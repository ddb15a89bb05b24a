"""What was changed a moment ago, for as long as reads may not show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ipam.prefix import Prefix
from vpcrouter.fabric.port import Clock
from vpcrouter.model import Entry, RouteTable

SECONDS = 120.0
"""For so long a read that contradicts a change made here is taken for old."""


@dataclass(frozen=True, slots=True)
class _Change:
    """``before`` is where the entry led within the time that a read may lag (None: nowhere).

    ``stands``: nothing is known that speaks against it.
    """

    before: frozenset[str | None]
    interface: str | None
    at: float
    stands: bool = True


class Memory:
    """The latest changes of each destination, for as long as a read may be from before them.

    A read that shows a third thing is believed, and so are those after it: somebody else has
    changed the entry, or a call of unknown outcome has. What was there before is remembered all the
    same: once the entry has been changed again, a read may show it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changes: dict[tuple[str, Prefix], _Change] = {}

    def note(
        self,
        table: str,
        destination: Prefix,
        before: Iterable[str | None],
        interface: str | None,
    ) -> None:
        """An entry that led to any of ``before`` leads there now (None: it is not there)."""
        earlier = set(before)
        last = self._changes.get((table, destination))
        if last is not None and not self._is_old(last):
            earlier |= {last.interface, *last.before}
        change = _Change(frozenset(earlier), interface, self._clock.now())
        self._changes[table, destination] = change

    def doubt(self, table: str, destination: Prefix) -> None:
        """An entry is not what it was changed to last: believe reads until it is changed again."""
        change = self._changes.get((table, destination))
        if change is not None:
            self._changes[table, destination] = replace(change, stands=False)

    def earlier(self, table: str, destination: Prefix) -> tuple[str, ...]:
        """Where a read may show that an entry leads, other than where it does."""
        change = self._changes.get((table, destination))
        if change is None or self._is_old(change):
            return ()
        return tuple(sorted(hop for hop in change.before if hop is not None))

    def correct(self, tables: Sequence[RouteTable]) -> tuple[RouteTable, ...]:
        """Tables as read, with what was changed and does not show yet."""
        return tuple(map(self._correct, tables))

    def _correct(self, table: RouteTable) -> RouteTable:
        entries = {entry.destination: entry.interface for entry in table.entries}
        foreign = set(table.foreign)
        for (name, destination), change in list(self._changes.items()):
            if name != table.id:
                continue
            shown = entries.get(destination)
            known = (*change.before, change.interface)
            if self._is_old(change) or destination in foreign:
                del self._changes[name, destination]
            elif shown not in known:
                self.doubt(name, destination)
            elif not change.stands:
                continue
            elif change.interface is not None:
                entries[destination] = change.interface
            else:
                entries.pop(destination, None)
        return replace(table, entries=tuple(Entry(*item) for item in sorted(entries.items())))

    def _is_old(self, change: _Change) -> bool:
        return self._clock.now() - change.at > SECONDS
