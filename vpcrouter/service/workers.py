"""Who makes the calls of lanes: one after another in this thread, or side by side in several."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from vpcrouter.fabric.port import Clock, FabricError
from vpcrouter.service.requests import Outcome

_THREADS = 8

Done = tuple[str, Outcome]


class Workers(Protocol):
    """Make calls; each has the name of its lane, of which one is under way at a time."""

    def start(self, lane: str, make: Callable[[], None]) -> None:
        """Begin to make a call."""
        ...

    def finished(self, seconds: float) -> Sequence[Done]:
        """The calls that have ended since, after waiting up to so long for the first one.

        Raises whatever else than a FabricError a call raised.
        """
        ...

    def close(self) -> None:
        """Let go of threads, once no call is under way."""
        ...


class InlineWorkers:
    """Each call is made at once, by whoever starts it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: list[Done] = []

    def start(self, lane: str, make: Callable[[], None]) -> None:
        """Make it."""
        self._done.append((lane, outcome_of(make)))

    def finished(self, seconds: float) -> Sequence[Done]:
        """All that were started."""
        if not self._done and seconds > 0:
            self._clock.sleep(seconds)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """There is nothing."""


class ThreadWorkers:
    """Calls are made side by side, in real time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "vpcrouter-call")
        self._done: queue.Queue[Done | BaseException] = queue.Queue()

    def start(self, lane: str, make: Callable[[], None]) -> None:
        """Hand it to a thread."""
        self._threads.submit(self._make, lane, make)

    def finished(self, seconds: float) -> Sequence[Done]:
        """What has ended."""
        found: list[Done] = []
        try:
            item = self._done.get(timeout=seconds) if seconds > 0 else self._done.get_nowait()
            while True:
                if isinstance(item, BaseException):
                    raise item
                found.append(item)
                item = self._done.get_nowait()
        except queue.Empty:
            return found

    def close(self) -> None:
        """Wait for the threads to end."""
        self._threads.shutdown()

    def _make(self, lane: str, make: Callable[[], None]) -> None:
        try:
            self._done.put((lane, outcome_of(make)))
        except BaseException as error:  # noqa: BLE001 - raised again by `finished`
            self._done.put(error)


def outcome_of(make: Callable[[], None]) -> Outcome:
    """How a call ends."""
    try:
        make()
    except FabricError as error:
        return error
    return None
