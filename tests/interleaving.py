"""Several who use one store at once, in every order that a test asks for.

Each runs in a thread of its own and stops before every call of the store, until it is its turn.
So a history is a list of turns, and the same list is the same history.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from ipam.store.port import (
    Changes,
    Compare,
    KeyValue,
    Operation,
    RangeResult,
    Store,
    TxnResult,
    Watch,
)

Job = Callable[[Store], None]

_SECONDS = 30


class _Turns:
    """Whose turn it is; nobody's while the test chooses."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._running: int | None = None
        self._waiting: set[int] = set()
        self._alive = set(range(count))

    def wait_for(self, number: int) -> None:
        """Called in a thread: go on when it is chosen."""
        with self._changed:
            if self._running == number:
                self._running = None
            self._waiting.add(number)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._running == number, _SECONDS)
            self._waiting.discard(number)

    def end(self, number: int) -> None:
        """Called in a thread: there is no more to do."""
        with self._changed:
            self._alive.discard(number)
            self._running = None
            self._changed.notify_all()

    def choose(self, turn: int) -> bool:
        """Let one of those that wait go on; False when all have ended."""
        with self._changed:
            ready = self._changed.wait_for(
                lambda: self._running is None and self._waiting == self._alive, _SECONDS
            )
            assert ready, "somebody neither calls the store nor ends"
            if not self._alive:
                return False
            waiting = sorted(self._waiting)
            self._running = waiting[turn % len(waiting)]
            self._changed.notify_all()
            return True


class _TurnStore:
    """A store that is called when it is one's turn."""

    def __init__(self, inner: Store, turns: _Turns, number: int) -> None:
        self._inner = inner
        self._turns = turns
        self._number = number

    def _now(self) -> Store:
        self._turns.wait_for(self._number)
        return self._inner

    @property
    def location(self) -> str:
        return self._inner.location

    @property
    def max_operations(self) -> int:
        return self._inner.max_operations

    def get(self, key: str) -> KeyValue | None:
        return self._now().get(key)

    def range(self, prefix: str) -> RangeResult:
        return self._now().range(prefix)

    def txn(self, compares: Sequence[Compare], operations: Sequence[Operation]) -> TxnResult:
        return self._now().txn(compares, operations)

    def watch(self, prefix: str, after_revision: int) -> Watch:
        return _TurnWatch(self._inner.watch(prefix, after_revision), self._now)

    def compact(self, revision: int) -> None:
        self._now().compact(revision)

    def grant(self, seconds: float) -> int:
        return self._now().grant(seconds)

    def keep_alive(self, lease: int) -> bool:
        return self._now().keep_alive(lease)

    def revoke(self, lease: int) -> None:
        self._now().revoke(lease)

    def close(self) -> None:
        pass


class _TurnWatch:
    def __init__(self, inner: Watch, now: Callable[[], Store]) -> None:
        self._inner = inner
        self._now = now

    def next(self, timeout: float) -> Changes:  # noqa: ARG002 - waiting would stop all others
        self._now()
        return self._inner.next(0)

    def close(self) -> None:
        self._inner.close()


def run(store: Store, jobs: Sequence[Job], turns: Iterator[int], after: Callable[[], None]) -> None:
    """Run jobs at once, one call of the store at a time; ``after`` is called after each.

    What a job raises is raised here, once all have ended.
    """
    shared = _Turns(len(jobs))
    raised: list[BaseException] = []

    def body(number: int, job: Job) -> None:
        try:
            job(_TurnStore(store, shared, number))
        except BaseException as error:  # noqa: BLE001 - it is raised where the test is
            raised.append(error)
        finally:
            shared.end(number)

    threads = [threading.Thread(target=body, args=numbered) for numbered in enumerate(jobs)]
    for thread in threads:
        thread.start()
    try:
        while shared.choose(next(turns, 0)):
            after()
    finally:
        for _ in iter(lambda: shared.choose(0), False):
            pass
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]
