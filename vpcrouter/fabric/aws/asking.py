"""Calls that change nothing: repeated until a deadline, each refusal named with its action."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from vpcrouter.fabric.aws.clients import CREDENTIALS, DENIED, translated
from vpcrouter.fabric.aws.errors import LostAnswerError, NotPossibleError, NotSentError, RoleError
from vpcrouter.fabric.aws.policy import ASSUMING
from vpcrouter.fabric.codes import Code, Ec2Error
from vpcrouter.fabric.port import Clock, FabricUnavailableError

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
_FIRST_SECONDS = 0.5
_MOST_SECONDS = 10.0
_PASSING = frozenset(
    {
        Code.REQUEST_LIMIT.value,
        Code.THROTTLING.value,
        Code.THROTTLING_TOO.value,
        Code.TOO_MANY_REQUESTS.value,
        Code.UNAVAILABLE.value,
        Code.SERVICE_UNAVAILABLE.value,
    }
)


class DeniedError(FabricUnavailableError):
    """Nobody has allowed this action."""


class Asker:
    """Asks AWS, waiting on the clock that it is given; counts the calls."""

    def __init__(self, clock: Clock, place: str) -> None:
        self._clock = clock
        self._place = place
        self.calls = 0

    def ask(self, action: str, call: Callable[[], T]) -> T:
        """What a call answers. ``action`` is its name, as policies spell it (``ec2:...``).

        Raises DeniedError where it is not allowed, FabricUnavailableError where it fails otherwise.
        """
        end = self._clock.now() + DEADLINE_SECONDS

        def is_enough(state: RetryCallState) -> bool:
            return self._clock.now() + _seconds_to_wait(state) > end

        retrying = Retrying(
            retry=retry_if_exception(_passes),
            wait=_seconds_to_wait,
            stop=is_enough,
            sleep=self._clock.sleep,
            reraise=True,
        )
        try:
            answer: T = retrying(self._once, call)
        except Ec2Error as error:
            raise self._refused(action, error) from error
        except (NotSentError, LostAnswerError) as error:
            text = f"{self._place}: {action} not answered: {error}"
            remedy = "check network, region and credentials"
            raise FabricUnavailableError("", f"{text}: {remedy}") from error
        return answer

    def _once(self, call: Callable[[], T]) -> T:
        self.calls += 1
        with translated():
            return call()

    def _refused(self, action: str, error: Ec2Error) -> FabricUnavailableError:
        if isinstance(error, RoleError) and error.code not in _PASSING:
            return unassumed(self._place, error)
        text = f"{self._place}: {action} refused: {error.message}"
        if error.code in DENIED:
            remedy = "allow it; vpcrouter aws iam-policy prints what is needed"
            return DeniedError(error.code, f"{text}: {remedy}")
        if error.code in CREDENTIALS:
            remedy = "check credentials, region and the machine's clock"
        elif error.code in _PASSING:
            remedy = "other tools use up the account's calls: try later"
        else:
            remedy = "check region, VPC and account in the cluster file"
        return FabricUnavailableError(error.code, f"{text}: {remedy}")


def unassumed(place: str, error: RoleError) -> FabricUnavailableError:
    """What it means that a role could not be assumed: nothing can be done."""
    if error.code in DENIED:
        remedy = "allow it (vpcrouter aws iam-policy --caller), and let the role trust the caller"
    else:
        remedy = "check role, region and credentials"
    text = f"{place}: {ASSUMING} of {error.role} refused: {error.message}: {remedy}"
    return FabricUnavailableError(error.code, text)


def _passes(error: BaseException) -> bool:
    if isinstance(error, Ec2Error):
        return error.code in _PASSING
    if isinstance(error, NotPossibleError):
        return False
    return isinstance(error, LostAnswerError | NotSentError)


def _seconds_to_wait(state: RetryCallState) -> float:
    return min(_FIRST_SECONDS * 2.0 ** (state.attempt_number - 1), _MOST_SECONDS)
