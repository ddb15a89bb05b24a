"""Runs lanes side by side: each has one call under way at most, urgent ones go first.

One thread decides and records for all of them; only the calls themselves are made by others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ipam.errors import VpcrouterError
from vpcrouter.fabric.port import Clock
from vpcrouter.service.pace import Pace
from vpcrouter.service.requests import Attempt, HaltedError, Lane, Outcome, Pause, Permit, Request
from vpcrouter.service.workers import Workers

_LOOK_UP_SECONDS = 0.25
"""How long nobody looks whether to halt, at most."""

Halt = Callable[[], bool]
"""Whether to begin nothing more."""


@dataclass(slots=True)
class _Waiting:
    """A lane that wants something, not before a time."""

    lane: Lane
    request: Request
    ready: float

    @property
    def rank(self) -> tuple[bool, float]:
        """Urgent ones first, then who has waited longest."""
        urgent = isinstance(self.request, Permit) and self.request.urgent
        return not urgent, self.ready


class Turns:
    """Runs lanes until all have ended, or until it is told to halt."""

    def __init__(self, workers: Workers, pace: Pace, clock: Clock) -> None:
        self._workers = workers
        self._pace = pace
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._flying: dict[str, Lane] = {}
        self._error: VpcrouterError | None = None

    def run(self, lanes: Mapping[str, Lane], halt: Halt) -> Iterator[None]:
        """Yields after everything that may have happened.

        Halting, or a lane that raises, ends all lanes; calls that are under way are waited for
        and taken note of first. Then what was raised is raised again.
        """
        for name, lane in lanes.items():
            self._resume(name, lane, first=True)
        while self._waiting or self._flying:
            halting = self._error is not None or halt()
            if halting:
                self._close_waiting()
            else:
                self._serve()
            yield
            for name, outcome in self._workers.finished(self._seconds_to_wait()):
                self._resume(name, self._flying.pop(name), outcome)
            yield
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _serve(self) -> None:
        """Give every lane what it wants, where it can be had now."""
        for name, waiting in sorted(self._waiting.items(), key=lambda item: item[1].rank):
            now = self._clock.now()
            if waiting.ready > now:
                continue
            request = waiting.request
            if isinstance(request, Permit):
                wait = self._permit(request)
                if wait > 0:
                    waiting.ready = now + wait
                    continue
            del self._waiting[name]
            if isinstance(request, Attempt):
                self._flying[name] = waiting.lane
                self._workers.start(name, request.make)
            else:
                self._resume(name, waiting.lane)

    def _permit(self, request: Permit) -> float:
        try:
            return self._pace.take(request.call, urgent=request.urgent)
        except VpcrouterError as error:
            self._error = self._error or error
            return _LOOK_UP_SECONDS

    def _resume(
        self, name: str, lane: Lane, outcome: Outcome = None, *, first: bool = False
    ) -> None:
        try:
            request = next(lane) if first else lane.send(outcome)
        except StopIteration:
            return
        except VpcrouterError as error:
            self._error = self._error or error
            return
        if isinstance(request, Attempt):
            self._flying[name] = lane
            self._workers.start(name, request.make)
            return
        seconds = request.seconds if isinstance(request, Pause) else 0.0
        self._waiting[name] = _Waiting(lane, request, self._clock.now() + seconds)

    def _close_waiting(self) -> None:
        for waiting in self._waiting.values():
            try:
                waiting.lane.throw(HaltedError())
            except (HaltedError, StopIteration):
                pass
            except VpcrouterError as error:
                self._error = self._error or error
        self._waiting.clear()

    def _seconds_to_wait(self) -> float:
        now = self._clock.now()
        soonest = min((w.ready for w in self._waiting.values()), default=now + _LOOK_UP_SECONDS)
        return min(_LOOK_UP_SECONDS, max(0.0, soonest - now))
