"""Single calls to the fabric, recorded before and after, and repeated where that helps.

A lost answer is not looked up in a read alone, which may lag behind and show neither the new nor
the old: the call itself is repeated, and its answer tells. Replaces and deletes touch a row only
where it leads where the step says, or do nothing where they have had their effect; a create is
refused where there is a row, and then becomes such a replace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from vpcrouter.fabric.codes import Call
from vpcrouter.fabric.port import (
    Fabric,
    FabricError,
    FabricUnavailableError,
    OutdatedError,
    RetryLaterError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.model import Action, Step
from vpcrouter.ownership import RouteRecord, Stage
from vpcrouter.service.intents import Intents
from vpcrouter.service.memory import Memory
from vpcrouter.service.pace import Pace
from vpcrouter.service.requests import Asking, Attempt, HaltedError, Outcome, Pause, Permit

MOST_SECONDS = 60.0
ATTEMPTS = 4
_FIRST_SECONDS = 1.0
_ATTEMPTS_THROTTLED = 20

_CALLS = {Action.CREATE: Call.CREATE, Action.REPLACE: Call.REPLACE, Action.DELETE: Call.DELETE}


@dataclass(frozen=True, slots=True)
class Calling:
    """A call to be made until it helps no more; ``begin`` is done right before each attempt.

    ``defers``: the caller has something else to do until a call that was refused for now can be
    made again.
    """

    call: Call
    make: Callable[[], None]
    begin: Callable[[], None]
    urgent: bool
    defers: bool


def repeated(pace: Pace, calling: Calling) -> Asking[Outcome]:
    """Make a call, and again while that may help; how it ended."""
    attempts = throttled = 0
    while True:
        yield Permit(calling.call, calling.urgent)
        calling.begin()
        error = yield Attempt(calling.make)
        if isinstance(error, ThrottledError):
            throttled += 1
            seconds = min(MOST_SECONDS, error.after * 2.0 ** (throttled - 1))
            pace.slow_down(calling.call, max(seconds, error.after))
            if throttled == _ATTEMPTS_THROTTLED:
                return error
            continue
        attempts += 1
        passes = isinstance(error, UnknownOutcomeError | FabricUnavailableError) or (
            isinstance(error, RetryLaterError) and not calling.defers
        )
        if not passes or attempts == ATTEMPTS:
            return error
        yield Pause(seconds_to_wait(error, attempts))


def seconds_to_wait(error: Outcome, attempts: int) -> float:
    """How long after so many attempts to make the next one."""
    first = error.after if isinstance(error, RetryLaterError) else _FIRST_SECONDS
    return min(first * 2.0 ** (attempts - 1), max(first, MOST_SECONDS))


@dataclass(slots=True)
class _Sending:
    """One step on its way; ``asked`` is the call that is made for it."""

    table: str
    step: Step
    before: RouteRecord | None
    asked: Step
    is_intended: bool = False
    is_uncertain: bool = False


class Sender:
    """Makes steps: each is recorded as an intent, sent, and recorded again."""

    def __init__(self, fabric: Fabric, pace: Pace, intents: Intents, memory: Memory) -> None:
        self._fabric = fabric
        self._pace = pace
        self._intents = intents
        self._memory = memory

    def send(self, table: str, step: Step, *, urgent: bool) -> Asking[Outcome]:
        """None once the step has had its effect, else why it has not.

        An UnknownOutcomeError says that this is not known; all others that there was none.
        """
        this = _Sending(table, step, self._intents.get(table, step.destination), step)
        try:
            error = yield from self._attempts(this, urgent=urgent)
        except HaltedError:
            if not this.is_uncertain:
                self._take_back(this)
            raise
        if error is None:
            self._memory.note(table, step.destination, self._before(this), step.interface)
            self._intents.done(table, step)
        elif not isinstance(error, UnknownOutcomeError):
            if isinstance(error, OutdatedError):
                self._memory.doubt(table, step.destination)
            elif this.is_uncertain:
                return UnknownOutcomeError(
                    error.code, f"{table} {step.destination}: {step.action} may have happened"
                )
            self._take_back(this)
        return error

    def gone(self, record: RouteRecord) -> None:
        """Take note that there is no such entry, though reads may still show it."""
        first, *rest = record.hops
        self._intents.put(replace(record, interface=None, previous=first, maybe=tuple(rest)))
        self._memory.note(record.table, record.destination, record.hops, None)

    def _before(self, this: _Sending) -> set[str | None]:
        """Where a read may show that it led: earlier calls of unknown outcome count too."""
        found: set[str | None] = {this.step.previous_interface}
        if this.before is not None and this.before.stage is Stage.INTENT:
            found |= {*this.before.hops, this.before.previous}
        return found

    def _attempts(self, this: _Sending, *, urgent: bool) -> Asking[Outcome]:
        while True:
            calling = Calling(
                _CALLS[this.asked.action],
                partial(self._once, this),
                partial(self._begin, this),
                urgent,
                defers=not this.is_uncertain,
            )
            error = yield from repeated(self._pace, calling)
            if not isinstance(error, OutdatedError) or self._has_happened(this, error):
                return None if isinstance(error, OutdatedError) else error
            taken_over = self._taken_over(this, error)
            if taken_over is None:
                return error
            this.asked = taken_over

    def _begin(self, this: _Sending) -> None:
        if not this.is_intended:
            earlier = self._memory.earlier(this.table, this.step.destination)
            self._intents.intend(this.table, this.step, earlier)
            this.is_intended = True

    def _once(self, this: _Sending) -> None:
        try:
            self._fabric.apply(this.table, this.asked)
        except UnknownOutcomeError:
            this.is_uncertain = True
            raise

    def _has_happened(self, this: _Sending, error: FabricError) -> bool:
        """Whether a refusal means that the step has had its effect."""
        return this.asked.action is Action.DELETE and error.code == "InvalidRoute.NotFound"

    def _taken_over(self, this: _Sending, error: FabricError) -> Step | None:
        """What to ask for instead of a create of what is there and ours: only reads lag.

        Replaces touch a row only if it leads where we say.
        """
        step = this.step
        if this.asked.action is not Action.CREATE or error.code != "RouteAlreadyExists":
            return None
        present = step.interface if this.is_uncertain else None
        if this.before is not None:
            present = present or this.before.interface or this.before.previous
        if present is None:
            return None
        return Step(Action.REPLACE, step.destination, step.interface, present, step.reason)

    def _take_back(self, this: _Sending) -> None:
        if this.is_intended:
            self._intents.restore(this.table, this.step.destination, this.before)
            this.is_intended = False
