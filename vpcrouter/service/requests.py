"""What a lane asks for: a lane is work that goes one call at a time, such as that on one table.

Lanes decide and record, and never wait or call by themselves: they yield what they want, and are
resumed once it is there. So many of them can be run side by side by one thread (see ``turns``).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from vpcrouter.fabric.codes import Call
from vpcrouter.fabric.port import FabricError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call of a kind; ``urgent`` ones are granted before all others."""

    call: Call
    urgent: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to the fabric; resumes with the FabricError that it raised, or None."""

    make: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to do for so many seconds."""

    seconds: float


Request = Permit | Attempt | Pause
Outcome = FabricError | None

Asking = Generator[Request, Outcome, T]
"""Work that asks for calls and ends with a value."""

Lane = Asking[None]


class HaltedError(Exception):
    """Thrown into a lane that is to end early; only at a Permit or a Pause, never during a call."""
