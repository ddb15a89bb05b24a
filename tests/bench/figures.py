"""What a benchmark yields, and how time is taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; ``at_most`` is the goal in the same unit, None where there is none."""

    name: str
    value: float
    unit: str
    at_most: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met, as a word."""
        if self.at_most is None:
            return ""
        return "ok" if self.value <= self.at_most else "MISSED"


def seconds(run: Callable[[], object], times: int = 5) -> float:
    """The median of several runs in seconds, after one that warms up."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
