"""Single calls to the fabric, repeated where that helps, also where an answer was lost.

A lost answer is not looked up in a read, which may lag behind and show neither the new nor the
old: the call itself is repeated, and its answer tells. Replaces and deletes touch a row only where
it leads where the step says, or do nothing where they have had their effect; a create is refused
where there is a row, and then becomes such a replace.
"""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from vpcrouter.fabric.port import (
    Clock,
    Fabric,
    FabricError,
    FabricUnavailableError,
    OutdatedError,
    RetryLaterError,
    ThrottledError,
    UnknownOutcomeError,
)
from vpcrouter.model import Action, Step
from vpcrouter.ownership import RouteRecord

_MOST_SECONDS = 60.0
_FIRST_SECONDS = 1.0
_ATTEMPTS = 4
_ATTEMPTS_THROTTLED = 20


class Caller:
    """Makes steps on a fabric. Waits on the clock that it is given."""

    def __init__(self, fabric: Fabric, clock: Clock) -> None:
        self._fabric = fabric
        self._clock = clock

    def make(self, table: str, step: Step, before: RouteRecord | None) -> None:
        """Return once the step has had its effect.

        ``before`` is what was recorded for the destination before this step's intent. Raises
        UnknownOutcomeError where the effect is not known in the end, else the FabricError that
        the last attempt ended with: then there was none.
        """
        attempts = _Attempts(self._fabric, table, step, before)
        try:
            self.repeat(attempts.once)
        except (UnknownOutcomeError, OutdatedError):
            raise
        except FabricError as error:
            if attempts.is_uncertain:
                raise UnknownOutcomeError(
                    error.code, f"{table} {step.destination}: {step.action} may have happened"
                ) from error
            raise

    def repeat(self, call: Callable[[], None]) -> None:
        """Make a call again while that may help. Raises the FabricError of the last attempt."""
        retrying = Retrying(
            retry=retry_if_exception_type(
                (RetryLaterError, UnknownOutcomeError, FabricUnavailableError)
            ),
            wait=_seconds_to_wait,
            stop=_is_enough,
            sleep=self._clock.sleep,
            reraise=True,
        )
        retrying(call)


class _Attempts:
    """The attempts at one step; ``is_uncertain`` once one of them may have had its effect."""

    def __init__(self, fabric: Fabric, table: str, step: Step, before: RouteRecord | None) -> None:
        self._fabric = fabric
        self._table = table
        self._step = step
        self._before = before
        self.is_uncertain = False

    def once(self) -> None:
        """One attempt."""
        try:
            self._fabric.apply(self._table, self._step)
        except UnknownOutcomeError:
            self.is_uncertain = True
            raise
        except OutdatedError as error:
            self._explain(error)

    def _explain(self, error: OutdatedError) -> None:
        """Return where the refusal means that the step has had its effect; else raise it."""
        step = self._step
        if step.action is Action.DELETE and error.code == "InvalidRoute.NotFound":
            return
        if step.action is not Action.CREATE or error.code != "RouteAlreadyExists":
            raise error
        present = step.interface if self.is_uncertain else None
        if self._before is not None:
            present = present or self._before.interface or self._before.previous
        if present is None:
            raise error
        # It is ours, and only reads lag: replaces touch a row only if it leads where we say.
        taken_over = Step(Action.REPLACE, step.destination, step.interface, present, step.reason)
        self._fabric.apply(self._table, taken_over)


def _seconds_to_wait(state: RetryCallState) -> float:
    error = _error(state)
    first = error.after if isinstance(error, RetryLaterError) else _FIRST_SECONDS
    doubled: float = first * 2 ** (state.attempt_number - 1)
    return min(doubled, max(first, _MOST_SECONDS))


def _is_enough(state: RetryCallState) -> bool:
    throttled = isinstance(_error(state), ThrottledError)
    return state.attempt_number >= (_ATTEMPTS_THROTTLED if throttled else _ATTEMPTS)


def _error(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
