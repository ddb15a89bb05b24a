"""One writer at a time, in about the order in which they came: a lock beside the file of a store.

The kernel wakes those who wait (flock), so that waiting costs no time of the processor and nobody
is passed over by luck. The lock ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turnstile:
    """The lock of one file. One object is for one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @contextmanager
    def passed(self, patience: float) -> Iterator[bool]:
        """Hold the lock; False where others held it for so many seconds. Raises OSError."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not self._wait(self._descriptor, patience):
                yield False
                return
        try:
            yield True
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file of the lock, which stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait(self, descriptor: int, patience: float) -> bool:
        """Wait in a thread, since this call of the kernel knows no time limit."""
        waiting = _Waiting(descriptor)
        thread = threading.Thread(target=waiting.run, name="turnstile", daemon=True)
        thread.start()
        thread.join(patience)
        if waiting.give_up():
            # The thread closes its lock as soon as it gets it.
            self._descriptor = None
            return False
        return True


class _Waiting:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._deciding = threading.Lock()
        self._has_it = False
        self._is_given_up = False

    def run(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._deciding:
            self._has_it = not self._is_given_up
        if not self._has_it:
            os.close(self._descriptor)

    def give_up(self) -> bool:
        """Nobody waits any more; False if the lock is held by now."""
        with self._deciding:
            self._is_given_up = not self._has_it
            return self._is_given_up
