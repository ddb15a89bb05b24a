"""Requests for one thing wait for each other; those for different things do not."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Turns(Generic[Key]):
    """Who is busy with what."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[Key] = set()

    @contextmanager
    def of(self, key: Key) -> Iterator[None]:
        """Wait until nobody else is busy with this; then nobody else is until the end."""
        with self._changed:
            self._changed.wait_for(lambda: key not in self._busy)
            self._busy.add(key)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(key)
                self._changed.notify_all()
