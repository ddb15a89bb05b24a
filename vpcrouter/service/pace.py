"""How fast calls that change something are sent: a little below what the account takes.

An account has 50 of each call at once and 5 a second, in each region and for all its tools
together. What is kept in the store holds for all processes of a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ipam.store.port import Compare, Put, Store
from vpcrouter.fabric.codes import Call

SIZE = 45.0
REFILL = 4.6
_KEPT_FOR_URGENT = {Call.REPLACE: 15.0}
"""Calls that are kept back for what is urgent: next hops that are replaced after a failure."""

CALLS = "/calls/"
"""One key for each kind of call."""

VERSION = 1
_ATTEMPTS = 5
_BUSY_SECONDS = 0.05
# Sums of fractions of seconds fall short of the token that they stand for by a hair.
_HAIR = 1e-6


class Pace(Protocol):
    """Says when the next call of a kind may be sent."""

    def take(self, call: Call, *, urgent: bool) -> float:
        """0: send one now; else the seconds after which to ask again. Raises UnavailableError."""
        ...

    def slow_down(self, call: Call, seconds: float) -> None:
        """The account has refused one: send none for so long. Raises UnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many tokens there were at a time (seconds); fewer than none: wait."""

    tokens: float
    at: float

    def later(self, now: float) -> Bucket:
        """The bucket now; a clock that was set back starts the time anew."""
        passed = max(0.0, now - self.at)
        return Bucket(min(SIZE, self.tokens + passed * REFILL), now)

    def wait(self, call: Call, *, urgent: bool) -> float:
        """The seconds until a token can be had."""
        needed = 1.0 + (0.0 if urgent else _KEPT_FOR_URGENT.get(call, 0.0))
        return 0.0 if self.tokens >= needed - _HAIR else (needed - self.tokens) / REFILL

    def less(self, tokens: float) -> Bucket:
        """The bucket with so many tokens taken."""
        return Bucket(self.tokens - tokens, self.at)


class Unpaced:
    """Calls that cost nobody anything."""

    def take(self, call: Call, *, urgent: bool) -> float:  # noqa: ARG002
        """At once."""
        return 0.0

    def slow_down(self, call: Call, seconds: float) -> None:
        """Nobody refuses any."""


class LocalPace:
    """The pace of a process that is alone."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: dict[Call, Bucket] = {}

    def take(self, call: Call, *, urgent: bool) -> float:
        """Take a token, or say when."""
        bucket = self._later(call)
        wait = bucket.wait(call, urgent=urgent)
        self._buckets[call] = bucket if wait else bucket.less(1.0)
        return wait

    def slow_down(self, call: Call, seconds: float) -> None:
        """Have a token again after so long."""
        bucket = self._later(call)
        self._buckets[call] = Bucket(min(bucket.tokens, 1.0 - seconds * REFILL), bucket.at)

    def _later(self, call: Call) -> Bucket:
        now = self._now()
        return self._buckets.get(call, Bucket(SIZE, now)).later(now)


class SharedPace:
    """The pace of all processes that share a store; ``now`` is a time that they share, too."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def take(self, call: Call, *, urgent: bool) -> float:
        """Take a token, or say when; where others are faster, in a moment."""
        for _ in range(_ATTEMPTS):
            bucket, revision = self._read(call)
            wait = bucket.wait(call, urgent=urgent)
            if wait > 0 or self._write(call, bucket.less(1.0), revision):
                return wait
        return _BUSY_SECONDS

    def slow_down(self, call: Call, seconds: float) -> None:
        """Let nobody have a token for so long."""
        for _ in range(_ATTEMPTS):
            bucket, revision = self._read(call)
            tokens = min(bucket.tokens, 1.0 - seconds * REFILL)
            if self._write(call, Bucket(tokens, bucket.at), revision):
                return

    def _read(self, call: Call) -> tuple[Bucket, int]:
        """What is damaged is no reason to stop: the account itself refuses what is too much."""
        now = self._now()
        item = self._store.get(CALLS + call)
        if item is None:
            return Bucket(SIZE, now), 0
        try:
            document = json.loads(item.value)
            bucket = Bucket(float(document["tokens"]), float(document["at"]))
        except (ValueError, KeyError, TypeError):
            bucket = Bucket(0.0, now)
        return bucket.later(now), item.mod_revision

    def _write(self, call: Call, bucket: Bucket, revision: int) -> bool:
        key = CALLS + call
        document = {"version": VERSION, "tokens": bucket.tokens, "at": bucket.at}
        value = json.dumps(document, separators=(",", ":")).encode()
        return self._store.txn([Compare(key, revision)], [Put(key, value)]).succeeded
