"""When to look again: at once after a failure, after a change once things are quiet. Pure.

Level-triggered: an alarm says that something has happened, never what. What it was is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Urgency(IntEnum):
    """How soon what has happened is to be acted on."""

    NOTHING = 0
    CHANGE = 1
    FAILURE = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds.

    A change is acted on once there was none for ``quiet``, at most ``patience`` after the first.
    Without any, everything is looked at again after ``resync``. ``poll`` is how often it is asked
    whether something has happened; what could not be done is tried again after ``first_retry``,
    then ever later, ``most_retry`` at most.
    """

    quiet: float = 2.0
    patience: float = 10.0
    resync: float = 60.0
    poll: float = 0.5
    first_retry: float = 5.0
    most_retry: float = 60.0

    def retry(self, attempts: int) -> float:
        """How long to wait after so many attempts in vain."""
        return min(self.most_retry, self.first_retry * 2.0 ** min(attempts - 1, 16))


class Alarm:
    """What has been heard of since the last look."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._first: float | None = None
        self._last = 0.0
        self.is_urgent = False

    def ring(self, urgency: Urgency, now: float) -> None:
        """Something has happened, or nothing."""
        if urgency is Urgency.NOTHING:
            return
        self._first = now if self._first is None else self._first
        self._last = now
        self.is_urgent |= urgency is Urgency.FAILURE

    def is_due(self, now: float) -> bool:
        """Whether to look now."""
        if self._first is None:
            return False
        if self.is_urgent or now - self._first >= self._timing.patience:
            return True
        return now - self._last >= self._timing.quiet

    def clear(self) -> None:
        """A look begins: whatever has happened until now will be seen."""
        self._first = None
        self.is_urgent = False
