"""Exit codes, and which error ends with which: the only place that maps one to the other."""

from __future__ import annotations

from enum import IntEnum

from ipam.errors import (
    BadInputError,
    ConflictError,
    ExhaustedError,
    UnavailableError,
    VpcrouterError,
)


class ExitCode(IntEnum):
    """What the command's end means to scripts: a public contract."""

    DONE = 0
    INTERNAL = 1
    BAD_INPUT = 2
    UNSERVED = 3
    BROKEN_PROMISE = 4
    UNAVAILABLE = 5
    NOT_CONFIRMED = 6
    WOULD_CHANGE = 10
    INTERRUPTED = 130
    PIPE_CLOSED = 141


class OutputClosedError(Exception):
    """Whoever read standard output has gone (``vpcrouter routes | head``): end quietly."""


class NotConfirmedError(VpcrouterError):
    """A question was not answered with yes: what it was about has not been done."""


_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (BadInputError, ExitCode.BAD_INPUT),
    (ExhaustedError, ExitCode.UNSERVED),
    (UnavailableError, ExitCode.UNAVAILABLE),
    (ConflictError, ExitCode.UNAVAILABLE),
    (NotConfirmedError, ExitCode.NOT_CONFIRMED),
    (OutputClosedError, ExitCode.PIPE_CLOSED),
)


def code_of(error: Exception) -> ExitCode:
    """The exit code of an error; what is not known is internal."""
    from vpcrouter.fabric.port import FabricError

    if isinstance(error, FabricError):
        return ExitCode.UNAVAILABLE
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.INTERNAL
