"""A token bucket: so many calls at once, and so many a second in the long run."""

from __future__ import annotations


class TokenBucket:
    """Lets through ``size`` calls at once and ``refill`` a second in the long run."""

    def __init__(self, size: int, refill: float, now: float) -> None:
        self._size = size
        self._refill = refill
        self._tokens = float(size)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token: 0, or the seconds until there is one, and none was taken."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._refill)
        self._at = now
        # Sums of fractions of seconds fall short of the token that they stand for by a hair.
        if self._tokens >= 1 - 1e-6:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._refill
