"""A store in memory, for plans on a copy, for simulations and as the reference in tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ipam.store.port import (
    Changes,
    Compare,
    Delete,
    Event,
    KeyValue,
    Operation,
    Put,
    RangeResult,
    TxnResult,
    check_txn,
)


@dataclass(slots=True)
class _Lease:
    seconds: float
    deadline: float


class MemoryStore:
    """A ``Store`` that lives as long as the process; safe to use from several threads."""

    def __init__(
        self, max_operations: int = 1_000_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_operations = max_operations
        self._clock = clock
        self._changed = threading.Condition()
        self._keys: dict[str, KeyValue] = {}
        self._log: list[Event] = []
        self._revision = 0
        self._compacted = 0
        self._leases: dict[int, _Lease] = {}
        self._last_lease = 0

    @property
    def location(self) -> str:
        """There is nothing to look at."""
        return "memory"

    @property
    def max_operations(self) -> int:
        """As given when it was made."""
        return self._max_operations

    def get(self, key: str) -> KeyValue | None:
        """The key, or None."""
        with self._changed:
            self._expire()
            return self._keys.get(key)

    def range(self, prefix: str) -> RangeResult:
        """All keys with this prefix, in order."""
        with self._changed:
            self._expire()
            keys = sorted(key for key in self._keys if key.startswith(prefix))
            return RangeResult(self._revision, tuple(self._keys[key] for key in keys))

    def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Compare and swap."""
        check_txn(compares, operations, self._max_operations)
        with self._changed:
            self._expire()
            if any(self._mod_revision(c.key) != c.mod_revision for c in compares):
                return TxnResult(False, self._revision)
            leases = {operation.lease for operation in operations if isinstance(operation, Put)}
            if not leases <= {None, *self._leases}:
                return TxnResult(False, self._revision)
            self._apply(operations)
            return TxnResult(True, self._revision)

    def watch(self, prefix: str, after_revision: int) -> MemoryWatch:
        """The changes of a prefix."""
        return MemoryWatch(self, prefix, after_revision)

    def compact(self, revision: int) -> None:
        """Forget changes."""
        with self._changed:
            self._compacted = max(self._compacted, min(revision, self._revision))
            self._log = [event for event in self._log if event.revision > self._compacted]

    def grant(self, seconds: float) -> int:
        """A new lease."""
        with self._changed:
            self._last_lease += 1
            self._leases[self._last_lease] = _Lease(seconds, self._clock() + seconds)
            return self._last_lease

    def keep_alive(self, lease: int) -> bool:
        """Renew a lease."""
        with self._changed:
            self._expire()
            known = self._leases.get(lease)
            if known is None:
                return False
            known.deadline = self._clock() + known.seconds
            return True

    def revoke(self, lease: int) -> None:
        """End a lease."""
        with self._changed:
            self._end([lease])

    def close(self) -> None:
        """Nothing is held."""

    def changes(self, prefix: str, after_revision: int, timeout: float) -> Changes:
        """What a watch asks for."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                self._expire()
                if after_revision < self._compacted:
                    return Changes(self._revision, (), compacted=True)
                events = tuple(
                    event
                    for event in self._log
                    if event.revision > after_revision and event.key.startswith(prefix)
                )
                left = deadline - time.monotonic()
                if events or left <= 0:
                    return Changes(self._revision, events)
                self._changed.wait(min(left, self._until_expiry()))

    def _mod_revision(self, key: str) -> int:
        known = self._keys.get(key)
        return known.mod_revision if known is not None else 0

    def _apply(self, operations: Sequence[Operation]) -> None:
        effective = [o for o in operations if isinstance(o, Put) or o.key in self._keys]
        if not effective:
            return
        self._revision += 1
        for operation in sorted(effective, key=lambda operation: operation.key):
            if isinstance(operation, Delete):
                del self._keys[operation.key]
                self._log.append(Event(operation.key, None, self._revision))
            else:
                earlier = self._keys.get(operation.key)
                created = earlier.create_revision if earlier is not None else self._revision
                self._keys[operation.key] = KeyValue(
                    operation.key, operation.value, created, self._revision, operation.lease
                )
                self._log.append(Event(operation.key, operation.value, self._revision))
        self._changed.notify_all()

    def _expire(self) -> None:
        now = self._clock()
        self._end([lease for lease, known in self._leases.items() if known.deadline <= now])

    def _end(self, leases: Sequence[int]) -> None:
        for lease in leases:
            self._leases.pop(lease, None)
        if leases:
            bound = sorted(key for key, value in self._keys.items() if value.lease in leases)
            self._apply([Delete(key) for key in bound])

    def _until_expiry(self) -> float:
        """Seconds until the next lease ends."""
        deadlines = [known.deadline for known in self._leases.values()]
        return max(0.0, min(deadlines) - self._clock()) if deadlines else threading.TIMEOUT_MAX


class MemoryWatch:
    """The changes of one prefix of a MemoryStore."""

    def __init__(self, store: MemoryStore, prefix: str, after_revision: int) -> None:
        self._store = store
        self._prefix = prefix
        self._revision = after_revision

    def next(self, timeout: float) -> Changes:
        """Wait for changes."""
        found = self._store.changes(self._prefix, self._revision, timeout)
        self._revision = found.revision
        return found

    def close(self) -> None:
        """Nothing is held."""
