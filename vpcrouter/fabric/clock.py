"""Timelines: the real one, and one on which waiting takes no time."""

from __future__ import annotations

import time


class SystemClock:
    """Real seconds."""

    def now(self) -> float:
        """Seconds since some moment before this process; unmoved by changes of the wall clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class SimulatedClock:
    """Seconds that pass only when somebody waits: minutes of throttling cost nothing."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds waited so far, from the start on."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let the seconds pass at once."""
        self._now += max(0.0, seconds)
