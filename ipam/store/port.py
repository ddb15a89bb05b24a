"""The store's port: keys with revisions, compare-and-swap, watches and leases.

It is what etcd offers, cut to what is used. A revision counts the changes of the whole store; each
transaction that changes anything makes one. A comparison that fails is an answer
(``TxnResult.succeeded``), never an error. What cannot be read or written now raises
UnavailableError, and then nothing was half done: a transaction happens wholly or not at all,
though after an UnavailableError it may have happened (write an owner token and read it back).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from msgspec import Struct


class KeyValue(Struct, frozen=True, gc=False):
    """A key with its value, the revisions that made and last changed it, and its lease if any."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int | None


@dataclass(frozen=True, slots=True)
class RangeResult:
    """The keys of one prefix, in order, as they were at one revision of the store."""

    revision: int
    items: tuple[KeyValue, ...]

    def under(self, prefix: str) -> tuple[KeyValue, ...]:
        """Those of a longer prefix."""
        start = bisect_left(self.items, prefix, key=attrgetter("key"))
        end = bisect_left(self.items, True, start, key=lambda item: not item.key.startswith(prefix))
        return self.items[start:end]


@dataclass(frozen=True, slots=True)
class Compare:
    """True while the key was last changed by this revision; 0 means that there is no such key."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key; with a lease, it is deleted when the lease ends."""

    key: str
    value: bytes
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; no change if there is none."""

    key: str


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class TxnResult:
    """Whether all comparisons held and the operations were done, and the revision afterwards."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a key; ``value`` is None where it was deleted."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed up to ``revision``: oldest first, what changed at once in the order of keys.

    ``compacted``: the store no longer knows all changes since then, so there are no events: list
    the keys again with ``range`` and watch anew from its revision.
    """

    revision: int
    events: tuple[Event, ...]
    compacted: bool = False


class Watch(Protocol):
    """The changes of one prefix, from one revision on."""

    def next(self, timeout: float) -> Changes:
        """Wait up to ``timeout`` seconds for changes (0: look once); none is an empty answer."""

    def close(self) -> None:
        """Stop watching."""


class Store(Protocol):
    """A store of keys, for one cluster."""

    @property
    def location(self) -> str:
        """Where it is, for messages to the operator."""

    @property
    def max_operations(self) -> int:
        """How many operations, and how many comparisons, one transaction takes at most."""

    def get(self, key: str) -> KeyValue | None:
        """The key, or None if there is no such key."""

    def range(self, prefix: str) -> RangeResult:
        """All keys that start with this text."""

    def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        """Do all operations at once if all comparisons hold and no lease put with has ended.

        No key may be changed twice.
        """

    def watch(self, prefix: str, after_revision: int) -> Watch:
        """The changes after a revision of keys that start with this text."""

    def compact(self, revision: int) -> None:
        """Forget the changes up to a revision (not the keys)."""

    def grant(self, seconds: float) -> int:
        """A new lease, which ends unless it is kept alive within so many seconds."""

    def keep_alive(self, lease: int) -> bool:
        """Let a lease run its full time again; False if it has ended."""

    def revoke(self, lease: int) -> None:
        """End a lease now: its keys are deleted."""

    def close(self) -> None:
        """Let go of files and connections; what was written stays."""


def check_txn(compares: Sequence[Compare], operations: Sequence[Operation], limit: int) -> None:
    """Raises ValueError where a transaction is none: too large, or a key changed twice."""
    if max(len(compares), len(operations)) > limit:
        raise ValueError(f"a transaction takes at most {limit} comparisons and operations")
    keys = [operation.key for operation in operations]
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction changes a key once at most")
