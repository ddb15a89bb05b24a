"""A store that fails at a chosen transaction: before it, after it, or somebody else comes first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from ipam.errors import UnavailableError
from ipam.store.memory import MemoryStore
from ipam.store.port import Compare, KeyValue, Operation, RangeResult, TxnResult, Watch


class Fault(Enum):
    """What happens at the chosen transaction."""

    CRASH_BEFORE = "the process dies before it"
    CRASH_AFTER = "the process dies when it is done"
    REFUSED = "the store is not available"
    ANSWER_LOST = "it is done, but the answer is an error"


class CrashError(BaseException):
    """The process is dead: nothing may catch this."""


@dataclass
class FaultyStore:
    """Passes everything on to a store in memory, and fails once.

    ``at`` counts transactions from 0. ``meanwhile`` is called before every transaction, as
    somebody else who writes at the same time.
    """

    inner: MemoryStore
    fault: Fault | None = None
    at: int = 0
    meanwhile: Callable[[int], None] | None = None
    transactions: int = 0

    @property
    def location(self) -> str:
        return self.inner.location

    @property
    def max_operations(self) -> int:
        return self.inner.max_operations

    def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        number, self.transactions = self.transactions, self.transactions + 1
        if self.meanwhile is not None:
            self.meanwhile(number)
        fault = self.fault if number == self.at else None
        if fault is Fault.CRASH_BEFORE:
            raise CrashError
        if fault is Fault.REFUSED:
            raise UnavailableError("store memory cannot be written")
        result = self.inner.txn(compares, operations)
        if fault is Fault.CRASH_AFTER:
            raise CrashError
        if fault is Fault.ANSWER_LOST:
            raise UnavailableError("store memory does not answer")
        return result

    def get(self, key: str) -> KeyValue | None:
        return self.inner.get(key)

    def range(self, prefix: str) -> RangeResult:
        return self.inner.range(prefix)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        return self.inner.watch(prefix, after_revision)

    def compact(self, revision: int) -> None:
        self.inner.compact(revision)

    def grant(self, seconds: float) -> int:
        return self.inner.grant(seconds)

    def keep_alive(self, lease: int) -> bool:
        return self.inner.keep_alive(lease)

    def revoke(self, lease: int) -> None:
        self.inner.revoke(lease)

    def close(self) -> None:
        self.inner.close()
