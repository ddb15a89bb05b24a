"""EC2's error codes, and what each means to the caller of the port."""

from __future__ import annotations

from enum import StrEnum

from vpcrouter.fabric.port import (
    FabricError,
    FabricUnavailableError,
    FullError,
    OutdatedError,
    RefusedError,
    RetryLaterError,
    TableGoneError,
    ThrottledError,
    UnknownOutcomeError,
)

_RETRY_SECONDS = 5.0


class Call(StrEnum):
    """The calls that change something."""

    CREATE = "CreateRoute"
    REPLACE = "ReplaceRoute"
    DELETE = "DeleteRoute"
    MODIFY_INTERFACE = "ModifyNetworkInterfaceAttribute"


class Code(StrEnum):
    """The codes that these calls answer, as EC2 spells them."""

    ROUTE_EXISTS = "RouteAlreadyExists"
    ROUTE_LIMIT = "RouteLimitExceeded"
    ROUTE_NOT_FOUND = "InvalidRoute.NotFound"
    TABLE_NOT_FOUND = "InvalidRouteTableID.NotFound"
    TABLE_NOT_FOUND_TOO = "InvalidRouteTableId.NotFound"
    INTERFACE_NOT_FOUND = "InvalidNetworkInterfaceID.NotFound"
    INVALID_PARAMETER = "InvalidParameterValue"
    INCORRECT_STATE = "IncorrectState"
    REQUEST_LIMIT = "RequestLimitExceeded"
    THROTTLING = "Throttling"
    THROTTLING_TOO = "ThrottlingException"
    TOO_MANY_REQUESTS = "TooManyRequestsException"
    UNAVAILABLE = "Unavailable"
    SERVICE_UNAVAILABLE = "ServiceUnavailable"
    INTERNAL_ERROR = "InternalError"
    UNAUTHORIZED = "UnauthorizedOperation"


class Ec2Error(Exception):
    """What EC2 answers instead of a result; ``retry_after`` in seconds, 0 where it is unknown."""

    def __init__(self, code: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after


_OUTDATED = (Code.ROUTE_EXISTS, Code.ROUTE_NOT_FOUND)
_TABLE_GONE = (Code.TABLE_NOT_FOUND, Code.TABLE_NOT_FOUND_TOO)
_THROTTLED = (
    Code.REQUEST_LIMIT,
    Code.THROTTLING,
    Code.THROTTLING_TOO,
    Code.TOO_MANY_REQUESTS,
)
_DOWN = (Code.UNAVAILABLE, Code.SERVICE_UNAVAILABLE)


def fabric_error(call: Call, place: str, error: Ec2Error) -> FabricError:
    """The port's error for EC2's; ``place`` names table and destination."""
    code = error.code
    text = f"{place}: {call} refused: {error.message}"
    after = error.retry_after or _RETRY_SECONDS
    if code in _THROTTLED:
        return ThrottledError(code, text, after)
    if code == Code.INCORRECT_STATE:
        return RetryLaterError(code, text, after)
    if code in _OUTDATED or (code == Code.INVALID_PARAMETER and _is_missing(call, error)):
        return OutdatedError(code, text)
    if code == Code.ROUTE_LIMIT:
        return FullError(code, text)
    if code in _TABLE_GONE:
        return TableGoneError(code, text)
    if code in _DOWN:
        return FabricUnavailableError(code, f"{place}: {call} not answered: {error.message}")
    if code == Code.INTERNAL_ERROR:
        return UnknownOutcomeError(code, f"{place}: {call} may have happened: {error.message}")
    return RefusedError(code, text)


def _is_missing(call: Call, error: Ec2Error) -> bool:
    """Replacing what is not there has no code of its own, only this message."""
    return call is Call.REPLACE and "no route defined" in error.message
