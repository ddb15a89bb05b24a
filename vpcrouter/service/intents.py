"""The store's record of every entry that is ours: an intent before each call, its effect after.

A key is written only where it is as it was last read here: where somebody else has changed it,
two services run at once, and this one stops (ConflictError).

A deleted entry keeps its record until it is seen to be gone: reads lag, and a row that nothing
says is ours is somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ipam.errors import ConflictError
from ipam.prefix import Prefix
from ipam.store.port import Compare, Delete, Operation, Put, Store
from vpcrouter.model import Step
from vpcrouter.ownership import (
    ROUTES,
    RouteRecord,
    Stage,
    decode_route,
    encode_route,
    route_key,
)

Place = tuple[str, Prefix]
"""A destination in a table."""


class Intents:
    """The records of all tables, read once and kept up with what is written here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[Place, RouteRecord] = {}
        self._revisions: dict[str, int] = {}

    def load(self) -> None:
        """Read all records anew. Raises UnavailableError."""
        self._records.clear()
        self._revisions.clear()
        for item in self._store.range(ROUTES).items:
            record = decode_route(item.key, item.value)
            self._records[record.table, record.destination] = record
            self._revisions[item.key] = item.mod_revision

    @property
    def records(self) -> Mapping[Place, RouteRecord]:
        """All records by table and destination."""
        return dict(self._records)

    def get(self, table: str, destination: Prefix) -> RouteRecord | None:
        """The record of one destination."""
        return self._records.get((table, destination))

    def intend(self, table: str, step: Step, earlier: Iterable[str]) -> None:
        """Say that the call for this step may be sent from now on.

        Where an earlier call's outcome is still open, or the step was planned from an old read, it
        may lead elsewhere than the step says; and old reads may show where it led ``earlier``.
        """
        before = self.get(table, step.destination)
        hops = dict.fromkeys((*(() if before is None else before.hops), *earlier))
        known = (step.interface, step.previous_interface)
        maybe = tuple(hop for hop in hops if hop not in known)
        self.put(RouteRecord(table, step.destination, *known, Stage.INTENT, maybe))

    def done(self, table: str, step: Step) -> None:
        """Say that a step has had its effect; a delete keeps its record (see above)."""
        if step.interface is not None:
            self.settle(table, step.destination, step.interface)

    def settle(self, table: str, destination: Prefix, interface: str) -> None:
        """Say that an entry of ours leads there, and nothing is about to happen to it."""
        self.put(RouteRecord(table, destination, interface, None, Stage.DONE))

    def put(self, record: RouteRecord) -> None:
        """Write a record."""
        key = route_key(record.table, record.destination)
        self._write(key, Put(key, encode_route(record)))
        self._records[record.table, record.destination] = record

    def forget(self, table: str, destination: Prefix) -> None:
        """Remove a record: there is no such entry, or it is not ours."""
        key = route_key(table, destination)
        self._write(key, Delete(key))
        del self._records[table, destination]
        del self._revisions[key]

    def restore(self, table: str, destination: Prefix, record: RouteRecord | None) -> None:
        """Take an intent back whose call certainly had no effect."""
        if record is None:
            self.forget(table, destination)
        else:
            self.put(record)

    def _write(self, key: str, operation: Operation) -> None:
        result = self._store.txn([Compare(key, self._revisions.get(key, 0))], [operation])
        if not result.succeeded:
            raise ConflictError(
                f"{self._store.location}: {key} was changed by somebody else meanwhile: run again, "
                "and let only one service change the tables"
            )
        self._revisions[key] = result.revision
